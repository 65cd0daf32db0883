"""Where data live."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_dir() -> Path:
    """The folder that holds downloaded and imported data: ``$NASHARNESS_DATA``, else the user's data folder."""
    chosen = os.environ.get("NASHARNESS_DATA")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("nasharness", appauthor=False))
