"""Hypervolume: how much of what lies before a reference point a set of points dominates.

Two objectives are exact in a sort and a sweep; three and more are left to the package moocore. A point that is not
better than the reference point in every objective, or that has a NaN, contributes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nasharness.extras import module
from nasharness.fronts.checks import Floats, as_point, as_points, as_sets


def hypervolume(points: ArrayLike, reference: ArrayLike) -> Floats:
    """Return float64 ``[...]``: the volume between each set of ``[..., points, objectives]`` and ``reference``.

    ``reference``: ``[objectives]``. With two objectives neither dominated points nor the order of the points change a
    bit of it. Raises `UsageError` for three and more objectives where moocore is not installed.
    """
    array = as_points(points)
    *batch, count, objectives = array.shape
    corner = as_point(reference, objectives, "the reference point")
    sets = _inside(as_sets(array), corner)
    if objectives == 1:
        volume = corner[0] - sets[..., 0].min(axis=1, initial=corner[0])
    elif objectives == 2:
        volume = _area(sets, corner)
    else:
        exact = _moocore()
        volume = np.array([_volume(exact, one, corner) for one in sets])
    volumes: Floats = volume.reshape(batch)
    return volumes


def hypervolume_along(points: ArrayLike, reference: ArrayLike) -> Floats:
    """Return float64 ``[..., steps]``: the hypervolume of the first 1, 2, ... points of each trajectory.

    ``points``: ``[..., steps, objectives]`` in the order of evaluation. It never falls, and with two objectives it has
    the bits of `hypervolume` of those first points. Only the front so far is kept, so that a step costs what the front
    is long. Raises `UsageError` as `hypervolume` does.
    """
    array = as_points(points)
    *batch, steps, objectives = array.shape
    corner = as_point(reference, objectives, "the reference point")
    sets = _inside(as_sets(array), corner)
    if objectives == 1:
        along = corner[0] - np.minimum.accumulate(sets[..., 0], axis=1)
    elif objectives == 2:
        along = _areas_along(sets, corner)
    else:
        along = _volumes_along(_moocore(), sets, corner)
    return np.maximum.accumulate(along.reshape(*batch, steps), axis=-1)


def _inside(sets: Floats, corner: Floats) -> Floats:
    """The sets with what contributes nothing moved into the reference point."""
    return np.where((sets < corner).all(axis=-1, keepdims=True), sets, corner)


def _area(sets: Floats, corner: Floats) -> Floats:
    """The area below ``corner``: float64 ``[sets]``.

    In the order of the first objective, a point adds what it is lower than all before it in the second. A dominated
    point adds exactly 0 and the sum runs strictly from left to right, which is why neither such points nor the order
    of the points change a bit.
    """
    order = np.lexsort((sets[..., 1], sets[..., 0]), axis=-1)
    x, y = np.take_along_axis(sets[..., 0], order, axis=1), np.take_along_axis(sets[..., 1], order, axis=1)
    return _under(x, np.minimum.accumulate(y, axis=1), corner)


def _under(x: Floats, lowest: Floats, corner: Floats) -> Floats:
    """The area under staircases ``[sets, points]`` of ascending ``x`` and descending ``lowest``."""
    if not x.shape[1]:
        return np.zeros(len(x))
    drop = np.empty_like(lowest)
    drop[:, 0] = corner[1] - lowest[:, 0]
    np.subtract(lowest[:, :-1], lowest[:, 1:], out=drop[:, 1:])
    drop *= corner[0] - x
    area: Floats = np.add.accumulate(drop, axis=1)[:, -1]
    return area


def _areas_along(sets: Floats, corner: Floats) -> Floats:
    """Keep each trajectory's front sorted: ``x`` ascending, ``y`` descending, filled up at the left.

    On a front the two orders are one, so that each objective can be sorted by itself. A filler is as low as the lowest
    point in the first objective and at the reference in the second: it adds nothing and sorts to the left in both.
    """
    runs, steps, _ = sets.shape
    along = np.zeros((runs, steps))
    if not runs:
        return along
    fill = sets[..., 0].min(axis=1, initial=corner[0])[:, None]
    x, y = np.empty((runs, 0)), np.empty((runs, 0))
    for step in range(steps):
        px, py = sets[:, step, 0, None], sets[:, step, 1, None]
        beaten = ((x <= px) & (y <= py)).any(axis=1, keepdims=True) | (py == corner[1])
        gone = (x >= px) & (y >= py) & ~beaten
        x = np.concatenate([np.where(gone, fill, x), np.where(beaten, fill, px)], axis=1)
        y = np.concatenate([np.where(gone, corner[1], y), np.where(beaten, corner[1], py)], axis=1)
        x.sort(axis=1)
        y = -np.sort(-y, axis=1)
        if (y[:, 0] == corner[1]).all():
            x, y = x[:, 1:], y[:, 1:]
        along[:, step] = _under(x, y, corner)
    return along


Exact = Callable[..., float]


def _volume(exact: Exact, points: Floats, corner: Floats) -> float:
    points = points[(points < corner).all(axis=1)]
    return float(exact(points, ref=corner)) if len(points) else 0.0


def _volumes_along(exact: Exact, sets: Floats, corner: Floats) -> Floats:
    """Measure where a point is new to the front; 0 elsewhere."""
    runs, steps, _ = sets.shape
    along = np.zeros((runs, steps))
    columns = np.ascontiguousarray(np.moveaxis(sets, -1, 0))
    for step in range(steps):
        beaten = np.ones((runs, step), dtype=bool)
        for column in columns:
            beaten &= column[:, :step] <= column[:, step, None]
        along[:, step] = ~beaten.any(axis=1) & (columns[0, :, step] < corner[0])
    for points, row in zip(sets, along, strict=True):
        new = np.flatnonzero(row)
        for number, slot in enumerate(new):
            row[slot] = _volume(exact, points[new[: number + 1]], corner)
    return along


def _moocore() -> Any:
    return module("moocore", "the hypervolume of three or more objectives needs moocore", "mo").hypervolume
