"""Naming a measurement: ``val@12``, ``val@12:random``, ``test@200:mean``, ``val@50/200:777``."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.tables import Column, Table

SPLITS = ("val", "test", "train")


@dataclass(frozen=True)
class Measure:
    """One accuracy of every architecture, in percent, and how its seeds are reduced.

    ``split``: val, test or train. ``epoch``: 1-based epoch it is read at. ``schedule``: epochs of the training run.
    ``seed``: ``"mean"`` over the seeds that exist, ``"random"`` (one seed drawn per evaluation, as NATS-Bench does), or
    a label of the column's seed axis.
    """

    split: str
    epoch: int
    schedule: int
    seed: str

    def __str__(self) -> str:
        span = f"{self.epoch}" if self.epoch == self.schedule else f"{self.epoch}/{self.schedule}"
        return f"{self.split}@{span}:{self.seed}"

    def dataset(self, dataset: str) -> str:
        """The data set the networks were trained on: CIFAR-10's validation runs trained on half of its training set."""
        return "cifar10-valid" if dataset == "cifar10" and self.split != "test" else dataset

    def column(self, table: Table, dataset: str) -> Column:
        """The column it is read from. Raises UsageError naming those that exist."""
        return table.column(self.dataset(dataset), f"{self.split}_acc", self.schedule)


def available(table: Table, dataset: str, split: str) -> list[int]:
    """Schedules for which ``split`` accuracies of ``dataset`` are stored, ascending."""
    return table.schedules(Measure(split, 0, 0, "").dataset(dataset), f"{split}_acc")


def parse(text: str, table: Table, dataset: str) -> Measure:
    """Read ``SPLIT@EPOCH[/SCHEDULE][:SEED]`` and check it against what ``table`` holds.

    Without SEED: the only label there is, else ``random`` for validation and training accuracies (NATS-Bench's
    protocol) and ``mean`` for test accuracies. Raises UsageError for a form or a measurement that does not exist.
    """
    match = re.fullmatch(r"(\w+)@(\d+)(?:/(\d+))?(?::(\w+))?", text.strip())
    if match is None:
        raise UsageError(
            f"measurement {text!r}: expected SPLIT@EPOCHS[/SCHEDULE][:SEED], as in val@12, val@12:mean, test@200"
        )
    split, epoch, schedule, seed = match.groups()
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    measure = Measure(split, int(epoch), int(schedule or epoch), seed or "mean")
    schedules = available(table, dataset, split)
    if measure.schedule not in schedules:
        raise UsageError(
            f"table {table.name!r} has no {split} accuracy of a {measure.schedule}-epoch run on {dataset}; "
            f"{holdings(table, dataset)}"
        )
    column = measure.column(table, dataset)
    if measure.epoch not in column.epochs:
        raise UsageError(
            f"{column.name} of table {table.name!r} is not stored at epoch {measure.epoch}; last: {column.epochs[-1]}"
        )
    if seed is None:
        several = len(trial_labels(column)) > 1 and split != "test"
        return Measure(split, measure.epoch, measure.schedule, "random" if several else "mean")
    if seed == "random" and len(trial_labels(column)) < 2:
        raise UsageError(
            f"{column.name} of table {table.name!r} has one value per architecture; use {split}@{epoch}:mean"
        )
    if seed not in (*column.seeds, "mean", "random"):
        raise unknown(f"seed of {column.name}", seed, (*column.seeds, "mean", "random"))
    return measure


def holdings(table: Table, dataset: str) -> str:
    """Say which accuracies of ``dataset`` a table holds."""
    found = [f"{split}@{schedule}" for split in SPLITS for schedule in available(table, dataset, split)]
    return f"it has {', '.join(found)}" if found else f"it has nothing of {dataset}; it has {', '.join(table.datasets)}"


def trial_labels(column: Column) -> tuple[str, ...]:
    """Labels of single trials: the seed axis without a stored mean."""
    return tuple(label for label in column.seeds if label != "mean")


def read_final(measure: Measure, table: Table, dataset: str) -> NDArray[np.float64]:
    """Return the measurement of every architecture, float64 ``[n]``. Raises DataError where any is missing."""
    values = table.values(
        measure.dataset(dataset), f"{measure.split}_acc", measure.schedule, epoch=measure.epoch, seed=measure.seed
    )
    _complete(values, measure, table, dataset)
    return values


def read_trials(
    measure: Measure, table: Table, dataset: str, epoch: int
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Return what an evaluation can yield: float64 ``[trials, n]`` with the trials that exist first, and their number.

    The number, int64 ``[n]``, is None where there is one value per architecture. Raises DataError for a missing one.
    """
    if measure.seed != "random":
        values = table.values(
            measure.dataset(dataset), f"{measure.split}_acc", measure.schedule, epoch=epoch, seed=measure.seed
        )
        _complete(values, measure, table, dataset)
        return values[None], None
    column = measure.column(table, dataset)
    rows = [column.seeds.index(label) for label in trial_labels(column)]
    plane = np.asarray(
        table.array(column.dataset, column.metric, column.schedule)[column.epochs.index(epoch)][rows], dtype=np.float64
    )
    absent = np.isnan(plane)
    trials = np.take_along_axis(plane, np.argsort(absent, axis=0, kind="stable"), axis=0)
    _complete(trials[0], measure, table, dataset)
    return trials, (~absent).sum(axis=0)


def _complete(values: NDArray[np.float64], measure: Measure, table: Table, dataset: str) -> None:
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise DataError(
            f"table {table.name!r} lacks {measure} on {dataset} for {len(missing):,} of {len(values):,} architectures "
            f"(first: index {missing[0]}); import the whole archive, or choose another table with --table"
        )
