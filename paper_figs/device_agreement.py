"""How far devices agree on the order of networks: Kendall's tau."""

from common import make

if __name__ == "__main__":
    make("device-agreement")
