"""The search loop: one Python step advances every run of a batch.

The loop owns what an algorithm must not decide: budget, simulated clock, repeat queries, incumbent, trajectory. A slot
is evaluated if and only if the run still has budget before it, so the last evaluation may overshoot the seconds, as in
NATS-Bench's own scripts. An architecture that is known to break a limit is not evaluated: the algorithm is told a
value below every signal, the lower the further it is from the limit.
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

from nasharness.errors import AlgorithmFailedError, UsageError
from nasharness.search.algorithm import NOTHING, Algorithm, method
from nasharness.search.asks import asked, beyond
from nasharness.search.evaluator import Evaluator, Truth
from nasharness.search.problem import Problem
from nasharness.search.streams import NOISE, Streams, lots
from nasharness.search.trajectories import Trajectories, present
from nasharness.spaces.base import Floats, Indices, Space

#: A run that pauses or asks for free repeats only, this often in a row, will not come to an end by itself.
STALL = 1_000
#: Runs whose clocks are summed at a time, so that their costs stay in the processor's cache.
_ROWS = 64
_NONE = np.empty(0, dtype=np.intp)


@dataclass
class Searched:
    """What a batch of searches leaves: trajectories, answers, and what was paid."""

    trajectories: Trajectories
    incumbent: Indices  # [runs, *arch_shape]
    recommended: Indices  # [runs, *arch_shape]
    refused: NDArray[np.int64]  # [runs], proposals known to break a limit, which were not paid for
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
    several = algorithm.task.several
    with _one_blas_thread():
        while state.running:
            ids, fidelity, full = asked(algorithm, evaluator, len(seeds), problem.space)
            if not (problem.start.own or algorithm.task.started):
                raise AlgorithmFailedError(
                    f"{method(type(algorithm), 'ask')} begins without asking Task.start what to begin with, which is "
                    f'{problem.start} here; have it do so, or register it with no_start="the reason why it cannot"'
                )
            values, finished = state.evaluate(ids, fidelity, full)
            algorithm.tell(ids, values if not several else state.objectives(ids, values))
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
        self.alive, self.running = np.ones(runs, dtype=bool), runs
        self.space = problem.space
        self.known = problem.known()
        self.limited = self.known is not None and self.known.limited
        self.epochs = np.asarray(evaluator.epochs, dtype=np.int16)
        # all runs alive and equally far: see _evaluate_level
        self.level = problem.repeats == "charged" and not self.limited
        # nobody asks for the clock before the end, and it follows from what was evaluated: see _leave_level
        self.clock_waits = problem.seconds is None and len(self.epochs) == 1
        self.used = np.zeros(runs, dtype=np.int64)
        self.clock = np.zeros(runs)
        self.idle = np.zeros(runs, dtype=np.int64)
        self.best = np.full(runs, -np.inf)
        self.refused = np.zeros(runs, dtype=np.int64)
        self.incumbent = np.full((runs, *self.space.arch_shape), NOTHING, dtype=self.space.arch_dtype)
        self.recommended = self.incumbent.copy()
        self.seeds = seeds
        self.trajectories = Trajectories.empty(
            runs,
            expected_steps(problem, evaluator),
            self.space,
            problem.final.seed == "others" and evaluator.counts is not None,
        )
        self.trajectories.seeds = seeds
        self.noise: Floats | None = None
        if evaluator.counts is not None:
            self.noise_streams = Streams(seeds, NOISE)
            self.noise = self.noise_streams.uniform(self.trajectories.steps)
        self.seen: NDArray[np.int8] | None = None
        if problem.repeats == "free":
            # 0: never evaluated; otherwise the trial it yielded, plus one
            self.seen = np.zeros((runs, len(evaluator.epochs) * problem.space.size), dtype=np.int8)

    @property
    def count(self) -> NDArray[np.int64]:
        return self.trajectories.count

    def evaluate(self, ids: Indices, fidelity: int | Indices, full: bool) -> tuple[Floats, NDArray[np.intp]]:
        """Evaluate what the budget allows of ``ids`` ``[runs, k]``; return the values and the runs that end here.

        ``full``: whether every slot holds an architecture.
        """
        if self.level:
            plain = self._evaluate_level(ids, fidelity) if full else None
            if plain is not None:
                return plain
            self._leave_level()
        problem = self.problem
        wanted = present(ids, self.space) & self.alive[:, None]
        excess = self._excess(ids, wanted)
        wanted &= excess == 0
        asked = wanted
        k = ids.shape[1]
        if problem.evaluations is not None and self.seen is None:
            asked = wanted & (self.used[:, None] + np.cumsum(wanted, axis=1) - wanted < problem.evaluations)
        where = np.where(asked[..., None] if self.space.arch_shape else asked, ids, 0)
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
        if trials is None and self.noise is not None:
            trials = self.evaluator.drawn(where, self.noise[self.rows, position])
        if trials is not None:
            values = self.evaluator.signal_of_trial(where, fidelity, trials)
        else:
            values = self.evaluator.signal(where, fidelity)
        values = np.where(valid, values, np.nan)

        self._record(valid, position, ids, values, spent, fidelity)
        if self.trajectories.trials is not None and trials is not None:
            self.trajectories.trials[np.broadcast_to(self.rows, valid.shape)[valid], position[valid]] = trials[valid]
        if self.limited:
            broken = excess > 0
            self.refused += broken.sum(axis=1)
            # a backend's worst is minus infinity, of which there is no zero-fold
            far = np.where(broken, np.minimum(excess, 1e6), 1.0)
            low = self.evaluator.worst - max(1.0, abs(self.evaluator.worst)) * far
            values = np.where(broken, low, values)
        made = valid.sum(axis=1)
        self.trajectories.count += made
        paid = charged & valid
        self.used += paid.sum(axis=1)
        last = np.where(valid, np.arange(1, k + 1), 0).max(axis=1)
        self.clock = spent[self.rows[:, 0], last]
        self.idle = np.where(paid.any(axis=1), 0, self.idle + np.maximum(made, 1))

        first = ids[..., 0] if self.space.arch_shape else ids
        ended = (first == NOTHING).all(axis=1) | (self.idle >= STALL)
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
        problem, trajectories = self.problem, self.trajectories
        start = int(trajectories.count[0])
        k = ids.shape[1]
        if problem.evaluations is not None and start + k > problem.evaluations:  # the budget ends within this step
            ids = ids[:, : problem.evaluations - start]
            fidelity = fidelity if isinstance(fidelity, int) else fidelity[:, : problem.evaluations - start]
        end = start + ids.shape[1]
        if self.clock_waits:
            self._make_room(end)
        else:
            spent = self.evaluator.cost(ids, fidelity)
            spent[:, 0] += self.clock
            if k > len(spent):
                np.add.accumulate(spent, axis=1, out=spent)
            else:  # the same sums, all runs at once
                for slot in range(1, end - start):
                    spent[:, slot] += spent[:, slot - 1]
            if problem.seconds is not None and spent[:, -1].max() >= problem.seconds:
                return None
            self._make_room(end)
            self.trajectories.clock[:, start:end] = spent
            self.clock = spent[:, -1]
        trajectories = self.trajectories
        if self.noise is None:
            values = self.evaluator.signal(ids, fidelity)
        else:
            trials = self.evaluator.drawn(ids, self.noise[:, start:end])
            values = self.evaluator.signal_of_trial(ids, fidelity, trials)
            if trajectories.trials is not None:
                trajectories.trials[:, start:end] = trials
        trajectories.ids[:, start:end] = ids
        trajectories.signal[:, start:end] = values
        if len(self.epochs) > 1:
            trajectories.epochs[:, start:end] = self.epochs[fidelity]
        trajectories.count[:] = self.used[:] = end
        if problem.evaluations is None or end < problem.evaluations:
            return values, _NONE
        self._leave_level()
        if end < start + k:
            values = np.concatenate([values, np.full((len(values), start + k - end), np.nan)], axis=1)
        return values, self.rows[:, 0]

    def _leave_level(self) -> None:
        """Leave the common case: find the clocks and incumbents, which nobody has asked for so far."""
        self.level = False
        made = int(self.count[0])
        if not made:
            return
        trajectories = self.trajectories
        if self.clock_waits:
            for first in range(0, len(self.rows), _ROWS):
                some = slice(first, first + _ROWS), slice(made)
                cost = self.evaluator.cost(trajectories.ids[some], 0)
                np.add.accumulate(cost, axis=1, out=trajectories.clock[some])
            self.clock = trajectories.clock[:, made - 1].copy()
        values = self._own(trajectories.signal[:, :made], trajectories.epochs[:, :made])
        self._rank(values, trajectories.ids[:, :made])

    def _own(self, values: Floats, epochs: NDArray[np.int16]) -> Floats:
        """Values ``[runs, k]`` of the signal; of stages minus infinity, since no incumbent comes from them."""
        return np.asarray(np.where(epochs < 0, -np.inf, values)) if self.evaluator.stages else values

    def _rank(self, values: Floats, ids: Indices) -> None:
        """Let the incumbents give way to better values ``[runs, k]``; of equals to the greatest of `lots`."""
        top = np.fmax.reduce(values, axis=1)  # no value is below all
        rows = np.flatnonzero((top >= self.best) & (top > -np.inf))
        if not len(rows):
            return
        tied = values == top[:, None]
        if len(rows) < len(values):
            tied = tied[rows]
        slot = tied.argmax(axis=1)
        several = np.flatnonzero(np.count_nonzero(tied, axis=1) > 1)
        if len(several):
            drawn = lots(self.seeds[rows[several]], ids[rows[several]])
            slot[several] = np.where(tied[several], drawn, -1.0).argmax(axis=1)
        chosen = ids[rows, slot]
        better = top[rows] > self.best[rows]
        if not better.all():
            equal = rows[~better]
            old, new = (
                lots(self.seeds[equal], each[:, None])[:, 0] for each in (self.incumbent[equal], chosen[~better])
            )
            better[~better] = new > old
        self.best[rows[better]] = top[rows[better]]
        self.incumbent[rows[better]] = chosen[better]

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
        where = np.broadcast_to(self.rows, valid.shape)[valid], position[valid]
        trajectories.ids[where] = ids[valid]
        trajectories.signal[where] = values[valid]
        trajectories.clock[where] = spent[:, 1:][valid]
        epochs = self.epochs[fidelity]
        trajectories.epochs[where] = epochs if epochs.ndim == 0 else epochs[valid]
        self._rank(self._own(np.where(valid, values, -np.inf), epochs), ids)

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

    def _excess(self, ids: Indices, wanted: NDArray[np.bool_]) -> Floats:
        """How far each slot ``[runs, k]`` is known to break the limits; 0 for the empty ones."""
        if not self.limited or self.known is None:
            return np.zeros(wanted.shape)
        return np.asarray(np.where(wanted, self.known.excess(np.maximum(ids, 0)), 0.0))

    def objectives(self, ids: Indices, values: Floats) -> Floats:
        """Add the other objectives to the signals ``[runs, k]``: ``[runs, k, objectives]``, NaN without a signal."""
        where = np.maximum(ids, 0)
        paid = iter(self.evaluator.more)
        columns = [values]
        for number, objective in enumerate(self.problem.objectives[1:], 1):
            if objective.known and self.known is not None:
                columns.append(self.known.values(number, where))
            else:
                columns.append(next(paid).take(where))
        if self.limited:  # what breaks a limit is worse in everything, or a cheap one would never be dominated
            excess = self._excess(ids, present(ids, self.space))
            columns[1:] = [np.where(excess > 0, -1e12 * (1 + np.minimum(excess, 1e6)), each) for each in columns[1:]]
        return np.where(np.isnan(values)[..., None], np.nan, np.stack(columns, axis=-1))

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
        self.running -= len(rows)
        if (self.count[rows] + self.refused[rows] == 0).any():
            raise AlgorithmFailedError(f"{method(type(algorithm), 'ask')} ended a run before anything was evaluated")
        answer = algorithm.recommend(rows)
        chosen = self.incumbent[rows]
        if answer is not None:
            answer = np.asarray(answer)
            shape = (len(rows), *self.space.arch_shape)
            if answer.shape != shape or answer.dtype.kind not in "iu" or beyond(answer, self.space):
                raise AlgorithmFailedError(
                    f"{method(type(algorithm), 'recommend')} returned {answer.dtype} {answer.shape}; "
                    f"expected int {shape} with architectures of space {self.space.name}"
                )
            good = present(answer, self.space)
            if self.limited:  # an answer that is known to break a limit gives way to the incumbent
                good &= self._excess(answer, good) == 0
            chosen = np.where(good[:, None] if self.space.arch_shape else good, answer, chosen)
        self.recommended[rows] = chosen

    def result(self) -> Searched:
        longest = max(1, int(self.count.max(initial=0)))  # one that stays empty where every proposal was refused
        trajectories = self.trajectories if longest == self.trajectories.steps else self.trajectories.resized(longest)
        if len(self.epochs) == 1:  # one number, seen everywhere, until there is padding to tell it from
            same = np.broadcast_to(self.epochs[0], trajectories.epochs.shape)
            trajectories.epochs = same if self.count.min(initial=longest) == longest else same.copy()
        clock = self.clock if self.evaluator.clocked else np.full(len(self.clock), np.nan)
        return Searched(trajectories.padded(), self.incumbent, self.recommended, self.refused, self.used, clock)


def scores(truth: Truth, space: Space, ids: Indices, shown: NDArray[np.int64] | None = None) -> Floats:
    """Final metric of answers ``[n, *arch_shape]``, NaN where a run has none; ``shown`` as in `Truth.score`."""
    good = present(ids, space)
    where = np.where(good[:, None] if space.arch_shape else good, ids, 0)
    return np.asarray(np.where(good, truth.score(where, shown), np.nan))


def expected_steps(problem: Problem, evaluator: Evaluator) -> int:
    """Evaluations a run is expected to make: exact for a budget in evaluations, generous for one in seconds."""
    steps = problem.evaluations
    if problem.seconds is not None:
        timed = int(1.25 * problem.seconds / evaluator.mean_cost) + 16
        steps = timed if steps is None else min(steps, timed)
    if steps is None:
        raise UsageError("a problem needs a budget: evaluations, seconds or both")
    return steps
