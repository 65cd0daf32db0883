"""What a share of the runs attains: the fronts to draw where there are as many fronts as runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nasharness.errors import UsageError
from nasharness.fronts.checks import Floats, as_points
from nasharness.fronts.dominance import non_dominated

#: Heights of staircases that are held at a time.
_CELLS = 1 << 20


def attainment(points: ArrayLike, quantiles: Sequence[float] = (0.25, 0.5, 0.75)) -> list[Floats]:
    """Return, for each quantile, the front that this share of the runs attains: float64 ``[members, 2]``.

    ``points``: ``[runs, points, 2]``. A run attains whatever one of its points is no worse than. The front of quantile
    q is the best that at least ``ceil(q * runs)`` runs attain (Grunert da Fonseca et al., Inferential Performance
    Assessment of Stochastic Optimisers and the Attainment Function, EMO 2001): 0.5 is the median front, and 0.25 lies
    before it, for fewer runs need to get there. Members ascend in the first objective and descend in the second; none
    where too few runs have a point. Infinite and NaN points are left out. Raises `UsageError` for a quantile that is
    not above 0 and at most 1.
    """
    sets = as_points(points, 2)
    if sets.ndim != 3 or not len(sets):
        raise UsageError(f"attainment takes points [runs, points, 2] of at least one run; got {list(sets.shape)}")
    for quantile in quantiles:
        if not 0 < quantile <= 1:
            raise UsageError(f"quantile {quantile}: expected above 0 and at most 1")
    runs = len(sets)
    # the nth-best run is wanted, whatever 0.07 * 100 = 7.000000000000001 says
    levels = [max(1, math.ceil(round(quantile * runs, 9))) - 1 for quantile in quantiles]
    kept = non_dominated(sets) & np.isfinite(sets).all(axis=2)
    steps = np.unique(sets[..., 0][kept])
    heights = np.empty((len(levels), len(steps)))
    stairs = [one[flags] for one, flags in zip(sets, kept, strict=True)]
    stairs = [one[np.argsort(one[:, 0], kind="stable")] for one in stairs]
    width = max(1, _CELLS // runs)
    for first in range(0, len(steps), width):
        at = steps[first : first + width]
        lowest = np.full((runs, len(at)), np.inf)  # what each run attains in the second objective
        for row, one in zip(lowest, stairs, strict=True):
            place = np.searchsorted(one[:, 0], at, side="right") - 1
            row[place >= 0] = one[place[place >= 0], 1]
        lowest.partition(sorted(set(levels)), axis=0)
        heights[:, first : first + width] = lowest[levels]
    return [_corners(steps, height) for height in heights]


def _corners(steps: Floats, height: Floats) -> Floats:
    """The points of a falling staircase at which it falls."""
    before = np.concatenate([[np.inf], height[:-1]])
    return np.stack([steps, height], axis=1)[height < before]
