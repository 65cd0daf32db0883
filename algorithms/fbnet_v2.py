"""FBNetV2's channel search: prefix masks of all widths, averaged by Gumbel-softmax weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasharness.algorithms.policy_search import ANNEALED, Annealed

from nasharness.search import register

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates


@register(
    "fbnet-v2",
    citation="Wan et al., FBNetV2: Differentiable Neural Architecture Search for Spatial and Channel Dimensions, "
    "CVPR 2020, arXiv 2004.05565",
    kind="one-shot",
    spaces=("sss",),
    variants={
        "paper": ("FBNetV2's masking with NATS-Bench's settings, no warm-up.", {"lr": 3e-4, "warmup": 0.0}),
        "warm.paper": (
            "FBNetV2's masking with NATS-Bench's settings and its warm-up of 0.3.",
            {"lr": 3e-4, "warmup": 0.3},
        ),
    },
    published=("paper", "warm.paper"),
    meanings=ANNEALED,
)
class FbnetV2(Annealed):
    """FBNetV2's masking: each layer's output times a mean of the masks of all widths, weighted by Gumbel-softmax.

    A mask is one on the first c channels and zero beyond, so that all widths share one pass. The temperature falls
    linearly from ``tau_first`` to ``tau_last`` over the epochs. ``lr``, ``weight_decay``: of Adam on the architecture
    parameters. ``warmup``: share of the epochs in which these rest, and widths are full or random. The answer is the
    most probable width of each layer. Defaults: ten times the paper's rate and the warm-up; ``fbnet-v2.paper`` and
    ``fbnet-v2.warm.paper`` have the paper's (docs/reproduction/one-shot.md#fbnetv2).
    """

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        from nasharness.supernets.sss import Prefix

        return Prefix.soft(self.perturbed(epoch, learn).softmax(dim=1).to(self.task.device))
