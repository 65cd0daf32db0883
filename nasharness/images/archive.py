"""Takes named files out of a published ``.tar.gz`` in one pass, into memory; nothing is unpacked to disk."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Final

from nasharness.errors import DataError

#: bytes that an archive may unpack to; CIFAR's unpack to 186 MB
LIMIT: Final = 1 << 29


class _Bounded:
    """A stream that refuses to give more than ``LIMIT`` bytes."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self.file, self.what, self.left = file, what, LIMIT

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size if 0 <= size <= self.left else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.what}: unpacks to more than {LIMIT:,} bytes, which no archive read here does")
        return data


def read_members(path: Path, wanted: Collection[str], *, fix: str) -> dict[str, bytes]:
    """Return the content of the members ``wanted`` (names such as ``cifar-10-batches-py/test_batch``).

    ``fix``: the command that brings a good archive, for messages. Raises DataError for an archive that is damaged,
    lacks a member, holds links, devices or names that lead outside it, or unpacks to more than LIMIT bytes.
    """
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as file:
            stream = _Bounded(file, str(path))  # type: ignore[arg-type]
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    name = _name(member, path)
                    if name in wanted and member.isreg():
                        content = archive.extractfile(member)
                        data = b"" if content is None else content.read()
                        if len(data) != member.size:
                            raise DataError(f"{path}: {name} ends too early; fetch it again: {fix}")
                        found[name] = data
            while stream.read(1 << 20):  # to the end, where gzip's own checksum is compared
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OverflowError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged or no .tar.gz archive ({reason}); fetch it again: {fix}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    lacking = sorted(set(wanted) - set(found))
    if lacking:
        raise DataError(f"{path}: has no {lacking[0]}, which the published archive has; fetch it again: {fix}")
    return found


def _name(member: tarfile.TarInfo, path: Path) -> str:
    """The member's name. Raises DataError for what no published archive of images holds."""
    name = member.name.removeprefix("./")
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise DataError(f"{path}: refused: the archive holds {member.name!r}, a name that leads outside it")
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{path}: refused: {member.name!r} is a link or a device, expected plain files")
    if member.size > LIMIT:
        raise DataError(f"{path}: refused: {member.name!r} says it has {member.size:,} bytes")
    return name


def md5_of_file(path: Path) -> str:
    """MD5 of a file, as the publishers state it; it finds damage and guards against nothing else."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5(data: bytes) -> str:
    """MD5 of bytes; see ``md5_of_file``."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
