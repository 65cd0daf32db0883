"""Seeds crossed with realisations of the noise: what can be said over both, and not over seeds alone.

Runs on one realisation share its errors of measurement, and runs with one seed its draws: neither are independent
evidence. Values are arrays ``[realisations, seeds]``. The interval of a mean is Student's with the standard error of
two crossed random effects (`nasharness.search.interval.spread`). For other aggregates the standard error comes from a
bootstrap that resamples realisations and seeds, each whole (A. Owen, The Pigeonhole Bootstrap, Annals of Applied
Statistics 2007, which shows that it errs on the safe side). With one realisation the interval is over seeds alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.statistics.sequential import ALPHA, BETTER, WORSE
from nasharness.errors import UsageError
from nasharness.search.interval import spread, t_cdf, t_quantile

Floats = NDArray[np.float64]
RESAMPLES = 1_000
#: Spreads below this are none.
_NONE = 1e-12


def interval(
    values: Floats,
    aggregate: Callable[[Floats], float] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of ``aggregate`` (from ``[n]``; None: the mean) of all ``values [realisations, seeds]``.

    NaN where one run is all there is.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise UsageError(f"values of shape {list(values.shape)}: expected [realisations, seeds]")
    error, df = spread(values)
    if math.isnan(error):
        return math.nan, math.nan
    middle = float(values.mean())
    if aggregate is not None:
        middle = float(aggregate(values.ravel()))
        rng = np.random.default_rng(seed)
        rows, columns = (rng.integers(n, size=(resamples, n)) for n in values.shape)
        found = [aggregate(values[np.ix_(row, column)].ravel()) for row, column in zip(rows, columns, strict=True)]
        least = min(n for n in values.shape if n > 1)
        error = float(np.std(found)) * math.sqrt(least / (least - 1))
    half = t_quantile(0.5 + confidence / 2, df) * error
    return middle - half, middle + half


def p_value(differences: Floats) -> float:
    """Two-sided p of a mean difference of 0: ``differences [realisations, seeds]``.

    Never less than a sign test could say of so many realisations: where all of a few end alike, a t knows no doubt. 1
    for a single realisation.
    """
    n = len(differences)
    middle = float(differences.mean())
    if n < 2 or abs(middle) < _NONE:
        return 1.0
    error, df = spread(differences)
    least = 2.0 ** (1 - n)
    if error < _NONE * max(1.0, abs(middle)):
        return least
    return min(1.0, max(least, 2 * (1 - t_cdf(abs(middle) / error, df))))


def least_realisations(alpha: float) -> int:
    """Realisations that a verdict at ``alpha`` takes at least."""
    return math.ceil(1 - math.log2(alpha))


@dataclass
class Crossed:
    """A comparison over realisations, each with as many runs. ``differences``: new minus old ``[realisations, seeds]``.

    The counterpart of `sequential.Hypothesis`, which looks at seeds alone; `sequential.judge` takes either.
    """

    differences: Floats
    verdict: str | None = None
    level: float = ALPHA

    def crossed(self, alpha: float) -> str | None:
        """BETTER or WORSE where the difference is significant at ``alpha``."""
        if p_value(self.differences) > alpha:
            return None
        return BETTER if self.differences.mean() > 0 else WORSE

    def interval(self) -> tuple[float, float]:
        """Of the mean difference, at the level it was tested at."""
        return interval(self.differences, confidence=1 - self.level)

    def detectable(self, power: float = 0.8) -> float:
        """The mean difference that would have been found with ``power``."""
        error, df = spread(self.differences)
        return (t_quantile(1 - self.level / 2, df) + t_quantile(power, df)) * error
