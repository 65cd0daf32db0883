"""What an algorithm holds: the question it is asked, and nothing that could answer it.

A Task has no reference to a table, a problem or a final metric, not even through an array's base: its cost column is a
copy. The search signal arrives through ``tell`` alone, one paid evaluation at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError
from nasharness.search.evaluator import Known
from nasharness.search.objective import Objective
from nasharness.search.start import OWN, Start
from nasharness.search.streams import Streams
from nasharness.spaces.base import Floats, Indices, Space


class Task:
    """One batch of runs, as its algorithm sees it.

    ``space``: the search space. ``dataset``: its name, e.g. ``"cifar10"``. ``seeds``: int64 ``[runs]``.
    ``streams``: the batch's random streams. ``epochs``: fidelities that may be asked, ascending; the last is the full
    one. ``stages``: cheaper measurements that may be asked in place of the signal, in order, each by its number below
    zero. ``evaluations``, ``seconds``: the budget, either may be None. ``free_repeats``: whether asking a run's
    architecture again costs nothing. ``objectives``: what is wanted, the first is what an evaluation pays for.
    ``several``: whether ``tell`` brings them all, ``[runs, k, objectives]`` instead of ``[runs, k]``.
    """

    def __init__(
        self,
        *,
        space: Space,
        dataset: str,
        seeds: NDArray[np.int64],
        epochs: tuple[int, ...],
        evaluations: int | None,
        seconds: float | None,
        free_repeats: bool,
        costs: Callable[[int], Floats] | None,
        whole_signal: Callable[[], Floats] | None,
        objectives: tuple[Objective, ...] = (),
        several: bool = False,
        known: Known | None = None,
        start: Start = OWN,
        exact: bool = False,
        stages: tuple[int, ...] = (),
    ) -> None:
        self.space = space
        self.dataset = dataset
        self.seeds = seeds
        self.runs = len(seeds)
        self.streams = Streams(seeds)
        self.epochs, self.stages = epochs, stages
        self.evaluations = evaluations
        self.seconds = seconds
        self.free_repeats = free_repeats
        self.objectives = objectives
        self.several = several
        self._known = known
        self._start = start
        #: whether an architecture tells the same signal every time
        self.exact = exact
        #: whether the algorithm has asked what to begin with
        self.started = False
        self._costs = {} if costs is None else {epoch: np.array(costs(epoch)) for epoch in (*stages, *epochs)}
        self._whole_signal = None if whole_signal is None else np.array(whole_signal())

    def cost(self, ids: ArrayLike, epochs: int | None = None) -> Floats:
        """Simulated seconds that one evaluation of ``ids`` ``[...]`` costs at ``epochs`` (default: the full ones).

        NaN where there are no times.
        """
        epochs = self.epochs[-1] if epochs is None else epochs
        if not self._costs:
            return np.full(np.shape(ids)[: np.ndim(ids) - len(self.space.arch_shape)], np.nan)
        if epochs not in self._costs:
            raise UsageError(f"epochs {epochs}: this problem can be asked at {', '.join(map(str, self.epochs))}")
        seconds: Floats = self._costs[epochs][np.asarray(ids)]
        return seconds

    def known(self, number: int, ids: Indices) -> Floats:
        """Values of the known objective ``number``, adjusted (higher is better), of architectures ``[...]``.

        Costs nothing. Raises UsageError for an objective that has to be paid for.
        """
        objective = self.objectives[number]
        if not objective.known or self._known is None:
            raise UsageError(f"objective {objective.name!r} is told by evaluations alone")
        return self._known.values(number, ids)

    def excess(self, ids: Indices) -> Floats:
        """How far architectures ``[...]`` are known to break the limits, 0 where they keep them. Costs nothing."""
        if self._known is None or not self._known.limited:
            return np.zeros(np.shape(ids)[: np.ndim(ids) - len(self.space.arch_shape)])
        return self._known.excess(ids)

    @property
    def nothing(self) -> Indices:
        """No architectures: ``[runs, 0, *arch_shape]``, the own start of what draws as it goes."""
        return np.empty((self.runs, 0, *self.space.arch_shape), dtype=self.space.arch_dtype)

    @property
    def start_given(self) -> bool:
        """Whether the problem says what to begin with."""
        return not self._start.own

    def start(self, count: int, own: Callable[[], Indices]) -> Indices:
        """The first architectures of every run, ``[runs, n, *arch_shape]``: the problem's, else what ``own()`` returns.

        An algorithm evaluates them before any other, and learns from them as it does from its own. ``count``: how many
        it begins with by itself, which is how many are drawn where the problem says how, but not how many; 0: it does
        not matter. ``own`` is called only where the problem leaves the start to the algorithm.
        """
        self.started = True
        if self._start.own:
            return own()
        return self._start.draw(self.space, self.seeds, count, self.excess)

    def whole_signal(self) -> Floats:
        """The expected signal of every architecture at full fidelity, float64 ``[n]``.

        Reading it is no search: only an algorithm registered with ``needs=("whole-signal",)`` may, and every result of
        such an algorithm says so.
        """
        if self._whole_signal is None:
            raise UsageError('reading the whole signal needs needs=("whole-signal",) in the algorithm\'s registration')
        return self._whole_signal
