"""The best that keeps within a limit: what an engineer asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.fronts.checks import Floats


def best_under(values: ArrayLike, costs: ArrayLike, limits: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """Return the lowest value whose cost is at most each limit, and its place: two arrays ``[..., limits]``.

    ``values``, ``costs``: ``[..., points]``, of shapes that broadcast; ``limits``: ``[limits]``. The first of equals
    wins. Where nothing keeps the limit the value is NaN and the place -1. A point with NaN in value or cost is left
    out. Choose by the search signal and score by the place: the two must not share an array.
    """
    value, cost = np.broadcast_arrays(np.asarray(values, dtype=np.float64), np.asarray(costs, dtype=np.float64))
    bounds = np.atleast_1d(np.asarray(limits, dtype=np.float64))
    shape = (*value.shape[:-1], len(bounds))
    best, place = np.full(shape, np.nan), np.full(shape, -1, dtype=np.intp)
    if not value.shape[-1]:
        return best, place
    for column, bound in enumerate(bounds):
        fits = (cost <= bound) & ~np.isnan(value)  # NaN keeps no limit
        where = np.where(fits, value, np.inf).argmin(axis=-1)
        # among infinite values argmin may name a point that does not fit
        where = np.where(np.take_along_axis(fits, where[..., None], axis=-1)[..., 0], where, fits.argmax(axis=-1))
        some = fits.any(axis=-1)
        best[..., column] = np.where(some, np.take_along_axis(value, where[..., None], axis=-1)[..., 0], np.nan)
        place[..., column] = np.where(some, where, -1)
    return best, place
