"""Naming a measurement: ``val@12``, ``val@12:random``, ``test@200:mean``, ``val@50/200:777``, ``acc:0``,
``cifar10/test@90``.

``[DATASET/]METRIC[@[FIRST-]EPOCH[/SCHEDULE]][:TRIAL]``, where METRIC is a column's metric (``val`` is ``val_acc``), and
TRIAL a label, or how the trials are reduced: one of REDUCTIONS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.search.streams import REALISATION, generator
from nasharness.spaces.base import Space
from nasharness.tables import Column, Table, seed_mean
from nasharness.tables.table import COST

__all__ = [
    "COST",
    "REDUCTIONS",
    "Column",
    "Measure",
    "guess",
    "holdings",
    "drawn_trials",
    "metrics",
    "realisations",
    "parse",
    "read_final",
    "read_trials",
    "trial_labels",
]

#: ``mean``: over the trials that exist. ``random``: one trial, drawn for each evaluation, as NATS-Bench does.
#: ``others``: the mean over the trials of an architecture that the run has not been shown; for final metrics alone.
REDUCTIONS = ("mean", "random", "others")
#: ``draw0``, ``draw1``, ...: a realisation. Every architecture shows one of its trials, drawn once and for all.
_DRAW = re.compile(r"draw(\d{1,6})")

_FORM = re.compile(
    r"(?:(?P<dataset>[^/@:\s]+)/)?(?P<metric>[A-Za-z_][\w.-]*)"
    r"(?:@(?:(?P<first>\d+)-)?(?P<epoch>\d+)(?:/(?P<schedule>\d+))?)?(?::(?P<trial>[\w.-]+))?"
)


@dataclass(frozen=True)
class Measure:
    """One measured quantity of every architecture, and how its trials are reduced.

    ``metric``: of the column, as in ``val_acc``. ``epoch``: 1-based epoch it is read at, None where none are told
    apart. ``schedule``: epochs of the training run. ``seed``: a label of the column's trials, or one of REDUCTIONS.
    ``first``: None, or the first epoch of a range whose best value is taken, as ``val@1-12`` does: what AutoShrink's
    official code calls its accuracy, biased upwards. ``stored``: the data set that its column is of. ``source``: None,
    or the data set named in front, which is another one than the problem's: a transfer.
    """

    metric: str
    epoch: int | None
    schedule: int | None
    seed: str
    stored: str
    first: int | None = None
    source: str | None = None

    def __str__(self) -> str:
        name = f"{self.source}/{self.short}" if self.source else self.short
        if self.epoch is not None:
            span = f"{self.epoch}" if self.epoch == self.schedule else f"{self.epoch}/{self.schedule}"
            name += f"@{span}" if self.first is None else f"@{self.first}-{span}"
        return f"{name}:{self.seed}"

    @property
    def short(self) -> str:
        """The metric as it is written: ``val`` for ``val_acc``."""
        return self.metric.removesuffix("_acc")

    @property
    def is_test(self) -> bool:
        """Whether it is of a test set."""
        return self.metric.startswith("test")

    def passes(self, epoch: int | None) -> int:
        """Validation passes that an evaluation of ``epoch`` epochs takes: one, or one for each epoch of the range."""
        return 1 if self.first is None or epoch is None else max(1, epoch - self.first + 1)

    def column(self, table: Table) -> Column:
        """The column it is read from. Raises UsageError naming those that exist."""
        return table.column(self.stored, self.metric, self.schedule)


def metrics(table: Table, space: Space, dataset: str) -> dict[str, list[Column]]:
    """Measured columns of ``dataset`` by metric, each metric's in the order of its schedules."""
    found: dict[str, list[Column]] = {}
    for column in table.columns.values():
        if column.seeds and column.dataset == space.protocol.column_dataset(dataset, column.metric):
            found.setdefault(column.metric, []).append(column)
    return {metric: sorted(columns, key=lambda column: column.schedule or 0) for metric, columns in found.items()}


def parse(text: str, table: Table, space: Space, dataset: str) -> Measure:
    """Read a measurement's name and check it against what ``table`` holds of ``dataset``.

    Without TRIAL: the only label there is, else ``random`` (NATS-Bench's protocol), for test metrics ``mean``. Raises
    UsageError for a form or a measurement that does not exist.
    """
    match = _FORM.fullmatch(_with_slash(text.strip(), table))
    if match is None:
        raise UsageError(
            f"measurement {text!r}: expected [DATASET/]METRIC[@EPOCHS[/SCHEDULE]][:TRIAL], as in val@12, "
            "val@1-12:mean, test@200, acc:0"
        )
    source = match["dataset"] if match["dataset"] != dataset else None
    of = source or dataset
    known = metrics(table, space, of)
    if source is not None and not known:
        raise unknown(f"data set of table {table.name!r}", source, table.datasets)
    metric = next((name for name in (match["metric"], f"{match['metric']}_acc") if name in known), None)
    if metric is None:
        raise UsageError(
            f"table {table.name!r} has no {match['metric']!r} of {of}; {holdings(table, space, of)}"
            + ("" if known else f" (nasharness data status --table {table.name})")
        )
    columns = known[metric]
    epoch = None if match["epoch"] is None else int(match["epoch"])
    column = _column(columns, epoch, None if match["schedule"] is None else int(match["schedule"]))
    if column is None:
        wanted = match["metric"] + (f"@{epoch}" if epoch is not None else " without epochs")
        raise UsageError(f"table {table.name!r} has no {wanted} of {of}; {holdings(table, space, of)}")
    if epoch is not None and epoch not in column.epochs:
        raise UsageError(
            f"{column.name} of table {table.name!r} is not stored at epoch {epoch}; last: {column.epochs[-1]}"
        )
    first = None if match["first"] is None else int(match["first"])
    if first is not None and not 1 <= first < (epoch or 0):
        raise UsageError(f"measurement {text!r}: expected a range of epochs that goes up, as in val@1-{epoch}")
    measure = Measure(metric, epoch, column.schedule, match["trial"] or "mean", column.dataset, first, source)
    several = len(trial_labels(column)) > 1
    if match["trial"] is None:
        return replace(measure, seed="random" if several and not measure.is_test else "mean")
    drawn = _DRAW.fullmatch(measure.seed) is not None
    if (drawn or measure.seed in ("random", "others")) and not several:
        raise UsageError(
            f"{column.name} of table {table.name!r} has one value per architecture; use "
            f"{text.strip().rpartition(':')[0]}:mean"
        )
    if not drawn and measure.seed not in (*column.seeds, *REDUCTIONS):
        raise unknown(f"trial of {column.name}", measure.seed, (*column.seeds, *REDUCTIONS, "draw0"))
    return measure


def _with_slash(text: str, table: Table) -> str:
    """``cifar10:test@90`` means ``cifar10/test@90`` where ``cifar10`` is a data set of the table."""
    head, colon, rest = text.partition(":")
    return f"{head}/{rest}" if colon and head in table.datasets else text


def _column(columns: list[Column], epoch: int | None, schedule: int | None) -> Column | None:
    """The column of that run; ``val@12`` is also the epoch 12 of a longer run where no run of 12 epochs is stored."""
    wanted = schedule if schedule is not None else epoch
    for column in columns:
        if column.schedule == wanted:
            return column
    if schedule is None and epoch is not None:
        holding = [column for column in columns if epoch in column.epochs]
        return holding[0] if len(holding) == 1 else None
    return columns[-1] if epoch is None and schedule is None and len(columns) == 1 and not columns[-1].epochs else None


def holdings(table: Table, space: Space, dataset: str) -> str:
    """Say which measurements of ``dataset`` a table holds."""
    found = [
        Measure(metric, column.schedule, column.schedule, "", "").__str__().rstrip(":")
        for metric, columns in metrics(table, space, dataset).items()
        for column in columns
    ]
    return f"it has {', '.join(found)}" if found else f"it has nothing of {dataset}; it has {', '.join(table.datasets)}"


def trial_labels(column: Column) -> tuple[str, ...]:
    """Labels of single trials: the axis of trials without a stored mean."""
    return tuple(label for label in column.seeds if label != "mean")


def read_final(measure: Measure, table: Table) -> NDArray[np.float64]:
    """Return the measurement of every architecture, float64 ``[n]``; for ``others``, the mean over all trials.

    Raises DataError where any is missing.
    """
    column = measure.column(table)
    values = _reduced(_plane(measure, table, column, measure.epoch), column, measure.seed)
    _complete(values, measure, table)
    return values


def read_trials(
    measure: Measure, table: Table, epoch: int | None
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Return what an evaluation can yield: float64 ``[trials, n]`` with the trials that exist first, and their number.

    The number, int64 ``[n]``, is None where there is one value per architecture. Raises DataError for a missing one.
    """
    column = measure.column(table)
    plane = _plane(measure, table, column, epoch)
    draw = _DRAW.fullmatch(measure.seed)
    if draw is None and measure.seed not in ("random", "others"):
        values = _reduced(plane, column, measure.seed)
        _complete(values, measure, table)
        return values[None], None
    plane = plane[[column.seeds.index(label) for label in trial_labels(column)]]
    absent = np.isnan(plane)
    trials = np.take_along_axis(plane, np.argsort(absent, axis=0, kind="stable"), axis=0)
    _complete(trials[0], measure, table)
    counts = (~absent).sum(axis=0)
    if draw is None:
        return trials, counts
    return trials[drawn_trials(measure, counts), np.arange(trials.shape[1])][None], None


def drawn_trials(measure: Measure, counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Which trial each architecture shows in a realisation, counted among those that exist: ``[n]``."""
    draw = _DRAW.fullmatch(measure.seed)
    if draw is None:
        raise AssertionError(f"{measure} is no drawn realisation")
    u = generator(int(draw[1]), REALISATION).random(len(counts))
    return (u * counts).astype(np.intp)


def realisations(measure: Measure, table: Table, space: Space, dataset: str, asked: str) -> list[Measure]:
    """The same measure with its noise realised in several ways; ``asked``: ``all``, a number, or names of measures.

    ``all``: one after the other the trials that every architecture has. A number: so many draws of a trial of each
    architecture. Where the measure has one value per architecture, the longest of the same metric that has trials
    stands for it. Raises UsageError where there are no trials, or fewer than two that every architecture has.
    """
    text = asked.strip()
    if text != "all" and not re.fullmatch(r"[+-]?\d+", text):
        found = [parse(part.strip(), table, space, dataset) for part in text.split(",") if part.strip()]
        if len({str(one) for one in found}) < max(2, len(found)):
            raise UsageError(f"realisations {asked!r}: expected all, a number, or at least two different measurements")
        return found
    of = measure.source or dataset
    columns = metrics(table, space, of)[measure.metric]
    column = measure.column(table)
    if len(trial_labels(column)) < 2:
        column = next((one for one in reversed(columns) if len(trial_labels(one)) > 1), column)
        measure = replace(measure, epoch=column.schedule, schedule=column.schedule, first=None)
    labels = trial_labels(column)
    if len(labels) < 2:
        raise UsageError(
            f"table {table.name!r} has one value of {measure.short} per architecture on {of}: its noise cannot be "
            f"varied; {holdings(table, space, of)}"
        )
    if text == "all":
        plane = _plane(measure, table, column, measure.epoch)
        whole = [label for label in labels if np.isfinite(plane[column.seeds.index(label)]).all()]
        if len(whole) < 2:
            raise UsageError(
                f"{column.name} of table {table.name!r} has {len(whole)} trials that every architecture has; draw "
                "them instead: --realisations 10"
            )
        return [replace(measure, seed=label) for label in whole]
    if not 2 <= int(text) <= 1_000:
        raise UsageError(f"realisations {asked}: expected all, or 2 to 1,000 draws")
    return [replace(measure, seed=f"draw{number}") for number in range(int(text))]


def _plane(measure: Measure, table: Table, column: Column, epoch: int | None) -> NDArray[np.float64]:
    """Values at ``epoch``, or the best of the range that ends there: float64 ``[trials, n]``."""
    array = table.array(column.dataset, column.metric, column.schedule)
    if measure.first is None or epoch is None:
        return np.asarray(array[table.place(column, epoch)], dtype=np.float64)
    stop = column.epochs.index(epoch) + 1
    wanted = tuple(range(min(measure.first, epoch), epoch + 1))
    start = stop - len(wanted)
    if start < 0 or column.epochs[start:stop] != wanted:
        raise UsageError(f"{column.name} of table {table.name!r} does not hold every epoch from {measure.first}")
    return np.asarray(np.max(np.asarray(array[start:stop], dtype=np.float64), axis=0))


def _reduced(plane: NDArray[np.float64], column: Column, seed: str) -> NDArray[np.float64]:
    """Reduce ``[trials, n]`` to ``[n]``: one label, or the mean over the trials that exist."""
    return plane[column.seeds.index(seed)] if seed in column.seeds else seed_mean(plane)


def _complete(values: NDArray[np.float64], measure: Measure, table: Table) -> None:
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise DataError(
            f"table {table.name!r} lacks {measure} for {len(missing):,} of {len(values):,} architectures (first: index "
            f"{missing[0]}); import all of them, or choose another table with --table"
        )


def guess(what: str, table: Table, space: Space, dataset: str) -> Measure:
    """The measurement that a signal or final metric can only mean where none is named, its longest run.

    A signal is a validation metric, a final metric a test metric where there is one; else the only metric there is.
    Raises UsageError saying what to choose from.
    """
    known = metrics(table, space, dataset)
    wanted = ("val",) if what == "signal" else ("test", "val")
    named = [
        metric for start in wanted for metric in known if metric.startswith(start) and not metric.endswith("_loss")
    ]
    if not named and len(known) == 1:
        named = list(known)
    if not named or (len([metric for metric in named if metric.startswith(named[0][:3])]) > 1):
        raise UsageError(
            f"table {table.name!r} does not say what is meant as {what} on {dataset}; "
            f"{holdings(table, space, dataset)}: "
            f"--{'signal' if what == 'signal' else 'final'} {next(iter(known), 'METRIC').removesuffix('_acc')}"
        )
    column = known[named[0]][-1]
    text = Measure(column.metric, column.schedule, column.schedule, "", "").__str__().rstrip(":")
    return parse(text if what == "signal" else f"{text}:mean", table, space, dataset)
