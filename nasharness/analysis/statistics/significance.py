"""Tests of hypotheses: paired Wilcoxon, Holm, Friedman, Nemenyi's difference; equal to scipy's in our tests."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.analysis.statistics import ranks
from nasharness.analysis.statistics.distributions import (
    chi2_sf,
    normal_sf,
    studentized_range_quantile,
)
from nasharness.errors import UsageError

Floats = NDArray[np.float64]
#: Largest number of untied differences for which the exact distribution is enumerated.
EXACT = 50


class Tested(NamedTuple):
    """A statistic and its p-value (two-sided where that has a meaning)."""

    statistic: float
    p: float


def wilcoxon(x: ArrayLike, y: ArrayLike, *, zeros: str = "wilcox", method: str = "auto") -> Tested:
    """Wilcoxon's signed-rank test of paired ``x`` and ``y`` ``[n]``: two-sided, statistic min(W+, W-).

    ``zeros``: ``wilcox`` leaves pairs without a difference out, ``pratt`` ranks them and then leaves them out.
    ``method``: ``exact`` enumerates, ``approx`` is normal with the corrections for ties and zeros (no continuity
    correction), ``auto`` is exact for up to 50 differences without ties and zeros. p is 1 where all pairs are equal.
    """
    d = np.asarray(x, dtype=np.float64) - np.asarray(y, dtype=np.float64)
    if d.ndim != 1 or not len(d) or not np.isfinite(d).all():
        raise UsageError(f"paired test: expected two equally long rows of finite numbers, got differences {d.shape}")
    absent = int((d == 0).sum())
    if absent == len(d):
        return Tested(0.0, 1.0)
    if zeros == "wilcox":
        d = d[d != 0]
    rank = midranks(np.abs(d))
    plus, minus = float(rank[d > 0].sum()), float(rank[d < 0].sum())
    statistic = min(plus, minus)
    _, ties = np.unique(rank[d != 0], return_counts=True)
    tied = bool((ties > 1).any())
    if method == "exact" or (method == "auto" and len(d) <= EXACT and not tied and not absent):
        return Tested(statistic, min(1.0, 2 * _signed_rank_cdf(len(d), int(statistic))))
    n = float(len(d))
    expected = n * (n + 1) / 4
    variance = n * (n + 1) * (2 * n + 1)
    if zeros == "pratt":
        expected -= absent * (absent + 1) / 4
        variance -= absent * (absent + 1) * (2 * absent + 1)
    variance -= float((ties.astype(float) ** 3 - ties).sum()) / 2
    z = (plus - expected) / math.sqrt(variance / 24)
    return Tested(statistic, min(1.0, 2 * normal_sf(abs(z))))


def _signed_rank_cdf(n: int, w: int) -> float:
    """P(W <= w) of the signed-rank statistic of ``n`` untied differences: subsets of 1..n by their sum."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, n + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    return float(ways[: w + 1].sum() / 2.0**n)


def midranks(values: ArrayLike) -> Floats:
    """Ranks of ``values`` ``[n]`` from 1, ascending; equals share the mean of their places."""
    v = np.asarray(values)
    _, inverse, counts = np.unique(v, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse.reshape(-1)], dtype=np.float64)


def holm(p: ArrayLike) -> Floats:
    """Holm's adjusted p-values ``[m]``, in the order given; NaN stays NaN and is not counted."""
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    asked = np.flatnonzero(~np.isnan(values))
    order = asked[np.argsort(values[asked], kind="stable")]
    stepped = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def friedman(scores: ArrayLike) -> Tested:
    """Friedman's chi-square over blocks, with the correction for ties: ``[algorithms, runs, problems]``.

    Every run of every problem is a block. Needs at least 3 algorithms and 2 blocks.
    """
    rank = ranks(scores).reshape(len(np.asarray(scores)), -1)
    k, blocks = rank.shape
    if k < 3 or blocks < 2:
        raise UsageError(f"Friedman's test of {k} algorithms in {blocks} blocks: expected at least 3 and 2")
    ties = 0.0
    for block in rank.T:
        _, counts = np.unique(block, return_counts=True)
        ties += float((counts**3 - counts).sum())
    corrected = 1 - ties / (k * (k * k - 1) * blocks)
    if corrected <= 0:
        return Tested(0.0, 1.0)
    statistic = (12 / (k * blocks * (k + 1)) * float((rank.sum(axis=1) ** 2).sum()) - 3 * blocks * (k + 1)) / corrected
    return Tested(statistic, chi2_sf(statistic, k - 1))


def critical_difference(algorithms: int, blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks (J. Demsar, JMLR 2006, equation 7)."""
    q = studentized_range_quantile(1 - alpha, algorithms)
    return q / math.sqrt(2) * math.sqrt(algorithms * (algorithms + 1) / (6 * blocks))
