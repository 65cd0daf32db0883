"""REINFORCE: a policy of independent choices, updated after every evaluation. As in NATS-Bench."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from nasharness.algorithms.categorical import Adam, draw, mask, softmax

from nasharness.errors import UsageError
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices


@register(
    "reinforce",
    needs=("product",),
    no_start="it learns from what its own policy draws, by the gradient of that policy",
    citation="Williams, Simple Statistical Gradient-Following Algorithms, Machine Learning 1992; as in NATS-Bench",
    meanings={
        "lr": "rate of Adam on the logits; more than 0; NATS-Bench's",
        "momentum": "of the moving average of rewards that is the baseline; 0 to less than 1; NATS-Bench's",
        "init_std": "standard deviation of the logits at the start; at least 0; NATS-Bench's",
    },
)
class Reinforce(Algorithm):
    """REINFORCE with a moving-average baseline and Adam, with the settings of NATS-Bench.

    A categorical distribution at each position, its logits drawn from a normal of standard deviation ``init_std``. Each
    step draws one architecture, evaluates it, moves the baseline (an exponential moving average with ``momentum``,
    corrected for its start) to the reward in percent, and only then takes one Adam step of rate ``lr`` on
    -log p (reward - baseline). No entropy term. (docs/reproduction/multi-trial.md#reinforce)
    """

    def __init__(self, task: Task, *, lr: float = 0.01, momentum: float = 0.9, init_std: float = 0.001) -> None:
        super().__init__(task)
        if not lr > 0:
            raise UsageError(f"reinforce: lr = {lr}: expected more than 0")
        if not 0 <= momentum < 1:
            raise UsageError(f"reinforce: momentum = {momentum}: expected at least 0 and less than 1")
        if not init_std >= 0:
            raise UsageError(f"reinforce: init_std = {init_std}: expected at least 0")
        positions, options = len(self.space.sizes), max(self.space.sizes)
        u = self.streams.uniform(positions * options)
        normal = NormalDist(0.0, 1.0).inv_cdf
        # one at a time, by the library's scalar arithmetic; u may be 0, whose quantile is no number
        drawn = np.array([normal(value) for value in np.maximum(u, 2.0**-54).ravel().tolist()]).reshape(u.shape)
        self._logits = np.ascontiguousarray(init_std * drawn.T.reshape(positions, options, self.runs)) + mask(
            self.space
        )
        self._adam = Adam(self._logits.shape, lr)
        self._momentum = momentum
        self._baseline = np.zeros(self.runs)
        self._weight = 0.0  # what a baseline of ones would have reached: the correction for its start
        self._options = np.arange(options)[:, None]

    def ask(self) -> Asked:
        self._p = softmax(self._logits)
        self._drawn = draw(self._p, self.streams.uniform(len(self._p)).T, self.space.sizes)
        return self.space.index(self._drawn.T)[:, None]

    def tell(self, ids: Indices, values: Floats) -> None:
        reward = np.where(np.isnan(values[:, 0]), 0.0, values[:, 0])  # of finished runs, which nobody asks again
        self._baseline = self._momentum * self._baseline + (1.0 - self._momentum) * reward
        self._weight = self._momentum * self._weight + (1.0 - self._momentum)
        advantage = reward - self._baseline / self._weight
        one_hot = self._drawn[:, None] == self._options
        self._logits += self._adam.step((self._p - one_hot) * advantage)
