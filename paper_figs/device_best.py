"""The best network of each device, on every device."""

from common import make

if __name__ == "__main__":
    make("device-best")
