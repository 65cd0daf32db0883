"""DARTS: every operation at once, weighted by softmaxes that gradient descent sharpens (one-shot, on images).

Its tabular relatives ``darts.table`` and ``darts.exact``, which share no weights, are in ``darts_table.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasharness.algorithms.policy_search import MEANINGS, PolicySearch, require

from nasharness.algorithms import darts_table  # noqa: F401 - registers the rest of the family
from nasharness.search import register
from nasharness.search.one_shot import OneShotTask, Step

if TYPE_CHECKING:
    import torch

    from nasharness.supernets.base import Gates

_PAPER = {"lr": 3e-4, "warmup": 0.0}


@register(
    "darts",
    citation="Liu, Simonyan & Yang, DARTS: Differentiable Architecture Search, ICLR 2019, arXiv 1806.09055",
    kind="one-shot",
    spaces=("tss",),
    variants={
        "second": ("DARTS, second order: through one step of the weights ahead.", {"order": 2}),
        "paper": ("DARTS, first order, with NATS-Bench's settings.", _PAPER),
        "second.paper": ("DARTS, second order, with NATS-Bench's settings.", {**_PAPER, "order": 2}),
    },
    published=("paper", "second.paper"),
    meanings={
        **MEANINGS,
        "order": "1: gradient at the present weights; 2: one step of the weights ahead; Liu et al.'s",
    },
)
class Darts(PolicySearch):
    """DARTS: gradient descent on softmax mixtures of all operations, shared weights and mixtures in turn.

    ``order`` 1 takes the architecture's gradient at the present weights; 2 at weights one step ahead, and through that
    step (see `nasharness.supernets.unrolled`), at four passes more. ``lr``, ``weight_decay``: of Adam on the
    architecture parameters. ``warmup``: share of the epochs in which they rest. The answer is the heaviest operation of
    each edge. Defaults: a rate ten times the paper's 3e-4 and a warm-up, for searches of tens of epochs on thousands of
    images; ``darts.paper`` has the paper's (docs/reproduction/one-shot.md#darts).
    """

    def __init__(
        self,
        task: OneShotTask,
        *,
        order: int = 1,
        lr: float = 3e-3,
        weight_decay: float = 1e-3,
        warmup: float = 0.3,
    ) -> None:
        super().__init__(task, lr=lr, weight_decay=weight_decay, warmup=warmup)
        require(self, order in (1, 2), "order", order, "1 or 2")
        self._order = order

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        return self._mixture(self.policy.logits if learn else self.policy.logits.detach())

    def _mixture(self, logits: torch.Tensor) -> Gates:
        from nasharness.supernets.tss import EdgeGates

        return EdgeGates.mixture(logits.softmax(dim=1).to(self.task.device))

    def learn(self, step: Step) -> dict[str, float]:
        if self._order == 1:
            return super().learn(step)
        from nasharness.supernets.unrolled import unrolled_gradient

        gradient, value = unrolled_gradient(
            self.net,
            step.optimiser,
            self.policy.logits,
            self._mixture,
            (step.weight_images, step.weight_labels),
            (step.arch_images, step.arch_labels),
        )
        self.policy.step(gradient)
        return {"arch_loss": value}
