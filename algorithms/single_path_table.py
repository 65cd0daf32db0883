"""Single-Path NAS on a table: nested decisions in place of superkernels.

Single-Path NAS (Stamoulis et al., ECML-PKDD 2019, arXiv 1904.02877) stores the largest option of a layer and finds the
others in it: each layer is a few hard decisions, whether a part of its kernel is kept, found by gradient together with
the weights, in two phases, the second with the logarithm of the cost in its loss. A table has no weights whose norms
could decide, so here every decision has a logit of its own. What carries over: hard nested decisions, one path, the
logarithm of the cost, the first phase without it. What does not: evidence from weights, and claims about search cost.
The paper's body was not seen: after its abstract and released code; the transfer to a table is ours
(docs/reproduction/single-path-nas.md#on-tables).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError, unknown
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Choices, Floats, Indices, Space

CITATION = "after Stamoulis et al., Single-Path NAS, ECML-PKDD 2019, arXiv 1904.02877; the transfer to a table is ours"
ANSWERS = ("decoded", "best")
_MEANINGS = {
    "cost_weight": "accuracy, as a fraction, given up per e-fold of the cost; at least 0; the paper's lambda",
    "warmup": "share of the budget in which the cost does not count; 0 to 1; the released code's, 5 of 8 epochs",
    "without": "options that are never taken; names joined by commas, as skip_connect; ours",
    "answer": "what is recommended; decoded (what each decision tends to) or best (sampled, cost counted); ours",
}


class Decisions:
    """The decisions of every position of a space, and the options that they lead to.

    ``path [positions, options, decisions]``: 1 where an option is reached by yes, -1 by no, 0 where it is not asked.
    ``fixed [positions, decisions]``: 1 or -1 where no option, or not one that is allowed, is left on the other side.
    """

    def __init__(self, space: Space, without: str = "") -> None:
        listed: Any = space  # a space that offers "nested" has paths
        left_out = [word.strip() for word in without.split(",") if word.strip()]
        known = list(dict.fromkeys(option for options in space.options for option in options))
        for option in left_out:
            if option not in known:
                raise unknown("single-path: without", option, known)
        paths = [np.array(listed.paths(position)) for position in range(len(space.sizes))]
        shape = len(paths), max(space.sizes), max(path.shape[1] for path in paths)
        self.space, self.path = space, np.zeros(shape, dtype=np.int8)
        self.open = np.zeros(shape[:2], dtype=bool)
        for position, path in enumerate(paths):
            self.path[position, : path.shape[0], : path.shape[1]] = path
            kept = [option not in left_out for option in space.options[position]]
            self.open[position, : path.shape[0]] = path.any(axis=1) & kept
            if not self.open[position].any():
                raise UsageError(f"single-path: without = {without!r} leaves nothing at {space.positions[position]}")
        allowed = np.where(self.open[:, :, None], self.path, 0)
        yes, no = (allowed > 0).any(axis=1), (allowed < 0).any(axis=1)
        self.fixed = np.where(yes & ~no, 1, np.where(no & ~yes, -1, 0)).astype(np.int8)
        self.free = yes & no
        strongest = np.array([listed.fullest()[position] for position in range(shape[0])])
        #: decisions on the way to the strongest option: they begin in favour
        self.begun = np.take_along_axis(self.path, strongest[:, None, None], axis=1)[:, 0] > 0

    def taken(self, on: NDArray[np.bool_]) -> Choices:
        """The option at each position, ``[positions, ...]``, of decisions ``[positions, decisions, ...]``."""
        rest = (1,) * (on.ndim - 2)
        fixed = self.fixed.reshape(*self.fixed.shape, *rest)
        sign = np.where(fixed != 0, fixed, np.where(on, 1, -1))
        path = self.path.reshape(*self.path.shape, *rest)
        agrees = ((path == 0) | (path == sign[:, None])).all(axis=2) & self.open.reshape(*self.open.shape, *rest)
        return agrees.argmax(axis=1).astype(np.int8)

    def asked(self, choices: Choices) -> NDArray[np.bool_]:
        """Which free decisions led to ``choices [positions, runs]``: bool ``[positions, decisions, runs]``."""
        rows = np.arange(len(choices))[:, None]
        led = np.moveaxis(self.path[rows, choices] != 0, 1, 2)
        return np.asarray(led & self.free[:, :, None])


def cost_of(task: Task, name: str) -> Callable[[Indices], Floats]:
    """What the cost of architectures is read by: the first known objective that is minimised, else MACs in millions.

    Raises UsageError where there is neither.
    """
    for number, objective in enumerate(task.objectives):
        if number and objective.known and objective.minimise:
            return lambda ids: -task.known(number, ids)
    if "macs" not in task.space.closed_forms:
        raise UsageError(
            f"{name}: cost_weight: no cost to weigh: give one that is known with --objective, as --objective params "
            "(nasharness list devices has latencies and energies)"
        )
    if task.space.arch_shape:
        return lambda ids: task.space.closed_form("macs", ids, task.dataset)
    macs = task.space.closed_form("macs", np.arange(task.space.size), task.dataset)
    return lambda ids: macs[ids]


class SinglePath(Algorithm):
    """What both forms share: decisions, rewards with the logarithm of the cost, the budget's phases, the answers."""

    def __init__(self, task: Task, *, cost_weight: float, warmup: float, without: str, answer: str) -> None:
        super().__init__(task)
        if not cost_weight >= 0:
            raise UsageError(f"single-path: cost_weight = {cost_weight}: expected at least 0")
        if not 0 <= warmup <= 1:
            raise UsageError(f"single-path: warmup = {warmup}: expected a share of the budget, 0 to 1")
        if answer not in ANSWERS:
            raise unknown("single-path: answer", answer, ANSWERS)
        self.decisions = Decisions(self.space, without)
        self._cost = cost_of(task, "single-path") if cost_weight else None
        self.weight, self._warmup, self._answer = cost_weight, warmup, answer
        # 100 of a signal in percent; of another, which need not say so, it is what the first one told looks like
        percent = bool(task.objectives) and task.objectives[0].unit == "percent"
        self.scale = np.full(self.runs, 100.0 if percent else np.nan)
        begun = np.where(self.decisions.begun, 1.0, 0.0)[:, :, None]
        self.logits = np.repeat(begun, self.runs, axis=2)  # [positions, decisions, runs]
        self._paid, self._seconds = np.zeros(self.runs), np.zeros(self.runs)
        self._top = np.full(self.runs, -np.inf)
        self._top_id = np.zeros((self.runs, *self.space.arch_shape), dtype=self.space.arch_dtype)

    def drawn(self, u: Floats) -> Choices:
        """An option at each position, ``[positions, ...]``, of uniforms ``[positions, decisions, ...]``."""
        return self.decisions.taken(u < 1 / (1 + np.exp(-self.logits)))

    def archs(self, choices: Choices) -> Indices:
        """Architectures ``[runs]`` of choices ``[positions, runs]``."""
        return np.asarray(self.space.index(choices.T))  # type: ignore[attr-defined]

    def log_cost(self, ids: Indices) -> Floats:
        """The weighted logarithm of the cost; 0 without a weight, and where a device has no value."""
        if self._cost is None:
            return np.zeros(np.shape(ids)[: np.ndim(ids) - len(self.space.arch_shape)])
        known = self._cost(np.maximum(ids, 0))
        return np.asarray(self.weight * np.log(np.where(known > 0, known, 1.0)))

    def pay(self, ids: Indices, values: Floats) -> NDArray[np.bool_]:
        """Count what was told, ``[runs, k]``, and keep the best; say which runs are past the phase without cost."""
        budget, spent = self.task, 0.0
        if budget.evaluations is not None:
            spent = self._paid / budget.evaluations
        if budget.seconds is not None:
            spent = np.maximum(spent, self._seconds / budget.seconds)
        told = ~np.isnan(values)
        first = np.where(np.isfinite(values[:, 0]), np.abs(values[:, 0]), np.nan)
        fresh = np.isnan(self.scale) & ~np.isnan(first)
        self.scale[fresh] = np.where(first[fresh] > 1, 100.0, 1.0)
        cost = np.where(told, np.nan_to_num(self.task.cost(np.maximum(ids, 0))), 0.0)
        for slot in range(values.shape[1]):  # in order, so that sums do not depend on how many a step has
            self._paid += told[:, slot]
            self._seconds += cost[:, slot]
            reward = np.where(told[:, slot], values[:, slot] / self.scale - self.log_cost(ids[:, slot]), -np.inf)
            better = reward > self._top
            self._top = np.where(better, reward, self._top)
            self._top_id[better] = ids[better, slot]
        return np.asarray(spent >= self._warmup)

    def decoded(self) -> Choices:
        """What each decision tends to: the options ``[positions, runs]``."""
        return self.decisions.taken(self.logits > 0)

    def recommend(self, rows: NDArray[np.intp]) -> ArrayLike | None:
        return self._top_id[rows] if self._answer == "best" else self.archs(self.decoded())[rows]


@register(
    "single-path.table",
    citation=CITATION,
    needs=("product", "nested"),
    no_start="it learns from what its own decisions draw, by their gradient",
    meanings={
        "lr": "rate on the logits of the decisions; more than 0; ours",
        "gain": "how much a reward in [0, 1] counts; more than 0; ours",
        "momentum": "of the moving average of rewards that is the baseline; 0 to less than 1; ours",
        **_MEANINGS,
    },
)
class SinglePathTable(SinglePath):
    """Single-Path NAS's nested decisions on a table, by their score function.

    Every decision is a coin of its own: whether an edge has a convolution, and if so whether it has the ring around its
    centre; whether a layer is wider than 8, than 16, ... A step tosses them, evaluates the architecture that they make,
    and moves the logits of the decisions that were asked along the reward's advantage over a moving average of rewards.
    The reward is the accuracy as a fraction less ``cost_weight`` times the logarithm of the cost, which does not count
    in the first ``warmup`` of the budget; the cost is the first known objective to be minimised, as latency of a device
    (``--objective fpga_latency``), else multiply-accumulates. What each decision tends to, the answer of the paper,
    lags the best that was sampled: ``answer`` says which of them is recommended.
    (docs/reproduction/single-path-nas.md#on-tables)
    """

    def __init__(
        self,
        task: Task,
        *,
        lr: float = 0.5,
        gain: float = 10.0,
        momentum: float = 0.9,
        cost_weight: float = 0.0,
        warmup: float = 0.625,
        without: str = "",
        answer: str = "best",
    ) -> None:
        super().__init__(task, cost_weight=cost_weight, warmup=warmup, without=without, answer=answer)
        for name, value in (("lr", lr), ("gain", gain)):
            if not value > 0:
                raise UsageError(f"single-path.table: {name} = {value}: expected more than 0")
        if not 0 <= momentum < 1:
            raise UsageError(f"single-path.table: momentum = {momentum}: expected at least 0 and less than 1")
        self._rate, self._momentum = lr * gain, momentum
        self._baseline = np.full(self.runs, np.nan)

    def ask(self) -> Asked:
        positions, decisions = self.logits.shape[:2]
        u = self.streams.uniform(positions * decisions).T.reshape(positions, decisions, self.runs)
        self._choices = self.drawn(u)
        return self.archs(self._choices)[:, None]

    def tell(self, ids: Indices, values: Floats) -> None:
        counts = self.pay(ids, values)
        value = values[:, 0] / self.scale - np.where(counts, self.log_cost(ids[:, 0]), 0.0)
        known = ~np.isnan(value)
        # what breaks a limit is told as bad as it gets, but a reward has no more to say than a whole range of accuracy
        before = np.where(np.isnan(self._baseline), np.where(np.isfinite(value), value, 0.0), self._baseline)
        value = np.clip(np.where(known, value, before), before - 1, before + 1)
        self._baseline = self._momentum * before + (1 - self._momentum) * value
        step = self._rate * (value - self._baseline)
        p = 1 / (1 + np.exp(-self.logits))
        asked = self.decisions.asked(self._choices)
        rows = np.arange(len(self._choices))[:, None]
        on = np.moveaxis(self.decisions.path[rows, self._choices] > 0, 1, 2)
        self.logits += np.where(asked, (on - p) * step, 0.0)
