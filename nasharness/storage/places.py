"""Where data live."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from nasharness.errors import UsageError


def data_dir() -> Path:
    """The folder that holds downloaded and imported data: ``$NASHARNESS_DATA``, else the user's data folder."""
    chosen = os.environ.get("NASHARNESS_DATA")
    place = Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("nasharness", appauthor=False))
    if place.parts[:1] == ("~",):
        raise UsageError("there is no home folder to keep data in: set HOME, or NASHARNESS_DATA to a folder")
    return place
