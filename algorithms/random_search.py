"""Random search: the control that every other algorithm has to beat."""

from __future__ import annotations

import numpy as np

from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked


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

    #: Architectures a step: enough to make Python's share vanish, few enough to stay in the processor's cache.
    _CHUNK = 512

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._k = min(self._CHUNK, task.evaluations or self._CHUNK)

    def ask(self) -> Asked:
        if not self.space.arch_shape:
            return self.space.sample_index(self.streams.uniform(self._k))
        each = self.space.uniforms_per_sample
        return np.asarray(self.space.sample(self.streams.uniform(self._k * each).reshape(self.runs, self._k, each)))
