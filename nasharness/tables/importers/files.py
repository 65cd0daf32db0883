"""What importers share: columns of a file of any kind, JSON of one entry an architecture, and checks of columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import DataError, UsageError
from nasharness.spaces.base import Space
from nasharness.tables.columnar import SUFFIXES, column_names

#: bytes of the largest JSON that is read
LARGEST = 1 << 26
#: in place of columns, what a file of records of TensorFlow is known by
TFRECORD = "tfrecord"


def columns_of(file: Path) -> set[str]:
    """Names of the columns of a CSV, Parquet or JSON file; of a JSON file those of its first entry; else none."""
    lower = file.name.lower()
    if lower.endswith(TFRECORD):
        return {TFRECORD}
    if lower.endswith(".json"):
        first: Any = next(iter(_entries(file).values()), {})
        return set(first) if isinstance(first, dict) else set()
    return set(column_names(file)) if lower.endswith(SUFFIXES) else set()


def _entries(file: Path) -> dict[str, Any]:
    if file.stat().st_size > LARGEST:
        raise UsageError(f"{file}: {file.stat().st_size:,} bytes of JSON; at most {LARGEST:,} are read")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            raise DataError(f"{file}: {next(key for key in keys if keys.count(key) > 1)!r} occurs more than once")
        return found

    try:
        entries = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: damaged or no JSON: {str(error)[:200]}") from None
    if not isinstance(entries, dict):
        raise DataError(f"{file}: expected one entry an architecture, found a {type(entries).__name__}")
    return entries


def read_entries(file: Path, trials: str, numbers: Sequence[str], count: int) -> dict[str, NDArray[Any]]:
    """Columns of a JSON file of one entry an architecture: ``arch``, ``trials0``, ``trials1``, ..., and ``numbers``.

    ``trials``: key of a list of ``count`` numbers. Raises DataError naming the entry that is otherwise.
    """
    rows = []
    entries = _entries(file)
    for arch, entry in entries.items():
        try:
            values = [*entry[trials], *(entry[key] for key in numbers)]
            if len(entry[trials]) != count or not all(type(value) in (int, float) for value in values):
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise DataError(
                f"{file}: entry {arch!r} is not {count} numbers {trials!r} and {', '.join(numbers)}: {str(entry)[:120]}"
            ) from None
        rows.append(values)
    names = [*(f"{trials}{number}" for number in range(count)), *numbers]
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    found = {name: np.array(column, dtype=np.float64) for name, column in zip(names, columns, strict=True)}
    return {"arch": np.array(list(entries), dtype=object), **found}


def check_complete(space: Space, ids: ArrayLike, what: str) -> None:
    """Raise DataError unless the indices ``[n]`` are all of ``space``, each once."""
    found = np.bincount(np.asarray(ids, dtype=np.int64), minlength=space.size)
    if found.max(initial=0) > 1:
        again = int(found.argmax())
        raise DataError(f"{what}: {space.string(again)} (index {again}) occurs {found.max()} times")
    if not found.all():
        first = int(found.argmin())
        raise DataError(
            f"{what}: it has {int(found.sum()):,} of {space.size:,} architectures of space {space.name}; the first "
            f"missing is {space.string(first)} (index {first})"
        )


def check_counts(space: Space, ids: ArrayLike, dataset: str, columns: Mapping[str, ArrayLike], what: str) -> None:
    """Raise DataError where a column of ``params`` or ``macs`` ``[n]``, single ones, is not the space's closed form."""
    for name, values in columns.items():
        exact = np.round(1e6 * space.closed_form(name, ids, dataset))
        wrong = np.flatnonzero(~(np.abs(np.asarray(values, dtype=np.float64) - exact) < 0.5))
        if len(wrong):
            row = int(wrong[0])
            raise DataError(f"{what}: {name} in row {row} is {np.asarray(values)[row]:g}, expected {exact[row]:.0f}")


def check_percent(columns: Mapping[str, NDArray[Any]], what: str) -> None:
    """Raise DataError where an accuracy is missing, outside 0 to 100, or all are fractions."""
    for name, values in columns.items():
        wrong = np.flatnonzero(~((values >= 0) & (values <= 100)))
        if len(wrong):
            row = int(wrong[0])
            raise DataError(f"{what}: {name} in row {row} is {values[row]:g}, expected an accuracy in percent")
        if values.max(initial=0) <= 1:
            raise DataError(f"{what}: {name} is at most {values.max(initial=0):g}: fractions; expected percent")
