"""Signal and truth, in two objects: what an evaluation yields and costs, and what results are scored by.

The loop holds the first alone; an algorithm neither. Values of both are *adjusted*: higher is better, so that what is
to be minimised is negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError
from nasharness.search import measure as measures
from nasharness.search.measure import Measure
from nasharness.spaces.base import Floats, Indices
from nasharness.tables import Table, seed_mean
from nasharness.tables.table import COST

if TYPE_CHECKING:
    from nasharness.search.objective import Limit, Objective


class Known:
    """Quantities that cost nothing to know: the known objectives and limits of a problem, adjusted.

    ``values(number, ids)``: of an objective, float64 ``[...]``. ``excess(ids)``: how far limits are broken, relative to
    their bounds, float64 ``[...]``: 0 where all are kept, infinite where an objective has no value (a device on which
    the architecture does not run, or was not measured). Both cover a space of any size.
    """

    def __init__(self, objectives: Sequence[Objective], limits: Sequence[Limit], read: Any) -> None:
        self._columns = {number: read(objective) for number, objective in enumerate(objectives) if objective.known}
        self._signs = [objective.sign for objective in objectives]
        self._limits = [(limit, read(limit.objective)) for limit in limits if limit.objective.known]
        self._partial = [number for number in self._columns if objectives[number].partial]
        self.limited = bool(self._limits or self._partial)

    def values(self, number: int, ids: Indices) -> Floats:
        """Adjusted values of objective ``number``."""
        return np.asarray(self._signs[number] * self._columns[number](ids))

    def excess(self, ids: Indices) -> Floats:
        """How far known limits are broken: the sum of their relative excesses."""
        broken = [limit.excess(column(ids)) for limit, column in self._limits]
        broken += [np.where(np.isnan(self._columns[number](ids)), np.inf, 0.0) for number in self._partial]
        return np.asarray(sum(broken))


class Evaluator:
    """The search signal and its cost, copied out of a table.

    ``epochs``: the fidelities, ascending; ``(0,)`` where none are told apart. ``counts``: int64 ``[n]`` trials that
    exist, None where there is one value. ``clocked``: whether the table has times. ``worst``: no signal is below it.
    ``more``: adjusted signals of further paid objectives. ``stages``: how many of the fidelities are stages, numbered
    below zero; they come first.
    """

    def __init__(
        self,
        table: Table,
        signal: Measure,
        sign: int,
        more: Sequence[tuple[Measure, int]] = (),
        stages: Sequence[Measure] = (),
    ) -> None:
        column = signal.column(table)
        planes, usable = [], []
        stored: list[int | None] = [epoch for epoch in column.epochs if epoch <= (signal.epoch or 0)]
        for epoch in stored or [None]:  # none to tell apart
            try:
                trials, self.counts = measures.read_trials(signal, table, epoch)
            except DataError:
                if epoch == signal.epoch:
                    raise
                continue  # an earlier epoch that was not stored for all is no fidelity
            planes.append(trials)
            usable.append(epoch or 0)
        own = sign * np.stack(planes)  # [fidelities, trials, n]
        self.stages = len(stages)
        self.epochs = (*range(-len(stages), 0), *usable)
        cheaper = [
            np.broadcast_to((-1 if each.column(table).minimise else 1) * measures.read_final(each, table), own[0].shape)
            for each in stages
        ]
        self._signal = np.concatenate([np.stack(cheaper), own]) if cheaper else own
        self.worst = float(np.nanmin(self._signal))
        self._flat = self._signal.reshape(-1)
        _, self._trials, self._n = self._signal.shape
        self._cost = _all_costs(table, signal, usable, stages)
        self._flat_cost = None if self._cost is None else self._cost.reshape(-1)
        self.clocked = self._cost is not None
        self.more = [each * measures.read_final(measure, table) for measure, each in more]

    def signal(self, ids: Indices, fidelity: int | Indices) -> Floats:
        """Signal of ``ids`` ``[...]`` where there is one value; ``fidelity`` indexes ``epochs``."""
        return np.asarray(self._flat.take(ids + fidelity * self._n if len(self.epochs) > 1 else ids))

    def signal_of_trial(self, ids: Indices, fidelity: int | Indices, trials: NDArray[np.intp]) -> Floats:
        """Signal of given trials ``[...]``, counted among those that exist."""
        where = trials * self._n
        where += ids
        if len(self.epochs) > 1:
            where += np.asarray(fidelity * (self._trials * self._n))
        return np.asarray(self._flat.take(where))

    def drawn(self, ids: Indices, noise: Floats) -> NDArray[np.intp]:
        """Which trial an evaluation of ``ids`` ``[...]`` shows, counted among those that exist."""
        if self.counts is None:
            return np.zeros(np.shape(ids), dtype=np.intp)
        return (noise * self.counts.take(ids)).astype(np.intp)

    def cost(self, ids: Indices, fidelity: int | Indices) -> Floats:
        """Simulated seconds of one evaluation of ``ids`` ``[...]``; NaN without times."""
        if self._flat_cost is None:
            return np.full(np.shape(ids), np.nan)
        return np.asarray(self._flat_cost.take(ids + fidelity * self._n if len(self.epochs) > 1 else ids))

    def cost_column(self, epochs: int) -> Floats:
        """Simulated seconds of every architecture ``[n]`` at ``epochs``; NaN without times."""
        if self._cost is None:
            return np.full(self._n, np.nan)
        column: Floats = self._cost[self.epochs.index(epochs)]
        return column

    def expected_signal(self) -> Floats:
        """The signal at full fidelity, its mean over trials: float64 ``[n]``."""
        return np.asarray(np.nanmean(self._signal[-1], axis=0))

    @property
    def mean_cost(self) -> float:
        """Mean simulated seconds of one evaluation over the whole space; NaN without times."""
        return float("nan") if self._cost is None else float(self._cost[-1].mean())


def _all_costs(table: Table, signal: Measure, epochs: Sequence[int], stages: Sequence[Measure]) -> Floats | None:
    """Seconds of an evaluation of each stage and at each fidelity ``[stages + fidelities, n]``; None without times."""
    parts = [_cost(table, signal, epochs)]
    for stage in stages:  # of the same data set in proportion to its epochs
        own = (stage.epoch or 0, epochs[-1]) if stage.stored == signal.stored else (stage.epoch or 0,)
        cost = _cost(table, stage, own)
        parts.insert(-1, None if cost is None else cost[:1])
    timed = [part for part in parts if part is not None]
    return np.concatenate(timed) if len(timed) == len(parts) else None


def _cost(table: Table, signal: Measure, epochs: Sequence[int]) -> Floats | None:
    """Seconds of an evaluation, float64 ``[fidelities, n]``; None where the table has no times."""
    if table.has(signal.stored, "train_s"):
        train = table.values(signal.stored, "train_s")
        extra = table.values(signal.stored, "val_s") if table.has(signal.stored, "val_s") else 0.0
        cost = np.stack([epoch * train + signal.passes(epoch) * extra for epoch in epochs])
    elif table.has(signal.stored, COST):
        whole = table.values(signal.stored, COST)
        cost = np.stack([whole * (epoch / epochs[-1] if epochs[-1] else 1.0) for epoch in epochs])
    else:
        return None
    if not (np.isfinite(cost).all() and (cost > 0).all()):
        raise DataError(f"table {table.name!r}: the simulated seconds on {signal.stored} are not all positive numbers")
    return cost


class Truth:
    """The final metric of every architecture. Never in reach of an algorithm.

    ``values``: float64 ``[n]``, in the metric's own direction and unit; for ``others``, the mean over the trials that
    the signal does not show, or, where each evaluation shows a random one, over all, which
    is what an architecture scores on average over runs. ``optimum``: the best of those that keep the limits.
    """

    def __init__(
        self, table: Table, final: Measure, signal: Measure, minimise: bool, feasible: NDArray[np.bool_] | None = None
    ) -> None:
        self.values = measures.read_final(final, table)
        self.sign = -1 if minimise else 1
        self._trials: Floats | None = None
        if final.seed == "others":
            self._hide(table, final, signal)
        allowed = self.values if feasible is None else self.values[feasible]
        self.optimum = float(self.sign * (self.sign * allowed).max()) if len(allowed) else float("nan")

    def _hide(self, table: Table, final: Measure, signal: Measure) -> None:
        """Leave out of the score what the signal shows. Raises UsageError where an architecture has one trial only."""
        trials, counts = measures.read_trials(final, table, final.epoch)
        if counts is None or counts.min() < 2:
            raise UsageError(f"final metric {final}: some architectures have one trial only, so there are no others")
        column = final.column(table)
        if signal.column(table) != column or signal.epoch != final.epoch or signal.seed == "mean":
            return
        if signal.seed == "random":
            self._trials, self._counts = trials, counts
            return
        if signal.seed.startswith("draw"):
            shown = measures.drawn_trials(signal, counts)
            total = np.where(np.arange(len(trials))[:, None] < counts, trials, 0.0).sum(axis=0)
            self.values = (total - trials[shown, np.arange(len(counts))]) / (counts - 1)
            return
        plane = np.asarray(
            table.array(column.dataset, column.metric, column.schedule)[table.place(column, final.epoch)]
        )
        others = [label for label in measures.trial_labels(column) if label != signal.seed]
        self.values = seed_mean(plane[[column.seeds.index(label) for label in others]].astype(np.float64))

    @property
    def hides(self) -> bool:
        """Whether the score of an architecture depends on which of its trials a run has been shown."""
        return self._trials is not None

    def score(self, ids: Indices | np.int32, shown: NDArray[np.int64] | None = None) -> Floats:
        """Final metric of ``ids`` ``[...]``; ``shown`` ``[...]``: the trials that a run has seen, one bit each.

        Where a run has seen all of them there is no unseen one, and the mean over all stands.
        """
        scores: Floats = self.values[ids]
        if self._trials is None or shown is None:
            return scores
        numbers = np.arange(len(self._trials))
        hidden = (shown[..., None] >> numbers & 1 == 0) & (numbers < self._counts[ids][..., None])
        left = hidden.sum(axis=-1)
        total = np.where(hidden, np.moveaxis(self._trials[:, ids], 0, -1), 0.0).sum(axis=-1)
        return np.asarray(np.where(left > 0, total / np.maximum(left, 1), scores))

    def all_shown(self, ids: Indices, shown: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a run has seen every trial of ``ids`` ``[...]``, so that its score is no unseen one."""
        if self._trials is None:
            return np.zeros(np.shape(ids), dtype=bool)
        return np.asarray((shown | -1 << self._counts[ids]) == -1)
