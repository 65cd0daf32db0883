"""Stop early without fooling oneself: a group-sequential test of the mean of paired differences.

The mean is looked at after 25, 50, 100, ... runs. Looking repeatedly at the level of a single look would say "better"
too often, so the level is spent over the looks: until a share t of all runs, alpha t is spent (D. Kim, D. DeMets, 1987,
with exponent 1), and the boundaries follow from the joint distribution of the looks (K. Lan, D. DeMets, 1983; recursion
of P. Armitage et al., 1969). It is tighter than an always-valid interval because the looks are known beforehand.
Several hypotheses (data sets, budgets) are tested by Holm's procedure with these boundaries in place of p-values
(W. Maurer, F. Bretz, 2013): the chance of any false "better" or "worse" stays below alpha.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.statistics.distributions import bisect, normal_cdf, normal_quantile, normal_sf, t_to_z
from nasharness.errors import UsageError
from nasharness.search.interval import t_quantile

Floats = NDArray[np.float64]
#: Runs before the first look: Student's t of fewer, far from normal, results is not to be trusted far out.
FIRST_LOOK = 25
#: Chance of any false verdict. Below the customary 5 %, so that 200 repetitions of nothing stay below 5 % too, and not
#: only on average.
ALPHA = 0.02
POWER = 0.8
#: Deviates beyond this are all the same: the probability is below 1e-15.
FAR = 8.0
BETTER, WORSE, SAME = "better", "worse", "no difference detectable"


def looks(runs: int) -> tuple[int, ...]:
    """Numbers of runs at which the differences are looked at: doubling from FIRST_LOOK, the last is ``runs``."""
    if runs < 3:
        raise UsageError(f"{runs} runs: a paired comparison needs at least 3")
    found, at = [], FIRST_LOOK
    while at * 1.5 <= runs:
        found.append(at)
        at *= 2
    return (*found, runs)


@functools.lru_cache(maxsize=256)
def boundaries(at: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    """Two-sided normal boundaries for looks ``at`` (runs, ascending) that together spend ``alpha``.

    Under no difference the chance that |Z| reaches its boundary at any look is ``alpha``.
    """
    found: list[float] = []
    nodes = weights = density = np.empty(0)
    unit_nodes, unit_weights = np.polynomial.legendre.leggauss(128)
    before = 0
    for n in at:
        spend = alpha * (n - before) / at[-1]
        step = math.sqrt(n - before)
        if not found:
            crossing = normal_quantile(1 - spend / 2) * math.sqrt(n)
        else:
            mass = weights * density

            def enough(
                x: float, mass: Floats = mass, nodes: Floats = nodes, step: float = step, spend: float = spend
            ) -> bool:
                beyond = normal_cdf((nodes - x) / step) + normal_cdf((-x - nodes) / step)
                return float(mass @ beyond) <= spend

            crossing = bisect(enough, 0.0, FAR * 2 * math.sqrt(n), steps=48)
        found.append(crossing / math.sqrt(n))
        new = crossing * unit_nodes
        if len(nodes):
            kernel = np.exp(-(((new[:, None] - nodes) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
            density = kernel @ (weights * density)
        else:
            density = np.exp(-((new / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        nodes, weights, before = new, crossing * unit_weights, n
    return tuple(found)


class Judged(Protocol):
    """What `judge` takes."""

    verdict: str | None
    level: float

    def crossed(self, alpha: float) -> str | None:
        """BETTER or WORSE where the difference is significant at ``alpha``."""
        ...


@dataclass
class Hypothesis:
    """One comparison, look by look. ``differences``: new minus old, run by run, as they come in."""

    at: tuple[int, ...]
    differences: Floats
    seen: int = 0
    verdict: str | None = None
    level: float = ALPHA

    def deviate(self, look: int) -> float:
        """Z of the mean difference at a look: Student's t, carried over to the normal."""
        d = self.differences[: self.at[look]]
        spread = float(d.std(ddof=1))
        middle = float(d.mean())
        if spread < 1e-12 * max(1.0, abs(middle)):
            return 0.0 if abs(middle) < 1e-12 else math.copysign(FAR, middle)
        return t_to_z(middle / spread * math.sqrt(len(d)), len(d) - 1)

    def crossed(self, alpha: float) -> str | None:
        """BETTER or WORSE if a look so far reached its boundary at level ``alpha``."""
        bounds = boundaries(self.at, alpha)
        for look in range(self.seen):
            z = self.deviate(look)
            if abs(z) >= bounds[look]:
                return BETTER if z > 0 else WORSE
        return None

    @property
    def runs(self) -> int:
        """Runs looked at so far."""
        return self.at[self.seen - 1] if self.seen else 0

    @property
    def over(self) -> bool:
        """Whether there is nothing more to look at."""
        return self.verdict is not None or self.seen == len(self.at)

    def interval(self) -> tuple[float, float]:
        """Repeated confidence interval of the mean difference at the last look, at the level it was tested at.

        It holds whenever one stops. NaN before the first look.
        """
        if not self.seen:
            return math.nan, math.nan
        d = self.differences[: self.runs]
        half = self._critical() * float(d.std(ddof=1)) / math.sqrt(len(d))
        return float(d.mean()) - half, float(d.mean()) + half

    def detectable(self) -> float:
        """The mean difference that would have been found with POWER at the last look."""
        d = self.differences[: self.runs]
        return (self._critical() + normal_quantile(POWER)) * float(d.std(ddof=1)) / math.sqrt(len(d))

    def _critical(self) -> float:
        bound = boundaries(self.at, self.level)[self.seen - 1]
        return t_quantile(1 - normal_sf(bound), self.runs - 1)


def judge(hypotheses: Sequence[Judged], alpha: float = ALPHA) -> None:
    """Holm's procedure on what has been seen: set ``verdict`` and ``level`` of those whose boundary is reached.

    A verdict is never taken back, and each raises the level of the others, at their past looks as well.
    """
    while True:
        open_ones = [h for h in hypotheses if h.verdict is None]
        if not open_ones:
            return
        level = alpha / len(open_ones)
        changed = False
        for hypothesis in open_ones:
            hypothesis.level = level
            verdict = hypothesis.crossed(level)
            if verdict is not None:
                hypothesis.verdict = verdict
                changed = True
        if not changed:
            return
