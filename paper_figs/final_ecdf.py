"""Distribution of the final metric at the end of the budget."""

from common import make

if __name__ == "__main__":
    make("final-ecdf")
