"""AutoShrink's model with what a network computes, its topology, against the same model of its choices alone."""

from common import make

if __name__ == "__main__":
    make("incumbent-evaluations", study="tss-topology", called="topology")
