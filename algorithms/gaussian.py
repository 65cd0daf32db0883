"""Gaussian processes, one for each run of a batch: exact, and grown a few points at a time. What GP searches share."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from nasharness.algorithms.candidates import PoolSearch, scores
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import Task
from nasharness.spaces.base import Floats, Indices

#: Runs whose arrays are computed together: few, so that they stay in the processor's cache.
CHUNK = 8
#: Points of a model at most: a step costs their square. Where there would be more, the best half stays.
EVIDENCE = 400
#: Points that are added at once; many are added in blocks, for products are faster than inverting.
_BLOCK = 32
#: Points whose factor is inverted at once.
_INVERTED = 16
#: Decimals of a prediction that count. What lies behind differs between processors' matrix products.
_DECIMALS = 6
#: No predicted variance is below this; the prior's is 1.
_LEAST = 1e-9


def chunks(runs: int) -> Iterator[slice]:
    """Slices of ``CHUNK`` runs that cover ``runs``."""
    for first in range(0, runs, CHUNK):
        yield slice(first, min(first + CHUNK, runs))


class Factor:
    """W, the inverse of the Cholesky factor of kernels plus noise, for each run: lower triangular ``[runs, n, n]``.

    With W a prediction is two products and nothing to solve: of the kernels c between a candidate and the n points,
    v = W c; the mean is v . W y and the variance 1 - v . v. New points add rows to W and leave the others as they are
    (bordering; Golub & Van Loan, Matrix Computations), so that one more costs of order n^2.
    """

    def __init__(self, runs: int, room: int = 0) -> None:
        self._rows = np.zeros((runs, room, room))
        self.n = 0

    @property
    def inverse(self) -> Floats:
        """W, float64 ``[runs, n, n]``."""
        return self._rows[:, : self.n, : self.n]

    def clear(self) -> None:
        """Forget all points."""
        self.n = 0

    def add(self, rows: slice, cross: Floats, own: Floats) -> None:
        """Write k more points of the runs ``rows``, from kernels ``cross [some, k, n]`` with the n points before them.

        ``own``: among themselves ``[some, k, k]``, noise included. They count once `grown` is called, for all runs.
        """
        k, n = cross.shape[1:]
        self._make_room(n + k)
        before = self._rows[rows, :n, :n]
        border = cross @ before.transpose(0, 2, 1)
        corner = inverse_factor(own - border @ border.transpose(0, 2, 1))
        self._rows[rows, n : n + k, :n] = -corner @ (border @ before)
        self._rows[rows, n : n + k, n : n + k] = corner

    def write(self, rows: NDArray[np.intp], inverse: Floats) -> None:
        """Write all points of ``rows`` at once, where there are none: their W ``[some, k, k]``; `grown` counts them."""
        k = inverse.shape[1]
        self._make_room(k)
        self._rows[rows, :k, :k] = inverse

    def grown(self, k: int) -> None:
        """Count ``k`` points more, which `add` has written for every run."""
        self.n += k

    def posterior(self, rows: slice, cross: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation ``[some, m]``, rounded, so that decisions do not depend on the machine.

        ``cross``: kernels with the points ``[some, m, n]``. ``y``: what was observed there ``[some, n]``.
        """
        inverse = self.inverse[rows]
        v = cross @ inverse.transpose(0, 2, 1)
        mean = (v @ (inverse @ y[:, :, None]))[:, :, 0]
        deviation = np.sqrt(np.maximum(1.0 - np.einsum("rmn,rmn->rm", v, v), _LEAST))
        return np.round(mean, _DECIMALS), np.round(deviation, _DECIMALS)

    def likelihood(self, rows: slice, y: Floats) -> Floats:
        """Log marginal likelihood of ``y [some, n]`` at the best scale of the prior, up to a constant: ``[some]``."""
        inverse = self.inverse[rows]
        residual = (inverse @ y[:, :, None])[:, :, 0]
        spread = np.maximum((residual * residual).sum(axis=1), 1e-12)
        logs = np.log(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1)
        return np.round(logs - 0.5 * self.n * np.log(spread), _DECIMALS)

    def _make_room(self, n: int) -> None:
        have = self._rows.shape[1]
        if n > have:
            room = max(n, have + have // 2, 16)
            rows = np.zeros((len(self._rows), room, room))
            rows[:, :have, :have] = self._rows
            self._rows = rows


def inverse_factor(covariance: Floats) -> Floats:
    """The inverse of the Cholesky factor, lower triangular, of covariances ``[some, k, k]``.

    By halves: products are faster than inverting.
    """
    k = covariance.shape[1]
    if k <= _INVERTED:
        return np.tril(np.linalg.inv(np.linalg.cholesky(covariance)))
    half = k // 2
    first = inverse_factor(covariance[:, :half, :half])
    border = covariance[:, half:, :half] @ first.transpose(0, 2, 1)
    second = inverse_factor(covariance[:, half:, half:] - border @ border.transpose(0, 2, 1))
    found = np.zeros(covariance.shape)
    found[:, :half, :half], found[:, half:, half:] = first, second
    found[:, half:, :half] = -second @ (border @ first)
    return found


def expected_improvement(mean: Floats, deviation: Floats, best: Floats) -> Floats:
    """By how much something of this mean and standard deviation is expected to beat ``best``; arrays broadcast.

    Mockus, Tiesis & Zilinskas, The Application of Bayesian Methods for Seeking the Extremum, 1978.
    """
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    return np.maximum(deviation * (density + z * _normal(z)), 0.0)


_ERFC = np.frompyfunc(math.erfc, 1, 1)


def _normal(z: Floats) -> Floats:
    """The normal distribution function; numpy has none, and importing scipy takes longer than a search."""
    return np.asarray(0.5 * _ERFC(z * -math.sqrt(0.5)).astype(np.float64))


class GaussianSearch(PoolSearch):
    """Pools judged by expected improvement under a Gaussian process with a kernel of the subclass's.

    Signals enter as normal scores of their ranks. Where the subclass has several `forms` of its kernel, each run takes
    the one of the highest marginal likelihood whenever its evidence has doubled.
    """

    #: how many forms the kernel has
    forms = 1

    def __init__(self, task: Task, *, start: int, pool: int, batch: int, parents: int, noise: float) -> None:
        super().__init__(task, start=start, pool=pool, batch=batch, parents=parents)
        if not 1e-6 <= noise <= 1e6:
            raise UsageError(f"{self.name()}: noise = {noise}: expected 0.000001 to 1,000,000")
        self._noise = noise
        self._factor = Factor(self.runs, min(task.evaluations or 0, EVIDENCE))
        self._points = np.empty((self.runs, 0), dtype=np.int32)
        self._told = np.empty((self.runs, 0))
        self._form = np.zeros(self.runs, dtype=np.intp)
        self._chosen_at = 0

    def kernel(self, one: Indices, other: Indices, form: Indices) -> Floats:
        """Kernels between architectures ``[some, m]`` and ``[some, n]``: ``[some, m, n]``, 1 on equals.

        ``form [some]``: which form of the kernel each run uses.
        """
        raise NotImplementedError

    def _kernel(self, rows: slice, one: Indices, other: Indices) -> Floats:
        """As `kernel`; 0 where there is no architecture, so that it says nothing of any other."""
        kernels = self.kernel(np.maximum(one, 0), np.maximum(other, 0), self._form[rows])
        if (one < 0).any() or (other < 0).any():
            kernels = np.where((one >= 0)[:, :, None] & (other >= 0)[:, None, :], kernels, 0.0)
        return kernels

    def _worth(self, pool: Indices) -> Floats:
        y = scores(self._told)
        best = np.where(self._points >= 0, y, -np.inf).max(axis=1, initial=-np.inf)
        best = np.where(np.isfinite(best), best, 0.0)
        worth = np.empty(pool.shape)
        for rows in chunks(self.runs):
            cross = self._kernel(rows, pool[rows], self._points[rows])
            mean, deviation = self._factor.posterior(rows, cross, y[rows])
            worth[rows] = expected_improvement(mean, deviation, best[rows, None])
        return worth

    def _learn(self, ids: Indices, values: Floats) -> None:
        if self._points.shape[1] + ids.shape[1] > EVIDENCE and self._points.shape[1]:
            ids = np.concatenate([self._points, ids], axis=1)
            values = np.concatenate([self._told, values], axis=1)
            ranked = np.argsort(-np.where(np.isnan(values), -np.inf, values), axis=1, kind="stable")
            kept = np.sort(ranked[:, : EVIDENCE // 2], axis=1)
            ids, values = np.take_along_axis(ids, kept, axis=1), np.take_along_axis(values, kept, axis=1)
            self._points, self._told = self._points[:, :0], self._told[:, :0]
            self._factor.clear()
        before = self._points
        self._points = np.concatenate([before, ids], axis=1)
        self._told = np.concatenate([self._told, values], axis=1)
        if self.forms > 1 and self._points.shape[1] >= 2 * self._chosen_at:
            self._chosen_at = self._points.shape[1]
            self._choose()
        else:
            self._extend(before, ids)

    def _extend(self, before: Indices, ids: Indices) -> None:
        diagonal = np.arange(ids.shape[1])
        for rows in chunks(self.runs):
            own = self._kernel(rows, ids[rows], ids[rows])
            own[:, diagonal, diagonal] = 1.0 + self._noise
            kernels = np.concatenate([self._kernel(rows, ids[rows], before[rows]), own], axis=2)
            for first in range(0, len(diagonal), _BLOCK):
                part = kernels[:, first : first + _BLOCK]
                at = before.shape[1] + first
                self._factor.add(rows, part[..., :at], part[..., at : at + _BLOCK])
        self._factor.grown(len(diagonal))

    def _choose(self) -> None:
        """Let each run take the form of its kernel that explains its evidence best, the first of equals."""
        y = scores(self._told)
        fits = []
        for form in range(self.forms):
            self._form[:] = form
            self._factor.clear()
            self._extend(self._points[:, :0], self._points)
            fits.append(np.concatenate([self._factor.likelihood(rows, y[rows]) for rows in chunks(self.runs)]))
        self._form = np.argmax(fits, axis=0)
        self._factor.clear()
        self._extend(self._points[:, :0], self._points)
