"""Differentiable architecture search on a table: gradient ascent on a distribution over architectures.

DARTS relaxes the choice at each position into a softmax and ascends its gradient by Adam, all options at work at once
in a supernet with shared weights. A table holds no mixed network. What it defines is the expected signal of an
architecture drawn position by position from the softmaxes: the multilinear extension of the signal, equal to it at the
corners, where each position is certain. Both searches here ascend that. So no weights are shared, and no training
favours skip connections, DARTS's known failure on this space; what remains of DARTS is the relaxation, Adam with its
betas (0.5, 0.999), and the answer, the most probable option at each position.
"""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.categorical import Adam, draw, mask, softmax
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError, unknown
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Choices, Floats, Indices, Space

_CITATION = "after Liu, Simonyan & Yang, DARTS: Differentiable Architecture Search, ICLR 2019"
UTILITIES = ("rank", "signal")


def _adam(name: str, shape: tuple[int, ...], lr: float, beta1: float, beta2: float) -> Adam:
    if not lr > 0:
        raise UsageError(f"{name}: lr = {lr}: expected more than 0")
    for key, beta in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= beta < 1:
            raise UsageError(f"{name}: {key} = {beta}: expected at least 0 and less than 1")
    return Adam(shape, lr, beta1, beta2)


def score_gradient(p: Floats, drawn: Choices, utility: Floats) -> Floats:
    """Estimate the gradient of the expected utility by the logits, ``[positions, options, runs]``.

    ``p``: probabilities of that shape. ``drawn``: options ``[batch, positions, runs]`` drawn from them. ``utility``:
    ``[batch, runs]``, NaN where it is not known. The score-function estimator, each draw measured against the mean of
    the others (leave-one-out: unbiased, and not worth an evaluation of its own); zero where fewer than two are known.
    """
    known = ~np.isnan(utility)
    value = np.where(known, utility, 0.0)
    count, mean = np.zeros(p.shape[2]), np.zeros(p.shape[2])
    for slot in range(len(value)):  # written out: see categorical.py
        count += known[slot]
        mean += value[slot]
    mean /= np.maximum(count, 1.0)
    advantage = np.where(known, value - mean, 0.0) / np.maximum(count - 1.0, 1.0)
    options = np.arange(p.shape[1])[:, None]
    gradient = np.zeros_like(p)
    for slot, choices in enumerate(drawn):
        gradient += ((choices[:, None] == options) - p) * advantage[slot]
    return gradient


def ranks(values: Floats) -> Floats:
    """Return for each of ``values [batch, runs]`` how many of its run's it beats, ties half; NaN stays NaN."""
    beaten = np.zeros(values.shape)
    for other in values:
        beaten += 1.0 * (values > other) + 0.5 * (values == other)
    return np.where(np.isnan(values), np.nan, beaten)


@register(
    "darts.table",
    citation=_CITATION,
    needs=("product", "index"),
    no_start="it learns from what its own softmaxes draw, by their gradient",
    meanings={
        "lr": "rate of Adam on the distribution; more than 0; after Liu et al., whose Adam has 3e-4; chosen on tss",
        "batch": "architectures a step; at least 2; ours, chosen on tss",
        "utility": "what a step ascends; rank or signal; ours, chosen on tss",
        "beta1": "of Adam; 0 to less than 1; Liu et al.'s",
        "beta2": "of Adam; 0 to less than 1; Liu et al.'s",
    },
)
class DartsTable(Algorithm):
    """Differentiable search on the table: softmaxes, their gradient estimated from the evaluations it pays for.

    Each step draws ``batch`` architectures from the softmaxes (uniform at first), evaluates them, estimates the
    gradient of the expected utility by their score functions against a leave-one-out baseline, and takes one Adam step
    of rate ``lr``. ``utility`` is the ``rank`` within the batch, which a few failed networks of 10 % accuracy cannot
    drown, or the ``signal`` itself, whose expectation is exactly the multilinear extension. The answer is the most
    probable option at each position, which need not have been evaluated; the incumbent where the signal has no noise.
    (docs/reproduction/one-shot.md#darts)

    The defaults were chosen among batches of 4 to 8, rates of 0.1 to 0.4, beta1 of 0.5 and 0.9 and both utilities, on
    12-epoch validation at 50 to 500 evaluations of tss.
    """

    def __init__(
        self,
        task: Task,
        *,
        lr: float = 0.2,
        batch: int = 4,
        utility: str = "rank",
        beta1: float = 0.5,
        beta2: float = 0.999,
    ) -> None:
        super().__init__(task)
        if batch < 2:
            raise UsageError(f"darts.table: batch = {batch}: expected at least 2, for one architecture has no baseline")
        if utility not in UTILITIES:
            raise unknown("darts.table: utility", utility, UTILITIES)
        self._batch = batch
        self._ranked = utility == "rank"
        self._logits = np.repeat(mask(self.space), self.runs, axis=2)
        self._adam = _adam("darts.table", self._logits.shape, lr, beta1, beta2)

    def ask(self) -> Asked:
        positions = len(self.space.sizes)
        u = self.streams.uniform(self._batch * positions).T.reshape(self._batch, positions, self.runs)
        self._p = softmax(self._logits)
        self._drawn = np.stack([draw(self._p, part, self.space.sizes) for part in u])
        return self.space.index(self._drawn.transpose(2, 0, 1))

    def tell(self, ids: Indices, values: Floats) -> None:
        utility = ranks(values.T) if self._ranked else values.T
        # a step cut short by the budget: Adam's momentum alone must not move the answer
        enough = (~np.isnan(values)).sum(axis=1) > 1
        self._logits += self._adam.step(-score_gradient(self._p, self._drawn, utility)) * enough

    def recommend(self, rows: NDArray[np.intp]) -> ArrayLike | None:
        if self.task.exact:  # the incumbent is known, what is most probable may be worse
            return None
        return self.space.index(self._logits[:, :, rows].argmax(axis=1).T)


def multilinear_gradient(signal: Floats, p: Floats) -> tuple[float, Floats]:
    """Return the multilinear extension of a signal and its gradient by the logits.

    ``signal``: float64 with one axis a position, ``[options of 0, options of 1, ...]``. ``p``: probabilities
    ``[positions, options]``; those behind a position's last option are 0. The gradient has the shape of ``p``:
    p (E[signal | option] - E[signal]).
    """
    sizes = signal.shape
    behind = [signal]  # the signal with the positions behind one averaged out, one fewer at a time
    for position in range(signal.ndim - 1, 0, -1):
        behind.append(behind[-1] @ p[position, : sizes[position]])
    gradient = np.zeros_like(p)
    value = 0.0
    for position, given in enumerate(reversed(behind)):
        for other in range(position):  # and those before it
            given = (p[other, : sizes[other]] @ given.reshape(sizes[other], -1)).reshape(given.shape[1:])
        own = p[position, : sizes[position]]
        value = float(given @ own)
        gradient[position, : sizes[position]] = own * (given - value)
    return value, gradient


@register(
    "darts.exact",
    citation=_CITATION,
    needs=("whole-signal", "product", "index"),
    no_start="it evaluates what its softmaxes come to, and nothing else",
    meanings={
        "lr": "rate of Adam on the distribution; more than 0; after Liu et al., whose Adam has 3e-4; chosen on tss",
        "beta1": "of Adam; 0 to less than 1; Liu et al.'s",
        "beta2": "of Adam; 0 to less than 1; Liu et al.'s",
    },
)
class DartsExact(Algorithm):
    """Diagnostic: darts.table with the exact gradient, for which it reads the search signal of the whole table.

    What relaxation and gradient ascent could find if the gradient cost nothing. Each step takes one Adam step along the
    exact gradient of the multilinear extension, and then evaluates the most probable option at each position, which is
    also the answer. It starts from uniform softmaxes and draws nothing: all runs take the same path,
    and only the noise of the signal can tell them apart. (docs/reproduction/one-shot.md#darts)
    """

    def __init__(self, task: Task, *, lr: float = 0.2, beta1: float = 0.5, beta2: float = 0.999) -> None:
        super().__init__(task)
        self._signal = by_choices(self.space, task.whole_signal())
        self._logits = mask(self.space)
        self._adam = _adam("darts.exact", self._logits.shape, lr, beta1, beta2)
        self._found = 0

    def ask(self) -> Asked:
        _, gradient = multilinear_gradient(self._signal, softmax(self._logits)[:, :, 0])
        self._logits += self._adam.step(-gradient[:, :, None])
        self._found = int(self.space.index(self._logits[:, :, 0].argmax(axis=1)))
        return np.full((self.runs, 1), self._found, dtype=np.int32)

    def recommend(self, rows: NDArray[np.intp]) -> ArrayLike | None:
        if self.task.exact:  # the incumbent is known, what is most probable may be worse
            return None
        return np.full(len(rows), self._found, dtype=np.int32)


def by_choices(space: Space, values: Floats) -> Floats:
    """Return ``values [n]``, which are in the order of indices, with one axis a position."""
    grid = np.indices(space.sizes).reshape(len(space.sizes), -1).T
    return values[space.index(grid)].reshape(space.sizes)
