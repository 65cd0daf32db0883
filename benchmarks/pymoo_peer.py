"""NSGA-II of pymoo as an algorithm of ours: the same budgets, signals, noise and scores, whoever proposes.

``register()`` makes the name ``pymoo-nsga2`` known to this process; needs ``pip install pymoo``.
"""

from __future__ import annotations

import numpy as np

from nasharness.search import Algorithm, registry
from nasharness.search import register as registered

POPULATION = 20


def register():
    """Register it; raises ImportError where pymoo is not installed."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.mutation import Mutation
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.problems.static import StaticProblem

    if "pymoo-nsga2" in registry.names():
        return

    class Resample(Mutation):
        """Draw each choice anew with probability 1 / positions: categories have no neighbours to step to."""

        def _do(self, problem, x, *args, random_state=None, **kwargs):
            fresh = random_state.integers(0, problem.xu + 1, size=x.shape)
            return np.where(random_state.random(x.shape) < 1 / problem.n_var, fresh, x)

    @registered(
        "pymoo-nsga2",
        citation="Blank and Deb, pymoo: Multi-Objective Optimization in Python, IEEE Access 2020",
        needs=("objectives", "index", "product"),
    )
    class PymooNSGA2(Algorithm):
        """Population 20, random integers first, uniform crossover, resampling mutation, duplicates eliminated."""

        def __init__(self, task):
            super().__init__(task)
            sizes = np.array([len(options) for options in self.space.options])
            self._problem = Problem(n_var=len(sizes), n_obj=len(task.objectives), xl=0, xu=sizes - 1, vtype=int)
            self._runs = []
            for seed in task.seeds:
                one = NSGA2(
                    pop_size=POPULATION,
                    sampling=IntegerRandomSampling(),
                    crossover=UniformCrossover(),
                    mutation=Resample(),
                )
                one.setup(self._problem, seed=int(seed), verbose=False)
                self._runs.append(one)

        def ask(self):
            self._asked = [one.ask() for one in self._runs]
            ids = np.full((self.runs, max(1, *map(len, self._asked))), -1, dtype=np.int32)
            for run, population in enumerate(self._asked):
                if len(population):
                    ids[run, : len(population)] = self.space.index(population.get("X").astype(np.int8))
            return ids

        def tell(self, ids, values):
            for one, population, told in zip(self._runs, self._asked, values, strict=True):
                if not len(population):
                    continue
                # what the budget left out is worst of all
                points = np.where(np.isnan(told[: len(population)]), 1e9, -told[: len(population)])
                Evaluator().eval(StaticProblem(self._problem, F=points), population)
                one.tell(infills=population)
