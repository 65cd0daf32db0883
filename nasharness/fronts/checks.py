"""What the functions of this room accept."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def as_points(points: ArrayLike, objectives: int | None = None, what: str = "points") -> Floats:
    """Return ``points`` as float64 ``[..., points, objectives]``; `UsageError` where the shape is another."""
    array = np.asarray(points, dtype=np.float64)
    wanted = "objectives" if objectives is None else str(objectives)
    if array.ndim < 2 or array.shape[-1] == 0 or objectives not in (None, array.shape[-1]):
        raise UsageError(f"{what} have shape [..., points, {wanted}]; got {list(array.shape)}")
    return array


def as_sets(points: Floats) -> Floats:
    """Return ``[sets, points, objectives]`` of ``[..., points, objectives]``."""
    return points.reshape(math.prod(points.shape[:-2]), *points.shape[-2:])


def as_point(point: ArrayLike, objectives: int, what: str) -> Floats:
    """Return ``point`` as finite float64 ``[objectives]``; `UsageError` where it is anything else."""
    array = np.asarray(point, dtype=np.float64)
    if array.shape != (objectives,) or not np.isfinite(array).all():
        raise UsageError(f"{what} is {objectives} finite numbers, one an objective; got {array.tolist()}")
    return array
