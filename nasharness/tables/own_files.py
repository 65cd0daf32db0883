"""A table of one's own from files: CSV or Parquet, and a short TOML card that says what the columns mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage import file_sha256
from nasharness.storage.memory import check_memory
from nasharness.storage.toml import Lines, read_toml
from nasharness.tables.own import from_frame
from nasharness.tables.table import Table

SUFFIXES = (".parquet", ".csv", ".csv.gz")
#: Keys of a card; those of `from_frame`, and the files.
KEYS = (
    "files", "name", "arch", "metrics", "known", "cost", "minimise", "space", "ordered", "missing", "repeated",
    "signal", "final", "source", "licence", "citation",
)  # fmt: skip
#: Bytes that a row takes while a table is made of it, as measured: the text of its architecture, cut into tokens, and
#: the value of a column.
_TEXT, _BYTES = 300, 40


def import_own(paths: Sequence[str | os.PathLike[str]], *, force: bool = False, **given: Any) -> Table:
    """Make a table of files with the same columns, one after the other; ``given``: the arguments of `from_frame`.

    Raises UsageError for a file that cannot be read or is too large for this machine's memory, and as `from_frame`.
    """
    files = [Path(path).expanduser() for path in paths]
    missing = [key for key in ("name", "arch", "metrics") if not given.get(key)]
    if missing:
        raise UsageError(f"{missing[0]} is missing; {as_it_should_read(files, given)}")
    names = [given["arch"]] if isinstance(given["arch"], str) else list(given["arch"])
    known = given.get("known") or {}
    wanted = [*names, *given["metrics"], *known, *([given["cost"]] if given.get("cost") else [])]
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


def column_names(file: Path) -> list[str]:
    """Names of the columns of a CSV or Parquet file; none of a file of another kind."""
    from pyarrow import parquet

    if not file.name.lower().endswith(SUFFIXES):
        return []
    with _opened(file):
        if file.suffix == ".parquet":
            names: list[str] = list(parquet.read_schema(file).names)
            return names
        return [column.strip('"') for column in _header(file)]


def _header(file: Path) -> list[str]:
    import pyarrow as pa

    with pa.input_stream(str(file), compression="gzip" if file.suffix == ".gz" else None) as stream:
        first = stream.read(1 << 16).split(b"\n", 1)[0]
    names: list[str] = first.decode("utf-8-sig", errors="replace").strip().split(",")
    return names


class _opened:  # noqa: N801 - reads like a function
    """Turn whatever goes wrong in reading a file into one line about it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.name.lower().endswith(SUFFIXES):
            raise UsageError(f"{file}: expected a file ending in {', '.join(SUFFIXES)}")
        if not file.is_file():
            raise UsageError(f"nothing at {file}; expected a file to import")

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        import pyarrow as pa

        if isinstance(error, (pa.ArrowException, OSError, ValueError)) and not isinstance(error, UsageError):
            first = (str(error).splitlines() or [""])[0][:200]
            raise DataError(f"{self.file}: damaged or no {self.file.suffix[1:]} file: {first}") from None


def read_file(file: Path, wanted: Sequence[str], texts: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Columns ``wanted`` of one CSV or Parquet file, those in ``texts`` as strings where the file is text.

    Raises UsageError for a column that it lacks or for more rows than memory holds, DataError for a damaged file.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    names = column_names(file)
    for column in wanted:
        if column not in names:
            raise unknown(f"column of {file.name}", column, names)
    with _opened(file):
        if file.suffix == ".parquet":
            rows = parquet.read_metadata(file).num_rows
            _check_memory(file, rows, len(wanted))
            table = parquet.read_table(file, columns=list(dict.fromkeys(wanted)))
        else:
            _check_memory(file, file.stat().st_size // 8, len(wanted))
            options = csv.ConvertOptions(
                include_columns=list(dict.fromkeys(wanted)), column_types={name: pa.string() for name in texts}
            )
            with pa.input_stream(str(file), compression="gzip" if file.suffix == ".gz" else None) as stream:
                table = csv.read_csv(stream, convert_options=options)
        return {column: table.column(column).to_numpy() for column in dict.fromkeys(wanted)}


def _check_memory(file: Path, rows: int, columns: int) -> None:
    """Refuse before reading what would not fit, saying how much it would take."""
    needed = rows * (_TEXT + columns * _BYTES)
    check_memory(f"{file}: {rows:,} rows", needed, "Import fewer columns, or a part of the rows")
