"""ENAS: an LSTM names the cells that are trained, and REINFORCE teaches it which score well with shared weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from nasharness.algorithms.policy_search import best_scored, require

from nasharness.errors import unknown
from nasharness.search import register
from nasharness.search.one_shot import OneShot, OneShotTask, Step
from nasharness.spaces.base import Choices, Floats

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from nasharness.supernets.base import Gates

BASELINES = ("others", "epoch")


@register(
    "enas",
    citation="Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018, arXiv 1802.03268",
    kind="one-shot",
    spaces=("tss",),
    variants={
        "paper": (
            "ENAS with NATS-Bench's settings.",
            {"updates": 50, "samples": 20, "lr": 1e-3, "fresh": True, "baseline": "epoch", "learn_entropy": True},
        )
    },
    published=("paper",),
    meanings={
        "updates": "steps of the controller an epoch; at least 1; ours (enas.paper: 50)",
        "samples": "cells of such a step; at least 2; ours (enas.paper: 20)",
        "lr": "rate of the controller's Adam; more than 0; ours (enas.paper: 1e-3)",
        "baseline": "others: mean reward of the step's other cells; epoch: as published; ours (enas.paper: epoch)",
        "fresh": "whether each cell is scored on a batch of its own; ours is false (enas.paper: true)",
        "learn_entropy": "whether the reward's entropy has a gradient of its own; ours is false (enas.paper: true)",
        "candidates": "cells that the controller draws for the answer; at least 1; NATS-Bench's",
    },
)
class Enas(OneShot):
    """ENAS: trains shared weights on cells that an LSTM controller draws, and the controller by REINFORCE.

    After each epoch the controller takes ``updates`` steps of Adam (rate ``lr``, eps 1e-3, betas (0.5, 0.999), gradient
    norm at most 5), each on ``samples`` cells. The reward is the score with the shared weights in [0, 1] (in
    ``enas.paper`` accuracy) plus 1e-4 times the entropy, a constant to the gradient unless ``learn_entropy``, as in the
    published code; all cells of a step on the same validation batch, or with ``fresh`` each on another, as published.
    ``baseline``: ``others``, the mean reward of the step's other cells; or ``epoch``, the last epoch's mean baseline
    moved 1 % towards the reward (first epoch: the score itself). The answer is the best scored of ``candidates`` cells
    that the controller draws. Defaults: a twentieth of the paper's cells, ten times its rate, compared on the same
    batches; ``enas.paper`` has the paper's
    (docs/reproduction/one-shot.md#enas).
    """

    derives_by_scoring = True

    def __init__(
        self,
        task: OneShotTask,
        *,
        updates: int = 5,
        samples: int = 10,
        lr: float = 1e-2,
        baseline: str = "others",
        fresh: bool = False,
        learn_entropy: bool = False,
        candidates: int = 100,
    ) -> None:
        super().__init__(task)
        import torch

        from nasharness.supernets.controller import Controller
        from nasharness.supernets.policy import dtype_of, initial_rng

        require(self, updates >= 1, "updates", updates, "at least 1")
        require(self, samples >= 2, "samples", samples, "at least 2")
        require(self, lr > 0, "lr", lr, "more than 0")
        require(self, candidates >= 1, "candidates", candidates, "at least 1")
        if baseline not in BASELINES:
            raise unknown("enas: baseline", baseline, BASELINES)
        self._updates, self._samples, self._candidates = updates, samples, candidates
        self._fresh, self._others, self._learn_entropy = fresh, baseline == "others", learn_entropy
        sizes = self.space.sizes
        self.controller = Controller(len(sizes), max(sizes), initial_rng(task), dtype_of(task))
        self._adam = torch.optim.Adam(
            self.controller.parameters(), lr=lr, betas=(0.5, 0.999), eps=1e-3, foreach=False
        )  # fmt: skip
        self._epoch_baseline: float | None = None

    def _draw(self, count: int) -> Choices:
        return self.controller.sample(self.task.rng.random((count, len(self.space.sizes))))

    def gates(self, step: Step) -> Gates:
        return self.net.gates_of(int(self.space.index(self._draw(1)[0])))

    def end_epoch(self, epoch: int) -> dict[str, float]:
        rewards, baselines = [], []
        for _ in range(self._updates):
            choices = self._draw(self._samples)
            scores = self.task.score(self.space.index(choices), self._fresh)
            reward, baseline = self.update(choices, scores)
            rewards.append(reward)
            baselines.append(baseline)
        self._epoch_baseline = float(np.mean(baselines))
        return {"arch_reward": float(np.mean(rewards)), "arch_baseline": self._epoch_baseline}

    def update(self, choices: Choices, scores: Floats) -> tuple[float, float]:
        """Take one step on cells ``[n, positions]`` of ``scores [n]``; return the mean reward and baseline."""
        import torch

        self._adam.zero_grad()
        loss, rewards, baselines = self.policy_loss(choices, scores)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.controller.parameters(), 5.0)
        self._adam.step()
        return float(rewards.mean()), float(baselines.mean())

    def policy_loss(self, choices: Choices, scores: Floats) -> tuple[torch.Tensor, Floats, Floats]:
        """Return minus the mean of (reward - baseline) * log probability; rewards and baselines ``[n]``."""
        import torch

        from nasharness.supernets.controller import entropy, log_likelihood

        picked = torch.from_numpy(choices.astype(np.int64))
        log_p = self.controller(picked)
        scores = np.asarray(scores, dtype=np.float64)
        disorder = 1e-4 * entropy(log_p)
        rewards = scores + disorder.detach().double().numpy()
        own = 1.0  # how much of a reward is left in the advantage, its baseline being moved by it
        if self._others:
            baselines = (rewards.sum() - rewards) / (len(rewards) - 1)
        elif self._epoch_baseline is None:
            baselines = scores
        else:
            baselines = self._epoch_baseline + 0.01 * (rewards - self._epoch_baseline)
            own = 0.99
        advantages = torch.from_numpy(rewards - baselines).to(log_p.dtype)
        if self._learn_entropy:
            advantages = advantages + own * (disorder - disorder.detach())
        return -(advantages * log_likelihood(log_p, picked)).mean(), rewards, baselines

    def derive(self) -> int:
        return best_scored(self.task, self.space.index(self._draw(self._candidates)), self._fresh)

    def probabilities(self) -> Floats:
        """The controller's marginal distributions."""
        return self.controller.marginals()

    def state(self) -> dict[str, Any]:
        from nasharness.supernets.policy import copied

        return {
            "controller": copied(dict(self.controller.state_dict())),
            "adam": copied(self._adam.state_dict()),
            "baseline": self._epoch_baseline,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        from nasharness.supernets.policy import copied

        self.controller.load_state_dict(state["controller"])
        self._adam.load_state_dict(copied(state["adam"]))
        self._epoch_baseline = state["baseline"]

    def trained_parameters(self) -> Iterable[torch.Tensor]:
        return self.controller.parameters()
