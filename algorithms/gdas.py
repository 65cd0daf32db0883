"""GDAS: one operation an edge, drawn with Gumbel noise, its gradient passed straight through the draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasharness.algorithms.policy_search import ANNEALED, Annealed, require

from nasharness.search import register
from nasharness.search.one_shot import OneShotTask

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates

_PAPER = {"lr": 3e-4, "warmup": 0.0, "share": 1.0}


@register(
    "gdas",
    citation="Dong & Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019, arXiv 1910.04465",
    kind="one-shot",
    spaces=("tss",),
    variants={
        "paper": ("GDAS with NATS-Bench's settings.", {**_PAPER, "undrawn": True}),
        "drawn": ("GDAS with NATS-Bench's settings, whose gradient reaches drawn operations alone.", _PAPER),
    },
    published=("paper", "drawn"),
    meanings={
        **ANNEALED,
        "share": "least factor of the one edge that a pass judges; more than 0, at most 1; ours (.paper: 1)",
        "undrawn": "whether the weights of what was not drawn are added to the features; ours is false (.paper: true)",
    },
)
class Gdas(Annealed):
    """GDAS: trains and judges one cell at a time, drawn by hard Gumbel-softmax, the same in all cells of the network.

    The forward pass computes the drawn operations alone, times one; backward, that one has the gradient of its soft
    weight. An operation that was not drawn contributes nothing, to the gradient neither; with ``undrawn`` its weight, a
    zero with a gradient, is added to the features as a bare number, as the published code does. The temperature falls
    linearly from ``tau_first`` to ``tau_last`` over the epochs. ``lr``, ``weight_decay``: of Adam on the architecture
    parameters, which rest during the first ``warmup`` of the epochs: drawing is uniform until then. The answer is the
    most probable operation of each edge.

    ``share``: a pass that judges looks at one edge, drawn at random, whose operation counts with a factor drawn from
    [``share``, 1]; with 1, as published, at all edges and factor one. There the gradient says whether a little less of
    an operation would help, which is true of nearly every one: inputs of a node are summed, and what leaves it is
    normalised. So ``none``, whose gradient is zero, is preferred everywhere. What matters is the way from nothing to
    one while the other edges stay as they are: the mean gradient along it is the gain over ``none``. Close to nothing
    it is too large to average.

    Defaults: shared weights alone for three fifths of the epochs (convolutions are the last to become good), then more
    than ten times the paper's rate, and a share of a quarter; for searches of tens of epochs on thousands of images.
    ``gdas.paper`` has the paper's, ``gdas.drawn`` these without ``undrawn`` (docs/reproduction/one-shot.md#gdas).
    """

    def __init__(
        self,
        task: OneShotTask,
        *,
        lr: float = 5e-3,
        weight_decay: float = 1e-3,
        warmup: float = 0.6,
        tau_first: float = 10.0,
        tau_last: float = 0.1,
        share: float = 0.25,
        undrawn: bool = False,
    ) -> None:
        super().__init__(task, lr=lr, weight_decay=weight_decay, warmup=warmup, tau_first=tau_first, tau_last=tau_last)
        require(self, 0 < share <= 1, "share", share, "more than 0 and at most 1")
        self._share, self._undrawn = share, undrawn

    def relaxed(self, epoch: int, learn: bool) -> Gates:
        import torch
        from torch.nn import functional

        from nasharness.supernets.tss import EdgeGates

        logits = self.perturbed(epoch, learn)
        drawn = logits.detach().argmax(dim=1)
        if not learn:
            return EdgeGates.single(drawn.numpy())
        soft = logits.softmax(dim=1)
        hard = functional.one_hot(drawn, soft.shape[1]).to(soft.dtype)
        ahead = soft - soft.detach()  # zeros with a gradient
        if self._share < 1:
            edge = int(self.task.rng.integers(len(drawn)))
            hard[edge] *= self.task.rng.uniform(self._share, 1)
            judged = torch.zeros(len(drawn), 1, dtype=soft.dtype)
            judged[edge] = len(drawn)  # each edge is looked at so seldom: on the average, all count once
            ahead = ahead * judged
        return EdgeGates.straight_through(drawn.numpy(), (hard + ahead).to(self.task.device), self._undrawn)
