"""What the runs of a batch have paid for, and a Gaussian process over it: the evidence that AutoShrink pools."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.gaussian import Factor, chunks
from nasharness.algorithms.ridge import normal_scores
from numpy.typing import NDArray

from nasharness.spaces.base import Floats, Indices
from nasharness.spaces.embedding import Embedding

#: Architectures that a model holds at most; where there would be more, the best half stays. A step costs their square.
_MOST = 256
#: Architectures up to which it is asked, whenever they have doubled, which view of the space explains them best.
_LEARNT = 128
#: Decimals of a prediction that count. What lies behind differs between processors' matrix products.
_DECIMALS = 6


class Evidence:
    """Every evaluation of a batch of runs, and for each run a Gaussian process over its architectures.

    An architecture's score is the normal score of the rank of its value, or, where it was evaluated again, of the mean
    of its values. The prior of all scores has variance 1 and falls with the squared distance of two architectures, in
    the *view* (`nasharness.spaces.embedding`) that makes the run's evidence most likely: what the network computes, or
    its choices. Every architecture has something for itself beside, of variance ``own``.
    """

    def __init__(self, views: tuple[Embedding, ...], runs: int, own: float) -> None:
        dimensions = max(view.points.shape[1] for view in views)
        self._points = np.zeros((len(views), len(views[0].points), dimensions), dtype=np.float32)
        for view, points in zip(views, self._points, strict=True):
            points[:, : view.points.shape[1]] = view.points
        self._squares = np.einsum("vnd,vnd->vn", self._points, self._points)
        reach = self._points.max(axis=1) - self._points.min(axis=1)
        self._width = 1 + int((reach**2).sum(axis=1).max())  # squared distances are whole numbers below this
        units = np.array([[view.unit**2] for view in views])
        self._alike = np.exp(-0.5 * np.arange(self._width) / units).ravel()
        self._own = own
        self.runs = runs
        #: what was evaluated, ``[runs, told]``; at each architecture's first place: how many values, and their mean
        self.ids = np.empty((runs, 0), dtype=np.int32)
        self.count = np.empty((runs, 0), dtype=np.int64)
        self.mean = np.empty((runs, 0))
        #: squared deviations of repeated values from their means, repeats, and those that brought nothing new
        self.squares, self.repeats, self._idle = np.zeros(runs), np.zeros(runs, np.int64), np.zeros(runs, np.int64)
        #: of each run's model: the view, and places in ``ids``, ``[runs, e]``, padded where ``_absent``
        self._view = np.zeros(runs, dtype=np.intp)
        self._places = np.empty((runs, 0), dtype=np.intp)
        self._absent = np.empty((runs, 0), dtype=bool)
        self._factor = Factor(runs)
        self._ranks = np.empty((runs, 0))
        self._due = 0

    # -- learning --------------------------------------------------------------------------------------------------

    def add(self, ids: Indices, values: Floats) -> None:
        """Learn ``values [runs, k]`` of ``ids``; NaN and NOTHING are left out."""
        told, k = self.ids.shape[1], ids.shape[1]
        told_of = (ids >= 0) & ~np.isnan(values)
        ids = np.where(told_of, ids, -1)
        before = np.concatenate([self.ids, ids], axis=1)[:, None, :] == ids[:, :, None]
        first = before.argmax(axis=2)
        self.ids = np.concatenate([self.ids, ids], axis=1)
        self.count = np.concatenate([self.count, np.zeros(ids.shape, np.int64)], axis=1)
        self.mean = np.concatenate([self.mean, np.zeros(ids.shape)], axis=1)
        new = told_of & (first == told + np.arange(k))
        for slot in range(k):
            rows = np.flatnonzero(told_of[:, slot])
            place, value = first[rows, slot], values[rows, slot]
            off = value - self.mean[rows, place]
            again = self.count[rows, place] > 0
            self.count[rows, place] += 1
            self.mean[rows, place] += off / self.count[rows, place]
            if again.any():
                self.squares[rows] += np.where(again, off * (value - self.mean[rows, place]), 0.0)
                self.repeats[rows] += again
                self._idle[rows] += again & (off == 0)
        self._ranks = self._ranked()
        width = int(new.sum(axis=1).max(initial=0))
        slots = np.argsort(~new, axis=1, kind="stable")[:, :width]
        places, absent = told + slots, ~np.take_along_axis(new, slots, axis=1)
        if told + k >= self._due:
            self._fit()
        elif width:
            for rows in chunks(self.runs):
                mine, old = self._take(rows, places[rows]), self._take(rows, self._places[rows])
                cross = self._covariance(self._view[rows], mine, old, absent[rows], self._absent[rows])
                self._factor.add(rows, cross, self._square(self._view[rows], mine, absent[rows]))
            self._factor.grown(width)
            self._places = np.concatenate([self._places, places], axis=1)
            self._absent = np.concatenate([self._absent, absent], axis=1)

    @property
    def noisy(self) -> NDArray[np.bool_]:
        """Runs in which an architecture has shown two values: bool ``[runs]``."""
        return self.repeats > self._idle

    def _fit(self) -> None:
        """Choose anew what each model holds and which view it takes, and factorise from scratch.

        When this is due depends on what was asked alone, so that a run is the same whatever the others do.
        """
        total = self.ids.shape[1]
        known = self.count > 0
        kept = int(known.sum(axis=1).max()) if total <= _MOST else min(_MOST // 2, total)
        order = np.argsort(np.where(known, -self.mean, np.inf), axis=1, kind="stable")[:, :kept]
        self._places = np.sort(order, axis=1)
        self._absent = ~np.take_along_axis(known, self._places, axis=1)
        self._factor = Factor(self.runs, kept)
        for rows in chunks(self.runs):
            ids, absent = self._take(rows, self._places[rows]), self._absent[rows]
            if len(self._points) > 1 and total <= _LEARNT:
                views = np.arange(len(self._points))
                self._view[rows] = np.argmax([self._likelihood(rows, view) for view in views], axis=0)
            square = self._square(self._view[rows], ids, absent)
            self._factor.add(rows, np.empty((len(ids), kept, 0)), square)
        self._factor.grown(kept)
        self._due = 2 * total if total <= _LEARNT else max(_MOST, total + _MOST // 2)

    def _likelihood(self, rows: slice, view: int) -> Floats:
        """Log marginal likelihood of some runs' evidence in a view, at the best scale, up to a constant: ``[some]``."""
        ids, absent = self._take(rows, self._places[rows]), self._absent[rows]
        w = np.linalg.inv(np.linalg.cholesky(self._square(np.full(len(ids), view), ids, absent)))
        spread = ((w @ self._scores(rows)[:, :, None])[:, :, 0] ** 2).sum(axis=1)
        logs = np.where(absent, 0.0, np.log(np.diagonal(w, axis1=1, axis2=2))).sum(axis=1)
        return np.round(logs - 0.5 * (~absent).sum(axis=1) * np.log(np.maximum(spread, 1e-12)), _DECIMALS)

    # -- kernels ---------------------------------------------------------------------------------------------------

    def _take(self, rows: slice | NDArray[np.intp], places: NDArray[np.intp]) -> Indices:
        return np.take_along_axis(self.ids[rows], places, axis=1)

    def _kernel(self, view: NDArray[np.intp], one: Indices, other: Indices) -> Floats:
        """How alike architectures ``[some, m]`` and ``[some, e]`` are: float64 ``[some, m, e]``."""
        view = view[:, None]
        squared = np.matmul(self._points[view, one] * np.float32(-2), self._points[view, other].transpose(0, 2, 1))
        squared += self._squares[view, one][:, :, None]  # of whole numbers, so it is exact
        squared += (self._squares[view, other] + (view * self._width).astype(np.float32))[:, None, :]
        return np.asarray(self._alike.take(squared.astype(np.intp), mode="clip"))

    def _covariance(
        self,
        view: NDArray[np.intp],
        one: Indices,
        other: Indices,
        no_one: NDArray[np.bool_],
        no_other: NDArray[np.bool_],
    ) -> Floats:
        kernel = self._kernel(view, one, other)
        if no_one.any() or no_other.any():
            kernel[no_one[:, :, None] | no_other[:, None, :]] = 0.0
        return kernel

    def _square(self, view: NDArray[np.intp], ids: Indices, absent: NDArray[np.bool_]) -> Floats:
        """Covariance of scores, with each architecture's own part; what is absent has none with anything."""
        kernel = self._covariance(view, ids, ids, absent, absent)
        diagonal = np.arange(ids.shape[1])
        kernel[:, diagonal, diagonal] = 1.0 + self._own
        return kernel

    # -- answering -------------------------------------------------------------------------------------------------

    def _ranked(self) -> Floats:
        """Normal scores of all that each run has evaluated, 0 elsewhere: ``[runs, told]``."""
        known = self.count > 0
        if known.all():
            return normal_scores(self.mean)
        order = np.argsort(~known, axis=1, kind="stable")  # what is known first
        numbers = known.sum(axis=1)
        scores = np.zeros(known.shape)
        for number in np.unique(numbers):  # runs differ where they repeat, or end
            rows = np.flatnonzero(numbers == number)[:, None]
            places = order[rows[:, 0], :number]
            scores[rows, places] = normal_scores(self.mean[rows, places])
        return scores

    def _scores(self, rows: slice | NDArray[np.intp]) -> Floats:
        """Scores of what the models hold: ``[some, e]``, 0 where absent."""
        return np.take_along_axis(self._ranks[rows], self._places[rows], axis=1) * ~self._absent[rows]

    def held(self, rows: slice | NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats, Floats]:
        """What the models hold ``[some, e]``: places in ``ids``, scores, and scores expected without their own part.

        Both are -inf behind the last.
        """
        scores = self._scores(rows)
        w = self._factor.inverse[rows]
        weights = (w.transpose(0, 2, 1) @ (w @ scores[:, :, None]))[:, :, 0]
        shared = np.round(scores - self._own * weights, _DECIMALS)
        gone = self._absent[rows]
        return self._places[rows], np.where(gone, -np.inf, scores), np.where(gone, -np.inf, shared)

    def predict(
        self, rows: slice, pool: Indices, new: NDArray[np.bool_], most: int
    ) -> tuple[NDArray[np.intp], Floats, Floats]:
        """The ``most`` of ``pool [some, m]`` with the best expected scores, of those that are ``new``.

        Returns their places in the pool, their expected scores, and the standard deviations: ``[some, most]``.
        """
        scores = self._scores(rows)
        w = self._factor.inverse[rows]
        weights = w.transpose(0, 2, 1) @ (w @ scores[:, :, None])
        held, absent = self._take(rows, self._places[rows]), self._absent[rows]
        cross = self._covariance(self._view[rows], np.maximum(pool, 0), held, np.zeros(pool.shape, bool), absent)
        mean = np.where(new, np.round((cross @ weights)[:, :, 0], _DECIMALS), -np.inf)
        best = np.argsort(-mean, axis=1, kind="stable")[:, :most]
        v = np.take_along_axis(cross, best[:, :, None], axis=1) @ w.transpose(0, 2, 1)
        variance = np.maximum(1.0 - np.einsum("rme,rme->rm", v, v), 0.0) + self._own
        return best, np.take_along_axis(mean, best, axis=1), np.round(np.sqrt(variance), _DECIMALS)
