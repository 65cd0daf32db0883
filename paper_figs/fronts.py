"""Fronts that runs attain, and the exact one: the median attainment surface with its band."""

from common import make

if __name__ == "__main__":
    make("fronts")
