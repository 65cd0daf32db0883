"""Hypervolume of the fronts, as a share of the exact one's, over evaluations."""

from common import make

if __name__ == "__main__":
    make("hypervolume")
