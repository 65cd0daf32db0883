"""One writer: locks that the operating system frees when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nasharness.errors import DataError, UsageError
from nasharness.storage.files import sweep, writing

try:
    import fcntl
except ImportError:  # not on Windows, where two writers at once are the user's to avoid
    fcntl = None  # type: ignore[assignment]

#: places this process holds, and how deep: an import holds its table's lock while it writes the table
_held: dict[Path, int] = {}


@contextlib.contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder, which is made. ``what``: what is written there, for the message. Re-entrant.

    Raises UsageError where another process holds it, OSError where the folder cannot be made or opened.
    """
    with _once(folder.absolute()) as first:
        descriptor = _locked(folder, what) if first else -1
        try:
            yield
        finally:
            if first:
                os.close(descriptor)


def _locked(folder: Path, what: str) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        if not _lock(descriptor):
            os.close(descriptor)
            raise UsageError(f"another process is writing {what} to {folder}; wait for it, or choose another --out")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        os.close(descriptor)  # its last holder took it away, empty, between our opening and our locking it


@contextlib.contextmanager
def claimed(out: Path | None, what: str) -> Iterator[None]:
    """Be the only process that writes to the folder ``out`` of a result, from looking at what it holds to the end.

    The folder is made, and taken away again where nothing was put into it; what a killed process was writing into it is
    removed. None: nothing is kept, and all is well.
    Raises UsageError where another process holds it, or it cannot be made.
    """
    if out is None:
        yield
        return
    made = [place for place in (out, *out.parents) if not place.exists()]
    with contextlib.ExitStack() as stack:
        with writing(f"{what} to {out}"):
            stack.enter_context(folder_lock(out, what))
            sweep(out)
        try:
            yield
        finally:
            for place in made:  # while it is ours: a folder that is taken away under another's lock is no lock
                with contextlib.suppress(OSError):  # it holds something now
                    place.rmdir()


@contextlib.contextmanager
def only_writer(destination: Path, what: str = "table") -> Iterator[None]:
    """Hold the lock of a table's folder, or of a file, which is replaced by renaming: a file beside it. Re-entrant.

    ``what``: what is written, for the message.

    Raises DataError where another process holds it, OSError where the folder above cannot be written.
    """
    destination = destination.absolute()
    with contextlib.ExitStack() as stack:
        if stack.enter_context(_once(destination)) and fcntl is not None:
            destination.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_lock_file(destination, what))
        yield


@contextlib.contextmanager
def _once(place: Path) -> Iterator[bool]:
    """Whether this process does not hold ``place`` yet; inside the block it does."""
    first = place not in _held
    _held[place] = _held.get(place, 0) + 1
    try:
        yield first
    finally:
        _held[place] -= 1
        if not _held[place]:
            del _held[place]


@contextlib.contextmanager
def _lock_file(destination: Path, what: str) -> Iterator[None]:
    path = destination.with_name(f".{destination.name}.lock")
    with _opened(path, destination, what):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # still locked, so that nobody else takes it for theirs


def _opened(path: Path, destination: Path, what: str) -> IO[str]:
    """Open and lock ``path``; closing the file frees the lock."""
    while True:
        file = path.open("w")
        if not _lock(file.fileno()):
            file.close()
            raise DataError(
                f"another process is writing {what} {destination.name!r} in {destination.parent}; wait until it ends"
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
