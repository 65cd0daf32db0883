"""What the runs of a batch have paid for, and a Gaussian process over it: the evidence that AutoShrink pools."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from nasharness.algorithms.gaussian import Factor, inverse_factor
from nasharness.algorithms.ridge import normal_scores
from numpy.typing import NDArray

from nasharness.spaces.base import Floats, Indices
from nasharness.spaces.embedding import Embedding

#: Architectures that a model holds at most; where there would be more, the best half stays. A step costs their square.
_MOST = 96
#: Architectures up to which it is asked, whenever they have doubled, which view of the space explains them best.
_LEARNT = 64
#: Kernels that are computed together: so few that they stay in the processor's cache.
_TOGETHER = 1 << 16
#: Decimals of a prediction that count. What lies behind differs between processors' matrix products.
_DECIMALS = 6
#: A squared distance beyond all there are.
_NOWHERE = 1e7
#: No variance is divided by less.
_LEAST = 1e-9


class Evidence:
    """Every evaluation of a batch of runs, and for each run a Gaussian process over its architectures.

    An architecture's score is the normal score of the rank of its value, or, where it was evaluated again, of the mean
    of its values. The prior of all scores has variance 1 and falls with the squared distance of two architectures, in
    the *view* (`nasharness.spaces.embedding`) that makes the run's evidence most likely: what the network computes, or
    its choices. Every architecture has something for itself beside, of variance ``own``.
    """

    def __init__(self, views: tuple[Embedding, ...], runs: int, own: float) -> None:
        self._size = len(views[0].points)
        dimensions = max(view.points.shape[1] for view in views)
        # a row for each architecture in each view, and one for none at all: its point, 1, and its squared length. Such
        # a row times another's -2 x, |x|^2 and 1 is the squared distance of the two: whole numbers, so it is exact
        self._rows = np.zeros((len(views) * self._size + 1, dimensions + 2), dtype=np.float32)
        for number, view in enumerate(views):
            own_rows = self._rows[number * self._size : (number + 1) * self._size]
            own_rows[:, : view.points.shape[1]] = view.points
        self._rows[:, -1] = np.einsum("nd,nd->n", self._rows, self._rows)
        self._rows[:, -2] = 1
        self._rows[-1, -1] = _NOWHERE
        reach = max(float((np.ptp(view.points, axis=0).astype(float) ** 2).sum()) for view in views)
        self._width = 1 + int(reach)  # squared distances are below this
        units = np.array([[view.unit**2] for view in views])
        self._alike = np.append(np.exp(-0.5 * np.arange(self._width) / units).ravel(), 0.0)
        self._views, self._own = len(views), own
        self.runs = runs
        #: what was evaluated, ``[runs, told]``; at each architecture's first place: how many values, and their mean
        self.ids = np.empty((runs, 0), dtype=np.int32)
        self.count = np.empty((runs, 0), dtype=np.int64)
        self.mean = np.empty((runs, 0))
        #: squared deviations of repeated values from their means, repeats, and those that brought nothing new
        self.squares, self.repeats, self._idle = np.zeros(runs), np.zeros(runs, np.int64), np.zeros(runs, np.int64)
        #: 1 + the first place of every architecture in ``ids``, 0 where it was never evaluated
        self._place = np.zeros((runs, self._size), dtype=np.int32)
        self._whole = True  # whether every place is the first of an architecture
        #: of each run's model: the view, places in ``ids`` ``[runs, e]``, padded where ``_absent``, and their points
        self._view = np.zeros(runs, dtype=np.intp)
        self._places = np.empty((runs, 0), dtype=np.intp)
        self._absent = np.empty((runs, 0), dtype=bool)
        self._points = np.empty((runs, _MOST, dimensions + 2), dtype=np.float32)
        self._factor = Factor(runs, _MOST)
        self._scores = self._order = np.empty((runs, 0))
        self._due = -1

    def chunks(self, each: int) -> Iterator[slice]:
        """Slices that cover the runs: as many together as is fast where each has ``each`` kernels to compute."""
        some = max(1, _TOGETHER // max(1, each))
        for first in range(0, self.runs, some):
            yield slice(first, min(first + some, self.runs))

    def asked(self, ids: Indices) -> NDArray[np.bool_]:
        """Which of ``ids [runs, k]`` each run has evaluated."""
        return np.take_along_axis(self._place, ids, axis=1) > 0

    def unasked(self, row: int, ids: Indices) -> Indices:
        """Those of ``ids [k]`` that a run has not evaluated."""
        return np.asarray(ids[self._place[row, ids] == 0])

    # -- learning --------------------------------------------------------------------------------------------------

    def add(self, ids: Indices, values: Floats) -> None:
        """Learn ``values [runs, k]`` of ``ids``; NaN and NOTHING are left out."""
        told, k = self.ids.shape[1], ids.shape[1]
        valid = (ids >= 0) & ~np.isnan(values)
        ids = np.where(valid, ids, -1)
        self.ids = np.concatenate([self.ids, ids], axis=1)
        self.count = np.concatenate([self.count, np.zeros(ids.shape, np.int64)], axis=1)
        self.mean = np.concatenate([self.mean, np.zeros(ids.shape)], axis=1)
        for slot in range(k):
            rows = np.flatnonzero(valid[:, slot])
            each, value = ids[rows, slot], values[rows, slot]
            place = self._place[rows, each] - 1
            again = place >= 0
            if not again.all():
                self._place[rows[~again], each[~again]] = told + slot + 1
                place[~again] = told + slot
            off = value - self.mean[rows, place]
            self.count[rows, place] += 1
            self.mean[rows, place] += off / self.count[rows, place]
            if again.any():
                self.squares[rows] += np.where(again, off * (value - self.mean[rows, place]), 0.0)
                self.repeats[rows] += again
                self._idle[rows] += again & (off == 0)
        new = self.count[:, told:] > 0
        self._whole = self._whole and bool(new.all())
        self._rank()
        if told + k > self._due:
            self._fit()
        elif new.any():
            self._grow(told, new)

    @property
    def noisy(self) -> NDArray[np.bool_]:
        """Runs in which an architecture has shown two values: bool ``[runs]``."""
        return self.repeats > self._idle

    def _rank(self) -> None:
        """Order what each run has evaluated, the best first, and score it, 0 elsewhere: two ``[runs, told]``."""
        known = self.count > 0
        self._order = np.argsort(-self.mean if self._whole else np.where(known, -self.mean, np.inf), 1, kind="stable")
        if self._whole:
            self._scores = normal_scores(self.mean)
            return
        self._scores = np.zeros(known.shape)
        numbers = known.sum(axis=1)
        for number in np.unique(numbers):  # runs differ where they repeat, or end
            rows = np.flatnonzero(numbers == number)[:, None]
            places = self._order[rows[:, 0], :number]
            self._scores[rows, places] = normal_scores(self.mean[rows, places])

    def _grow(self, told: int, new: NDArray[np.bool_]) -> None:
        """Add what is ``new [runs, k]`` behind the first ``told`` to the models."""
        e, width = self._places.shape[1], int(new.sum(axis=1).max())
        slots = np.argsort(~new, axis=1, kind="stable")[:, :width]
        places, absent = told + slots, ~np.take_along_axis(new, slots, axis=1)
        self._places = np.concatenate([self._places, places], axis=1)
        self._absent = np.concatenate([self._absent, absent], axis=1)
        for rows in self.chunks((e + width) * width):
            mine = self._taken(self._view[rows], rows, slice(e, e + width))
            self._points[rows, e : e + width] = self._turned(mine, self._view[rows])
            kernel = self._kernel(mine, self._points[rows, : e + width])
            self._factor.add(rows, kernel[:, :, :e], self._with_own(kernel[:, :, e:]))
        self._factor.grown(width)

    def _fit(self) -> None:
        """Choose anew what each model holds and which view it takes, and factorise from scratch.

        When this is due depends on what was asked alone, so that a run is the same whatever the others do.
        """
        total = self.ids.shape[1]
        known = self.count > 0
        kept_most = total if total <= _MOST else _MOST // 2
        kept = min(kept_most, int(known.sum(axis=1).max()))
        self._places = np.sort(self._order[:, :kept], axis=1)
        self._absent = ~np.take_along_axis(known, self._places, axis=1)
        self._factor.clear()
        for rows in self.chunks(kept * kept):
            best = np.full(len(self._view[rows]), -np.inf)
            for view in range(self._views) if total <= _LEARNT else (None,):
                views = self._view[rows] if view is None else np.full(len(best), view)
                mine = self._taken(views, rows, slice(kept))
                points = self._turned(mine, views)
                inverse = inverse_factor(self._with_own(self._kernel(mine, points)))
                fit = self._likelihood(rows, inverse)
                better = fit > best
                best[better] = fit[better]
                where = np.arange(self.runs)[rows][better]
                self._view[where], self._points[where, :kept] = views[better], points[better]
                self._factor.write(where, inverse[better])
        self._factor.grown(kept)
        # asked again while it is learnt, and once there would be too many
        self._due = min(2 * total - 1, _MOST) if 2 * total <= _LEARNT else max(_MOST, total + _MOST - kept_most)

    def _likelihood(self, rows: slice, inverse: Floats) -> Floats:
        """Log marginal likelihood of some runs' evidence at the best scale of the prior, up to a constant: ``[some]``.

        ``inverse``: of the Cholesky factor of the evidence's covariance, ``[some, e, e]``.
        """
        absent = self._absent[rows]
        spread = ((inverse @ self._held_scores(rows)[:, :, None])[:, :, 0] ** 2).sum(axis=1)
        logs = np.where(absent, 0.0, np.log(np.diagonal(inverse, axis1=1, axis2=2))).sum(axis=1)
        return np.round(logs - 0.5 * (~absent).sum(axis=1) * np.log(np.maximum(spread, 1e-12)), _DECIMALS)

    # -- kernels ---------------------------------------------------------------------------------------------------

    def _taken(self, view: NDArray[np.intp], rows: slice, held: slice) -> NDArray[np.float32]:
        """The rows, in a view, of what the models hold: float32 ``[some, e, dimensions + 2]``."""
        ids = np.take_along_axis(self.ids[rows], self._places[rows, held], axis=1)
        return np.asarray(self._rows.take(np.where(self._absent[rows, held], -1, ids + view[:, None] * self._size), 0))

    def _turned(self, points: NDArray[np.float32], view: NDArray[np.intp]) -> NDArray[np.float32]:
        """The other side of squared distances, which begin for each view where those of the one before end."""
        turned = points * np.float32(-2)
        turned[:, :, -2] = points[:, :, -1] + (view * self._width).astype(np.float32)[:, None]
        turned[:, :, -1] = 1
        return turned

    def _kernel(self, one: NDArray[np.float32], turned: NDArray[np.float32]) -> Floats:
        """How alike architectures ``[some, m]`` and ``[some, e]`` are: float64 ``[some, m, e]``."""
        squared = np.matmul(one, turned.transpose(0, 2, 1))
        return np.asarray(self._alike.take(squared.astype(np.intp), mode="clip"))

    def _with_own(self, kernel: Floats) -> Floats:
        """Covariance of scores of some architectures, each with its own part: ``[some, e, e]``, changed in place."""
        diagonal = np.arange(kernel.shape[1])
        kernel[:, diagonal, diagonal] = 1.0 + self._own
        return kernel

    # -- answering -------------------------------------------------------------------------------------------------

    def best(self, count: int) -> NDArray[np.intp]:
        """Places in ``ids`` of the best so many that each run has evaluated, the best first: ``[runs, <= count]``.

        A run that has evaluated fewer has its best there again.
        """
        order = self._order[:, :count]
        if self._whole:
            return order
        return np.where(np.take_along_axis(self.count, order, axis=1) > 0, order, order[:, :1])

    @property
    def top(self) -> Floats:
        """The best score of each run: ``[runs]``."""
        return self._scores[np.arange(self.runs), self._order[:, 0]]

    def _held_scores(self, rows: slice | NDArray[np.intp]) -> Floats:
        """Scores of what the models hold: ``[some, e]``, 0 where absent."""
        if self._whole and self._places.shape[1] == self.ids.shape[1]:  # everything, in order
            return self._scores[rows]
        return np.take_along_axis(self._scores[rows], self._places[rows], axis=1) * ~self._absent[rows]

    def _weights(self, rows: slice | NDArray[np.intp], scores: Floats) -> Floats:
        """What the score of everything held counts in a prediction: ``[some, e, 1]``."""
        w = self._factor.inverse[rows]
        return np.asarray(w.transpose(0, 2, 1) @ (w @ scores[:, :, None]))

    def held(self, rows: slice | NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats, Floats]:
        """What the models hold ``[some, e]``: places in ``ids``, scores, and scores expected without their own part.

        Both are -inf behind the last.
        """
        scores = self._held_scores(rows)
        shared = np.round(scores - self._own * self._weights(rows, scores)[:, :, 0], _DECIMALS)
        gone = self._absent[rows]
        return self._places[rows], np.where(gone, -np.inf, scores), np.where(gone, -np.inf, shared)

    def promising(
        self, pool: Indices, new: NDArray[np.bool_], most: int, together: int
    ) -> tuple[Indices, Floats, Floats]:
        """The ``most`` of ``pool [runs, m]`` with the best expected scores, of those that are ``new``.

        Returns them and their expected scores, -inf where there are no more: ``[runs, most]``; and for the first of
        them the covariance of their scores, ``[runs, together, together]``.
        """
        most, e = min(most, pool.shape[1]), self._places.shape[1]
        together = min(most, together)
        found, means = np.empty((self.runs, most), dtype=np.int32), np.empty((self.runs, most))
        covariance = np.empty((self.runs, together, together))
        for rows in self.chunks(pool.shape[1] * e):
            view, w = self._view[rows], self._factor.inverse[rows]
            points = self._rows.take(pool[rows] + view[:, None] * self._size, axis=0)
            cross = self._kernel(points, self._points[rows, :e])
            mean = np.round((cross @ self._weights(rows, self._held_scores(rows)))[:, :, 0], _DECIMALS)
            mean[~new[rows]] = -np.inf
            best = _best(mean, most)
            some = np.arange(len(best))[:, None]
            found[rows], means[rows] = pool[rows][some, best], mean[some, best]
            first = best[:, :together]
            v = cross[some, first] @ w.transpose(0, 2, 1)
            points = points[some, first]
            prior = self._with_own(self._kernel(points, self._turned(points, view)))
            covariance[rows] = np.round(prior - v @ v.transpose(0, 2, 1), _DECIMALS)
        return found, means, covariance


def _best(mean: Floats, most: int) -> NDArray[np.intp]:
    """Places of the greatest of rounded means, the first of equals first: ``[some, most]``.

    Whole numbers that are all different are sorted fastest, and alike by every way to sort.
    """
    width = mean.shape[1]
    steps = np.maximum(np.rint(mean * 10**_DECIMALS), -1e9).astype(np.int64)
    keys = np.arange(width) - steps * width
    if most < width:
        keys = np.partition(keys, most, axis=1)[:, :most]
    keys.sort(axis=1)
    return np.asarray(keys % width)


def most_optimistic(mean: Floats, covariance: Floats, weight: float, k: int) -> NDArray[np.intp]:
    """Places of what may be best, one after the other: ``[runs, <= k]``, of ``mean [runs, m]`` and its covariance.

    Each time the place with the greatest mean and ``weight`` standard deviations; then the deviations of the others
    shrink as if its score were known, since they do whatever it is, so that what is chosen together differs
    (Desautels, Krause & Burdick, Parallelizing Exploration-Exploitation Tradeoffs in Gaussian Process Bandit
    Optimization, JMLR 2014).
    """
    rows = np.arange(len(mean))
    k = min(k, covariance.shape[1])
    mean = np.maximum(mean[:, : covariance.shape[1]], -_NOWHERE)  # what is not there comes last, but once
    variance = np.diagonal(covariance, axis1=1, axis2=2).copy()
    known = np.zeros((len(mean), k, mean.shape[1]))  # what the scores of those chosen tell about all
    places = np.empty((len(mean), k), dtype=np.intp)
    for slot in range(k):
        hope = np.round(mean + weight * np.sqrt(np.maximum(variance, 0.0)), _DECIMALS)
        places[:, slot] = place = hope.argmax(axis=1)
        mean[rows, place] = -np.inf
        before = known[:, :slot]
        told = covariance[rows, place] - np.einsum("rs,rsm->rm", before[rows, :, place], before)
        told /= np.sqrt(np.maximum(told[rows, place], _LEAST))[:, None]
        known[:, slot] = told
        variance -= told * told
    return places
