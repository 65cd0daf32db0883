"""Accuracy against MACs: the Pareto front, and where each algorithm ends."""

from common import make

if __name__ == "__main__":
    make("pareto")
