"""Final metric of single runs: boxes and dots."""

from common import make

if __name__ == "__main__":
    make("final-runs")
