"""Naming a measurement: ``val@12``, ``val@12:random``, ``test@200:mean``, ``val@50/200:777``, ``val@1-12``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.tables import Column, Table, seed_mean

SPLITS = ("val", "test", "train")


@dataclass(frozen=True)
class Measure:
    """One accuracy of every architecture, in percent, and how its seeds are reduced.

    ``split``: val, test or train. ``epoch``: 1-based epoch it is read at. ``schedule``: epochs of the training run.
    ``seed``: ``"mean"`` over the seeds that exist, ``"random"`` (one seed drawn per evaluation, as NATS-Bench does), or
    a label of the column's seed axis. ``first``: None, or the first epoch of a range whose best value is taken, as
    ``val@1-12`` does: what AutoShrink's official code calls its accuracy (facts, autoshrink.md Q2), biased upwards.
    """

    split: str
    epoch: int
    schedule: int
    seed: str
    first: int | None = None

    def __str__(self) -> str:
        span = f"{self.epoch}" if self.epoch == self.schedule else f"{self.epoch}/{self.schedule}"
        start = "" if self.first is None else f"{self.first}-"
        return f"{self.split}@{start}{span}:{self.seed}"

    def passes(self, epoch: int) -> int:
        """Validation passes that an evaluation of ``epoch`` epochs takes: one, or one for each epoch of the range."""
        return 1 if self.first is None else max(1, epoch - self.first + 1)

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
    match = re.fullmatch(r"(\w+)@(?:(\d+)-)?(\d+)(?:/(\d+))?(?::(\w+))?", text.strip())
    if match is None:
        raise UsageError(
            f"measurement {text!r}: expected SPLIT@EPOCHS[/SCHEDULE][:SEED], as in val@12, val@1-12:mean, test@200"
        )
    split, first, epoch, schedule, seed = match.groups()
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    measure = Measure(split, int(epoch), int(schedule or epoch), seed or "mean", None if first is None else int(first))
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
    if measure.first is not None and not 1 <= measure.first < measure.epoch:
        raise UsageError(f"measurement {text!r}: expected a range of epochs that goes up, as in {split}@1-{epoch}")
    if seed is None:
        several = len(trial_labels(column)) > 1 and split != "test"
        return replace(measure, seed="random" if several else "mean")
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
    column = measure.column(table, dataset)
    values = _reduced(_plane(measure, table, column, measure.epoch), column, measure.seed)
    _complete(values, measure, table, dataset)
    return values


def read_trials(
    measure: Measure, table: Table, dataset: str, epoch: int
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Return what an evaluation can yield: float64 ``[trials, n]`` with the trials that exist first, and their number.

    The number, int64 ``[n]``, is None where there is one value per architecture. Raises DataError for a missing one.
    """
    column = measure.column(table, dataset)
    plane = _plane(measure, table, column, epoch)
    if measure.seed != "random":
        values = _reduced(plane, column, measure.seed)
        _complete(values, measure, table, dataset)
        return values[None], None
    plane = plane[[column.seeds.index(label) for label in trial_labels(column)]]
    absent = np.isnan(plane)
    trials = np.take_along_axis(plane, np.argsort(absent, axis=0, kind="stable"), axis=0)
    _complete(trials[0], measure, table, dataset)
    return trials, (~absent).sum(axis=0)


def _plane(measure: Measure, table: Table, column: Column, epoch: int) -> NDArray[np.float64]:
    """Values at ``epoch``, or the best of the range that ends there: float64 ``[seeds, n]``."""
    array = table.array(column.dataset, column.metric, column.schedule)
    stop = column.epochs.index(epoch) + 1
    start = stop - 1
    if measure.first is not None:
        wanted = tuple(range(min(measure.first, epoch), epoch + 1))
        start = stop - len(wanted)
        if start < 0 or column.epochs[start:stop] != wanted:
            raise UsageError(f"{column.name} of table {table.name!r} does not hold every epoch from {measure.first}")
    return np.asarray(np.max(np.asarray(array[start:stop], dtype=np.float64), axis=0))


def _reduced(plane: NDArray[np.float64], column: Column, seed: str) -> NDArray[np.float64]:
    """Reduce ``[seeds, n]`` to ``[n]``: one label, or the mean over the seeds that exist."""
    return plane[column.seeds.index(seed)] if seed in column.seeds else seed_mean(plane)


def _complete(values: NDArray[np.float64], measure: Measure, table: Table, dataset: str) -> None:
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise DataError(
            f"table {table.name!r} lacks {measure} on {dataset} for {len(missing):,} of {len(values):,} architectures "
            f"(first: index {missing[0]}); import the whole archive, or choose another table with --table"
        )
