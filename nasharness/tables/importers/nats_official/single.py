"""Reading an archive that is one pickle of all records: NATS-Bench's single file, or NAS-Bench-201's ``.pth``.

The C reader remembers every string that it has met, for tss some 170 million, in case a later part refers to one: it
takes some 30 GB. Python's own reader is slower and shows what it remembers: what a finished record held is forgotten.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, Final

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.storage import reading
from nasharness.tables.importers.nats_official.records import ALLOWED, Block, is_done
from nasharness.tables.importers.nats_official.sources import meta_strings, space_of
from nasharness.tables.unpickle import Limited, guarded

#: key under which the records are kept
KEY: Final = "arch2infos"
#: records whose parts later ones may refer to: what is shared at all is shared from the start
REMEMBERED: Final = 8
_TORCH: Final = 0x1950A86A20F9469CFC6C
_Load = Callable[[Any], None]
_PLAIN: Final[dict[int, _Load]] = dict(pickle._Unpickler.dispatch)


def read_single(task: Mapping[str, Any], report: Callable[[str, str], None]) -> None:
    """Read the archive ``task["single"]`` of space ``task["space"]`` and write its shards.

    ``report("reads", name)`` is called after every record, ``report("shard", path)`` after every shard that is written,
    or there already. Raises DataError for what is damaged, hostile, or not what it says.
    """
    path, what = Path(task["single"]), str(task["single"])
    shards = _Shards(task, report)
    with reading(path), path.open("rb") as file:
        rest = guarded(lambda: RecordReader(_pickle_in(file, what), what, shards.take).load(), what)
    shards.finish()
    named = space_of(meta_strings(rest, what), f"{what}: meta_archs")
    if named != task["space"]:
        raise DataError(f"{what}: names of space {named!r}, records of {task['space']!r}")
    odd = [index for index, record in (rest.get(KEY) or {}).items() if record is not None]
    if odd:
        raise DataError(
            f"{what}: the record of architecture {odd[0]!r:.40} is no dict from training lengths to results"
        )


class RecordReader(Limited, pickle._Unpickler):
    """Builds the object in ``file`` with None in place of each record, which goes to ``take(index, record)``."""

    stack: list[Any]
    metastack: list[list[Any]]
    dispatch: ClassVar[dict[int, _Load]] = dict(_PLAIN)

    def __init__(self, file: IO[bytes], what: str, take: Callable[[int, object], None]) -> None:
        super().__init__(file)
        self.limit(ALLOWED, what)
        self.take = take
        self.memo: dict[int, object] = {}
        self.met = self.records = self.kept = 0

    def remember(self) -> None:
        """Number the object on top by how many were met, not by how many are still known."""
        self.memo[self.met] = self.stack[-1]
        self.met += 1

    def end_of_record(self) -> None:
        """Give away what was just filled, if it is a record, and forget its parts."""
        stack, above = self.stack, self.metastack[-1] if self.metastack else []
        # a dict's items are written in batches behind a mark, and a last single one without
        if stack[-4:-3] != [KEY] and not (above[-2:-1] == [KEY] and len(stack) % 2 == 0):
            return
        if type(stack[-2]) is not int:
            raise DataError("a record under a key that is no number")
        self.take(stack[-2], stack[-1])
        stack[-1] = None
        self.records += 1
        if self.records <= REMEMBERED:
            self.kept = len(self.memo)
        while len(self.memo) > self.kept:
            self.memo.popitem()

    dispatch[pickle.MEMOIZE[0]] = remember


def _recalling(load: _Load) -> _Load:
    def recall(reader: RecordReader) -> None:
        try:
            load(reader)
        except pickle.UnpicklingError:
            raise DataError(
                "damaged, or its records share objects in a way that this reader does not follow; "
                "import the folder of single records or its .tar instead"
            ) from None

    return recall


def _filling(load: _Load) -> _Load:
    def fill(reader: RecordReader) -> None:
        load(reader)
        reader.end_of_record()

    return fill


for _op in (pickle.GET, pickle.BINGET, pickle.LONG_BINGET):
    RecordReader.dispatch[_op[0]] = _recalling(_PLAIN[_op[0]])
for _op in (pickle.SETITEM, pickle.SETITEMS):
    RecordReader.dispatch[_op[0]] = _filling(_PLAIN[_op[0]])


class _Shards:
    """Gathers records into blocks and writes their shards; those of an earlier import are kept."""

    def __init__(self, task: Mapping[str, Any], report: Callable[[str, str], None]) -> None:
        self.task, self.report, self.size = task, report, int(task["size"])
        self.name = Path(task["single"]).name
        self.strings = spaces.get(task["space"]).strings()
        self.met: set[int] = set()
        self.hashes: dict[int, str] = {}

    def take(self, index: int, record: object) -> None:
        if index in self.met:
            raise DataError(f"a record of architecture {index} twice")
        if not 0 <= index < len(self.strings):
            space = self.task["space"]
            raise DataError(f"a record of architecture {index}; space {space!r} ends at {len(self.strings) - 1}")
        if not self.hashes:
            self.shard = Path(self.task["folder"]) / f"block-{len(self.met) // self.size:05d}"
            self.identity = f"{self.task['stamp']} {self.shard.name} {self.size}"
            self.block, self.done = Block(self.size), is_done(self.shard, self.identity)
        self.hashes[index] = "" if self.done else hashlib.sha256(pickle.dumps(record, protocol=4)).hexdigest()
        if not self.done:
            self.block.add(len(self.hashes) - 1, record, index, self.strings[index], f"architecture {index}")
        self.met.add(index)
        self.report("reads", f"{self.name}, the record after that of architecture {index}")
        if len(self.hashes) == self.size:
            self.finish()

    def finish(self) -> None:
        """Write the block that is being filled."""
        if not self.hashes:
            return
        if not self.done:
            self.block.write(self.shard, self.identity, self.hashes)
        self.hashes = {}
        self.report("shard", str(self.shard))


def _pickle_in(file: IO[bytes], what: str) -> IO[bytes]:
    """The pickle of all records in a ``.pickle.pbz2``, or in a file of ``torch.save``, a zip or of the older format."""
    head = file.read(4)
    file.seek(0)
    if head.startswith(b"BZh"):
        return io.BufferedReader(bz2.BZ2File(file))
    if head.startswith(b"PK"):
        archive = zipfile.ZipFile(file)
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise DataError(f"no file of torch.save: it holds {len(names)} data.pkl")
        return io.BufferedReader(archive.open(names[0]))  # type: ignore[type-var]
    heading = [RecordReader(file, what, _no_record).load() for _ in range(3)]  # magic number, version, machine
    if heading[0] != _TORCH:
        raise DataError("no file of torch.save")
    return file


def _no_record(index: int, record: object) -> None:
    raise DataError("no file of torch.save")
