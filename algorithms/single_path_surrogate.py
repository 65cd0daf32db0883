"""Single-Path NAS on a table by a surrogate: straight-through gradients of a ridge regression on the decisions."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.single_path_table import _MEANINGS, CITATION, SinglePath
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Choices, Floats, Indices

#: Steps of gradient ascent in a round, evaluations that enter a model and that a round asks for at most, decimals of a
#: gradient that count.
_STEPS, _EVIDENCE, _MOST, _DECIMALS = 10, 256, 32, 9


@register(
    "single-path.surrogate",
    citation=CITATION,
    needs=("product", "nested"),
    no_start="it learns from what its own decisions draw, by their gradient",
    meanings={
        "lr": "rate on the logits of the decisions; more than 0; ours",
        "ridge": "variance of a reward's noise, relative to its own; more than 0; ours",
        "growth": "a round evaluates one growth-th of what is known; at least 1; ours",
        **_MEANINGS,
    },
)
class SinglePathSurrogate(SinglePath):
    """Single-Path NAS's nested decisions on a table, by the gradient of a surrogate through hard decisions.

    A round fits a ridge regression of the accuracy on all decisions and their pairwise products, follows its gradient,
    less that of ``cost_weight`` times the logarithm of the cost, through hard decisions with the slope of a sigmoid
    (straight-through), from the logits and, for each architecture to be evaluated next, from the logits with logistic
    noise. A decision that is not asked has no gradient, as in a superkernel. Phases, cost and ``without`` are those of
    ``single-path.table``.
    (docs/reproduction/single-path-nas.md#on-tables)
    """

    def __init__(
        self,
        task: Task,
        *,
        lr: float = 0.5,
        ridge: float = 0.1,
        growth: float = 5.0,
        cost_weight: float = 0.0,
        warmup: float = 0.625,
        without: str = "",
        answer: str = "best",
    ) -> None:
        super().__init__(task, cost_weight=cost_weight, warmup=warmup, without=without, answer=answer)
        for name, value in (("lr", lr), ("ridge", ridge)):
            if not value > 0:
                raise UsageError(f"single-path.surrogate: {name} = {value}: expected more than 0")
        if not growth >= 1:
            raise UsageError(f"single-path.surrogate: growth = {growth}: expected at least 1")
        self._lr, self._ridge, self._growth = lr, ridge, growth
        self._choices = np.empty((self.logits.shape[0], self.runs, 0), dtype=np.int8)
        self._values = np.empty((self.runs, 0))
        self._counts = np.zeros(self.runs, dtype=bool)

    def ask(self) -> Asked:
        positions, decisions = self.logits.shape[:2]
        told = self._values.shape[1]
        k = min(max(1, int(told / self._growth)), _MOST) if told else 10
        u = self.streams.uniform(2 * k * positions * decisions).reshape(self.runs, 2, k, positions, decisions)
        u = np.ascontiguousarray(u.transpose(1, 3, 4, 0, 2))  # [2, positions, decisions, runs, k]
        drawn = self.decisions.taken(u[0] < 1 / (1 + np.exp(-self.logits[..., None])))
        self._asked = self._climbed(u[1], drawn) if told else drawn
        return np.asarray(self.space.index(np.moveaxis(self._asked, 0, 2)))  # type: ignore[attr-defined]

    def _climbed(self, u: Floats, drawn: Choices) -> Choices:
        """What noisy ascents reach, ``[positions, runs, k]``; what is known already gives way to what was ``drawn``.

        ``u [positions, decisions, runs, k]``. The logits make an ascent of their own.
        """
        linear, pairs = map(np.stack, zip(*(self._model(run) for run in range(self.runs)), strict=True))
        noise = np.log(np.maximum(u, 1e-12)) - np.log(np.maximum(1 - u, 1e-12))
        own = self.logits[..., None]
        logits = np.concatenate([own, own + noise], axis=3)
        for _ in range(_STEPS):
            slope = 1 / (1 + np.exp(-logits))
            logits = logits + self._lr * 4 * slope * (1 - slope) * self._gradient(logits > 0, linear, pairs)
        self.logits = logits[..., 0]
        found = self.decisions.taken(logits[..., 1:] > 0)
        for run in range(self.runs):
            known = {column.tobytes() for column in np.ascontiguousarray(self._choices[:, run].T)}
            for slot in range(found.shape[2]):
                if found[:, run, slot].tobytes() in known:
                    found[:, run, slot] = drawn[:, run, slot]
                known.add(found[:, run, slot].tobytes())
        return found

    def _features(self, choices: Choices) -> Floats:
        """Decisions taken with yes on the way to ``choices [positions, n]``: float64 ``[n, positions * decisions]``."""
        rows = np.arange(len(choices))[:, None]
        return np.asarray((self.decisions.path[rows, choices] > 0).swapaxes(0, 1).reshape(choices.shape[1], -1) * 1.0)

    def _model(self, run: int) -> tuple[Floats, Floats]:
        """A ridge regression of a run's rewards, in their standard deviations, on its decisions and their products.

        The kernel ``(1 + x.y / n)^2`` of the decisions ``x`` and ``y`` is that of a ridge on all of them and on all
        their pairwise products. Returns half its gradient at 0, and how that grows: float64 ``[n]``, ``[n, n]``.
        """
        values = self._values[run]
        best = np.sort(np.argsort(-values, kind="stable")[:_EVIDENCE])
        values, x = values[best], self._features(self._choices[:, run, best])
        n = x.shape[1]
        kernel = (1 + x @ x.T / n) ** 2
        scores = (values - values.mean()) / max(float(values.std()), 1e-9)
        weights = np.linalg.solve(kernel + self._ridge * np.eye(len(x)), scores)
        return 2 / n * (weights @ x), 2 / n**2 * (x.T * weights) @ x

    def _gradient(self, on: NDArray[np.bool_], linear: Floats, pairs: Floats) -> Floats:
        """Of the surrogate less the weighted cost, through hard decisions ``[positions, decisions, runs, k]``."""
        shape, path = on.shape, self.decisions.path
        flat = on.reshape(*shape[:2], -1)
        chosen = self.decisions.taken(flat)
        here = self._features(chosen).reshape(shape[2], shape[3], -1)
        slope = (linear[:, None] + here @ pairs).reshape(flat.shape[2], *shape[:2]).transpose(1, 2, 0)
        spread = np.maximum(self._values.std(axis=1), 1e-9)
        weight = np.repeat(np.where(self._counts, 1 / spread, 0.0), shape[3])
        costs = weight * self._costs(chosen) if self.weight and weight.any() else None
        result, rows, columns = np.zeros(flat.shape), np.arange(len(path))[:, None], np.arange(flat.shape[2])
        for decision in range(shape[1]):
            other = flat.copy()
            other[:, decision] = True
            up = self.decisions.taken(other)
            other[:, decision] = False
            down = self.decisions.taken(other)
            moved = (path[rows, up] > 0) * 1.0 - (path[rows, down] > 0)  # [positions, columns, decisions]
            result[:, decision] = (slope * moved.swapaxes(1, 2)).sum(axis=1)
            if costs is not None:
                result[:, decision] -= costs[rows, up, columns] - costs[rows, down, columns]
        return np.round(np.where(self.decisions.free[:, :, None], result, 0.0), _DECIMALS).reshape(shape)

    def _costs(self, chosen: Choices) -> Floats:
        """The weighted logarithm of the cost with another option at one position: ``[positions, options, k]``."""
        sizes = np.array(self.space.sizes)
        shape = len(sizes), int(sizes.max())
        stacked = np.broadcast_to(chosen.T, (*shape, *chosen.T.shape)).copy()
        for position in range(shape[0]):
            stacked[position, :, :, position] = np.minimum(np.arange(shape[1]), sizes[position] - 1)[:, None]
        return self.log_cost(np.asarray(self.space.index(stacked)))  # type: ignore[attr-defined]

    def tell(self, ids: Indices, values: Floats) -> None:
        self._counts = self.pay(ids, values)
        # of a finished run, which nobody asks again; and what breaks a limit is as bad as the worst that was told
        scaled = values / np.where(np.isnan(self.scale), 1.0, self.scale)[:, None]
        floor = np.where(np.isfinite(scaled), scaled, np.inf).min(axis=1, initial=np.inf)
        scaled = np.where(np.isfinite(scaled), scaled, np.where(np.isfinite(floor), floor, 0.0)[:, None])
        if self._values.shape[1]:
            low = self._values.min(axis=1, keepdims=True)
            scaled = np.maximum(scaled, low - 1)
        self._choices = np.concatenate([self._choices, self._asked], axis=2)
        self._values = np.concatenate([self._values, scaled], axis=1)
