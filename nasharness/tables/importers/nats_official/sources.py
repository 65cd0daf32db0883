"""Where the records of a NATS-Bench archive lie: a folder of small files, the same files inside a tar, or one pickle.

Nothing is unpacked to disk: a record is a range of bytes of some file, whether that file is the record or a tar.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nasharness.errors import DataError, UsageError
from nasharness.storage import reading, regular
from nasharness.storage.contained import contained
from nasharness.tables.unpickle import LIMIT, bunzip2, loads

_RECORD = re.compile(r"(\d{1,6})\.pickle\.pbz2")
_META = "meta.pickle.pbz2"
SIZES = {"tss": 15625, "sss": 32768}
#: how the names of single files begin
NAMES = {"NATS-tss": "tss", "NATS-sss": "sss", "NAS-Bench-201": "tss"}
EXPECTED = "the folder NATS-tss-v1_0-3ffb9-simple or NATS-sss-v1_0-50262-simple, or its .tar"


@dataclass(frozen=True)
class Member:
    """One record as ``size`` bytes of ``path`` from ``offset`` on, bz2 data; ``stamp`` tells when they changed."""

    name: str
    path: str
    offset: int
    size: int
    stamp: int

    def read(self) -> bytes:
        """Return the bytes. Raises DataError where they cannot be read, or are fewer than they were."""
        if self.size > LIMIT:
            raise DataError(f"{self.path}: {self.name} has {self.size:,} bytes, which no record has")
        with reading(f"{self.name} of {self.path}"), regular(Path(self.path)) as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise DataError(f"{self.path}: {self.name} is truncated; fetch the archive again")
        return data


@dataclass(frozen=True)
class Archive:
    """An archive found: its name (``NATS-tss-v1_0-3ffb9``), kind, and the place of meta and of each record.

    Of kinds ``single`` and ``pth``, which are one pickle, nothing is known before it is read.
    """

    path: Path
    name: str
    kind: str
    meta: Member | None
    records: dict[int, Member]


def find_archive(path: Path) -> Archive:
    """Look at ``path`` and say what archive it is. Raises DataError or UsageError with what was expected instead."""
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise UsageError(f"no such archive: {path}; expected {EXPECTED}")
    if _RECORD.fullmatch(path.name) or path.name == _META:
        raise UsageError(f"{path} is one file of an archive; import the folder {path.parent}")
    if path.name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        raise UsageError(f"{path}: a compressed tar cannot be read in parts; decompress it to a .tar first")
    if path.name.endswith(".pickle.pbz2"):
        return Archive(path, path.name.removesuffix(".pickle.pbz2"), "single", None, {})
    if path.name.endswith(".pth"):
        return Archive(path, path.name.removesuffix(".pth"), "pth", None, {})
    if tarfile.is_tarfile(path):
        return _tar(path)
    raise UsageError(f"{path} is no NATS-Bench archive; expected {EXPECTED}, the single .pickle.pbz2, or a .pth")


def _archive(path: Path, kind: str, name: str, members: Sequence[Member]) -> Archive:
    meta = None
    records: dict[int, Member] = {}
    for member in members:
        match = _RECORD.fullmatch(member.name)
        if member.name == _META:
            meta = member
        elif match:
            index = int(match[1])
            if index in records:
                raise DataError(f"{path}: architecture {index} has two files, {records[index].name} and {member.name}")
            records[index] = member
    if meta is None:
        inside = [p.name for p in sorted(path.iterdir()) if (p / _META).is_file()] if path.is_dir() else []
        hint = f"; did you mean {path / inside[0]}?" if inside else f"; expected {EXPECTED}"
        raise DataError(f"{path} is no NATS-Bench archive: it holds no {_META}{hint}")
    return Archive(path, re.sub(r"-(simple|full)$", "", name), kind, meta, records)


def _folder(path: Path) -> Archive:
    members = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(".pickle.pbz2") and entry.is_file():
                stat = entry.stat()
                members.append(Member(entry.name, entry.path, 0, stat.st_size, stat.st_mtime_ns))
    return _archive(path, "folder", path.resolve().name, members)


def _tar(path: Path) -> Archive:
    members = []
    stamp = path.stat().st_mtime_ns
    try:
        # Headers alone are read. Members are found by their last name only and never written anywhere, so a path that
        # climbs out of the archive has nothing to climb into; such members are left out all the same.
        with tarfile.open(path, "r:") as tar:
            for item in tar:
                parts = Path(item.name).parts
                if item.isreg() and not item.issparse() and ".." not in parts and not Path(item.name).is_absolute():
                    members.append(Member(parts[-1] if parts else "", str(path), item.offset_data, item.size, stamp))
                tar.members = []  # type: ignore[attr-defined]  # else every header is kept
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged tar ({error}); fetch it again") from None
    return _archive(path, "tar", path.name.removesuffix(".tar"), members)


def read_meta(archive: Archive) -> list[str]:
    """Return the published strings in index order, from the archive's meta file. Raises DataError if it is no meta."""
    assert archive.meta is not None  # noqa: S101 - for the type checker; find_archive made sure
    what = f"{archive.path}: {_META}"
    data = archive.meta.read()
    found: list[str] = contained(f"{__name__}:meta_here", what, len(data), data, what)
    return found


def meta_here(data: bytes, what: str) -> list[str]:
    """The strings in a meta file, in the process that reads."""
    return meta_strings(loads(bunzip2(data, what=what), what=what), what)


def meta_strings(meta: object, what: str) -> list[str]:
    """Return ``meta_archs`` of an archive's meta dict after checking that it is one."""
    if not isinstance(meta, dict) or not isinstance(meta.get("meta_archs"), list):
        raise DataError(f"{what} has no list meta_archs; it is no NATS-Bench meta file")
    strings: list[Any] = meta["meta_archs"]
    if not strings or not all(isinstance(item, str) for item in strings):
        raise DataError(f"{what}: meta_archs should be a list of strings")
    return strings


def space_of(strings: Sequence[str], what: str) -> str:
    """Say which space ``strings`` belong to, and check that they are all of it in the order of the index.

    Raises DataError naming the first string that differs.
    """
    from nasharness import spaces  # late: a space computes its strings when first asked

    space = "tss" if strings[0].startswith("|") else "sss"
    own = spaces.get(space).strings()
    if len(strings) != len(own):
        raise DataError(f"{what} lists {len(strings):,} architectures; space {space!r} has {len(own):,}")
    for index, (theirs, ours) in enumerate(zip(strings, own, strict=True)):
        if theirs != ours:
            raise DataError(f"{what}: architecture {index} is {theirs[:80]!r}, expected {ours!r}: the order is another")
    return space


def space_in(archive: Archive, asked: str | None) -> tuple[str, list[str]]:
    """The space of an archive, and the published strings in index order, none where they are known only after reading.

    Raises UsageError for an archive of another space than the one ``asked`` for, or that says nothing of its space.
    """
    strings = [] if archive.meta is None else read_meta(archive)
    if strings:
        space: str | None = space_of(strings, f"{archive.path}: meta_archs")
    else:
        space = next((space for name, space in NAMES.items() if archive.name.startswith(name)), asked)
    if space is None:
        raise UsageError(f"{archive.path}: the name does not say of which space it is; add --space tss or --space sss")
    if asked not in (None, space):
        raise UsageError(f"{archive.path} is an archive of space {space!r}, not of {asked!r}")
    return space, strings


def tasks(archive: Archive, space: str, strings: Sequence[str], folder: Path, size: int) -> Iterator[dict[str, Any]]:
    """What reading processes are to do: blocks of ``size`` records in index order, or all of a single file."""
    if archive.meta is None:
        stat = archive.path.stat()
        stamp = f"{archive.path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        yield {"single": str(archive.path), "space": space, "folder": str(folder), "size": size, "stamp": stamp}
        return
    indices = sorted(archive.records)
    for number, start in enumerate(range(0, len(indices), size)):
        members = [(i, strings[i], archive.records[i]) for i in indices[start : start + size]]
        yield {
            "members": [(index, arch, asdict(member)) for index, arch, member in members],
            "shard": str(folder / f"block-{number:05d}"),
            "identity": _identity([member for _, _, member in members]),
        }


def _identity(members: Sequence[Member]) -> str:
    """Hash of the names, places, sizes and times of change of some members: what a shard made of them is keyed by."""
    digest = hashlib.sha256()
    for m in members:
        digest.update(f"{m.name}\0{os.path.abspath(m.path)}\0{m.offset}\0{m.size}\0{m.stamp}\n".encode())
    return digest.hexdigest()
