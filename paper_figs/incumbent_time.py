"""AutoShrink and NATS-Bench's multi-trial algorithms: final metric of the incumbent over simulated time."""

from common import make

if __name__ == "__main__":
    make("incumbent-time")
