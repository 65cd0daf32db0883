"""Non-dominated sets, ranks and crowding, over a batch of sets at once.

A point dominates another if it is no worse in any objective and better in one. Equal points do not dominate each other:
all of them are on the front or none is, and they share a rank.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.fronts.checks import Flags, Floats, as_points, as_sets

#: Pairs of points that are compared at a time: their flags stay in the processor's cache.
_PAIRS = 1 << 18
#: Sets with more points are swept one by one, against their front alone, instead of comparing all pairs.
_MANY = 512
#: Points of such a sweep that are compared with the front at a time.
_BLOCK = 256


def non_dominated(points: ArrayLike) -> Flags:
    """Return bool ``[..., points]``: which points no other point of their set dominates.

    ``points``: ``[..., points, objectives]``. Equal points are kept together; points with NaN are never kept. Two
    objectives cost a sort; three and more all pairs of points, or, beyond 512 points, all pairs with the front.
    """
    array = as_points(points)
    *batch, count, objectives = array.shape
    sets = as_sets(array)
    if objectives == 1:
        kept = sets[..., 0] == np.fmin.reduce(sets[..., 0], axis=1, keepdims=True, initial=np.inf)
    elif objectives == 2:
        kept = _front_of_two(sets)
    elif count <= _MANY:
        kept = np.concatenate([~pairs.any(axis=1) for pairs in _dominated_pairs(sets)], axis=0) & ~_absent(sets)
    else:
        kept = np.array([_front_of_many(points_of_one) for points_of_one in sets]).reshape(len(sets), count)
    flags: Flags = kept.reshape(*batch, count)
    return flags


def ranks(points: ArrayLike) -> NDArray[np.intp]:
    """Return int ``[..., points]``: 0 on the front, 1 on the front of what is left without it, and so on.

    Fast non-dominated sorting (Deb et al., IEEE TEC 2002). A point with NaN ranks behind all others, at the number of
    points in the set.
    """
    array = as_points(points)
    *batch, count, objectives = array.shape
    sets = as_sets(array)
    if objectives == 1:  # a constant second objective changes nothing
        sets = np.concatenate([sets, np.where(np.isnan(sets), np.nan, 0)], axis=2)
    ranked = _ranks_of_two(sets) if sets.shape[2] == 2 else _ranks_by_peeling(sets)
    return ranked.reshape(*batch, count)


def crowding(points: ArrayLike, ranks: NDArray[np.intp]) -> Floats:
    """Return float64 ``[..., points]``: how far apart a point's neighbours on its own rank are; more is lonelier.

    The crowding distance of Deb et al. (IEEE TEC 2002): over the objectives, the sum of the gap between the two
    neighbours as a share of the rank's range; infinite for the first and the last point of a rank in any objective.
    ``ranks``: int ``[..., points]`` as from `ranks`. Of equal points the earlier counts as the lower neighbour. An
    objective in which a rank does not vary adds nothing; a point with NaN has distance 0.
    """
    array = as_points(points)
    *batch, count, objectives = array.shape
    sets = as_sets(array)
    levels = np.asarray(ranks).reshape(len(sets), count)
    distance = np.zeros(levels.shape)
    if not distance.size:
        return distance.reshape(*batch, count)
    slots = np.arange(count)
    for objective in range(objectives):
        values = sets[..., objective]
        order = np.lexsort((values, levels), axis=-1)
        value = np.take_along_axis(values, order, axis=1)
        level = np.take_along_axis(levels, order, axis=1)
        change = np.ones((len(sets), count + 1), dtype=bool)
        change[:, 1:-1] = level[:, 1:] != level[:, :-1]
        first, last = change[:, :-1], change[:, 1:]
        start = np.maximum.accumulate(np.where(first, slots, 0), axis=1)
        stop = np.minimum.accumulate(np.where(last, slots, count)[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(invalid="ignore"):  # NaN and infinite objectives
            extent = np.take_along_axis(value, stop, axis=1) - np.take_along_axis(value, start, axis=1)
            gap = np.zeros(value.shape)
            gap[:, 1:-1] = value[:, 2:] - value[:, :-2]
            share = np.divide(gap, extent, out=np.zeros_like(gap), where=extent > 0)
        share[np.isnan(share)] = 0
        share[first | last] = np.inf
        back = np.empty_like(share)
        np.put_along_axis(back, order, share, axis=1)
        distance += back
    distance[_absent(sets)] = 0
    return distance.reshape(*batch, count)


def _absent(sets: Floats) -> Flags:
    return np.asarray(np.isnan(sets).any(axis=-1))


def _swept(sets: Floats) -> tuple[NDArray[np.intp], Floats, Flags]:
    """Order sets of two objectives by the first, then the second: the order, the second, and who equals the one before.

    Whatever dominates a point stands before it. Points with NaN stand last, as (inf, inf).
    """
    x, y = sets[..., 0], sets[..., 1]
    absent = np.isnan(x) | np.isnan(y)
    if absent.any():
        x, y = np.where(absent, np.inf, x), np.where(absent, np.inf, y)
    order = np.lexsort((y, x), axis=-1)
    x, y = np.take_along_axis(x, order, axis=1), np.take_along_axis(y, order, axis=1)
    equal = np.zeros(x.shape, dtype=bool)
    equal[:, 1:] = (x[:, 1:] == x[:, :-1]) & (y[:, 1:] == y[:, :-1])
    return order, y, equal


def _front_of_two(sets: Floats) -> Flags:
    order, y, equal = _swept(sets)
    below = np.ones(y.shape, dtype=bool)  # lower in the second objective than all that are no higher in the first
    below[:, 1:] = y[:, 1:] < np.minimum.accumulate(y, axis=1)[:, :-1]
    leader = np.maximum.accumulate(np.where(equal, 0, np.arange(y.shape[1])), axis=1)  # the first of equals decides
    kept = np.empty_like(below)
    np.put_along_axis(kept, order, np.take_along_axis(below, leader, axis=1), axis=1)
    return kept & ~_absent(sets)


def _ranks_of_two(sets: Floats) -> NDArray[np.intp]:
    """Rank by a sweep (Jensen, IEEE TEC 2003): a point joins the first front whose latest member is higher than it.

    The second objectives of the fronts' latest members ascend with the rank, so that counting those that are no higher
    finds it. One step a point serves all sets.
    """
    order, y, equal = _swept(sets)
    runs, count = y.shape
    y, equal = np.ascontiguousarray(y.T), np.ascontiguousarray(equal.T)
    latest = np.full((count, runs), np.inf)
    found = np.empty((count, runs), dtype=np.intp)
    rows = np.arange(runs)
    deepest = 0
    for slot in range(count):
        rank = np.count_nonzero(latest[:deepest] <= y[slot], axis=0)
        if slot:
            np.copyto(rank, found[slot - 1], where=equal[slot])
        latest[rank, rows] = y[slot]
        found[slot] = rank
        deepest = min(max(deepest, int(rank.max(initial=-1)) + 1), count - 1) if count > 1 else 0
    ranked = np.empty((runs, count), dtype=np.intp)
    np.put_along_axis(ranked, order, found.T, axis=1)
    ranked[_absent(sets)] = count
    return ranked


def _dominated_pairs(sets: Floats) -> list[Flags]:
    """A few sets at a time, bool ``[sets, points, points]``: whether the first point dominates the second."""
    count = sets.shape[1]
    step = max(1, _PAIRS // max(1, count * count))
    found = []
    for first in range(0, max(1, len(sets)), step):
        columns = np.moveaxis(sets[first : first + step], -1, 0)
        no_worse = np.ones((columns.shape[1], count, count), dtype=bool)
        for column in columns:
            no_worse &= column[:, :, None] <= column[:, None, :]
        found.append(no_worse & ~no_worse.swapaxes(1, 2))  # no worse, and not the other way round: not equal
    return found


def _ranks_by_peeling(sets: Floats) -> NDArray[np.intp]:
    count = sets.shape[1]
    parts = []
    for pairs in _dominated_pairs(sets):
        ranked = np.full(pairs.shape[:2], -1)
        above = np.count_nonzero(pairs, axis=1)  # how many of the points left dominate each
        for rank in range(count):
            front = (above == 0) & (ranked < 0)
            if not front.any():
                break
            ranked[front] = rank
            above -= np.count_nonzero(pairs & front[:, :, None], axis=1)
        parts.append(ranked)
    ranked = np.concatenate(parts, axis=0)
    ranked[_absent(sets)] = count
    return ranked


def _front_of_many(points: Floats) -> Flags:
    """The front of one large set: whatever dominates a point stands before it in lexicographic order."""
    present = np.flatnonzero(~_absent(points))
    order = present[np.lexsort(points[present].T[::-1])]
    kept = np.zeros(len(points), dtype=bool)
    front = np.empty((0, points.shape[1]))
    for first in range(0, len(order), _BLOCK):
        block = order[first : first + _BLOCK]
        values = points[block]
        beaten = _dominates(front, values).any(axis=0)
        block, values = block[~beaten], values[~beaten]
        stays = ~_dominates(values, values).any(axis=0)
        kept[block[stays]] = True
        front = np.concatenate([front, values[stays]])
    return kept


def _dominates(first: Floats, second: Floats) -> Flags:
    """Bool ``[first, second]``."""
    no_worse = np.ones((len(first), len(second)), dtype=bool)
    better = np.zeros_like(no_worse)
    for a, b in zip(first.T, second.T, strict=True):
        no_worse &= a[:, None] <= b
        better |= a[:, None] < b
    return no_worse & better
