"""Rank correlations, O(n log n): Kendall's tau-b and Spearman's rho. Equal to scipy's in our tests."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError

Ints = NDArray[np.int64]


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b of ``x`` and ``y`` ``[n]``; NaN where either is constant or n < 2."""
    return kendall_of_codes(*_codes(x, y))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho of ``x`` and ``y`` ``[n]``, ties at the mean of their ranks; NaN where either is constant."""
    return spearman_of_codes(*_codes(x, y))


def spearman_of_codes(x: Ints, y: Ints) -> float:
    """Spearman's rho of dense ranks (see ``codes``) ``[n]``."""
    if len(x) < 2:
        return math.nan
    a, b = _centred(x), _centred(y)
    size = math.sqrt(float(a @ a) * float(b @ b))
    return max(-1.0, min(1.0, float(a @ b) / size)) if size > 0 else math.nan


def _centred(values: Ints) -> NDArray[np.float64]:
    """Midranks of dense ranks, less their mean."""
    counts = np.bincount(values)
    middle = np.cumsum(counts) - (counts - 1) / 2 - (len(values) + 1) / 2
    return middle[values]


def codes(values: ArrayLike) -> Ints:
    """Dense ranks from 0: small integers in the same order, equals equal. Two bytes where they suffice."""
    inverse = np.unique(np.asarray(values), return_inverse=True)[1].reshape(-1)
    # numpy sorts two-byte integers by radix, several times faster
    return inverse.astype(np.uint16 if inverse.max(initial=0) < 1 << 16 else np.int64)


def kendall_of_codes(x: Ints, y: Ints) -> float:
    """Kendall's tau-b of dense ranks (see ``codes``) ``[n]``."""
    n = len(x)
    if n < 2:
        return math.nan
    order = np.argsort(y, kind="stable")
    order = order[np.argsort(x[order], kind="stable")]
    x, y = x[order], y[order]
    total = n * (n - 1) // 2
    tied_x = _pairs(np.bincount(x))
    tied_y = _pairs(np.bincount(y))
    change = np.flatnonzero((x[1:] != x[:-1]) | (y[1:] != y[:-1])) + 1
    tied_both = _pairs(np.diff(np.concatenate([[0], change, [n]])))
    if tied_x == total or tied_y == total:
        return math.nan
    concordant_less_discordant = total - tied_x - tied_y + tied_both - 2 * inversions(y)
    tau = concordant_less_discordant / math.sqrt(total - tied_x) / math.sqrt(total - tied_y)
    return max(-1.0, min(1.0, tau))


def inversions(values: Ints) -> int:
    """Pairs i < j with ``values[i] > values[j]`` of non-negative integers ``[n]``.

    Bit by bit: two numbers are told apart by the highest bit in which they differ; among those that agree above a bit,
    in their order, each 0 stands behind some 1s.
    """
    count = 0
    for bit in range(int(values.max(initial=0)).bit_length()):
        prefix = values >> (bit + 1)
        order = np.argsort(prefix, kind="stable")
        groups, ones = prefix[order], (values[order] >> bit) & 1
        before = np.cumsum(ones, dtype=np.int64) - ones
        starts = np.concatenate([[True], groups[1:] != groups[:-1]])
        zero = ones == 0
        at_start = before[starts][np.cumsum(starts) - 1]
        count += int((before - at_start)[zero].sum())
    return count


def _pairs(counts: Ints) -> int:
    counts = counts.astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _codes(x: ArrayLike, y: ArrayLike) -> tuple[Ints, Ints]:
    a, b = np.asarray(x), np.asarray(y)
    if a.ndim != 1 or a.shape != b.shape:
        raise UsageError(f"rank correlation of {a.shape} with {b.shape}: expected two equally long rows")
    if np.isnan(a.astype(np.float64)).any() or np.isnan(b.astype(np.float64)).any():
        raise UsageError("rank correlation: NaN among the values; leave those rows out first")
    return codes(a), codes(b)
