"""What AutoShrink removed, and when: one run, made again."""

from common import make

if __name__ == "__main__":
    make("shrinking")
