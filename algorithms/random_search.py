"""Random search: the control that every other algorithm has to beat."""

from __future__ import annotations

import numpy as np

from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.search.start import Start, dense
from nasharness.spaces.base import Indices


@register(
    "random",
    citation="Bergstra & Bengio, Random Search for Hyper-Parameter Optimization, JMLR 2012; as in NATS-Bench",
    control=True,
)
class RandomSearch(Algorithm):
    """Uniform random search, with replacement.

    Every architecture is drawn uniformly and independently, which is what NATS-Bench's draw of each edge's operation or
    each layer's width amounts to (docs/reproduction/multi-trial.md#random-search). No settings.
    """

    #: Architectures a step, of a run and of all of them: enough to make Python's share vanish, few enough to stay in
    #: the processor's cache.
    _CHUNK, _ALL = 512, 1 << 16

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._k = max(1, min(self._CHUNK, self._ALL // self.runs))
        self._start = task.start(0, self._own_start)
        self._left = max(0, (task.evaluations or 0) - self._start.shape[1])
        self._each = self.space.uniforms_per_sample if self.space.arch_shape else 1
        self.streams.expect(self._left * self._each)

    def _own_start(self) -> Indices:
        return self.task.nothing

    def ask(self) -> Asked:
        if self._start.shape[1]:
            first, self._start = self._start, self._start[:, :0]
            return first
        k = min(self._k, self._left) if self._left > 0 else self._k  # more than the budget where limits refuse some
        self._left -= k
        u = self.streams.uniform(k * self._each)
        if not self.space.arch_shape:
            return self.space.sample_index(u)
        return np.asarray(self.space.sample(u.reshape(self.runs, k, self._each)))


@register(
    "dense-then-random",
    citation="the start of Zhang et al., AutoShrink, AAAI 2020, and nothing else of it",
    needs=("product", "index", "ladder"),
    control=True,
)
class DenseThenRandom(RandomSearch):
    """The full network and all that one removal makes of it, then random search: what that start is worth alone.

    A control for algorithms that begin there; see ``--start dense``, which gives any algorithm this start. No settings.
    """

    def _own_start(self) -> Indices:
        if (self.task.excess(dense(self.space)) > 0).all():  # nothing of it keeps the limits
            return self.task.nothing
        return Start.parse("dense", self.space).draw(self.space, self.task.seeds, 0, self.task.excess)
