"""Regularised (aging) evolution: REA in NATS-Bench."""

from __future__ import annotations

import numpy as np

from nasharness import fronts
from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices


@register(
    "rea",
    citation="Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019; as in NATS-Bench",
    needs=("objectives",),
    learns_after="population",
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
    of them, evaluate the child, drop the oldest member, as NATS-Bench's script does.

    With several objectives the best of a tournament is the one on the lowest non-dominated rank of the population, the
    loneliest of equals by crowding distance (Deb et al., NSGA-II, IEEE TEC 2002; the combination is ours).
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
        shape = (population, self.runs)
        self._ids = np.empty((*shape, *self.space.arch_shape), dtype=self.space.arch_dtype)
        self._fitness = np.full(shape, -np.inf)
        self._values = np.full((*shape, len(task.objectives)), np.nan) if task.several else None
        self._born = 0
        self._rows = np.arange(self.runs)

    def ask(self) -> Asked:
        if self._born < self._members:
            u = self.streams.uniform(self.space.uniforms_per_sample)
            return self.space.sample(u)[:, None]
        u = self.streams.uniform(self._sample + self.space.mutation_uniforms)
        # places in the population, its members and runs in one row: taking from a row is what numpy does fastest
        drawn = (u[:, : self._sample].T * self._members).astype(np.intp) * self.runs + self._rows  # [sample, runs]
        best = self._fitness.reshape(-1).take(drawn).argmax(axis=0)
        chosen = drawn.reshape(-1).take(best * self.runs + self._rows)
        parents = self._ids.reshape(-1, *self.space.arch_shape).take(chosen, axis=0)
        return self.space.mutate(parents, u[:, self._sample :])[:, None]

    def tell(self, ids: Indices, values: Floats) -> None:
        slot = self._born % self._members
        self._ids[slot] = ids[:, 0]
        self._born += 1
        if self._values is None:
            self._fitness[slot] = values[:, 0]
            return
        self._values[slot] = values[:, 0]
        points = -np.moveaxis(self._values, 0, 1)  # fronts take lower for better: [runs, population, objectives]
        ranks = fronts.ranks(points)
        lonely = fronts.crowding(points, ranks)
        # less than one rank, however lonely
        self._fitness = (0.5 - 0.5 / (1 + lonely) - ranks).T
