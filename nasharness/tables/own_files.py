"""A table of one's own from files: CSV or Parquet, and a short TOML card that says what the columns mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasharness.errors import UsageError, unknown
from nasharness.runs.job import Progress
from nasharness.storage import file_sha256
from nasharness.storage.memory import check_memory
from nasharness.storage.toml import Lines, read_toml
from nasharness.tables.columnar import FEWER, column_names, memory_of, read_file
from nasharness.tables.own import from_frame
from nasharness.tables.table import Table

#: Keys of a card; those of `from_frame`, and the files.
KEYS = (
    "files", "name", "arch", "metrics", "known", "cost", "minimise", "space", "ordered", "missing", "repeated",
    "signal", "final", "source", "licence", "citation",
)  # fmt: skip


#: Bytes of memory above which an import says beforehand what it takes.
_MUCH = 1 << 30


def import_own(
    paths: Sequence[str | os.PathLike[str]],
    *,
    force: bool = False,
    progress: Progress | None = None,
    **given: Any,
) -> Table:
    """Make a table of files with the same columns, one after the other; ``given``: the arguments of `from_frame`.

    ``progress``: told what memory a large import takes, before it begins.
    Raises UsageError for a file that cannot be read or is too large for this machine's memory, and as `from_frame`.
    """
    files = [Path(path).expanduser() for path in paths]
    missing = [key for key in ("name", "arch", "metrics") if not given.get(key)]
    if missing:
        raise UsageError(f"{missing[0]} is missing; {as_it_should_read(files, given)}")
    names = [given["arch"]] if isinstance(given["arch"], str) else list(given["arch"])
    known = given.get("known") or {}
    wanted = [*names, *given["metrics"], *known, *([given["cost"]] if given.get("cost") else [])]
    sizes = [memory_of(file, len(set(wanted))) for file in files]
    rows, needed = sum(size[0] for size in sizes), sum(size[1] for size in sizes)
    check_memory(f"{', '.join(map(str, files))}: {rows:,} rows", needed, FEWER)
    if progress is not None and needed > _MUCH:
        line = f"about {rows:,} rows: making a table of them takes about {needed / 2**30:.1f} GiB of memory"
        progress(0, 0, line=line)
    parts = [read_file(file, wanted, names) for file in files]
    frame = {column: np.concatenate([part[column] for part in parts]) for column in dict.fromkeys(wanted)}
    digests = {file.name: file_sha256(file) for file in files}
    return from_frame(
        frame, force=force, provenance={"files": digests}, **({"source": ", ".join(digests)} | given)
    )  # fmt: skip


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a card: the arguments of `from_frame`, and ``files``, paths relative to the card.

    Raises UsageError with the line of an unknown key or a value of the wrong kind.
    """
    lines, given = read_toml(path, "card")
    kinds: dict[str, tuple[type, ...]] = {"metrics": (dict,), "known": (dict, list), "ordered": (bool,)}
    kinds |= {"files": (str, list), "arch": (str, list), "minimise": (list,)}
    for key, value in given.items():
        with lines.at(key):
            if key not in KEYS:
                raise unknown("key of a card", key, KEYS)
            if not isinstance(value, kinds.get(key, (str,))):
                names = " or ".join(kind.__name__ for kind in kinds.get(key, (str,)))
                raise UsageError(f"{key} = {value!r}: expected a {names}")
    for key in ("metrics", "known"):
        _texts(given.get(key, {}), key, lines)
    files = given.get("files", [])
    folder = Path(path).expanduser().parent
    given["files"] = [folder / file for file in ([files] if isinstance(files, str) else files)]
    return given


def _texts(table: Any, section: str, lines: Lines) -> None:
    pairs = table.items() if isinstance(table, Mapping) else enumerate(table)
    for key, value in pairs:
        with lines.at(str(key), section=section):
            if not isinstance(value, str):
                raise UsageError(f'{key} = {value!r}: expected a text in quotes, as in {key} = "acc:0"')


def as_it_should_read(files: Sequence[Path], given: Mapping[str, Any]) -> str:
    """The command with what is known filled in, from the columns of the first file."""
    columns = column_names(files[0]) if files else []
    texts = [
        name for name in columns if any(word in name.lower() for word in ("arch", "code", "string", "cell", "config"))
    ]
    rest = [name for name in columns if name not in texts and name.lower() not in ("index", "hash")]
    arch = given.get("arch") or (texts or columns or ["COLUMN"])[0]
    first = next((name for name in rest if any(word in name.lower() for word in ("acc", "val", "test", "score"))), None)
    metric = first or (rest or ["COLUMN"])[0]
    table = given.get("name") or "NAME"
    return (
        f"say which column holds the architectures and which a measurement: nasharness data import {files[0]} --name "
        f"{table} --arch {arch if isinstance(arch, str) else ','.join(arch)} --metric {metric}=acc "
        f"(columns: {', '.join(columns)[:400]})"
    )
