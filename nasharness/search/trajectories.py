"""The evaluations of a batch of runs, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.search.algorithm import NOTHING
from nasharness.search.streams import lots
from nasharness.spaces.base import Floats, Indices, Space

#: Columns of a trajectory, in the order of its fields.
_FIELDS = ("ids", "signal", "clock", "epochs", "trials")


def present(ids: Indices, space: Space) -> NDArray[np.bool_]:
    """Which slots ``[runs, k]`` of ``ids [runs, k, *arch_shape]`` hold an architecture."""
    return np.asarray((ids[..., 0] if space.arch_shape else ids) >= 0)


@dataclass
class Trajectories:
    """The evaluations of a batch of runs in order; rows are padded behind ``count`` with -1 and NaN.

    ``ids``: int32 ``[runs, steps]``, or int8 ``[runs, steps, positions]`` where the space has no indices. ``signal``:
    float64, adjusted: higher is better. ``clock``: float64, simulated seconds spent up to and with this evaluation, NaN
    without times. ``epochs``: int16 ``[runs, steps]``, 0 where none are told apart. ``trials``: int8, which trial was
    shown, counted among those that exist; None where that does not matter. ``count``: int64 ``[runs]`` evaluations,
    free repeats included. ``seeds``: int64 ``[runs]``, which break ties; None: the first of equals wins.
    """

    ids: Indices
    signal: Floats
    clock: Floats
    epochs: NDArray[np.int16]
    trials: NDArray[np.int8] | None
    count: NDArray[np.int64]
    seeds: NDArray[np.int64] | None = None

    @classmethod
    def empty(cls, runs: int, steps: int, space: Space | None = None, trials: bool = False) -> Trajectories:
        """Room for ``steps`` evaluations a run, of indices where no ``space`` says otherwise."""
        shape = (runs, steps)
        return cls(
            np.empty(shape, np.int32) if space is None else np.empty((*shape, *space.arch_shape), space.arch_dtype),
            np.empty(shape),
            np.empty(shape),
            np.empty(shape, dtype=np.int16),
            np.empty(shape, dtype=np.int8) if trials else None,
            np.zeros(runs, dtype=np.int64),
        )

    @property
    def steps(self) -> int:
        """Room along the second axis."""
        return int(self.ids.shape[1])

    def made(self) -> NDArray[np.bool_]:
        """Which places hold an evaluation: bool ``[runs, steps]``."""
        return np.asarray(np.arange(self.steps) < self.count[:, None])

    def padded(self) -> Trajectories:
        """Itself, with the padding written: nothing behind ``count`` was ever initialised."""
        if self.count.min(initial=self.steps) < self.steps:
            behind = ~self.made()
            for name, value in zip(_FIELDS, (NOTHING, np.nan, np.nan, 0, -1), strict=True):
                if getattr(self, name) is not None:
                    getattr(self, name)[behind] = value
        return self

    def resized(self, steps: int) -> Trajectories:
        """A copy with room for ``steps`` evaluations, cut or longer."""
        kept = min(steps, self.steps)
        columns: list[Any] = []
        for name in _FIELDS:
            old = getattr(self, name)
            new = None if old is None else np.empty((len(old), steps, *old.shape[2:]), dtype=old.dtype)
            if new is not None:
                new[:, :kept] = old[:, :kept]
            columns.append(new)
        return Trajectories(*columns, self.count.copy(), self.seeds)  # type: ignore[call-arg]

    @staticmethod
    def concatenate(parts: list[Trajectories]) -> Trajectories:
        """Stack batches of runs, padded to the longest. Takes the arrays of ``parts``, where there are several."""
        if len(parts) == 1:
            return parts[0]
        steps = max(part.steps for part in parts)
        parts = [part if part.steps == steps else part.resized(steps).padded() for part in parts]
        columns: list[Any] = []
        for name in (*_FIELDS, "count", "seeds"):
            some = [getattr(part, name) for part in parts]
            columns.append(None if some[0] is None else np.concatenate(some))
            for part in parts:  # what was stacked goes, so that hardly anything is held twice
                setattr(part, name, None)
        return Trajectories(*columns)

    def incumbents(self) -> Indices:
        """The best architecture after each evaluation, see `improvements`: ``[runs, steps, *arch_shape]``."""
        improved, _ = self.improvements()
        where = np.maximum.accumulate(np.where(improved, np.arange(self.steps), 0), axis=1)
        ids = self.ids[np.arange(len(self.ids))[:, None], where]
        ids[~self.made() | ~np.logical_or.accumulate(improved, axis=1)] = NOTHING
        return np.asarray(ids)

    def own(self) -> NDArray[np.bool_]:
        """Which places hold an evaluation of the signal, and not of a stage: bool ``[runs, steps]``."""
        return np.asarray(self.made() & (self.epochs >= 0))

    def improvements(self) -> tuple[NDArray[np.bool_], Floats]:
        """Which evaluations became the incumbent, bool ``[runs, steps]``, and the best signal after each.

        Of equals the one with the greatest of `lots`, for which all algorithms with one seed are alike.
        """
        best = np.fmax.accumulate(np.where(self.own(), self.signal, -np.inf), axis=1)
        improved = best > -np.inf
        improved[:, 1:] &= best[:, 1:] > best[:, :-1]
        equal = self.made() & (self.signal == best)
        rows = np.flatnonzero((equal & ~improved).any(axis=1))
        if len(rows) and self.seeds is not None:
            # within a stretch of equal bests the greatest lot so far; stretches are numbered, so one pass does all
            lot = np.where(equal[rows], lots(self.seeds[rows], self.ids[rows]) + improved[rows].cumsum(axis=1), -1.0)
            drawn = np.maximum.accumulate(lot, axis=1)
            improved[rows, 1:] = drawn[:, 1:] > drawn[:, :-1]
        return improved, best

    def shown(
        self, runs: NDArray[np.intp], ids: Indices, until: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64] | None:
        """Which trials of architecture ``ids[i]`` run ``runs[i]`` has been shown, in its first ``until[i]``
        evaluations.

        int64 ``[len(runs)]``, one bit a trial; None where trials do not matter. ``runs``: places in the batch.
        """
        if self.trials is None:
            return None
        until = self.count[runs] if until is None else until
        bits = np.zeros(len(runs), dtype=np.int64)
        rows = max(1, (1 << 20) // max(self.steps, 1))  # a few MB at a time
        for at in range(0, len(runs), rows):
            part = runs[at : at + rows]
            # few evaluations are of that architecture: found by one comparison, and looked at one by one
            found = np.flatnonzero(self.ids[part] == ids[at : at + rows, None])
            row, step = np.divmod(found, self.steps)
            kept = (step < until[at : at + rows][row]) & (self.epochs[part[row], step] >= 0)
            row, step = row[kept], step[kept]
            np.bitwise_or.at(bits, at + row, np.int64(1) << self.trials[part[row], step].astype(np.int64))
        return bits


@dataclass
class Digest:
    """What is asked of the trajectories of finished runs before all that is kept of them may be this, ``[runs]``.

    ``signal``: the best, minus infinity where there is none. ``first``: what was evaluated first, NOTHING where that
    was a stage. ``shown_first``, ``shown``, ``shown_recommended``: which of its trials, of the incumbent's and of the
    answer's were shown, see `Trajectories.shown`; the first in the first evaluation alone.
    """

    signal: Floats
    first: Indices
    shown_first: NDArray[np.int64] | None
    shown: NDArray[np.int64] | None
    shown_recommended: NDArray[np.int64] | None

    @classmethod
    def of(cls, trajectories: Trajectories, incumbent: Indices, recommended: Indices) -> Digest:
        """Of a batch of runs and its answers ``[runs, *arch_shape]``."""
        rows, own = np.arange(len(incumbent)), trajectories.own()
        first = trajectories.ids[:, 0].copy()
        first[~own[:, 0]] = NOTHING
        return cls(
            np.fmax.reduce(trajectories.signal, axis=1, where=own, initial=-np.inf),
            first,
            trajectories.shown(rows, first, np.ones(len(rows), dtype=np.int64)),
            trajectories.shown(rows, incumbent),
            trajectories.shown(rows, recommended),
        )

    @staticmethod
    def concatenate(parts: list[Digest]) -> Digest:
        """Stack batches of runs."""
        columns = [[getattr(part, each.name) for part in parts] for each in fields(Digest)]
        return Digest(*(None if each[0] is None else np.concatenate(each) for each in columns))  # type: ignore[arg-type]
