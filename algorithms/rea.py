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

    ``population`` random architectures first, or the best of what the problem starts with; then, forever: draw
    ``sample`` members with replacement, mutate the best of them, evaluate the child, drop the oldest member, as
    NATS-Bench's script does (docs/reproduction/multi-trial.md#regularised-evolution).

    With several objectives the best of a tournament is the one on the lowest non-dominated rank of the population, the
    loneliest of equals by crowding distance (Deb et al., NSGA-II, IEEE TEC 2002; the combination is ours).
    """

    def __init__(self, task: Task, *, population: int = 10, sample: int = 3) -> None:
        super().__init__(task)
        for name, value in (("population", population), ("sample", sample)):
            if not 1 <= value <= 100_000:
                raise UsageError(f"rea: {name} = {value}: expected 1 to 100,000")
        self._population = population
        self._sample = sample
        if task.evaluations is not None:
            children = max(0, task.evaluations - population) * (sample + self.space.mutation_uniforms)
            self.streams.expect(population * self.space.uniforms_per_sample + children)
        self._start = task.start(population, self._random)
        self._members = max(population, self._start.shape[1])
        # The population is a ring: the oldest member sits where the next child goes.
        shape = (self.runs, self._members)
        self._ids = np.empty((*shape, *self.space.arch_shape), dtype=self.space.arch_dtype)
        self._fitness = np.full(shape, -np.inf)
        self._values = np.full((*shape, len(task.objectives)), np.nan) if task.several else None
        self._born = 0
        self._first = np.arange(self.runs) * self._members  # of each run, all populations in one row

    def _random(self) -> Indices:
        each = self.space.uniforms_per_sample
        u = self.streams.uniform(self._population * each).reshape(self.runs, self._population, each)
        return np.asarray(self.space.sample(u))

    def ask(self) -> Asked:
        if self._start.shape[1]:
            first, self._start = self._start[:, :1], self._start[:, 1:]
            return first
        u = self.streams.uniform(self._sample + self.space.mutation_uniforms)
        members = min(self._born, self._members)  # fewer after a small start, until the population has grown
        drawn = (u[:, : self._sample].T * members).astype(np.intp)  # [sample, runs]
        drawn += self._first
        chosen, *rivals = drawn
        best, *values = self._fitness.reshape(-1).take(drawn)
        for rival, value in zip(rivals, values, strict=True):  # of equals the first stays
            better = value > best
            np.copyto(best, value, where=better)
            np.copyto(chosen, rival, where=better)
        parents = self._ids.reshape(-1, *self.space.arch_shape).take(chosen, axis=0)
        return self.space.mutate(parents, u[:, self._sample :])[:, None]

    def tell(self, ids: Indices, values: Floats) -> None:
        slot = self._born % self._members
        self._ids[:, slot] = ids[:, 0]
        self._born += 1
        if self._values is None:
            self._fitness[:, slot] = values[:, 0]
        else:
            self._values[:, slot] = values[:, 0]
            points = -self._values  # fronts take lower for better: [runs, population, objectives]
            ranks = fronts.ranks(points)
            lonely = fronts.crowding(points, ranks)
            # less than one rank, however lonely
            self._fitness = 0.5 - 0.5 / (1 + lonely) - ranks
        if self._born == self._members > self._population:
            self._select()

    def _select(self) -> None:
        """Let the best of a start larger than the population be the population."""
        kept = np.sort(np.argsort(-self._fitness, axis=1, kind="stable")[:, : self._population], axis=1)
        rows = np.arange(self.runs)[:, None]
        self._ids, self._fitness = self._ids[rows, kept], self._fitness[rows, kept]
        if self._values is not None:
            self._values = self._values[rows, kept]
        self._members = self._born = self._population
        self._first = rows[:, 0] * self._members
