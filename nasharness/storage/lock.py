"""One writer: locks that the operating system frees when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nasharness.errors import DataError, UsageError

try:
    import fcntl
except ImportError:  # not on Windows, where two writers at once are the user's to avoid
    fcntl = None  # type: ignore[assignment]

#: places this process holds, and how deep: an import holds its table's lock while it writes the table
_held: dict[Path, int] = {}


@contextlib.contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder that stays where it is. ``what``: what is written there, for the message.

    Raises UsageError where another process holds it, OSError where the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(descriptor):
            raise UsageError(f"another process is writing {what} to {folder}; wait for it, or choose another --out")
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_writer(destination: Path) -> Iterator[None]:
    """Hold the lock of a table's folder, which is replaced by renaming: the lock is a file beside it. Re-entrant.

    Raises DataError where another process holds it, OSError where the folder above cannot be written.
    """
    destination = destination.absolute()
    with contextlib.ExitStack() as stack:
        if destination not in _held and fcntl is not None:
            destination.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_lock_file(destination))
        _held[destination] = _held.get(destination, 0) + 1
        try:
            yield
        finally:
            _held[destination] -= 1
            if not _held[destination]:
                del _held[destination]


@contextlib.contextmanager
def _lock_file(destination: Path) -> Iterator[None]:
    path = destination.with_name(f".{destination.name}.lock")
    with _opened(path, destination):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # still locked, so that nobody else takes it for theirs


def _opened(path: Path, destination: Path) -> IO[str]:
    """Open and lock ``path``; closing the file frees the lock."""
    while True:
        file = path.open("w")
        if not _lock(file.fileno()):
            file.close()
            raise DataError(
                f"another process is writing table {destination.name!r} in {destination.parent}; wait until it ends"
            )
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()  # its last holder removed it between our opening and our locking it: take the new one


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder; False where another process has. Where there are no locks, all is well."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
