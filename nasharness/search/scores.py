"""Files of scores: a row an architecture, a column a proxy. What `validate --scores` judges and searches start from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage import regular
from nasharness.storage.parquet import read_parquet

Floats = NDArray[np.float64]
#: how columns of files that cover several data sets begin
PREFIX = {"cifar10": "cifar10_", "cifar100": "cifar100_", "ImageNet16-120": "in16_"}


def read_scores(
    path: str | os.PathLike[str], size: int, dataset: str, columns: Sequence[str] = ()
) -> tuple[NDArray[np.int64], dict[str, Floats], list[str]]:
    """Read column ``index`` and score columns of a CSV or Parquet file: indices, scores by name, names left out.

    A column ``dataset`` chooses rows; columns named for another data set (``cifar100_...``) and times (``..._time_s``)
    are left out unless asked for. Raises UsageError and DataError.
    """
    file = Path(path)
    table = _read(file)
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{file}: several columns are called {', '.join(map(repr, twice))[:200]}; each needs its own name"
        )
    if "index" not in names:
        raise DataError(f"{file}: it has no column 'index' (the architecture's index); it has {', '.join(names)[:200]}")
    if "dataset" in names:
        import pyarrow.compute as pc

        held = pc.unique(table["dataset"]).to_pylist()
        wanted = [name for name in held if _dataset_name(name) == dataset]
        if not wanted:
            raise DataError(f"{file}: no rows of {dataset}; its data sets: {', '.join(map(str, held))}")
        table = table.filter(pc.equal(table["dataset"], wanted[0]))
    index = _index(table["index"], size, file)
    numeric = {
        name: _floats(table[name])
        for name in names
        if name not in ("index", "dataset", "arch") and _is_number(table.schema.field(name).type)
    }
    for name in columns:
        if name not in numeric:
            kind = f"{file}: score column" + (" (it is not a number)" if name in names else "")
            raise unknown(kind, name, numeric)
    others = [prefix for key, prefix in PREFIX.items() if key != dataset]
    chosen = list(columns) or [
        name for name in numeric if not name.endswith("_time_s") and not any(name.startswith(p) for p in others)
    ]
    if not chosen:
        raise DataError(f"{file}: no score column beside 'index'; it has {', '.join(names)[:200]}")
    return index, {name: numeric[name] for name in chosen}, [name for name in numeric if name not in chosen]


def _dataset_name(name: Any) -> str:
    plain_name = str(name).lower().replace("-", "").replace("_", "")
    return {"cifar10": "cifar10", "cifar100": "cifar100"}.get(
        plain_name, "ImageNet16-120" if plain_name in ("in16", "imagenet16120", "imagenet") else str(name)
    )


def _read(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.csv

    try:
        if file.suffix == ".csv" or file.name.endswith(".csv.gz"):
            convert = pyarrow.csv.ConvertOptions(null_values=["", "nan", "NaN", "NA", "null", "None"])
            with regular(file) as opened:
                source = pa.CompressedInputStream(opened, "gzip") if file.suffix == ".gz" else opened
                return pyarrow.csv.read_csv(source, convert_options=convert)
        if file.suffix in (".parquet", ".pq"):
            return read_parquet(file)
    except FileNotFoundError:
        raise UsageError(f"no file {file}") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file}: {str(error).splitlines()[0]}") from error
    raise UsageError(f"{file}: expected a file that ends in .csv or .parquet")


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _floats(column: Any) -> Floats:
    import pyarrow as pa

    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _index(column: Any, size: int, file: Path) -> NDArray[np.int64]:
    if not _is_number(column.type):
        raise DataError(f"{file}: column 'index' is {column.type}; expected whole numbers, 0 to {size - 1}")
    values = _floats(column)
    bad = ~(np.isfinite(values) & (values == np.floor(values)) & (values >= 0) & (values < size))
    if not len(values):
        raise DataError(f"{file}: it has no rows")
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f"{file}: row {row}: index {values[row]:g}; expected a whole number, 0 to {size - 1}")
    index = values.astype(np.int64)
    unique, counts = np.unique(index, return_counts=True)
    if len(unique) < len(index):
        raise DataError(f"{file}: index {unique[counts > 1][0]} occurs {counts.max()} times; expected one row each")
    return index
