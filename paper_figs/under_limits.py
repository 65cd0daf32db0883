"""How far the best under a limit stays behind the best there is."""

from common import make

if __name__ == "__main__":
    make("under-limits")
