"""GDAS: one operation an edge, drawn with Gumbel noise, its gradient passed straight through the draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasharness.algorithms.policy_search import Annealed

from nasharness.search import register

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates


@register(
    "gdas",
    citation="Dong & Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019, arXiv 1910.04465",
    kind="one-shot",
    spaces=("tss",),
    variants={"paper": ("GDAS with NATS-Bench's settings.", {"lr": 3e-4, "warmup": 0.0})},
)
class Gdas(Annealed):
    """GDAS: trains and judges one cell at a time, drawn by hard Gumbel-softmax, the same in all cells of the network.

    The forward pass computes the drawn operations alone, times one; backward, that one has the gradient of its soft
    weight. An operation that was not drawn contributes nothing, to the gradient neither (the published code adds the
    weights of the others to the features as bare numbers, whose gradient says nothing about an operation). The
    temperature falls linearly from ``tau_first`` to ``tau_last`` over the epochs. ``lr``, ``weight_decay``: of Adam on
    the architecture parameters, which rest during the first ``warmup`` of the epochs: drawing is uniform until then.
    The answer is the most probable operation of each edge. Defaults: ten times the paper's rate and a warm-up, for
    searches of tens of epochs on thousands of images; ``gdas.paper`` has the paper's (facts, nats_bench.md 4.2).
    """

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        from torch.nn import functional

        from nasharness.supernets.tss import EdgeGates

        logits = self.perturbed(epoch, learn)
        drawn = logits.detach().argmax(dim=1)
        if not learn:
            return EdgeGates.single(drawn.numpy())
        soft = logits.softmax(dim=1)
        hard = functional.one_hot(drawn, soft.shape[1])
        weights = hard + (soft - soft.detach())  # in this order, one is exactly one
        return EdgeGates.straight_through(drawn.numpy(), weights.to(self.task.device))
