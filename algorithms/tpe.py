"""The tree-structured Parzen estimator: options are drawn as good architectures have them, the best of them taken."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Choices, Floats, Indices

#: Evaluations that count fully, the latest; those before them fade linearly.
_RECENT = 25
#: Runs whose arrays are computed together: few, so that they stay in the processor's cache.
_CHUNK = 16


@register(
    "tpe",
    citation="Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; categories as in Optuna "
    "(Akiba et al., KDD 2019)",
    needs=("product",),
    learns_after="start",
    variants={
        "paper": (
            "The tree-structured Parzen estimator of Bergstra et al. (2011): every position by itself",
            {"multivariate": False, "gamma": 0.15, "candidates": 100},
        ),
    },
    meanings={
        "start": "random architectures to begin with; at least 1; Optuna's",
        "multivariate": "whether positions are modelled together; true or false; Optuna's (Bergstra et al.: false)",
        "candidates": "drawn at a time, of which the best is taken; at least 1; Optuna's (Bergstra et al.: 100)",
        "gamma": "share of evaluations that are good; above 0, below 1; Optuna's (Bergstra et al.: 0.15)",
        "most": "good evaluations at most; at least 1; Optuna's",
        "prior": "weight of the uniform prior, in evaluations; more than 0; Optuna's",
    },
)
class TreeParzen(Algorithm):
    """The tree-structured Parzen estimator: draw what good architectures have and bad ones have not.

    The best ``gamma`` of a run's evaluations are good, the others bad. ``candidates`` are drawn from the density of the
    good ones, and the one with the largest ratio of good to bad density is taken: architectures where ``multivariate``,
    else options of each position by itself. A density is a mixture of a kernel an evaluation, the latest 25 in full and
    those before fading, and of a uniform prior; a kernel is a product over positions of mass 1 on the option it has and
    1 / (evaluations + 1) of the prior's on every option, as in Optuna's sampler where all parameters are categories. So
    it treats ordered options (widths) too. An architecture may come up again.
    """

    def __init__(
        self,
        task: Task,
        *,
        start: int = 10,
        multivariate: bool = True,
        candidates: int = 24,
        gamma: float = 0.1,
        most: int = 25,
        prior: float = 1.0,
    ) -> None:
        super().__init__(task)
        for name, value in (("start", start), ("candidates", candidates), ("most", most)):
            if not 1 <= value <= 1_000_000:
                raise UsageError(f"tpe: {name} = {value}: expected 1 to 1,000,000")
        if not 0 < gamma < 1:
            raise UsageError(f"tpe: gamma = {gamma}: expected above 0, below 1")
        if len(self.space.sizes) > 255:
            raise UsageError(
                f"tpe: space {self.space.name!r} has {len(self.space.sizes)} positions: expected at most 255"
            )
        if not 0 < prior <= 1e6:
            raise UsageError(f"tpe: prior = {prior}: expected more than 0, at most 1,000,000")
        self._start, self._candidates, self._gamma, self._most, self._prior = start, candidates, gamma, most, prior
        self._multivariate = multivariate
        self._sizes = np.array(self.space.sizes)
        self._told = 0
        self._choices: Choices = np.zeros((self.runs, 0, len(self._sizes)), dtype=np.int8)
        self._values = np.full((self.runs, 0), -np.inf)

    def ask(self) -> Asked:
        if self._told == 0:
            return self.task.start(self._start, self._first)
        chosen = self._together() if self._multivariate else self._apart()
        return np.asarray(self.space.index(chosen))[:, None]  # type: ignore[attr-defined]

    def _first(self) -> Indices:
        u = self.streams.uniform(self._start * self.space.uniforms_per_sample)
        return np.asarray(self.space.sample(u.reshape(self.runs, self._start, -1)))

    def tell(self, ids: Indices, values: Floats) -> None:
        known = np.maximum(ids, 0)
        self._choices = _grown(self._choices, self.space.choices(known), self._told)
        self._values = _grown(self._values, np.where(np.isnan(values), -np.inf, values), self._told)
        self._told += ids.shape[1]

    def _split(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The good evaluations of each run in order ``[runs, good]``, and which those are ``[runs, told]``."""
        good = min(math.ceil(self._gamma * self._told), self._most)
        order = np.argsort(-self._values[:, : self._told], axis=1, kind="stable")[:, :good]
        is_good = np.zeros((self.runs, self._told), dtype=bool)
        np.put_along_axis(is_good, order, True, axis=1)
        return np.sort(order, axis=1), is_good

    # -- positions together ----------------------------------------------------------------------------------------

    def _together(self) -> Choices:
        """The best of the candidates, architectures drawn from the density of the good ones ``[runs, positions]``."""
        positions = len(self._sizes)
        u = self.streams.uniform(self._candidates * (1 + positions)).reshape(self.runs, self._candidates, -1)
        order, is_good = self._split()
        weights = fading(order.shape[1])
        kernel = (u[..., 0, None] * (weights.sum() + self._prior) >= np.cumsum(weights)).sum(axis=2)
        prior = kernel == order.shape[1]
        seen = np.take_along_axis(order, np.where(prior, 0, kernel), axis=1)
        own = self._choices[np.arange(self.runs)[:, None], seen]
        each = self._prior / (order.shape[1] + 1)
        spread = u[..., 1:] * (1 + self._sizes * each)  # below 1: the kernel's own option
        other = np.where(prior[..., None], u[..., 1:] * self._sizes, (spread - 1) / each)
        drawn = np.where(prior[..., None] | (spread >= 1), np.minimum(np.floor(other), self._sizes - 1), own)
        drawn = drawn.astype(self._choices.dtype)
        best = self.advantage(drawn, is_good).argmax(axis=1)
        return np.asarray(drawn[np.arange(self.runs), best])

    def advantage(self, candidates: Choices, is_good: NDArray[np.bool_]) -> Floats:
        """Log of the good over the bad density at ``candidates [runs, k, positions]``: ``[runs, k]``, rounded."""
        found = np.zeros(candidates.shape[:2])
        good = int(is_good[0].sum())
        steps = np.arange(len(self._sizes) + 1)
        uniform = self._prior / np.prod(self._sizes.astype(np.float64))
        parts = []
        for sign, part, count in ((1, is_good, good), (-1, ~is_good, self._told - good)):
            each = self._prior / (count + 1)
            mass = (1 + each) ** steps * each ** steps[::-1] / np.prod(1 + self._sizes * each)
            parts.append((sign, mass, self._weights(part, count), fading(count).sum() + self._prior))
        for first in range(0, self.runs, _CHUNK):
            rows = slice(first, first + _CHUNK)
            alike = self._alike(rows, candidates[rows])
            for sign, mass, weights, total in parts:
                density = np.einsum("rmn,rn->rm", mass.take(alike), weights[rows]) + uniform
                found[rows] += sign * np.log(density / total)
        return np.round(found, 9)

    def _alike(self, rows: slice, candidates: Choices) -> NDArray[np.uint8]:
        """At how many positions candidates agree with what was told: ``[some, k, told]``."""
        known = np.moveaxis(self._choices[rows, : self._told], 2, 0).copy()
        alike = np.zeros((*candidates.shape[:2], self._told), dtype=np.uint8)
        for column, seen in zip(np.moveaxis(candidates, 2, 0), known, strict=True):
            alike += column[:, :, None] == seen[:, None]
        return alike

    def _weights(self, part: NDArray[np.bool_], count: int) -> Floats:
        """Weight of each evaluation in the mixture of those where ``part [runs, told]`` is true, ``count`` of them."""
        place = np.cumsum(part, axis=1) - 1  # of each evaluation among them, the first first
        return np.where(part, np.append(fading(count), 0.0)[place], 0.0)

    # -- each position by itself -----------------------------------------------------------------------------------

    def _apart(self) -> Choices:
        """At each position the best of the options drawn from the density of the good ones ``[runs, positions]``."""
        u = self.streams.uniform(len(self._sizes) * self._candidates).reshape(self.runs, len(self._sizes), -1)
        good, bad = self.densities()
        within = np.cumsum(good, axis=2)
        drawn = (u[..., None] * within[:, :, None, -1:] >= within[:, :, None, :-1]).sum(axis=3)
        drawn = np.minimum(drawn, self._sizes[:, None] - 1)  # rounding may leave a sum of masses below u
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.round(np.take_along_axis(good / bad, drawn, axis=2), 9)
        best = ratio.argmax(axis=2)
        return np.asarray(np.take_along_axis(drawn, best[:, :, None], axis=2)[:, :, 0])

    def densities(self) -> tuple[Floats, Floats]:
        """Mass of every option under the good and under the bad: float64 ``[runs, positions, options]``, 0 for none."""
        order, is_good = self._split()
        return self._density(is_good, order.shape[1]), self._density(~is_good, self._told - order.shape[1])

    def _density(self, part: NDArray[np.bool_], count: int) -> Floats:
        """Mass of every option under ``count`` evaluations, those where ``part [runs, told]`` is true."""
        options = int(self._sizes.max())
        weights, weight = fading(count), self._weights(part, count)
        cells = np.arange(self.runs * len(self._sizes)).reshape(self.runs, 1, -1) * options
        cells = cells + self._choices[:, : self._told]
        spread = np.broadcast_to(weight[:, :, None], cells.shape)
        held = np.bincount(cells.ravel(), weights=spread.ravel(), minlength=self.runs * len(self._sizes) * options)
        total = weights.sum() + self._prior
        held = held.reshape(self.runs, len(self._sizes), options) / total
        each = self._prior / (count + 1)
        sizes = self._sizes[None, :, None]
        mass = (weights.sum() / total * each + held) / (1 + sizes * each) + self._prior / total / sizes
        return np.where(np.arange(options) < sizes, mass, 0.0)


def fading(count: int) -> Floats:
    """Weights of ``count`` evaluations, the first first: the latest 25 have 1, those before rise from 1 / ``count``."""
    old = max(count - _RECENT, 0)
    return np.concatenate([np.linspace(1 / max(count, 1), 1, num=old), np.ones(count - old)])


def _grown(old: NDArray[Any], new: NDArray[Any], told: int) -> NDArray[Any]:
    """``old`` with ``new`` written behind its first ``told`` columns, made larger where there is no room."""
    need = told + new.shape[1]
    if need > old.shape[1]:
        larger = np.zeros((old.shape[0], max(need, 2 * old.shape[1], 64), *old.shape[2:]), dtype=old.dtype)
        larger[:, :told] = old[:, :told]
        old = larger
    old[:, told:need] = new
    return old
