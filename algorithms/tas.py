"""TAS: widths searched by channel-wise interpolation between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from nasharness.algorithms.policy_search import ANNEALED, Annealed

from nasharness.search import register

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates

#: added to probabilities before drawing, so that two widths can always be drawn (as published)
_LEAST = 1e-7


@register(
    "tas",
    citation="Dong & Yang, Network Pruning via Transformable Architecture Search, NeurIPS 2019, arXiv 1905.09717",
    kind="one-shot",
    spaces=("sss",),
    variants={
        "paper": ("TAS with NATS-Bench's settings, no warm-up.", {"lr": 3e-4, "warmup": 0.0}),
        "warm.paper": ("TAS with NATS-Bench's settings and its warm-up of 0.3.", {"lr": 3e-4, "warmup": 0.3}),
    },
    published=("paper", "warm.paper"),
    meanings=ANNEALED,
)
class Tas(Annealed):
    """TAS: each layer's output is two widths interpolated, drawn and weighted by Gumbel-softmax.

    Two of the eight widths are drawn without replacement from the Gumbel-softmax probabilities and mixed by the softmax
    of their two perturbed logits. The temperature falls linearly from ``tau_first`` to ``tau_last`` over the epochs.
    ``lr``, ``weight_decay``: of Adam on the architecture parameters. ``warmup``: share of the epochs in which these
    rest, and widths are full or random. The answer is the most probable width of each layer. Defaults: ten times the
    paper's rate and the warm-up; ``tas.paper`` and ``tas.warm.paper`` have the paper's
    (docs/reproduction/one-shot.md#tas).
    """

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        import torch

        from nasharness.supernets.sss import Interpolated

        logits = self.perturbed(epoch, learn)
        # the two greatest of log probabilities plus Gumbel noise: two draws without replacement
        log_p = np.log(logits.detach().double().softmax(dim=1).numpy() + _LEAST)
        drawn = np.argsort(-(log_p + self.task.rng.gumbel(size=log_p.shape)), axis=1)[:, :2]
        weights = logits.gather(1, torch.from_numpy(drawn)).softmax(dim=1)
        return Interpolated(drawn, weights.to(self.task.device))
