"""Mean rank over the budget, on each of the three data sets."""

from common import make

if __name__ == "__main__":
    make("rank")
