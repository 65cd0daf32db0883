"""Columns of CSV and Parquet files of strangers: bounded before they are decoded, in a process of its own."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage import regular
from nasharness.storage.contained import contained
from nasharness.storage.memory import check_memory

SUFFIXES = (".parquet", ".csv", ".csv.gz")
#: Bytes that a row takes while a table is made of it, as measured: the text of its architecture, cut into tokens, and
#: the value of a column.
_TEXT, _BYTES = 540, 40
#: What helps where memory does not suffice.
FEWER = "Import fewer columns, or a part of the rows"
#: Columns of the widest file, and how many times its size a compressed one may unpack to.
_WIDEST, _RATIO = 20_000, 200
#: Bytes up to which a plain CSV file can do no harm here.
_SMALL = 1 << 20
_HERE = __name__


def column_names(file: Path) -> list[str]:
    """Names of the columns of a CSV or Parquet file; none of a file of another kind."""
    if not file.name.lower().endswith(SUFFIXES):
        return []
    stat = _stat(file)
    return list(_about(file, stat.st_mtime_ns, stat.st_size)[0])


def memory_of(file: Path, columns: int) -> tuple[int, float]:
    """Rows of a file, and the bytes that making a table of so many of its columns takes; of text both are estimates."""
    stat = _stat(file)
    rows = _about(file, stat.st_mtime_ns, stat.st_size)[1]
    return rows, _needed(rows, columns)


@lru_cache(maxsize=64)
def _about(file: Path, stamp: int, size: int) -> tuple[tuple[str, ...], int]:
    """Names of the columns and number of rows, of text by the length of the first ones."""
    if file.suffix == ".parquet":
        names, rows = contained(f"{_HERE}:schema_here", str(file), size, str(file), fork=False)
        return tuple(names), rows
    header, _, lines = _beginning(file).partition(b"\n")
    names = header.decode("utf-8-sig", errors="replace").strip().split(",")
    if len(names) > _WIDEST:
        raise DataError(f"{file}: {len(names):,} columns; at most {_WIDEST:,} are read")
    rows = (size - len(header)) * lines.count(b"\n") // max(1, len(lines))
    return tuple(column.strip('"') for column in names), rows


def read_file(file: Path, wanted: Sequence[str], texts: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Columns ``wanted`` of one CSV or Parquet file, those in ``texts`` as strings where the file is text.

    Raises UsageError for a column that it lacks or for more rows than memory holds, DataError for a damaged file and
    for a column whose name occurs twice.
    """
    names = column_names(file)
    for column in wanted:
        if column not in names:
            raise unknown(f"column of {file.name}", column, names)
        if names.count(column) > 1:
            raise DataError(f"{file}: two columns are called {column!r}; rename one")
    return _read(file, list(dict.fromkeys(wanted)), list(texts))


def read_whole(file: Path) -> dict[str, NDArray[Any]]:
    """Every column. Raises as ``read_file``, and DataError for a name that occurs twice."""
    names = column_names(file)
    if len(set(names)) != len(names):
        raise DataError(f"{file}: a column name occurs twice")
    return _read(file, None, [])


def _read(file: Path, wanted: list[str] | None, texts: list[str]) -> dict[str, NDArray[Any]]:
    size = _stat(file).st_size
    if file.suffix == ".csv" and size <= _SMALL:
        return read_here(str(file), wanted, texts)
    found: dict[str, NDArray[Any]] = contained(
        f"{_HERE}:read_here", str(file), size, str(file), wanted, texts, fork=False
    )
    return found


def _stat(file: Path) -> os.stat_result:
    """Raises UsageError where there is no regular file of a kind that is read."""
    if not file.name.lower().endswith(SUFFIXES):
        raise UsageError(f"{file}: expected a file ending in {', '.join(SUFFIXES)}")
    try:
        with regular(file) as opened:
            return os.fstat(opened.fileno())
    except FileNotFoundError:
        raise UsageError(f"nothing at {file}; expected a file to import") from None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from None


def _beginning(file: Path) -> bytes:
    with regular(file) as opened:
        first = opened.read(1 << 16)
    if file.suffix == ".gz":
        try:
            first = zlib.decompressobj(31).decompress(first, 1 << 16)
        except zlib.error as error:
            raise DataError(f"{file}: damaged or no gz file: {error}") from None
    return first


# ---- in the process that reads


def schema_here(path: str) -> tuple[list[str], int]:
    """Names of the columns of a Parquet file, and its rows."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        about = parquet.read_metadata(path)
        return list(about.schema.to_arrow_schema().names), about.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(Path(path), error) from None


def read_here(path: str, wanted: list[str] | None, texts: list[str]) -> dict[str, Any]:
    """The columns ``wanted``, all for None."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    file = Path(path)
    try:
        if file.suffix == ".parquet":
            about = parquet.read_metadata(file)
            _check_memory(file, about.num_rows, len(wanted) if wanted is not None else about.num_columns)
            table = parquet.read_table(file, columns=wanted)
        else:
            content = file.read_bytes() if file.suffix != ".gz" else _unzipped(file)
            columns = len(wanted) if wanted is not None else content.partition(b"\n")[0].count(b",") + 1
            _check_memory(file, len(content) // 8, columns if wanted is not None else 1)
            options = csv.ConvertOptions(include_columns=wanted, column_types={name: pa.string() for name in texts})
            table = csv.read_csv(pa.BufferReader(content), convert_options=options)
        return {name: table.column(name).to_numpy() for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise _damaged(file, error) from None


def _unzipped(file: Path) -> bytes:
    """The bytes of a .gz file, bounded while they are unpacked. Raises DataError, ValueError or zlib's for damage."""
    most = _RATIO * file.stat().st_size + (1 << 20)
    pieces, room = [], most
    with file.open("rb") as opened:
        stream = zlib.decompressobj(31)
        rest = opened.read(1 << 20)
        while rest:
            try:
                piece = stream.decompress(rest, room + 1)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            pieces.append(piece)
            room -= len(piece)
            if room < 0:
                raise DataError(
                    f"{file}: refused: unpacks to more than {_RATIO} times its size, as no honest file does"
                )
            rest = stream.unconsumed_tail or (b"" if stream.eof else opened.read(1 << 20))
            if stream.eof:
                rest = stream.unused_data + (b"" if stream.unused_data else opened.read(1 << 20))
                stream = zlib.decompressobj(31)
                if not rest:
                    return b"".join(pieces)
    raise ValueError("it ends too early")


def _damaged(file: Path, error: Exception) -> DataError:
    first = (str(error).splitlines() or [""])[0][:200]
    return DataError(f"{file}: damaged or no {file.suffix[1:]} file: {first}")


def _needed(rows: int, columns: int) -> float:
    return rows * (_TEXT + columns * _BYTES)


def _check_memory(file: Path, rows: int, columns: int) -> None:
    """Refuse before reading what would not fit, saying how much it would take."""
    check_memory(f"{file}: {rows:,} rows", _needed(rows, columns), FEWER)
