"""Single-Path NAS on a table by a surrogate: straight-through gradients of a ridge regression on the decisions."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.single_path_table import _MEANINGS, CITATION, SinglePath

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
    noise. A decision that is not asked has no gradient, as in a superkernel. The decoded answer is what the logits
    tend to; phases, cost and ``without`` are those of ``single-path.table``.
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
        answer: str = "decoded",
    ) -> None:
        super().__init__(task, cost_weight=cost_weight, warmup=warmup, without=without, answer=answer)
        for name, value in (("lr", lr), ("ridge", ridge)):
            if not value > 0:
                raise UsageError(f"single-path.surrogate: {name} = {value}: expected more than 0")
        if not growth >= 1:
            raise UsageError(f"single-path.surrogate: growth = {growth}: expected at least 1")
        self._lr, self._ridge, self._growth = lr, ridge, growth
        self._choices = np.empty((self.logits.shape[0], 0, self.runs), dtype=np.int8)
        self._values = np.empty((self.runs, 0))
        self._counts = np.zeros(self.runs, dtype=bool)

    def ask(self) -> Asked:
        positions, decisions = self.logits.shape[:2]
        told = self._values.shape[1]
        k = min(max(1, int(told / self._growth)), _MOST) if told else 10
        u = self.streams.uniform(2 * k * positions * decisions).reshape(self.runs, 2, k, positions, decisions)
        new = np.empty((positions, k, self.runs), dtype=np.int8)
        for run in range(self.runs):
            drawn = self.decisions.taken(np.moveaxis(u[run, 0], 0, 2) < 1 / (1 + np.exp(-self.logits[:, :, run, None])))
            new[:, :, run] = self._climbed(run, u[run, 1], drawn) if told else drawn
        self._asked = new
        return np.asarray(self.space.index(np.moveaxis(new, 0, 2).swapaxes(0, 1)))  # type: ignore[attr-defined]

    def _climbed(self, run: int, u: Floats, drawn: Choices) -> Choices:
        """What ``k`` noisy ascents reach, ``[positions, k]``; what is known already gives way to what was ``drawn``.

        ``u [k, positions, decisions]``. The run's logits make an ascent of their own.
        """
        gradient = self._model(run)
        noise = np.log(np.maximum(u, 1e-12)) - np.log(np.maximum(1 - u, 1e-12))
        logits = np.concatenate(
            [self.logits[:, :, run, None], self.logits[:, :, run, None] + np.moveaxis(noise, 0, 2)], 2
        )
        for _ in range(_STEPS):
            slope = 1 / (1 + np.exp(-logits))
            logits = logits + self._lr * 4 * slope * (1 - slope) * gradient(logits > 0)
        self.logits[:, :, run] = logits[:, :, 0]
        found = self.decisions.taken(logits[:, :, 1:] > 0)
        known = {column.tobytes() for column in np.ascontiguousarray(self._choices[:, :, run].T)}
        for slot in range(found.shape[1]):
            for choices in (found[:, slot], drawn[:, slot]):
                found[:, slot] = choices
                if choices.tobytes() not in known:
                    break
            known.add(np.ascontiguousarray(found[:, slot]).tobytes())
        return found

    def _features(self, choices: Choices) -> Floats:
        """Decisions taken with yes on the way to ``choices [positions, n]``: float64 ``[n, positions * decisions]``."""
        rows = np.arange(len(choices))[:, None]
        return np.asarray((self.decisions.path[rows, choices] > 0).swapaxes(0, 1).reshape(choices.shape[1], -1) * 1.0)

    def _model(self, run: int):  # type: ignore[no-untyped-def]
        """What gives the gradient of the reward by each free decision, in standard deviations of the rewards.

        The kernel ``(1 + x.y / n)^2`` of the decisions ``x`` and ``y`` is that of a ridge on all of them and on all
        their pairwise products.
        """
        values = self._values[run]
        best = np.sort(np.argsort(-values, kind="stable")[:_EVIDENCE])
        values, x = values[best], self._features(self._choices[:, best, run])
        n = x.shape[1]
        middle, spread = values.mean(), max(float(values.std()), 1e-9)
        kernel = (1 + x @ x.T / n) ** 2
        weights = np.linalg.solve(kernel + self._ridge * np.eye(len(x)), (values - middle) / spread)
        linear = 2 / n * (weights @ x)
        pairs = 2 / n**2 * (x.T * weights) @ x
        path, free, positions = self.decisions.path, self.decisions.free, len(self.decisions.path)
        weight = 1 / spread if self._counts[run] else 0.0

        def gradient(on):  # type: ignore[no-untyped-def]
            """Of hard decisions ``[positions, decisions, k]``, of the same shape."""
            chosen = self.decisions.taken(on)
            slope = (linear + self._features(chosen) @ pairs).T.reshape(positions, -1, on.shape[2])
            costs = weight * self._costs(chosen) if weight and self.weight else None
            result, rows, columns = np.zeros(on.shape), np.arange(positions)[:, None], np.arange(on.shape[2])
            for decision in range(on.shape[1]):
                other = on.copy()
                other[:, decision] = True
                up = self.decisions.taken(other)
                other[:, decision] = False
                down = self.decisions.taken(other)
                moved = (path[rows, up] > 0) * 1.0 - (path[rows, down] > 0)  # [positions, k, decisions]
                result[:, decision] = (slope * moved.swapaxes(1, 2)).sum(axis=1)
                if costs is not None:
                    result[:, decision] -= costs[rows, up, columns] - costs[rows, down, columns]
            return np.round(np.where(free[:, :, None], result, 0.0), _DECIMALS)

        return gradient

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
        self._choices = np.concatenate([self._choices, self._asked], axis=1)
        self._values = np.concatenate([self._values, scaled], axis=1)
