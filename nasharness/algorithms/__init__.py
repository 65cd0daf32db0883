"""The algorithms of a checkout: they lie in ``algorithms/`` at its top, which setup.cfg installs under this name.

This file is in no installed package. Python started in the root of a checkout imports the checkout's ``nasharness``
instead of the installed one, and finds the algorithms through this file.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2] / "algorithms")]
