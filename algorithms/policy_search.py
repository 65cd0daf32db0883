"""What one-shot algorithms share: settings that are checked, architecture parameters, and candidates that are scored.

Nothing here imports torch before an algorithm is made: listing algorithms needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nasharness.errors import UsageError
from nasharness.search.one_shot import OneShot, OneShotTask, Step
from nasharness.spaces.base import Floats

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from nasharness.supernets.base import Gates


#: validation batches on which the best candidates are compared
FINAL = 4


#: what the settings of `PolicySearch` and of `Annealed` mean
MEANINGS = {
    "lr": "rate of Adam on the architecture parameters; more than 0; ours (NAME.paper: 3e-4, NATS-Bench's)",
    "weight_decay": "of that Adam; at least 0; NATS-Bench's",
    "warmup": "share of the epochs in which these parameters rest; 0 to less than 1; ours (NAME.paper: none)",
}
ANNEALED = {
    **MEANINGS,
    "tau_first": "temperature of the Gumbel-softmax in the first epoch; more than 0; NATS-Bench's",
    "tau_last": "the same in the last epoch, linear in between; more than 0; NATS-Bench's",
}


def require(algorithm: OneShot, met: bool, setting: str, value: object, expected: str) -> None:
    """Raise UsageError that names the setting, its value and what was expected, unless ``met``."""
    if not met:
        raise UsageError(f"{type(algorithm).__name__.lower()}: {setting} = {value}: expected {expected}")


def best_scored(task: OneShotTask, archs: ArrayLike, fresh: bool) -> int:
    """Return the architecture of ``archs`` that scores best with the shared weights; the first of equals.

    ``fresh``: each on a validation batch of its own, as NATS-Bench does, which adds the noise between batches to the
    comparison. Else all on the same one, and the best quarter again, on FINAL others.
    """
    candidates = np.asarray(archs)
    scores = task.score(candidates, fresh)
    if fresh:
        return int(candidates[int(np.argmax(scores))])
    finalists = candidates[np.sort(np.argsort(-scores, kind="stable")[: -(-len(candidates) // 4)])]
    return int(finalists[int(np.argmax(np.mean([task.score(finalists, False) for _ in range(FINAL)], axis=0)))])


class PolicySearch(OneShot):
    """Base of searches that train an independent distribution over the options of each position.

    A subclass gives ``relaxed``, the gates of a forward pass that depends on the distributions; the architecture step
    descends the cross-entropy of an architecture batch through them. The answer is the most probable option at each
    position. During the first ``warmup`` of all epochs the distributions do not learn; widths are then all full with
    a probability that falls linearly from 1 to 0, or uniformly random, gate by gate
    (docs/reproduction/one-shot.md#tunas).
    """

    def __init__(self, task: OneShotTask, *, lr: float, weight_decay: float, warmup: float) -> None:
        super().__init__(task)
        from nasharness.supernets.policy import Policy

        require(self, lr > 0, "lr", lr, "more than 0")
        require(self, weight_decay >= 0, "weight_decay", weight_decay, "at least 0")
        require(self, 0 <= warmup < 1, "warmup", warmup, "a share of all epochs, at least 0 and less than 1")
        self.policy = Policy(task, lr=lr, weight_decay=weight_decay)
        self._warm_epochs = round(warmup * task.epochs)

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        """Return gates that depend on the distributions; with ``learn`` a gradient reaches them."""
        raise NotImplementedError

    def gates(self, step: Step) -> Gates:
        if step.epoch < self._warm_epochs and self.space.ordinal:
            return self._warm_widths(step.epoch)
        return self.relaxed(step.epoch, learn=False)

    def _warm_widths(self, epoch: int) -> Gates:
        sizes = np.array(self.space.sizes)[self.policy.rows]
        full = self.task.rng.random(len(sizes)) < 1 - epoch / self._warm_epochs
        return self.net.gates_drawn(np.where(full, sizes - 1, self.task.rng.integers(sizes)))

    def search_step(self, step: Step) -> dict[str, float]:
        return {} if step.epoch < self._warm_epochs else self.learn(step)

    def learn(self, step: Step) -> dict[str, float]:
        """Take one architecture step. The default descends the cross-entropy through ``relaxed``."""
        from nasharness.supernets.policy import loss

        value = loss(self.task, self.relaxed(step.epoch, learn=True), step.arch_images, step.arch_labels)
        self.policy.descend(value)
        return {"arch_loss": float(value.detach())}

    def derive(self) -> int:
        return self.policy.most_probable()

    def probabilities(self) -> Floats:
        return self.policy.probabilities()

    def state(self) -> dict[str, Any]:
        return {"policy": self.policy.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.policy.load_state(state["policy"])

    def trained_parameters(self) -> Iterable[torch.Tensor]:
        return [self.policy.logits]


class Annealed(PolicySearch):
    """Base of searches by Gumbel noise, whose temperature falls linearly over the epochs; its settings are theirs."""

    def __init__(
        self,
        task: OneShotTask,
        *,
        lr: float = 3e-3,
        weight_decay: float = 1e-3,
        warmup: float = 0.3,
        tau_first: float = 10.0,
        tau_last: float = 0.1,
    ) -> None:
        super().__init__(task, lr=lr, weight_decay=weight_decay, warmup=warmup)
        require(self, tau_first > 0, "tau_first", tau_first, "more than 0")
        require(self, tau_last > 0, "tau_last", tau_last, "more than 0")
        self._tau = tau_first, tau_last

    def tau(self, epoch: int) -> float:
        """Return the temperature of an epoch: ``tau_first`` in the first, ``tau_last`` in the last."""
        first, last = self._tau
        return first + (last - first) * epoch / max(1, self.task.epochs - 1)

    def perturbed(self, epoch: int, learn: bool) -> torch.Tensor:
        """Return log probabilities with Gumbel noise, over the epoch's temperature, ``[gates, options]``."""
        logits = self.policy.perturbed(self.tau(epoch))
        return logits if learn else logits.detach()
