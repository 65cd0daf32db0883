"""Mean, standard deviation and Student's 95 % interval of a metric over independent runs."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def summarise(values: NDArray[np.float64]) -> dict[str, Any]:
    """Mean, std and the 95 % interval of the mean over runs.

    ``std`` is the population's (ddof 0), as NATS-Bench's tables print it; ``ci95`` is Student's interval
    ``[low, high]`` from the sample's (ddof 1), None for a single run. Runs without a value (NaN) are left out; where
    none has one, everything is None.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return {"mean": None, "std": None, "ci95": None}
    mean = float(np.mean(values))
    return {"mean": mean, "std": float(np.std(values)), "ci95": _interval(values, mean)}


def crossed(values: NDArray[np.float64], confidence: float = 0.95) -> dict[str, Any]:
    """Mean, std and interval of the mean of ``values [realisations, seeds]``, over both; see `spread`.

    Seeds without a value (NaN) on any realisation are left out.
    """
    values = values[:, ~np.isnan(values).any(axis=0)]
    if not values.size:
        return {"mean": None, "std": None, "ci95": None}
    middle = float(values.mean())
    error, df = spread(values)
    half = math.nan if math.isnan(error) else t_quantile(0.5 + confidence / 2, df) * error
    bounds = None if math.isnan(half) else [middle - half, middle + half]
    return {"mean": middle, "std": float(values.std()), "ci95": bounds}


def spread(values: NDArray[np.float64]) -> tuple[float, int]:
    """Standard error of the mean of ``values [realisations, seeds]``, and its degrees of freedom.

    A realisation has an effect on all of its seeds, and a seed on all realisations it is run on: two crossed random
    effects, so that the mean squares of rows and columns add up, less that of the rest, which both contain (Searle,
    Casella & McCulloch, Variance Components, 1992, chapter 4). At least what rows or columns alone would say, and with
    the degrees of freedom of the fewer of them, which errs on the safe side. With one realisation this is Student's of
    the seeds. NaN for a single run.
    """
    rows, columns = values.shape
    if rows == 1 or columns == 1:
        one = values.ravel()
        return (float(one.std(ddof=1)) / math.sqrt(len(one)), len(one) - 1) if len(one) > 1 else (math.nan, 0)
    of_rows, of_columns = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_rows[:, None] - of_columns + values.mean()
    squares = columns * float(of_rows.var(ddof=1)), rows * float(of_columns.var(ddof=1))
    total = sum(squares) - float((rest**2).sum()) / ((rows - 1) * (columns - 1))
    return math.sqrt(max(total, *squares) / values.size), min(rows, columns) - 1


def _interval(values: NDArray[np.float64], mean: float) -> list[float] | None:
    n = len(values)
    if n < 2:
        return None
    half = t_quantile(0.975, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return [mean - half, mean + half]


@functools.cache
def t_quantile(probability: float, df: int) -> float:
    """Quantile of Student's t for ``probability`` in (0.5, 1), by bisection on its distribution function."""
    low, high = 0.0, 1.0
    while t_cdf(high, df) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < probability else (low, middle)
    return (low + high) / 2


def t_cdf(t: float, df: int) -> float:
    """P(T <= t) of Student's t for ``t >= 0``.

    With t = sqrt(df) tan(a) the density becomes cos(a)^(df-1), smooth on [0, pi/2), which 200-point Gauss-Legendre
    quadrature integrates to 1e-12.
    """
    angle = math.atan(t / math.sqrt(df))
    nodes, weights = _legendre()
    inside = angle / 2 * (nodes + 1)
    area = angle / 2 * float(weights @ np.cos(inside) ** (df - 1))
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    return 0.5 + scale * area


@functools.cache
def _legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights
