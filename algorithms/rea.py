"""Regularised (aging) evolution: REA in NATS-Bench."""

from __future__ import annotations

import numpy as np

from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices


@register(
    "rea",
    citation="Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019; as in NATS-Bench",
    variants={
        "paper": (
            "Regularised evolution with the population of 100 and the tournament of 25 of Real et al. (2019)",
            {"population": 100, "sample": 25},
        ),
    },
    meanings={
        "population": "members kept, the first ones random; 1 to 100,000; NATS-Bench's (rea.paper: 100)",
        "sample": "members drawn, of which the best is mutated; 1 to 100,000; NATS-Bench's (rea.paper: 25)",
    },
)
class RegularizedEvolution(Algorithm):
    """Regularised evolution with the settings of NATS-Bench: population 10, tournament of 3.

    ``population`` random architectures first; then, forever: draw ``sample`` members with replacement, mutate the best
    of them, evaluate the child, drop the oldest member. (facts, nats_bench.md 4.1)
    """

    def __init__(self, task: Task, *, population: int = 10, sample: int = 3) -> None:
        super().__init__(task)
        for name, value in (("population", population), ("sample", sample)):
            if not 1 <= value <= 100_000:
                raise UsageError(f"rea: {name} = {value}: expected 1 to 100,000")
        self._members = population
        self._sample = sample
        # The population is a ring: the oldest member sits where the next child goes. One row a member, so that a
        # member of all runs is contiguous.
        self._ids = np.empty((population, self.runs), dtype=np.int32)
        self._fitness = np.full((population, self.runs), -np.inf)
        self._born = 0
        self._rows = np.arange(self.runs)

    def ask(self) -> Asked:
        if self._born < self._members:
            u = self.streams.uniform(self.space.uniforms_per_sample)
            return self.space.sample(u)[:, None]
        u = self.streams.uniform(self._sample + self.space.mutation_uniforms)
        drawn = (u[:, : self._sample].T * self._members).astype(np.intp)  # [sample, runs]
        best = drawn[self._fitness[drawn, self._rows].argmax(axis=0), self._rows]
        parents = self._ids[best, self._rows]
        return self.space.mutate(parents, u[:, self._sample :])[:, None]

    def tell(self, ids: Indices, values: Floats) -> None:
        slot = self._born % self._members
        self._ids[slot] = ids[:, 0]
        self._fitness[slot] = values[:, 0]
        self._born += 1
