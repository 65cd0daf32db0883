"""The search loop: one Python step advances every run of a batch.

The loop owns what an algorithm must not decide: budget, simulated clock, repeat queries, incumbent, trajectory. A slot
is evaluated if and only if the run still has budget before it, so the last evaluation may overshoot the seconds, as in
NATS-Bench's own scripts (facts 4.1).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search.algorithm import NOTHING, PAUSE, Algorithm
from nasharness.search.problem import Evaluator, Problem
from nasharness.search.streams import NOISE, Streams
from nasharness.spaces.base import Floats, Indices

#: A run that pauses or asks for free repeats only, this often in a row, will not come to an end by itself.
STALL = 1_000
_NONE = np.empty(0, dtype=np.intp)


@dataclass
class Trajectories:
    """The evaluations of a batch of runs in order; rows are padded behind ``count`` with -1 and NaN.

    ``ids``: int32 ``[runs, steps]``. ``signal``: float64, percent. ``clock``: float64, simulated seconds spent up to
    and with this evaluation. ``epochs``: int16 ``[runs, steps]``. ``count``: int64 ``[runs]`` evaluations, free
    repeats included.
    """

    ids: Indices
    signal: Floats
    clock: Floats
    epochs: NDArray[np.int16]
    count: NDArray[np.int64]

    @classmethod
    def empty(cls, runs: int, steps: int) -> Trajectories:
        """Room for ``steps`` evaluations a run."""
        shape = (runs, steps)
        return cls(
            np.empty(shape, dtype=np.int32),
            np.empty(shape),
            np.empty(shape),
            np.empty(shape, dtype=np.int16),
            np.zeros(runs, dtype=np.int64),
        )

    @property
    def steps(self) -> int:
        """Room along the second axis."""
        return int(self.ids.shape[1])

    def padded(self) -> Trajectories:
        """Itself, with the padding written: nothing behind ``count`` was ever initialised."""
        if self.count.min(initial=self.steps) < self.steps:
            behind = np.arange(self.steps) >= self.count[:, None]
            for array, value in ((self.ids, NOTHING), (self.signal, np.nan), (self.clock, np.nan), (self.epochs, 0)):
                array[behind] = value
        return self

    def resized(self, steps: int) -> Trajectories:
        """A copy with room for ``steps`` evaluations, cut or longer."""
        new = Trajectories.empty(len(self.count), steps)
        kept = min(steps, self.steps)
        for name in ("ids", "signal", "clock", "epochs"):
            getattr(new, name)[:, :kept] = getattr(self, name)[:, :kept]
        new.count[:] = self.count
        return new

    @staticmethod
    def concatenate(parts: list[Trajectories]) -> Trajectories:
        """Stack batches of runs, padded to the longest."""
        if len(parts) == 1:
            return parts[0]
        steps = max(part.steps for part in parts)
        parts = [part if part.steps == steps else part.resized(steps).padded() for part in parts]
        return Trajectories(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("ids", "signal", "clock", "epochs", "count")
            )
        )

    def incumbents(self) -> Indices:
        """The best architecture by signal after each evaluation, the first of equals: int32 ``[runs, steps]``."""
        best = np.fmax.accumulate(np.where(self.ids >= 0, self.signal, -np.inf), axis=1)
        improved = np.ones(best.shape, dtype=bool)
        improved[:, 1:] = best[:, 1:] > best[:, :-1]
        where = np.maximum.accumulate(np.where(improved, np.arange(best.shape[1]), 0), axis=1)
        ids = np.take_along_axis(self.ids, where, axis=1)
        return np.where(np.arange(self.steps) < self.count[:, None], ids, NOTHING).astype(np.int32)


@dataclass
class Searched:
    """What a batch of searches leaves: trajectories, answers, and what was paid."""

    trajectories: Trajectories
    incumbent: Indices  # [runs]
    recommended: Indices  # [runs]
    evaluations: NDArray[np.int64]  # [runs], charged ones
    seconds: Floats  # [runs], simulated


def search(
    algorithm: Algorithm,
    problem: Problem,
    evaluator: Evaluator,
    seeds: NDArray[np.int64],
    progress: Callable[[int], None] | None = None,
) -> Searched:
    """Run one batch of searches to the end of its budget. ``progress`` is called with the evaluations made so far."""
    state = _State(problem, evaluator, seeds)
    with _one_blas_thread():
        while state.alive.any():
            ids, fidelity = _checked(algorithm, evaluator, len(seeds), problem.space.size)
            values, finished = state.evaluate(ids, fidelity)
            algorithm.tell(ids, values)
            if len(finished):
                state.finish(finished, algorithm)
            if progress is not None:
                progress(int(state.count.sum()))
    return state.result()


def _one_blas_thread() -> contextlib.AbstractContextManager[object]:
    """Keep matrix products on one thread: they are small and many, one a run, and threads only wait for each other."""
    if os.environ.get("OPENBLAS_NUM_THREADS") == "1":  # as the command line sets it
        return contextlib.nullcontext()
    limit: contextlib.AbstractContextManager[object] = _blas().limit(limits=1, user_api="blas")
    return limit


@functools.cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController  # looks through the loaded libraries: once is enough

    return ThreadpoolController()


class _State:
    """The books of a batch of runs."""

    def __init__(self, problem: Problem, evaluator: Evaluator, seeds: NDArray[np.int64]) -> None:
        self.problem = problem
        self.evaluator = evaluator
        runs = len(seeds)
        self.rows = np.arange(runs)[:, None]
        self.alive = np.ones(runs, dtype=bool)
        # all runs alive and equally far: see _evaluate_level
        self.level = problem.repeats == "charged"
        self.used = np.zeros(runs, dtype=np.int64)
        self.clock = np.zeros(runs)
        self.idle = np.zeros(runs, dtype=np.int64)
        self.best = np.full(runs, -np.inf)
        self.incumbent = np.full(runs, NOTHING, dtype=np.int32)
        self.recommended = np.full(runs, NOTHING, dtype=np.int32)
        self.trajectories = Trajectories.empty(runs, expected_steps(problem, evaluator))
        self.noise: Floats | None = None
        if evaluator.counts is not None:
            self.noise_streams = Streams(seeds, NOISE)
            self.noise = np.array(self.noise_streams.uniform(self.trajectories.steps))
        self.seen: NDArray[np.int8] | None = None
        if problem.repeats == "free":
            # 0: never evaluated; otherwise the trial it yielded, plus one
            self.seen = np.zeros((runs, len(evaluator.epochs) * problem.space.size), dtype=np.int8)

    @property
    def count(self) -> NDArray[np.int64]:
        return self.trajectories.count

    def evaluate(self, ids: Indices, fidelity: int | Indices) -> tuple[Floats, NDArray[np.intp]]:
        """Evaluate what the budget allows of ``ids`` ``[runs, k]``; return the values and the runs that end here."""
        if self.level:
            plain = self._evaluate_level(ids, fidelity)
            if plain is not None:
                return plain
            self.level = False
        problem = self.problem
        wanted = (ids >= 0) & self.alive[:, None]
        asked = wanted
        k = ids.shape[1]
        if problem.evaluations is not None and self.seen is None:
            asked = wanted & (self.used[:, None] + np.cumsum(wanted, axis=1) - wanted < problem.evaluations)
        where = np.where(asked, ids, 0)
        position = self.count[:, None] + np.cumsum(asked, axis=1) - asked  # of each slot in its run's trajectory
        self._make_room(int((self.count + asked.sum(axis=1)).max(initial=0)))
        position = np.minimum(position, self.trajectories.steps - 1)  # of empty slots, which nobody reads
        cost = np.where(asked, self.evaluator.cost(where, fidelity), 0.0)
        charged = asked
        trials = None
        if self.seen is not None:
            charged, trials = self._repeats(asked, where, fidelity, position)
            cost = np.where(charged, cost, 0.0)
        # sequential addition, so that the clock does not depend on how many slots a step has
        spent = np.add.accumulate(np.concatenate([self.clock[:, None], cost], axis=1), axis=1)
        valid = asked
        if problem.evaluations is not None and self.seen is not None:
            valid = valid & (self.used[:, None] + np.cumsum(charged, axis=1) - charged < problem.evaluations)
        if problem.seconds is not None:
            valid = valid & (spent[:, :-1] < problem.seconds)
        if trials is not None:
            values = self.evaluator.signal_of_trial(where, fidelity, trials)
        else:
            noise = None if self.noise is None else self.noise[self.rows, position]
            values = self.evaluator.signal(where, fidelity, noise)
        values = np.where(valid, values, np.nan)

        self._record(valid, position, ids, values, spent, fidelity)
        made = valid.sum(axis=1)
        self.trajectories.count += made
        paid = charged & valid
        self.used += paid.sum(axis=1)
        last = np.where(valid, np.arange(1, k + 1), 0).max(axis=1)
        self.clock = spent[self.rows[:, 0], last]
        self.idle = np.where(paid.any(axis=1), 0, self.idle + np.maximum(made, 1))

        ended = (ids == NOTHING).all(axis=1) | (self.idle >= STALL)
        if problem.evaluations is not None:
            ended |= self.used >= problem.evaluations
        if problem.seconds is not None:
            ended |= self.clock >= problem.seconds
        return values, np.flatnonzero(ended & self.alive)

    def _evaluate_level(self, ids: Indices, fidelity: int | Indices) -> tuple[Floats, NDArray[np.intp]] | None:
        """The same for the common case: every run alive, as far as the others, and asking for ``k`` paid evaluations.

        Slices stand in for masks, which makes a step several times faster. Returns None, having changed nothing, where
        the case is another one; a test compares the two ways.
        """
        problem = self.problem
        start = int(self.trajectories.count[0])
        asked = ids.shape[1]
        if problem.evaluations is not None and start + asked > problem.evaluations:  # the budget ends within this step
            ids = ids[:, : problem.evaluations - start]
            fidelity = fidelity if isinstance(fidelity, int) else fidelity[:, : problem.evaluations - start]
        if ids.min() < 0:
            return None
        k = ids.shape[1]
        cost = self.evaluator.cost(ids, fidelity)
        cost[:, 0] += self.clock
        spent = np.add.accumulate(cost, axis=1, out=cost)
        if problem.seconds is not None and spent[:, -1].max() >= problem.seconds:
            return None
        end = start + k
        self._make_room(end)
        trajectories = self.trajectories
        values = self.evaluator.signal(ids, fidelity, None if self.noise is None else self.noise[:, start:end])
        trajectories.ids[:, start:end] = ids
        trajectories.signal[:, start:end] = values
        trajectories.clock[:, start:end] = spent
        trajectories.epochs[:, start:end] = np.asarray(self.evaluator.epochs, dtype=np.int16)[fidelity]
        trajectories.count += k
        self.used += k
        self.clock = spent[:, -1].copy()
        self._rank(values, ids)
        if problem.evaluations is None or end < problem.evaluations:
            return values, _NONE
        if k < asked:
            values = np.concatenate([values, np.full((len(values), asked - k), np.nan)], axis=1)
        return values, self.rows[:, 0]

    def _rank(self, values: Floats, ids: Indices) -> None:
        """Let the incumbents give way to better values ``[runs, k]``, the first of equals."""
        if values.shape[1] == 1:
            top, chosen = values[:, 0], ids[:, 0]
        else:
            rows, slot = self.rows[:, 0], values.argmax(axis=1)
            top, chosen = values[rows, slot], ids[rows, slot]
        better = top > self.best
        np.copyto(self.best, top, where=better)
        np.copyto(self.incumbent, chosen, where=better, casting="same_kind")

    def _record(
        self,
        valid: NDArray[np.bool_],
        position: NDArray[np.int64],
        ids: Indices,
        values: Floats,
        spent: Floats,
        fidelity: int | Indices,
    ) -> None:
        trajectories = self.trajectories
        where = np.broadcast_to(self.rows, ids.shape)[valid], position[valid]
        trajectories.ids[where] = ids[valid]
        trajectories.signal[where] = values[valid]
        trajectories.clock[where] = spent[:, 1:][valid]
        epochs = np.asarray(self.evaluator.epochs, dtype=np.int16)[fidelity]
        trajectories.epochs[where] = epochs if epochs.ndim == 0 else epochs[valid]
        self._rank(np.where(valid, values, -np.inf), ids)

    def _repeats(
        self, asked: NDArray[np.bool_], ids: Indices, fidelity: int | Indices, position: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Tell first evaluations, to be charged, from free repeats, which yield the same trial: two ``[runs, k]``."""
        seen, counts = self.seen, self.evaluator.counts
        if seen is None:
            raise AssertionError("repeats are charged")
        keys = np.broadcast_to(np.asarray(fidelity) * self.problem.space.size + ids, ids.shape)
        charged = np.zeros(ids.shape, dtype=bool)
        trials = np.zeros(ids.shape, dtype=np.intp)
        rows = self.rows[:, 0]
        for slot in range(ids.shape[1]):  # slots of one step may repeat each other
            known = seen[rows, keys[:, slot]]
            fresh = asked[:, slot] & (known == 0)
            drawn = np.zeros(len(rows), dtype=np.intp)
            if counts is not None and self.noise is not None:
                drawn = (self.noise[rows, position[:, slot]] * counts[ids[:, slot]]).astype(np.intp)
            trials[:, slot] = np.where(fresh, drawn, np.maximum(known, 1) - 1)
            charged[:, slot] = fresh
            seen[rows[fresh], keys[fresh, slot]] = drawn[fresh] + 1
        return charged, trials

    def _make_room(self, steps: int) -> None:
        have = self.trajectories.steps
        if steps > have:
            self.trajectories = self.trajectories.resized(max(steps, have + have // 2))
            if self.noise is not None:
                more = self.noise_streams.uniform(self.trajectories.steps - have)
                self.noise = np.concatenate([self.noise, more], axis=1)

    def finish(self, rows: NDArray[np.intp], algorithm: Algorithm) -> None:
        """Ask the runs that have just ended for their answers."""
        self.alive[rows] = False
        answer = algorithm.recommend(rows)
        chosen = self.incumbent[rows]
        if answer is not None:
            answer = np.asarray(answer)
            if answer.shape != rows.shape or answer.dtype.kind not in "iu" or (answer >= self.problem.space.size).any():
                raise UsageError(
                    f"{type(algorithm).__name__}.recommend returned {answer.dtype} {answer.shape}; "
                    f"expected int {rows.shape} with indices below {self.problem.space.size}"
                )
            chosen = np.where(answer >= 0, answer, chosen)
        self.recommended[rows] = chosen

    def result(self) -> Searched:
        longest = int(self.count.max(initial=0))
        trajectories = self.trajectories if longest == self.trajectories.steps else self.trajectories.resized(longest)
        return Searched(trajectories.padded(), self.incumbent, self.recommended, self.used, self.clock)


def expected_steps(problem: Problem, evaluator: Evaluator) -> int:
    """Evaluations a run is expected to make: exact for a budget in evaluations, generous for one in seconds."""
    steps = problem.evaluations
    if problem.seconds is not None:
        timed = int(1.25 * problem.seconds / evaluator.mean_cost) + 16
        steps = timed if steps is None else min(steps, timed)
    if steps is None:
        raise UsageError("a problem needs a budget: evaluations, seconds or both")
    return steps


def _checked(algorithm: Algorithm, evaluator: Evaluator, runs: int, size: int) -> tuple[Indices, int | Indices]:
    """Ask, and check what came: ids ``[runs, k]`` and the fidelity as an index into ``evaluator.epochs``."""
    asked = algorithm.ask()
    ids, epochs = asked if isinstance(asked, tuple) else (asked, evaluator.epochs[-1])
    ids = np.asarray(ids)
    name = type(algorithm).__name__
    if ids.ndim != 2 or len(ids) != runs or ids.shape[1] == 0 or ids.dtype.kind not in "iu":
        raise UsageError(f"{name}.ask returned {ids.dtype} {ids.shape}; expected int [{runs}, k] with k >= 1")
    if ids.min() < PAUSE or ids.max() >= size:
        raise UsageError(f"{name}.ask returned index {ids.min()} to {ids.max()}; expected {PAUSE} to {size - 1}")
    if isinstance(epochs, (int, np.integer)):
        if epochs not in evaluator.epochs:
            raise UsageError(
                f"{name}.ask wants {epochs} epochs; this problem has {', '.join(map(str, evaluator.epochs))}"
            )
        return ids, evaluator.epochs.index(int(epochs))
    epochs = np.broadcast_to(np.asarray(epochs), ids.shape)
    fidelity = np.searchsorted(evaluator.epochs, epochs)
    fidelity = np.minimum(fidelity, len(evaluator.epochs) - 1)
    wrong = (np.asarray(evaluator.epochs)[fidelity] != epochs) & (ids >= 0)
    if wrong.any():
        raise UsageError(
            f"{name}.ask wants {epochs[wrong][0]} epochs; this problem has {', '.join(map(str, evaluator.epochs))}"
        )
    return ids, fidelity.astype(np.int32)
