"""pymoo's evolutionary algorithms, by name, as search algorithms: an adapter of ask and tell."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from nasharness.errors import UsageError, unknown
from nasharness.extras import pip_install
from nasharness.search import ScalarAlgorithm, register

_WHERE = {name: f"pymoo.algorithms.soo.nonconvex.{name.lower()}" for name in ("GA", "DE", "PSO")}
_WHERE["MixedVariableGA"] = "pymoo.core.mixed"


@register(
    "pymoo",
    citation="Blank and Deb, pymoo: Multi-Objective Optimization in Python, IEEE Access 2020",
    needs=("product", "outside"),
    meanings={
        "algorithm": "MixedVariableGA, on categories; GA, DE or PSO, on rounded reals; ours",
        "population": "architectures of a generation; 4 to 10,000; ours (pymoo: 25 to 100)",
    },
)
class Pymoo(ScalarAlgorithm):
    """An evolutionary algorithm of pymoo's with its own operators; a generation is asked one by one.

    MixedVariableGA takes every position for a category; to the others, which know reals alone, options listed next to
    each other are neighbours. pymoo is an extra, `peers`; a study of all algorithms leaves it out.
    """

    def __init__(self, *, algorithm: str = "MixedVariableGA", population: int = 20) -> None:
        if algorithm not in _WHERE:
            raise unknown("pymoo: algorithm", algorithm, _WHERE)
        if not 4 <= population <= 10_000:
            raise UsageError(f"pymoo: population = {population}: expected 4 to 10,000")
        try:
            self._cls = getattr(import_module(_WHERE[algorithm]), algorithm)
        except ImportError as error:
            raise UsageError(f"algorithms of pymoo need pymoo: {pip_install('peers')}") from error
        self._population, self._mixed = population, algorithm == "MixedVariableGA"
        self._algorithm: Any = None
        self._asked: Any = ()  # a generation, and what its first members were told to cost
        self._costs: list[float] = []
        self._given: list[Any] = []  # a start that the problem dictates

    def _begin(self) -> None:
        ends, choice = np.array(self.space.sizes) - 0.5, import_module("pymoo.core.variable").Choice
        form = {"vars": {place: choice(options=range(size)) for place, size in enumerate(self.space.sizes)}}
        problem = import_module("pymoo.core.problem").Problem(
            n_obj=1, **(form if self._mixed else {"n_var": len(ends), "xl": -0.5, "xu": ends})
        )
        archs = self._given + [self.random() for _ in range(self._population - len(self._given))]
        rows = self.space.choices(np.array(archs))
        first = [dict(enumerate(row)) for row in rows] if self._mixed else rows.astype(float)
        sampling = import_module("pymoo.core.population").Population.new(X=first)
        self._algorithm = self._cls(pop_size=len(archs), sampling=sampling)
        self._algorithm.setup(problem, termination=("n_gen", 10**9), seed=int(self.rng.integers(2**31)))
        self._asked = self._algorithm.ask()  # whose first members were told already

    def ask(self) -> Any:
        if self._algorithm is None:
            self._begin()
        if len(self._costs) == len(self._asked):
            self._asked.set("F", np.array(self._costs)[:, None])
            self._algorithm.tell(infills=self._asked)
            self._asked, self._costs = self._algorithm.ask(), []
        if not len(self._asked):  # nothing new is left
            return None
        x = self._asked[len(self._costs)].X
        options = np.array([x[place] for place in range(len(self.space.sizes))], dtype=float).round()
        arch = self.space.index(np.clip(options, 0, np.array(self.space.sizes) - 1).astype(int))  # type: ignore[attr-defined]
        return arch if self.space.arch_shape else int(arch)

    def tell(self, arch: Any, value: float) -> None:
        self._given += [] if self._algorithm else [arch]
        self._costs.append(-value)
