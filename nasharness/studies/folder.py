"""The folder of a study, of a run or of one-shot runs: study.json, and shards that are whole or absent.

A shard is written under a hidden name, flushed to the disk and renamed. Only one process writes: the
one that was asked for the study, which holds a lock on the folder until it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nasharness.errors import DataError, UsageError
from nasharness.storage import atomically, folder_lock, sweep, write_json, writing
from nasharness.studies.cells import FORMAT
from nasharness.studies.shard import schema_like

#: What a cell of study.json holds, and the type of each; ``object`` is anything.
_CELL: dict[str, type] = {
    "id": str,
    "algorithm": str,
    "name": str,
    "kind": str,
    "clock": object,
    "settings": dict,
    "changed": dict,
    "needs": list,
    "space": str,
    "dataset": str,
    "table": dict,
    "protocol": dict,
    "optimum": object,
    "runs": int,
    "seed": int,
    "shard_runs": int,
    "shards": int,
}
_TABLE = ("source", "version", "checksum")
_PROTOCOL = ("signal", "final", "evaluations", "seconds", "repeats")


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
            self.shards.mkdir(parents=True, exist_ok=True)
            self._lock.enter_context(folder_lock(self.path, "a study"))
            for folder in (self.path, self.shards):
                sweep(folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Write study.json."""
        write_json(self.path / "study.json", meta)

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
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"no study in {path}: it has no study.json (nasharness study --algo ... --out {path} makes one)"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}; start the study again in another folder") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else type(meta).__name__
        raise DataError(f"{file}: format {found!r}, expected {FORMAT!r}")
    missing = [key for key in ("identity", "plan", "versions", "cells") if key not in meta]
    if missing:
        raise DataError(f"{file} lacks {', '.join(missing)}; start the study again in another folder")
    for key, kind in (("identity", str), ("plan", dict), ("versions", dict), ("cells", list)):
        if not isinstance(meta[key], kind):
            raise DataError(f"{file} is damaged: {key} is no {kind.__name__}; start the study again in another folder")
    for number, cell in enumerate(meta["cells"]):
        wrong = _wrong_keys(cell)
        if wrong:
            raise DataError(
                f"{file} is damaged: cell {number} lacks {', '.join(wrong)}, or holds something else there; "
                "start the study again in another folder"
            )
    return meta


def _wrong_keys(cell: Any) -> list[str]:
    """Keys that a cell of study.json lacks, or that hold a value of another type."""
    if not isinstance(cell, dict):
        return list(_CELL)
    wrong = [key for key, kind in _CELL.items() if key not in cell or not isinstance(cell[key], kind)]
    if "table" not in wrong:
        wrong += [f"table.{key}" for key in _TABLE if not isinstance(cell["table"].get(key), str)]
    if "protocol" not in wrong:
        wrong += [f"protocol.{key}" for key in _PROTOCOL if key not in cell["protocol"]]
    return wrong


def read_shard(path: Path) -> pa.Table:
    """Read all of a shard; a page that is not what was written raises OSError or pyarrow.ArrowException."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read()


def shard_note(table: pa.Table) -> dict[str, Any]:
    """What a shard says of itself: ``study``, ``shard`` and ``runs``; empty where it says nothing."""
    try:
        note = json.loads((table.schema.metadata or {})[b"nasharness"])
    except (KeyError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def is_whole(path: Path, study: str) -> bool:
    """Whether ``path`` is the shard of ``study`` that its name says, every byte of it readable."""
    try:
        table = read_shard(path)
    except (OSError, pa.ArrowException):
        return False
    note = shard_note(table)
    good = note.get("study") == study and note.get("shard") == path.stem
    return bool(good and table.schema.equals(schema_like(table.schema)))
