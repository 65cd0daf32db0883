"""SETN: weights trained on uniformly drawn cells, a mixture that learns which are likely, and a contest of those."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from nasharness.algorithms.policy_search import MEANINGS, PolicySearch, best_scored, require

from nasharness.search import register
from nasharness.search.one_shot import OneShotTask, Step
from nasharness.spaces.base import Indices

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates


@register(
    "setn",
    citation="Dong & Yang, One-Shot Neural Architecture Search via Self-Evaluated Template Network, ICCV 2019, "
    "arXiv 1910.05733",
    kind="one-shot",
    spaces=("tss",),
    variants={"paper": ("SETN with NATS-Bench's settings.", {"lr": 3e-4, "warmup": 0.0, "fresh": True})},
    published=("paper",),
    meanings={
        **MEANINGS,
        "candidates": "most probable cells that are scored; at least 1; NATS-Bench's",
        "fresh": "whether each is scored once, on a batch of its own; ours is false: two rounds (setn.paper: true)",
    },
)
class Setn(PolicySearch):
    """SETN: trains shared weights on uniform cells and softmaxes on the mixture, then scores the likeliest cells.

    Each weight step trains one uniformly drawn cell; each architecture step descends the loss of the softmax mixture of
    all operations. The answer is the best scored of the ``candidates`` most probable of all cells, in two rounds
    (`best_scored`), or with ``fresh`` each once, on its own batch, as published. ``lr``, ``weight_decay``: of Adam on
    the architecture parameters, which rest during the first ``warmup`` of the epochs. Defaults: ten times the rate,
    a warm-up and the two rounds; ``setn.paper`` has the paper's (docs/reproduction/one-shot.md#setn).
    """

    derives_by_scoring = True

    def __init__(
        self,
        task: OneShotTask,
        *,
        lr: float = 3e-3,
        weight_decay: float = 1e-3,
        warmup: float = 0.3,
        candidates: int = 100,
        fresh: bool = False,
    ) -> None:
        super().__init__(task, lr=lr, weight_decay=weight_decay, warmup=warmup)
        require(self, candidates >= 1, "candidates", candidates, "at least 1")
        self._candidates, self._fresh = candidates, fresh

    def gates(self, step: Step) -> Gates:
        return self.net.uniform_gates(self.task.rng)

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        from nasharness.supernets.tss import EdgeGates

        p = self.policy.softmax().to(self.task.device)
        return EdgeGates.mixture(p if learn else p.detach())

    def likeliest(self) -> Indices:
        """The most probable architectures of the whole space, best first: int32 ``[candidates]``."""
        log_p = np.log(self.policy.probabilities())
        choices = self.space.choices(np.arange(self.space.size))
        total = log_p[np.arange(choices.shape[1]), choices].sum(axis=1)
        return np.argsort(-total, kind="stable")[: self._candidates].astype(np.int32)

    def derive(self) -> int:
        return best_scored(self.task, self.likeliest(), self._fresh)
