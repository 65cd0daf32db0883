"""Writing files whole or not at all, and saying in one line why a file could not be written or read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nasharness.errors import DataError, NasharnessError, UsageError

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|-")


def atomically(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside ``path``, flush it to the disk, rename it; its folder is made.

    A reader sees the whole file or none; a full disk or a killed process leaves what was there. ``content``: bytes,
    text (UTF-8, line ends as they are), or what writes the file of the name it is given. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sweep(folder: Path) -> None:
    """Remove what a killed ``atomically`` left in ``folder``; only the one process that writes there may call it."""
    for left in folder.glob(".*.partial"):
        left.unlink(missing_ok=True)


def append(path: Path, text: str) -> None:
    """Append ``text`` and flush it to the disk. On OSError, which is raised, nothing of it stays behind."""
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        if path.exists():
            os.truncate(path, size)
        raise


def regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading. Raises UsageError for a pipe, a device or a folder, which could block or never
    end, and OSError where it cannot be opened.
    """
    # without blocking: a pipe that nobody writes to would hold this process
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} is no regular file (a folder, a pipe or a device)")
    return os.fdopen(descriptor, "rb")


def allocate(descriptor: int, size: int) -> None:
    """Reserve ``size`` bytes of the disk for an open file, so that a full disk is an error now and no crash later.

    Raises OSError where there is no room; does nothing where the platform or the file system cannot reserve.
    """
    if not hasattr(os, "posix_fallocate") or size <= 0:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV):
            raise


def as_cell(value: Any) -> Any:
    """A text as a cell of CSV that no spreadsheet runs: one that begins like a formula gets an apostrophe in front."""
    formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def as_json(value: Mapping[str, Any]) -> str:
    """Plain values as JSON that a person can read."""
    return json.dumps(value, indent=1) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values as JSON, whole or not at all. Raises OSError."""
    atomically(path, as_json(value))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def writing(
    what: object, advice: str = "choose another --out", error: type[NasharnessError] = UsageError
) -> Iterator[None]:
    """Raise ``error``, ``cannot write WHAT: reason; ADVICE``, for an OSError inside the block."""
    try:
        yield
    except OSError as problem:
        raise error(f"cannot write {what}: {reason(problem)}" + (f"; {advice}" if advice else "")) from problem


@contextlib.contextmanager
def reading(what: object, error: type[NasharnessError] = DataError) -> Iterator[None]:
    """Raise ``error``, ``cannot read WHAT: reason``, for an OSError inside the block."""
    try:
        yield
    except OSError as problem:
        raise error(f"cannot read {what}: {reason(problem)}") from problem


def reason(error: OSError) -> str:
    """Why the system refused, without its number and the file's name."""
    return error.strerror or str(error)


def sync(path: Path) -> None:
    """Make what was written to a file, or renamed in a folder, survive power loss, where the platform can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # a file system that does not flush folders
            raise
    finally:
        os.close(descriptor)
