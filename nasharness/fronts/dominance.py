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
    if sets.shape[2] == 2:
        order, _, _, found = _ranks_of_two(sets)
        ranked = np.empty_like(found)
        np.put_along_axis(ranked, order, found, axis=1)
    else:
        ranked = _ranks_by_peeling(sets)
    return ranked.reshape(*batch, count)


def entering(points: ArrayLike) -> Flags:
    """Return bool ``[..., points]``: which points no *earlier* point of their set dominates.

    Along a trajectory these are the evaluations that join its front, for however long; never points with NaN.
    """
    array = as_points(points)
    *batch, count, objectives = array.shape
    sets = as_sets(array)
    enters = np.zeros(sets.shape[:2], dtype=bool)
    held = [np.full((len(sets), 0), np.nan)] * objectives  # the front so far, in any order, filled up with NaN
    for place in range(count):
        point = [sets[:, place, one, None] for one in range(objectives)]
        no_worse, better, beats = (np.full(held[0].shape, flag) for flag in (True, False, True))
        enters[:, place] = ~np.isnan(sets[:, place]).any(axis=1)
        for column, value in zip(held, point, strict=True):
            no_worse &= column <= value
            better |= column < value
            beats &= value <= column
        enters[:, place] &= ~(no_worse & better).any(axis=1)
        # what the new one beats makes room for it: whatever that dominated, this does
        room = (beats | np.isnan(held[0])) & enters[:, place, None]
        if not (room.any(axis=1) | ~enters[:, place]).all():
            held = [np.concatenate([column, np.full_like(point[0], np.nan)], axis=1) for column in held]
            room = np.concatenate([room, enters[:, place, None]], axis=1)
        rows = np.flatnonzero(enters[:, place])
        slots = room[rows].argmax(axis=1) if len(rows) else rows
        for column, value in zip(held, point, strict=True):
            column[room] = np.nan
            column[rows, slots] = value[rows, 0]
    return enters.reshape(*batch, count)


def crowding(points: ArrayLike, ranks: NDArray[np.intp]) -> Floats:
    """Return float64 ``[..., points]``: how far apart a point's neighbours on its own rank are; more is lonelier.

    The crowding distance of Deb et al. (IEEE TEC 2002): over the objectives, the sum of the gap between the two
    neighbours as a share of the rank's range; infinite for the first and the last point of a rank in any objective.
    ``ranks``: int ``[..., points]``, those that `ranks` gives. Of equal points the earlier is the one before the other.
    An objective in which a rank does not vary adds nothing; a point with NaN has distance 0.
    """
    array = as_points(points)
    sets = as_sets(array)
    levels = np.asarray(ranks).reshape(sets.shape[:2])
    distance = np.zeros(levels.shape)
    # on a rank of two objectives one ascends as the other descends: their neighbours are the same
    together = [(0, 1)] if sets.shape[2] == 2 else [(objective,) for objective in range(sets.shape[2])]
    for objectives in together:
        order = np.lexsort((sets[..., objectives[0]], levels), axis=-1)
        level = np.take_along_axis(levels, order, axis=1)
        sorted_values = [np.take_along_axis(sets[..., one], order, axis=1) for one in objectives]
        part = np.empty_like(distance)
        np.put_along_axis(part, order, _gaps(sorted_values, level), axis=1)
        distance += part
    distance[_absent(sets)] = 0
    return distance.reshape(array.shape[:-1])


def best_first(points: ArrayLike) -> NDArray[np.intp]:
    """Return int ``[..., points]``: the places of the points by rank, the lonelier of a rank first, then the earlier.

    The order by which NSGA-II lets individuals survive and win; points with NaN come last.
    """
    array = as_points(points)
    sets = as_sets(array)
    if sets.shape[2] != 2:
        ranked = ranks(sets)
        return np.lexsort((-crowding(sets, ranked), ranked), axis=-1).reshape(array.shape[:-1])
    # the sweep that ranks has sorted every rank already
    order, x, y, ranked = _ranks_of_two(sets)
    by_rank = np.argsort(ranked, axis=1, kind="stable")
    order, ranked = np.take_along_axis(order, by_rank, axis=1), np.take_along_axis(ranked, by_rank, axis=1)
    gaps = _gaps([np.take_along_axis(values, by_rank, axis=1) for values in (x, y)], ranked)
    gaps[ranked == sets.shape[1]] = 0  # points with NaN: none is lonelier than another
    lonely = np.lexsort((order, -gaps, ranked), axis=-1)
    return np.take_along_axis(order, lonely, axis=1).reshape(array.shape[:-1])


def _gaps(columns: list[Floats], level: NDArray[np.intp]) -> Floats:
    """The gap between each point's neighbours, ``columns`` being sorted along every ``level``: ``[sets, points]``."""
    distance = np.zeros(level.shape)
    change = np.ones((level.shape[0], level.shape[1] + 1), dtype=bool)
    change[:, 1:-1] = level[:, 1:] != level[:, :-1]
    first, last = change[:, :-1], change[:, 1:]
    inner = np.flatnonzero(~(first | last))
    # where the rank of an inner point begins and ends, counting through all sets
    begins, ends = np.flatnonzero(first), np.flatnonzero(last)
    which = np.cumsum(first)[inner] - 1
    begins, ends = begins[which], ends[which]
    total = np.zeros(len(inner))
    for column in columns:
        flat = column.ravel()
        with np.errstate(invalid="ignore"):  # infinite objectives
            extent = np.abs(flat[ends] - flat[begins])
            gap = np.abs(flat[inner + 1] - flat[inner - 1])
            share = np.divide(gap, extent, out=np.zeros_like(gap), where=extent > 0)
        share[np.isnan(share)] = 0
        total += share
    distance.ravel()[inner] = total
    distance[first | last] = np.inf
    return distance


def _absent(sets: Floats) -> Flags:
    return np.asarray(np.isnan(sets).any(axis=-1))


def _swept(sets: Floats) -> tuple[NDArray[np.intp], Floats, Floats, Flags]:
    """Order sets of two objectives by the first, then the second: the order, both, and who equals the one before.

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
    return order, x, y, equal


def _front_of_two(sets: Floats) -> Flags:
    order, _, y, equal = _swept(sets)
    below = np.ones(y.shape, dtype=bool)  # lower in the second objective than all that are no higher in the first
    below[:, 1:] = y[:, 1:] < np.minimum.accumulate(y, axis=1)[:, :-1]
    leader = np.maximum.accumulate(np.where(equal, 0, np.arange(y.shape[1])), axis=1)  # the first of equals decides
    kept = np.empty_like(below)
    np.put_along_axis(kept, order, np.take_along_axis(below, leader, axis=1), axis=1)
    return kept & ~_absent(sets)


def _ranks_of_two(sets: Floats) -> tuple[NDArray[np.intp], Floats, Floats, NDArray[np.intp]]:
    """Rank by a sweep (Jensen, IEEE TEC 2003): a point joins the first front whose latest member is higher than it.

    The second objectives of the fronts' latest members ascend with the rank, so that counting those that are no higher
    finds it. One step a point serves all sets. Returns the order of the sweep and, in it, both objectives and the rank.
    """
    order, x, y, equal = _swept(sets)
    runs, count = y.shape
    heights, equals = np.ascontiguousarray(y.T), np.ascontiguousarray(equal.T)
    latest = np.full((count, runs), np.nan)  # NaN where there is no such front yet: no higher than nothing
    found = np.empty((count, runs), dtype=np.intp)
    rows = np.arange(runs)
    deepest = 0
    for slot in range(count):
        rank = found[slot]
        np.add.reduce(latest[:deepest] <= heights[slot], axis=0, dtype=np.intp, out=rank)
        if slot:
            np.copyto(rank, found[slot - 1], where=equals[slot])
        latest[rank, rows] = heights[slot]
        deepest = max(deepest, int(rank.max(initial=-1)) + 1)
    ranked = np.ascontiguousarray(found.T)
    absent = _absent(sets)
    if absent.any():
        ranked[np.take_along_axis(absent, order, axis=1)] = count
    return order, x, y, ranked


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
