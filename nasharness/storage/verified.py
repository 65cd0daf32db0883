"""Comparing a column with its recorded SHA-256 where it is used; large ones that have not changed since are trusted."""

from __future__ import annotations

import contextlib
import json
import os
import time
from functools import lru_cache
from pathlib import Path

from nasharness.errors import DataError, UsageError
from nasharness.storage import file_sha256, reason, regular, write_json
from nasharness.storage.places import data_dir

#: bytes up to which a column is always read and compared: a few milliseconds
ALWAYS = 1 << 22
#: seconds since a file's last change within which another change could leave its times as they are
SETTLED = 2.0
#: columns that are remembered
MOST = 10_000


def verify(path: Path, sha256: str, again: str, *, trust: bool = True) -> None:
    """Raise DataError, which ends in ``again``, where the file ``path`` is absent or has another SHA-256.

    ``trust``: take a large file that was compared before for good while its inode, size and times are the same.
    """
    try:
        with regular(path) as file:
            stat = os.fstat(file.fileno())
        stamp = f"{stat.st_dev} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {sha256}"
        key = os.path.abspath(path)
        if trust and stat.st_size > ALWAYS and _known().get(key) == stamp:
            return
        found = file_sha256(path)
    except UsageError as error:
        raise DataError(f"{error}; {again}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}; {again}") from error
    if found != sha256:
        raise DataError(f"{path} is damaged: its SHA-256 differs from table.json; {again}")
    if stat.st_size > ALWAYS and time.time() - stat.st_ctime > SETTLED:
        _remember(key, stamp)


@lru_cache(maxsize=1)
def _known() -> dict[str, str]:
    """What was compared before: path -> stamp. A file that cannot be read counts for nothing."""
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
        return {str(key): str(stamp) for key, stamp in found.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _remember(key: str, stamp: str) -> None:
    _known.cache_clear()  # another process may have added to it
    known = _known()
    known.pop(key, None)
    known[key] = stamp
    with contextlib.suppress(OSError):  # no place to remember it: it is compared again next time
        write_json(_file(), dict(list(known.items())[-MOST:]))


def _file() -> Path:
    return data_dir() / "verified.json"
