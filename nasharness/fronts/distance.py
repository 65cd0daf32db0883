"""How far a set of points is from the exact front."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nasharness.errors import UsageError
from nasharness.fronts.checks import Floats, as_points, as_sets

#: Distances that are held at a time.
_PAIRS = 1 << 18


def igd_plus(points: ArrayLike, front: ArrayLike) -> Floats:
    """Return float64 ``[...]``: IGD+ of each set of ``[..., points, objectives]``; 0 is best, infinite if it is empty.

    ``front``: the exact front, ``[members, objectives]``. The mean over its members of the distance to the nearest
    point, where only what the point is *worse* in counts (Ishibuchi et al., Modified Distance Calculation in
    Generational Distance and Inverted Generational Distance, EMO 2015). Unlike IGD it never prefers a set that is
    dominated by another. It adds up objectives: bring them to one scale first (`Reference.normalised`).
    """
    target = as_points(front, what="the front's members")
    if target.ndim != 2 or not len(target) or not np.isfinite(target).all():
        raise UsageError(f"a front is [members, objectives], finite, with a member; got shape {list(target.shape)}")
    array = as_points(points, target.shape[1])
    *batch, count, objectives = array.shape
    sets = as_sets(array)
    found = np.empty(len(sets))
    step = max(1, _PAIRS // max(1, count * len(target)))
    for first in range(0, len(sets), step):
        part = sets[first : first + step]
        squares = np.zeros((len(part), count, len(target)))
        for objective in range(objectives):
            worse = np.maximum(part[..., objective, None] - target[:, objective], 0)  # NaN stays NaN
            squares += worse * worse
        nearest = np.fmin.reduce(squares, axis=1, initial=np.inf)
        found[first : first + step] = np.sqrt(nearest).mean(axis=1)
    return found.reshape(batch)
