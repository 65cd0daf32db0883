"""``python -m nasharness``."""

from nasharness.cli import main

main()
