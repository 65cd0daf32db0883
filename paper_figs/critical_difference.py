"""Which algorithms differ over all data sets: Friedman and Nemenyi."""

from common import make

if __name__ == "__main__":
    make("critical-difference")
