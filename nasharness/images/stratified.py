"""Draws a share of every class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.images.base import Labels


def stratified(labels: Labels, fraction: float, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return ``(rest, chosen)``, ascending indices; ``chosen`` is ``fraction`` of all and, as nearly, of every class.

    The total is exact: round(fraction * n); classes get their share rounded down, those with the largest remainders one
    more. Raises UsageError for a fraction that leaves a side empty.
    """
    total = round(fraction * len(labels)) if 0 < fraction < 1 else 0
    if not 0 < total < len(labels):
        raise UsageError(
            f"fraction {fraction} of {len(labels):,} images: expected a number in (0, 1) that leaves some on both sides"
        )
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    exact = counts * fraction
    take = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - take), kind="stable")
    take[order[: total - int(take.sum())]] += 1
    members = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    chosen = np.concatenate(
        [
            rng.permutation(members[start : start + count])[:number]
            for start, count, number in zip(starts, counts, take, strict=False)
        ]
    )
    rest = np.ones(len(labels), dtype=bool)
    rest[chosen] = False
    return np.flatnonzero(rest), np.sort(chosen)
