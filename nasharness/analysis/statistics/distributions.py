"""Distribution functions that the tests need, to about 1e-12: normal, chi-square, studentized range.

Student's t is in ``nasharness.search.interval``, which every run prints an interval by.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nasharness.search.interval import t_cdf

Floats = NDArray[np.float64]


def normal_sf(z: float) -> float:
    """P(Z > z) of the standard normal."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def normal_cdf(z: Floats) -> Floats:
    """P(Z <= z) for an array ``[...]``."""
    flat = np.asarray(z, dtype=np.float64)
    values = [0.5 * math.erfc(-x / math.sqrt(2)) for x in flat.ravel().tolist()]
    return np.array(values).reshape(flat.shape)


def normal_quantile(probability: float) -> float:
    """The z with P(Z <= z) = ``probability`` in (0, 1)."""
    if probability > 0.5:
        return -normal_quantile(1 - probability)
    # by the lower tail, so that tiny probabilities keep their digits
    return -bisect(lambda z: normal_sf(z) < probability, 0.0, 40.0)


def t_to_z(t: float, df: int) -> float:
    """The normal deviate with the tail probability that ``t`` has under Student's t; at most 8 in size."""
    if df < 1 or math.isnan(t):
        return 0.0
    tail = max(1 - t_cdf(abs(t), df), 1e-15)
    return math.copysign(normal_quantile(1 - tail) if tail > 1e-9 else -normal_quantile(tail), t)


def chi2_sf(x: float, df: int) -> float:
    """P(X > x) of chi-square with ``df`` degrees of freedom; a finite sum, since df / 2 is a half-integer."""
    if x <= 0:
        return 1.0
    half = x / 2
    if df % 2 == 0:
        total, term, start = 0.0, math.exp(-half), 1.0
    else:
        total, term, start = math.erfc(math.sqrt(half)), 2 * math.exp(-half) * math.sqrt(half / math.pi), 1.5
    for _ in range(df // 2):
        total += term
        term *= half / start
        start += 1
    return min(1.0, total)


def studentized_range_sf(q: float, groups: int) -> float:
    """P(Q > q) of the range of ``groups`` standard normals (infinite degrees of freedom)."""
    if q <= 0:
        return 1.0
    nodes, weights, density, below = _normal_grid()
    spread = np.clip(below - normal_cdf(nodes - q), 0.0, 1.0)
    return min(1.0, max(0.0, 1 - groups * float(weights @ (density * spread ** (groups - 1)))))


@functools.cache
def studentized_range_quantile(probability: float, groups: int) -> float:
    """The q with P(Q <= q) = ``probability``."""
    return bisect(lambda q: studentized_range_sf(q, groups) < 1 - probability, 0.0, 60.0)


@functools.cache
def _normal_grid() -> tuple[Floats, Floats, Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(240)
    nodes, weights = 9 * nodes, 9 * weights
    return nodes, weights, np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi), normal_cdf(nodes)


def bisect(passed: Callable[[float], bool], low: float, high: float, steps: int = 100) -> float:
    """The point in [low, high] from which ``passed`` is true."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if passed(middle) else (middle, high)
    return (low + high) / 2
