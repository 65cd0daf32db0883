"""TuNAS: widths drawn from a policy that REINFORCE trains, masks of the drawn ones on shared weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nasharness.algorithms.policy_search import MEANINGS, PolicySearch, require

from nasharness.search import register
from nasharness.search.one_shot import OneShotTask, Step

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates


@register(
    "tunas",
    citation="Bender et al., Can Weight Sharing Outperform Random Architecture Search? An Investigation With TuNAS, "
    "CVPR 2020, arXiv 2008.06120",
    kind="one-shot",
    spaces=("sss",),
    variants={
        "paper": ("TuNAS with NATS-Bench's settings, no warm-up.", {"lr": 3e-4, "warmup": 0.0}),
        "warm.paper": ("TuNAS with NATS-Bench's settings and its warm-up of 0.3.", {"lr": 3e-4, "warmup": 0.3}),
    },
    published=("paper", "warm.paper"),
    meanings={
        **MEANINGS,
        "momentum": "of the moving mean of rewards that is the baseline; 0 to less than 1; NATS-Bench's",
    },
)
class Tunas(PolicySearch):
    """TuNAS: weights and policy are trained on widths drawn from the policy, which REINFORCE updates.

    The reward is the accuracy on the architecture batch in percent; its moving mean with factor ``momentum`` is the
    baseline, updated first and corrected for its start at zero, as in NATS-Bench's REINFORCE
    (docs/reproduction/multi-trial.md#reinforce). ``lr``, ``weight_decay``: of Adam on the policy. ``warmup``: share of
    the epochs in which the policy rests, and widths are full or random. The answer is the most probable width of each
    layer. Defaults: ten times the paper's rate and the warm-up; ``tunas.paper`` and ``tunas.warm.paper`` have the
    paper's (docs/reproduction/one-shot.md#tunas).
    """

    def __init__(
        self,
        task: OneShotTask,
        *,
        lr: float = 3e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.3,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(task, lr=lr, weight_decay=weight_decay, warmup=warmup)
        require(self, 0 <= momentum < 1, "momentum", momentum, "at least 0 and less than 1")
        self._momentum = momentum
        #: sums of rewards and of ones, both discounted
        self._rewards, self._ones = 0.0, 0.0

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        return self.net.gates_drawn(self.policy.sample())

    def learn(self, step: Step) -> dict[str, float]:
        from nasharness.supernets.policy import top1

        choices = self.policy.sample()
        gates = self.net.gates_drawn(choices)
        reward = top1(self.task, gates, step.arch_images, step.arch_labels)
        advantage = reward - self.updated_baseline(reward)
        self.policy.descend(-advantage * self.policy.log_probability(choices))
        return {"arch_reward": reward, "arch_advantage": advantage}

    def updated_baseline(self, reward: float) -> float:
        """Take a reward into the baseline, in percent, and return the baseline."""
        self._rewards = self._momentum * self._rewards + (1 - self._momentum) * reward
        self._ones = self._momentum * self._ones + (1 - self._momentum)
        return self._rewards / self._ones

    def state(self) -> dict[str, Any]:
        return {**super().state(), "rewards": self._rewards, "ones": self._ones}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._rewards, self._ones = state["rewards"], state["ones"]
