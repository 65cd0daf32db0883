"""Converts small public files of the topology space to a table (see ``columns`` for what they may hold).

Training seconds come from the files' ``*_epoch_s`` columns, else from the embedded table: both descend from the same
two numbers per cell. No public small file has the seconds of a validation pass; they are estimated, and the column
says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.storage import file_sha256
from nasharness.tables import own_files
from nasharness.tables.catalogue import table_path
from nasharness.tables.importers import CITATION
from nasharness.tables.importers.nats_light.columns import kind, parse
from nasharness.tables.importers.nats_light.files import Raw, read_columns
from nasharness.tables.table import Table
from nasharness.tables.writer import TableWriter

Values = NDArray[np.float64]

#: what these files measure
SPACES = ("tss",)
#: ImageNet16-120 has 151,700 training images and a resolution of 16: 3.034 times CIFAR-10's seconds per epoch
IN16_TO_CIFAR10 = 3.034
#: images of one validation pass
VALIDATION_IMAGES = {"cifar10-valid": 25_000, "cifar100": 5_000, "ImageNet16-120": 3_000}
ESTIMATED = (
    "estimated: validation images x seconds per image, a linear model in operation counts "
    "(docs/reproduction/nats-bench.md#costs). Against the measured test times of 1,000 cells its error is 2.8 % (RMS), "
    "4.4 % (95th percentile), 21 % (largest), the same on every data set; of the cost of a 12-epoch evaluation on "
    "CIFAR-10 that is 0.06 % on average and 1.3 % at most, less elsewhere"
)


class NewColumn(NamedTuple):
    """A column about to be written; ``values`` has the column's shape."""

    dataset: str
    metric: str
    values: NDArray[Any]
    options: dict[str, Any]


def import_files(
    paths: Sequence[str | os.PathLike[str]],
    *,
    name: str = "light",
    partial: bool = False,
    force: bool = False,
    destination: str | os.PathLike[str] | None = None,
) -> Table:
    """Convert one or more Parquet, CSV or pickled-DataFrame files, joined by ``index``, to a table and return it.

    ``partial``: accept a file that lacks rows (their values are NaN). ``force``: replace a table of this name whose
    content differs; one of the same content is left as it is. ``destination``: the table's folder, by default where
    ``nasharness`` looks for it.

    Raises DataError for a file whose rows or columns are not what they should be, UsageError for one that cannot be
    read and for a table that is there already. Nothing is written in that case.
    """
    files = [Path(path).expanduser() for path in paths]
    if not files:
        raise UsageError("no file given; expected one or more Parquet or CSV files")
    parts = [align(read_columns(path), str(path), partial=partial) for path in files]
    columns = join(parts, [str(path) for path in files])
    digests = {path.name: file_sha256(path) for path in files}
    provenance = {"files": digests, "ignored": sorted({n for part in parts for n in part.ignored})}
    version = "sha256:" + "+".join(digest[:12] for digest in digests.values())
    return write_table(
        columns,
        name=name,
        version=version,
        source=", ".join(digests),
        licence="that of the imported files",
        provenance=provenance,
        force=force,
        destination=destination,
    )


class Part(NamedTuple):
    """What one file holds, in index order: accuracies and seconds by our column names, and what was left out."""

    columns: dict[str, Values]
    ignored: list[str]


def align(raw: Raw, what: str, *, partial: bool = False) -> Part:
    """Check one file's rows and names, and put its columns into index order: float64 [15625], NaN where absent.

    Raises DataError for an unknown column, a wrong or repeated index, a missing row (unless ``partial``), an ``arch``
    that is not the index's, accuracies outside 0 to 100 or given as fractions, parameter or operation counts that are
    not the closed form's.
    """
    space = spaces.get("tss")
    if "index" not in raw and not any(parse(name) for name in raw):
        raise UsageError(
            f"{what}: none of its columns is a published measurement; {own_files.as_it_should_read([Path(what)], {})}"
        )
    kinds = {name: kind(name, what) for name in raw}
    if "index" not in raw:
        raise DataError(f"{what}: it has no column 'index' (the NATS-Bench index, 0 to {space.size - 1})")
    if not {"measured", "seconds"} & set(kinds.values()):
        raise DataError(f"{what}: none of its columns is a measurement of this table: {', '.join(raw)[:200]}")
    index = _indices(raw["index"], space.size, what, partial)
    if "arch" in raw:
        strings = space.strings()
        for row, (i, arch) in enumerate(zip(index.tolist(), raw["arch"].tolist(), strict=True)):
            if arch != strings[i]:
                raise DataError(f"{what}: row {row} (index {i}) is {str(arch)[:120]!r}, expected {strings[i]!r}")
    columns: dict[str, Values] = {}
    for name, values in raw.items():
        if kinds[name] in ("measured", "seconds") or name in ("params_m", "flops_m"):
            try:
                column = np.full(space.size, np.nan)
                column[index] = values.astype(np.float64)
            except (TypeError, ValueError) as error:
                raise DataError(f"{what}: column {name!r} is not all numbers: {error}") from None
            columns[name] = column
    for name, exact in (("params_m", space.params), ("flops_m", space.flops)):
        if name in columns:
            _check_closed_form(columns.pop(name), exact(np.arange(space.size), "cifar10"), name, what)
    for name, column in columns.items():
        _check_range(column, name, kinds[name], what)
    return Part(columns, [name for name, sort in kinds.items() if sort == "ignored"])


def _indices(values: NDArray[Any], size: int, what: str, partial: bool) -> NDArray[np.int64]:
    try:
        index = values.astype(np.int64)
        same = bool((index == values).all())
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        raise DataError(f"{what}: column 'index' is not all whole numbers")
    wrong = index[(index < 0) | (index >= size)]
    if wrong.size:
        raise DataError(f"{what}: index {wrong[0]} is outside 0 to {size - 1}")
    found = np.bincount(index, minlength=size)
    if found.max(initial=0) > 1:
        raise DataError(f"{what}: index {int(found.argmax())} occurs {found.max()} times")
    if index.size < size and not partial:
        raise DataError(
            f"{what}: it has {index.size:,} of {size:,} rows; the first missing index is {int(found.argmin())} "
            "(--partial imports what is there)"
        )
    return index


def _check_closed_form(found: Values, exact: Values, name: str, what: str) -> None:
    wrong = np.flatnonzero(np.abs(found - exact) > 1e-5 * exact)
    if wrong.size:
        i = int(wrong[0])
        raise DataError(f"{what}: {name} of index {i} is {found[i]:.6f}, expected {exact[i]:.6f}")


def _check_range(column: Values, name: str, sort: str, what: str) -> None:
    low, high = (0.0, 100.0) if sort == "measured" else (1e-3, 1e6)
    wrong = np.flatnonzero((column < low) | (column > high) | np.isinf(column))
    if wrong.size:
        i = int(wrong[0])
        raise DataError(f"{what}: {name} of index {i} is {column[i]:g}, expected {low:g} to {high:g}")
    if sort == "measured" and not np.isnan(column).all() and np.nanmax(column) <= 1.0:
        raise DataError(f"{what}: {name} is at most {np.nanmax(column):g}: fractions; expected percent")


def join(parts: Sequence[Part], names: Sequence[str]) -> dict[str, Values]:
    """Join files by index. A column that two of them hold must be equal in both; raises DataError where it is not."""
    columns: dict[str, Values] = {}
    owner: dict[str, str] = {}
    for part, what in zip(parts, names, strict=True):
        for name, values in part.columns.items():
            if name in columns:
                here = np.isclose(columns[name], values, rtol=1e-6, atol=1e-6, equal_nan=True)
                if not here.all():
                    i = int(np.flatnonzero(~here)[0])
                    raise DataError(
                        f"{name} of index {i} is {columns[name][i]:g} in {owner[name]}, {values[i]:g} in {what}"
                    )
                continue
            columns[name], owner[name] = values, what
    return columns


# ---- from columns to a table


def write_table(
    columns: Mapping[str, Values],
    *,
    name: str,
    version: str,
    source: str,
    licence: str,
    attribution: str = "",
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
    destination: str | os.PathLike[str] | None = None,
) -> Table:
    """Write joined columns as a table, or return the one that is there when its content is the same.

    Raises UsageError where a table of this name has another content and ``force`` is not given.
    """
    if name == "embedded" and destination is None:
        raise UsageError("the table 'embedded' ships with nasharness and is not imported; choose another --name")
    target = table_path("tss", name) if destination is None else Path(destination)
    new, origin = assemble(columns)
    if (target / "table.json").is_file() and not force:
        if same_content(target, new):
            return Table.open(target)
        raise UsageError(f"table {name!r} is in {target} already, with other content; replace it with --force")
    writer = TableWriter(
        target,
        space="tss",
        name=name,
        version=version,
        size=spaces.get("tss").size,
        source=source,
        licence=licence,
        citation=CITATION,
        attribution=attribution,
        provenance={**(provenance or {}), **origin},
    )
    with writer:
        for column in new:
            writer.add(column.dataset, column.metric, column.values, **column.options)
    return Table.open(target)


def assemble(columns: Mapping[str, Values]) -> tuple[list[NewColumn], dict[str, str]]:
    """Group columns by what they measure, and add seconds; return them with a word on where the seconds come from.

    The mean over seeds and single seeds of one quantity share a column with the labels ``mean``, ``777``, ....
    """
    groups: dict[tuple[str, str, int], dict[str, Values]] = {}
    for name, values in columns.items():
        what = parse(name)
        if what is not None:
            by_seed = groups.setdefault((what.dataset, what.metric, what.schedule), {})
            if what.seed in by_seed and not np.array_equal(by_seed[what.seed], values, equal_nan=True):
                raise DataError(f"column {name!r} is another name of a column that is also there, with other values")
            by_seed[what.seed] = values
    for dataset, trials in validation_trials().items():  # beside a mean that the files may have
        by_seed = groups.setdefault((dataset, "val_acc", 200), {})
        by_seed.update({label: values for label, values in trials.items() if label not in by_seed})
    new = []
    for (dataset, metric, schedule), by_seed in sorted(groups.items()):
        seeds = tuple(sorted(by_seed, key=lambda seed: (seed != "mean", seed)))
        stacked = np.array([[by_seed[seed] for seed in seeds]], dtype=np.float32)
        options = {"unit": "percent", "schedule": schedule, "epochs": (schedule,), "seeds": seeds, "dtype": "float32"}
        new.append(NewColumn(dataset, metric, stacked, options))
    seconds, origin = training_seconds(columns)
    for dataset, (values, note) in seconds.items():
        new.append(NewColumn(dataset, "train_s", values, {"unit": "s", "dtype": "float64", "note": note}))
    per_image = evaluation_seconds(np.arange(spaces.get("tss").size))
    for dataset, images in VALIDATION_IMAGES.items():
        new.append(
            NewColumn(dataset, "val_s", images * per_image, {"unit": "s", "dtype": "float64", "note": ESTIMATED})
        )
    return new, {"train_s": origin, "val_s": ESTIMATED}


def validation_trials() -> dict[str, dict[str, Values]]:
    """Single 200-epoch validation accuracies of the embedded table, by data set and trial: float64 ``[15625]``, NaN
    where a cell has no such trial. They realise the noise of a search signal (``--realisations``) that test accuracies
    score.
    """  # noqa: D205
    embedded = Table.open(table_path("tss", "embedded"))
    found = {}
    for dataset in ("cifar10-valid", "cifar100", "ImageNet16-120"):
        column = embedded.column(dataset, "val_acc", 200)
        plane = np.asarray(embedded.array(dataset, "val_acc", 200)[0], dtype=np.float64)
        found[dataset] = dict(zip(column.seeds, plane, strict=True))
    return found


def training_seconds(columns: Mapping[str, Values]) -> tuple[dict[str, tuple[Values, str]], str]:
    """Seconds of one training epoch, float64 [15625] with a note, by data set; and where they come from.

    Where the files' float32 seconds are the embedded table's rounded, the embedded ones are taken, so that two files
    of the same measurements give the same table.
    """
    embedded = Table.open(table_path("tss", "embedded"))
    half = embedded.values("cifar10-valid", "train_s")
    exact = {"cifar10": 2 * half, "cifar100": embedded.values("cifar100", "train_s")}
    exact["in16"] = embedded.values("ImageNet16-120", "train_s")
    given = {short: columns[f"{short}_epoch_s"] for short in exact if f"{short}_epoch_s" in columns}
    agree = all(np.allclose(given[short], exact[short], rtol=1e-6, atol=0) for short in given)
    if not given or agree:
        origin = "the embedded table" + (", which the files' *_epoch_s equal" if given else "; the files have none")
        full = exact
    elif "cifar10" in given:
        origin = "the files' *_epoch_s"
        full = {"cifar10": given["cifar10"], "cifar100": given["cifar10"]}
        full = full | {"in16": IN16_TO_CIFAR10 * given["cifar10"]} | given
    else:
        raise DataError(f"the files have {', '.join(f'{s}_epoch_s' for s in given)} but no cifar10_epoch_s")
    return {
        "cifar10-valid": (full["cifar10"] / 2, "half of the full training set's"),
        "cifar10": (full["cifar10"], ""),
        "cifar100": (full["cifar100"], ""),
        "ImageNet16-120": (full["in16"], ""),
    }, origin


def evaluation_seconds(ids: ArrayLike) -> Values:
    """Estimated seconds to evaluate one image, float64 [...] (docs/reproduction/nats-bench.md#costs).

    A linear model in the counts of operations other than ``none``; see ``ESTIMATED`` for its error.
    """
    choices = spaces.get("tss").choices(ids)
    weights = {1: -0.025, 2: 0.098, 3: 0.212, 4: 0.069}
    terms = [weight * (choices == op).sum(axis=-1) for op, weight in weights.items()]
    return np.asarray(1e-4 * (0.843 + sum(terms)), dtype=np.float64)


def same_content(target: Path, new: Sequence[NewColumn]) -> bool:
    """Whether the table in ``target`` holds just the columns ``new``, undamaged."""
    try:
        table = Table.open(target)
        if len(table.columns) != len(new) or table.verify():
            return False
        for column in new:
            schedule = column.options.get("schedule")
            if not table.has(column.dataset, column.metric, schedule):
                return False
            known = table.column(column.dataset, column.metric, schedule)
            if known.seeds != tuple(column.options.get("seeds", ())) or known.note != column.options.get("note", ""):
                return False
            stored = table.array(column.dataset, column.metric, schedule)
            if not np.array_equal(stored, column.values, equal_nan=True):
                return False
    except DataError:
        return False
    return True
