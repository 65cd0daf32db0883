"""A problem: space, table, data set, search signal, final metric, cost and budget. What a run is given.

Signal and truth are two objects: ``evaluator`` reads the search signal and its cost, ``truth`` the final metric. The
loop holds the first alone, and an algorithm neither (see task.py).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import DataError, UsageError, unknown
from nasharness.search import measure as measures
from nasharness.search.measure import Measure
from nasharness.spaces.base import Floats, Indices, Space
from nasharness.tables import Table, candidates, column_name, open_table

#: Simulated seconds, as NATS-Bench's scripts use them (facts 4.1); nb201: NAS-Bench-201's, on CIFAR-10 alone.
BUDGETS: dict[str, dict[str, dict[str, float]]] = {
    "nats": {
        "tss": {"cifar10": 20_000.0, "cifar100": 40_000.0, "ImageNet16-120": 120_000.0},
        "sss": {"cifar10": 20_000.0, "cifar100": 40_000.0, "ImageNet16-120": 60_000.0},
    },
    "nb201": {"tss": {"cifar10": 12_000.0}},
}
DEFAULT_EVALUATIONS = 200
REPEATS = ("charged", "free")
#: Signal that a search sees where the table has it: the 12-epoch run of NATS-Bench's protocol (facts 3.3).
SHORT_SCHEDULE = 12


@dataclass(frozen=True)
class Problem:
    """Build one with ``Problem.create``; every field decides results and is printed with them."""

    space: Space
    table: Table
    dataset: str
    signal: Measure
    final: Measure
    evaluations: int | None
    seconds: float | None
    repeats: str
    notes: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        space: str = "tss",
        dataset: str = "cifar10",
        *,
        table: str | Table | None = None,
        signal: str | None = None,
        final: str | None = None,
        evaluations: int | None = None,
        seconds: float | None = None,
        budget: str | None = None,
        repeats: str = "charged",
    ) -> Problem:
        """Put a problem together from names; what is left out follows the table's protocol.

        ``table``: a name, an open table, or None for the first of official, light, embedded that can answer.
        ``signal``, ``final``: measurements as in ``val@12``, ``test@200:mean``. Budget: ``evaluations``, simulated
        ``seconds``, both, or the name of a preset of BUDGETS; 200 evaluations when none is given. ``repeats``: whether
        a run pays again for an architecture it has evaluated (``charged``, as NATS-Bench does) or not (``free``).
        Raises UsageError for a name or value that cannot be, DataError for data that are not here.
        """
        names = {"space": space, "dataset": dataset, "signal": signal, "final": final, "budget": budget}
        for what, value in names.items():
            if value is not None and not isinstance(value, str):
                raise UsageError(f"{what} {value!r}: expected a name or None")
        if table is not None and not isinstance(table, (str, Table)):
            raise UsageError(f"table {table!r}: expected a name, an open Table or None")
        chosen = spaces.get(space)
        if dataset not in chosen.datasets:
            raise unknown(f"data set of space {space!r}", dataset, chosen.datasets, "nasharness list datasets")
        if repeats not in REPEATS:
            raise unknown("treatment of repeats", repeats, REPEATS)
        evaluations, seconds = _budget(evaluations, seconds, budget, space, dataset)
        if signal is not None and signal.strip().startswith("test"):
            raise UsageError(
                f"signal {signal!r}: a test accuracy is never a search signal; use val@12, val@200 or the like"
            )
        passed_over: list[str] = []
        if isinstance(table, Table):
            if table.space != space:
                raise UsageError(f"table {table.name!r} is of space {table.space!r}, not {space!r}")
            options = [table]
        elif table is not None:
            options = [open_table(space, table)]
        else:
            options, passed_over = candidates(space)
        for option in options:
            try:
                seen, scored = _protocol(option, dataset, signal, final)
                # both are read once here, so that a hole in the data is found before the search and not in its middle
                measures.read_final(scored, option, dataset)
                notes = tuple(f"table {reason}" for reason in passed_over)
                if _same(seen, scored):
                    notes += (f"signal and final metric are the same measurement, {scored}: the search sees its score",)
                problem = cls(chosen, option, dataset, seen, scored, evaluations, seconds, repeats, notes)
                problem.evaluator()
            except (UsageError, DataError) as error:
                if len(options) == 1:
                    raise
                passed_over.append(f"{option.name!r} was passed over: {error}")
            else:
                return problem
        raise UsageError("no table here can answer: " + "; ".join(passed_over))

    def describe(self) -> dict[str, Any]:
        """The protocol: every field that decides results, as plain values."""
        return {
            "signal": str(self.signal),
            "final": str(self.final),
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "repeats": self.repeats,
            "cost": self.cost_note(),
        }

    def cost_note(self) -> str:
        """Say in words what one evaluation costs."""
        trained = self.signal.dataset(self.dataset)
        if not self.table.has(trained, "val_s"):
            return f"{self.signal.epoch} training epochs, validation not charged"
        note = self.table.column(trained, "val_s").note
        passes = self.signal.passes(self.signal.epoch)
        number = "one validation pass" if passes == 1 else f"{passes} validation passes"
        return f"{self.signal.epoch} training epochs + {number}" + (f" ({note})" if note else "")

    def evaluator(self) -> Evaluator:
        """Read the search signal and its cost."""
        return Evaluator(self)

    def truth(self) -> Truth:
        """Read the final metric. The harness calls this when the search is over."""
        return Truth(measures.read_final(self.final, self.table, self.dataset))


class Evaluator:
    """The search signal and its cost, copied out of the table.

    ``epochs``: the fidelities, ascending. ``counts``: int64 ``[n]`` trials that exist, None where there is one value.
    """

    def __init__(self, problem: Problem) -> None:
        table, dataset, signal = problem.table, problem.dataset, problem.signal
        column = signal.column(table, dataset)
        self.epochs = tuple(epoch for epoch in column.epochs if epoch <= signal.epoch)
        planes = []
        usable = []
        for epoch in self.epochs:
            try:
                trials, self.counts = measures.read_trials(signal, table, dataset, epoch)
            except DataError:
                if epoch == signal.epoch:
                    raise
                continue  # an earlier epoch that was not stored for all is no fidelity
            planes.append(trials)
            usable.append(epoch)
        self.epochs = tuple(usable)
        self._signal = np.stack(planes)  # [fidelities, trials, n]
        self._flat = self._signal.reshape(-1)
        _, self._trials, self._n = self._signal.shape
        train = self._scalar(table, column.dataset, "train_s")
        extra = self._scalar(table, column.dataset, "val_s") if table.has(column.dataset, "val_s") else 0.0
        self._cost = np.stack(
            [epoch * train + signal.passes(epoch) * extra for epoch in self.epochs]
        )  # [fidelities, n]
        if not (np.isfinite(self._cost).all() and (self._cost > 0).all()):
            raise DataError(f"table {table.name!r}: the simulated seconds on {dataset} are not all positive numbers")

    @staticmethod
    def _scalar(table: Table, dataset: str, metric: str) -> NDArray[np.float64]:
        if not table.has(dataset, metric):
            raise DataError(
                f"table {table.name!r} has no {column_name(dataset, metric, None)} (simulated seconds); "
                "import a source with training times beside it"
            )
        return table.values(dataset, metric)

    def signal(self, ids: Indices, fidelity: int | Indices, noise: Floats | None) -> Floats:
        """Signal of ``ids`` ``[...]``; ``fidelity`` indexes ``epochs``; ``noise`` ``[...]`` draws the trial."""
        if self.counts is None or noise is None:
            values: Floats = self._flat.take(ids + fidelity * self._n if len(self.epochs) > 1 else ids)
            return values
        return self.signal_of_trial(ids, fidelity, (noise * self.counts.take(ids)).astype(np.intp))

    def signal_of_trial(self, ids: Indices, fidelity: int | Indices, trials: NDArray[np.intp]) -> Floats:
        """Signal of given trials ``[...]``: what a repeat that is not charged yields again."""
        values: Floats = self._flat.take((fidelity * self._trials + trials) * self._n + ids)
        return values

    def cost(self, ids: Indices, fidelity: int | Indices) -> Floats:
        """Simulated seconds of one evaluation of ``ids`` ``[...]``."""
        seconds: Floats = self._cost.reshape(-1).take(ids + fidelity * self._n if len(self.epochs) > 1 else ids)
        return seconds

    def cost_column(self, epochs: int) -> Floats:
        """Simulated seconds of every architecture ``[n]`` at ``epochs``."""
        column: Floats = self._cost[self.epochs.index(epochs)]
        return column

    def expected_signal(self) -> Floats:
        """The signal at full fidelity, its mean over trials: float64 ``[n]``."""
        return np.asarray(np.nanmean(self._signal[-1], axis=0))

    @property
    def mean_cost(self) -> float:
        """Mean simulated seconds of one evaluation over the whole space."""
        return float(self._cost[-1].mean())


class Truth:
    """The final metric of every architecture. Never in reach of an algorithm."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values
        self.optimum = float(values.max())

    def score(self, ids: Indices | np.int32) -> Floats:
        """Final metric of ``ids`` ``[...]``."""
        scores: Floats = self.values[ids]
        return scores


def _budget(
    evaluations: int | None, seconds: float | None, budget: str | None, space: str, dataset: str
) -> tuple[int | None, float | None]:
    if budget is not None:
        if budget not in BUDGETS:
            raise unknown("budget", budget, BUDGETS)
        if seconds is not None:
            raise UsageError(
                f"--budget {budget} and --seconds {seconds:g} both set the simulated seconds; give one of them"
            )
        preset = BUDGETS[budget].get(space, {})
        if dataset not in preset:
            raise UsageError(f"budget {budget!r} has no value for {dataset} on {space}; use --seconds or --evaluations")
        seconds = preset[dataset]
    if evaluations is not None:
        try:
            if isinstance(evaluations, bool):
                raise TypeError
            evaluations = operator.index(evaluations)
        except TypeError:
            raise UsageError(f"evaluations {evaluations!r}: expected a whole number of at least 1") from None
        if evaluations < 1:
            raise UsageError(f"evaluations {evaluations}: expected at least 1")
    number = isinstance(seconds, (int, float, np.number)) and not isinstance(seconds, bool)
    if seconds is not None and not (number and np.isfinite(seconds) and seconds > 0):
        raise UsageError(f"seconds {seconds}: expected a positive number of simulated seconds")
    if evaluations is None and seconds is None:
        evaluations = DEFAULT_EVALUATIONS
    return evaluations, None if seconds is None else float(seconds)


def _same(seen: Measure, scored: Measure) -> bool:
    """Whether the signal is the very number that the final metric is."""
    return seen.seed != "random" and str(seen) == str(scored)


def _protocol(table: Table, dataset: str, signal: str | None, final: str | None) -> tuple[Measure, Measure]:
    """Signal and final metric: those asked for, else the table's protocol (design, Tables)."""
    if signal is None:
        schedules = measures.available(table, dataset, "val")
        if not schedules:
            raise UsageError(
                f"table {table.name!r} has no validation accuracy on {dataset}; {measures.holdings(table, dataset)}"
            )
        signal = f"val@{SHORT_SCHEDULE if SHORT_SCHEDULE in schedules else schedules[-1]}"
    seen = measures.parse(signal, table, dataset)
    if final is None:
        full = max(
            (s for split in measures.SPLITS for d in table.datasets for s in table.schedules(d, f"{split}_acc")),
            default=0,
        )
        tested = any(table.schedules(d, "test_acc") for d in table.datasets)
        final = f"{'test' if tested else 'val'}@{full}:mean"
    scored = measures.parse(final, table, dataset)
    if scored.seed == "random":
        raise UsageError(f"final metric {final!r}: a random seed is no final metric; use :mean or a seed")
    return seen, scored
