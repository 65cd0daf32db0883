"""One writer a table: a lock beside its folder, held by whoever imports or fetches it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nasharness.errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows, where two imports at once are the user's to avoid
    fcntl = None  # type: ignore[assignment]

#: locks this process holds, and how deep: an import holds its table's lock while it writes the table
_held: dict[Path, int] = {}


@contextlib.contextmanager
def only_writer(destination: Path) -> Iterator[None]:
    """Hold the lock of the table in folder ``destination``; the operating system frees it when a process dies.

    Raises DataError where another process holds it, OSError where the folder above cannot be written.
    """
    destination = destination.absolute()
    if fcntl is None or destination in _held:
        _held[destination] = _held.get(destination, 0) + 1
        try:
            yield
        finally:
            _held[destination] -= 1
            if not _held[destination]:
                del _held[destination]
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    path = destination.with_name(f".{destination.name}.lock")
    with _locked(path, destination):
        _held[destination] = 1
        try:
            yield
        finally:
            del _held[destination]
            path.unlink(missing_ok=True)  # still locked, so that nobody else takes it for theirs


def _locked(path: Path, destination: Path) -> IO[str]:
    """Open and lock ``path``; closing the file frees the lock."""
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise DataError(
                f"another process is writing table {destination.name!r} in {destination.parent}; wait until it ends"
            ) from None
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()  # its last holder removed it between our opening and our locking it: take the new one
