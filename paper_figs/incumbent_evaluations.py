"""The same over the number of evaluations, which no training time of a large network distorts."""

from common import make

if __name__ == "__main__":
    make("incumbent-evaluations")
