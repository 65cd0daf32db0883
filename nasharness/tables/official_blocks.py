"""Cuts an archive into blocks of records, each a task for a reading process and a shard on disk."""

from __future__ import annotations

import bz2
import io
import itertools
import pickle
import queue
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from nasharness.errors import DataError
from nasharness.storage import reading
from nasharness.tables.official_records import Shard
from nasharness.tables.official_sources import SIZES, Archive, Member, identity, meta_strings, read_meta, space_of
from nasharness.tables.official_workers import Task
from nasharness.tables.pickle_split import Splitter
from nasharness.tables.unpickle import NUMPY_SCALARS, OLD_PROTOCOLS, ORDERED_DICT, loads

#: increased when a shard's content changes meaning, so that older ones are read again
SHARD_VERSION = 1
_CHUNK = 1 << 20
_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


class Blocks(Protocol):
    """What an import needs to know of an archive."""

    space: str
    total: int

    def check(self, partial: bool) -> None:
        """Raise DataError for what can be seen to be wrong before reading the records."""

    def tasks(self, folder: Path, size: int) -> Iterator[Task]:
        """Yield blocks of up to ``size`` records in index order, with shards in ``folder``."""

    def read(self, task: Task) -> None:
        """Take note that a task is done."""

    def check_end(self, partial: bool) -> None:
        """Raise DataError for what could be seen only after reading everything."""


def is_done(task: Task) -> bool:
    """Whether an earlier import left the shard of this very task."""
    try:
        return bool(Shard(task.shard).head["identity"] == task.identity)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def refuse_partial(path: Path, count: int, size: int, partial: bool, present: Mapping[int, object]) -> None:
    """Raise DataError where records are missing and that was not asked for, or where there is none at all."""
    beyond = [index for index in present if index >= size]
    if beyond:
        raise DataError(f"{path}: a record of architecture {min(beyond)}; the space ends at {size - 1}")
    if not count:
        raise DataError(f"{path} holds no record at all, expected {size:,} such as 000000.pickle.pbz2")
    if count < size and not partial:
        first = next(index for index in range(size) if index not in present)
        raise DataError(
            f"{path} is incomplete: {size - count:,} of {size:,} records are missing, the first is that of "
            f"architecture {first}; fetch the rest, or import what is there with --partial (partial=True)"
        )


class FileBlocks:
    """Blocks of an archive of single records: a folder, or the tar of it."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.strings = read_meta(archive)
        self.space = space_of(self.strings, f"{archive.path}: meta_archs")
        self.total = len(archive.records)

    def check(self, partial: bool) -> None:
        """Refuse missing records, and records beyond the space."""
        refuse_partial(self.archive.path, self.total, SIZES[self.space], partial, self.archive.records)

    def tasks(self, folder: Path, size: int) -> Iterator[Task]:
        """Blocks in index order."""
        indices = sorted(self.archive.records)
        for start in range(0, len(indices), size):
            members = [(i, self.strings[i], self.archive.records[i]) for i in indices[start : start + size]]
            key = f"{SHARD_VERSION}-{identity([member for _, _, member in members])}"
            yield Task(members, folder / f"block-{start // size:05d}", key)

    def read(self, task: Task) -> None:
        """Nothing to tidy up."""

    def check_end(self, partial: bool) -> None:
        """All was checked before."""


class SingleBlocks:
    """Blocks of an archive that is one pickle: NATS-Bench's single file, or NAS-Bench-201's ``.pth``.

    The pickle is cut while it is being unpacked; a block's records wait in a file of some 40 MB for their reader.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.seen: dict[int, None] = {}
        stat = archive.path.stat()
        self._stamp = f"{archive.path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        self._splitter = Splitter(_stream(archive), str(archive.path))
        records = iter(self._splitter)
        first = next(records, None)
        if first is None:
            self._meta()
            raise DataError(f"{archive.path} holds no record at all (arch2infos is empty)")
        self.space = _space_of_record(first[1], f"{archive.path}, architecture {first[0]}")
        self.total = SIZES[self.space]
        self._records = itertools.chain([first], records)

    def check(self, partial: bool) -> None:
        """Nothing is known before the end."""

    def tasks(self, folder: Path, size: int) -> Iterator[Task]:
        """Blocks in the order of the file, which is that of the index in every file known; sorted within a block."""
        from nasharness import spaces  # late: a space computes its strings when first asked

        strings = spaces.get(self.space).strings()
        for number in itertools.count():
            block = dict(itertools.islice(self._records, size))
            if not block:
                return
            for index in block:
                if index >= len(strings) or index in self.seen:
                    problem = "twice" if index in self.seen else f"; space {self.space!r} ends at {len(strings) - 1}"
                    raise DataError(f"{self.archive.path}: a record of architecture {index} {problem}")
                self.seen[index] = None
            path = folder / f"records-{number:05d}"
            members, offset = [], 0
            with path.open("wb") as file:
                for index in sorted(block):
                    name = f"{self.archive.path.name}, architecture {index}"
                    members.append(
                        (index, strings[index], Member(name, str(path), offset, len(block[index]), 0, False))
                    )
                    offset += file.write(block[index])
            indices = sorted(block)
            key = f"{SHARD_VERSION}-{self._stamp} {number} {size} {indices[0]} {indices[-1]}"
            task = Task(members, folder / f"block-{number:05d}", key)
            yield task
            if is_done(task):
                path.unlink(missing_ok=True)

    def read(self, task: Task) -> None:
        """Remove the records that waited."""
        Path(task.members[0][2].path).unlink(missing_ok=True)

    def check_end(self, partial: bool) -> None:
        """Check the list of names, and that no record is missing."""
        space = space_of(self._meta(), f"{self.archive.path}: meta_archs")
        if space != self.space:
            raise DataError(f"{self.archive.path}: names of space {space!r}, records of {self.space!r}")
        refuse_partial(self.archive.path, len(self.seen), SIZES[space], partial, self.seen)

    def _meta(self) -> Sequence[str]:
        what = str(self.archive.path)
        return meta_strings(
            loads(self._splitter.rest, {**ORDERED_DICT, **NUMPY_SCALARS, **OLD_PROTOCOLS}, what=what), what
        )


def _space_of_record(data: bytes, what: str) -> str:
    record = loads(data, {**ORDERED_DICT, **NUMPY_SCALARS, **OLD_PROTOCOLS}, what=what)
    results = next(iter(record.values()), None) if isinstance(record, dict) else None
    name = results.get("arch_str") if isinstance(results, dict) else None
    if not isinstance(name, str):
        raise DataError(f"{what}: no field arch_str; this is no record of NATS-Bench")
    return "tss" if name.startswith("|") else "sss"


def _stream(archive: Archive) -> Iterator[bytes]:
    """The archive's pickle in pieces, read and unpacked one step ahead in a thread of its own."""
    with reading(archive.path):
        file: IO[bytes] = archive.path.open("rb")
    pieces = _bz2_pieces(file, str(archive.path)) if archive.kind == "single" else _torch_pieces(file, archive.path)
    return _ahead(pieces)


def _bz2_pieces(file: IO[bytes], what: str) -> Iterator[bytes]:
    stream = bz2.BZ2Decompressor()
    empty = True
    try:
        while not stream.eof:
            packed = file.read(_CHUNK // 4) if stream.needs_input else b""
            if stream.needs_input and not packed:
                raise DataError(f"{what}: {'empty file' if empty else 'truncated'}; fetch it again")
            empty = False
            yield stream.decompress(packed, 4 * _CHUNK)
    except (OSError, ValueError) as error:
        raise DataError(f"{what}: damaged bz2 data ({error}); fetch it again") from None


def _torch_pieces(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """The pickle inside a file of ``torch.save``: in its zip format ``*/data.pkl``, else the fourth of several."""
    head = file.read(4096)
    file.seek(0)
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(file) as archive:
                name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                with archive.open(name) as inside:
                    yield from iter(lambda: inside.read(_CHUNK), b"")
        except (zipfile.BadZipFile, zlib.error, StopIteration, OSError, EOFError, ValueError, RuntimeError) as error:
            raise DataError(f"{path}: damaged zip file of torch ({error}); fetch it again") from None
        return
    if not head.startswith(_TORCH):
        raise DataError(f"{path} is no file of torch.save")
    start = len(_TORCH)
    for _ in range(2):  # the version of the protocol, and what machine wrote it
        start += _pickle_length(head[start:], path)
    file.seek(start)
    yield from iter(lambda: file.read(_CHUNK), b"")


def _pickle_length(data: bytes, path: Path) -> int:
    import pickletools

    try:
        for op, _, place in pickletools.genops(io.BytesIO(data)):
            if op.name == "STOP" and place is not None:
                return place + 1
    except ValueError:
        pass
    raise DataError(f"{path} is truncated, or no file of torch.save")


def _ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Produce ``pieces`` in a thread, at most three ahead."""
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(3)
    closed = threading.Event()

    def put(item: bytes | BaseException | None) -> bool:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for piece in pieces:
                if not put(piece):
                    return
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=produce, daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
