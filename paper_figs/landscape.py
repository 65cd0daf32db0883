"""What the search sees against what counts, and where each algorithm ends."""

from common import make

if __name__ == "__main__":
    make("landscape")
