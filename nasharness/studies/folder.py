"""The folder of a study, of a run or of one-shot runs: study.json, and shards that are whole or absent.

A shard is written under a hidden name, flushed to the disk and renamed. Only one process writes: the
one that was asked for the study, which holds a lock on the folder until it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from nasharness.errors import DataError, UsageError
from nasharness.storage import atomically, folder_lock, regular, sweep, write_json, writing
from nasharness.storage.parquet import read_parquet
from nasharness.storage.sealed import read_sealed, seal
from nasharness.studies.cells import MOST_SHARDS, identity_of
from nasharness.studies.shard import intact, schema_like

_AGAIN = "start the study again in another folder, or go on with its plan: nasharness study PLAN --resume --out DIR"


class _Table(msgspec.Struct):
    source: str
    version: str
    checksum: str


class _Protocol(msgspec.Struct):
    signal: str | None
    final: str | None
    evaluations: int | None
    seconds: float | None
    repeats: str


class _Cell(msgspec.Struct):
    """A cell of study.json. ``id`` and ``shards`` name files."""

    id: Annotated[str, msgspec.Meta(pattern=r"^c[0-9]{3,6}$")]
    algorithm: str
    name: str
    kind: str
    clock: str | None
    settings: dict[str, Any]
    changed: dict[str, Any]
    needs: list[str]
    space: str
    dataset: str
    table: _Table
    protocol: _Protocol
    optimum: float | None
    runs: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    shard_runs: Annotated[int, msgspec.Meta(ge=1)]
    shards: Annotated[int, msgspec.Meta(ge=0, le=MOST_SHARDS)]


class _Meta(msgspec.Struct):
    """What study.json must hold."""

    format: Literal["nasharness-study/2"]
    identity: str
    plan: dict[str, Any]
    versions: dict[str, str]
    cells: list[_Cell]
    provenance: dict[str, Any] = {}


#: Files of other results, which a study must not join: each with what it is of.
_OTHERS = {
    "journal.jsonl": "a search whose candidates are trained",
    "run.json": "a full training",
    "retrained.json": "a full training",
    "result.json": "a training",
    "winner.json": "a winner",
}


def refuse_others(path: Path, *own: str) -> None:
    """Raise UsageError where the folder ``path`` holds a result of another kind; ``own``: files that may be there."""
    for name, what in {"study.json": "a study or a run", **_OTHERS}.items():
        if name not in own and (path / name).exists():
            raise UsageError(f"--out {path} holds {what} already ({name}), which would be lost; choose another --out")


class Folder:
    """The folder of one study, locked while it is open. Use it as a context manager."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.shards = self.path / "shards"
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> Folder:
        with writing(f"a study to {self.path}"):
            self._lock.enter_context(folder_lock(self.path, "a study"))
            self.shards.mkdir(exist_ok=True)
            for folder in (self.path, self.shards):
                sweep(folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Write study.json."""
        write_json(self.path / "study.json", seal(meta))

    def write(self, name: str, data: bytes) -> None:
        """Write a shard."""
        atomically(self.shards / f"{name}.parquet", data)

    def finished(self, names: Iterable[str], study: str) -> set[str]:
        """Shards of the study that are whole, read from end to end; what has the name of one and is not is removed."""
        there = {entry.name for entry in os.scandir(self.shards)}
        whole = set()
        for name in names:
            if f"{name}.parquet" not in there:
                continue
            path = self.shards / f"{name}.parquet"
            if is_whole(path, study):
                whole.add(name)
            else:
                path.unlink()
        return whole


def read_meta(path: Path) -> dict[str, Any]:
    """Read study.json of the folder ``path``. Raises DataError where it is absent, damaged or of another format."""
    file = path / "study.json"
    command = f"nasharness study --algo ... --out {shlex.quote(str(path))}"
    absent = DataError(f"no study in {path}: it has no study.json ({command} makes one)")
    meta = read_sealed(file, _Meta, _AGAIN, missing=absent)
    if identity_of(meta["versions"], meta["cells"]) != meta["identity"]:
        raise DataError(f"{file} is damaged: its cells are not those of its identity; {_AGAIN}")
    if sum(cell["shards"] for cell in meta["cells"]) > MOST_SHARDS:
        raise DataError(f"{file} is damaged: more than {MOST_SHARDS:,} shards; {_AGAIN}")
    return meta


def read_shard(path: Path) -> pa.Table:
    """Read all of a shard. Raises OSError or pyarrow.ArrowException where a byte of it is not what was written."""
    with regular(path) as file:
        data = file.read()
    if not intact(data):
        raise pa.ArrowInvalid("its content is not what was written")
    table: pa.Table = read_parquet(pa.BufferReader(data), verify=True)
    return table


def shard_note(table: pa.Table) -> dict[str, Any]:
    """What a shard says of itself: ``study``, ``shard`` and ``runs``; empty where it says nothing."""
    try:
        note = json.loads((table.schema.metadata or {})[b"nasharness"])
    except (KeyError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def is_whole(path: Path, study: str) -> bool:
    """Whether ``path`` is the shard of ``study`` that its name says, every byte of it readable."""
    try:
        table = read_shard(path)
    except (OSError, pa.ArrowException, UsageError):
        return False
    note = shard_note(table)
    good = note.get("study") == study and note.get("shard") == path.stem
    return bool(good and table.schema.equals(schema_like(table.schema)))
