"""Losses as they come, without waiting for the device at each step; and the end of a run that has none any more."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nasharness.errors import NasharnessError
from nasharness.training.distributed import World


class Diverged(NasharnessError):  # noqa: N818 - what happened, and no mistake
    """The loss is not a number any more, or far above that of guessing."""

    exit_code = 1


class LossWatch:
    """Keeps each step's loss on the device until :meth:`look`.

    ``classes``: a mean loss of :data:`FACTOR` times that of guessing, ln(classes), counts as diverged.
    """

    FACTOR = 10.0

    def __init__(self, world: World, classes: int) -> None:
        self.world, self.limit = world, self.FACTOR * math.log(max(classes, 2))
        self.total, self.count = 0.0, 0
        self._waiting: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Take a step's loss: a scalar, this process's mean."""
        self._waiting.append(loss.detach())

    def look(self, step: int, epoch: int, lr: float) -> float:
        """Look at the losses up to ``step`` and return their mean since :meth:`begin`; all processes call it together.

        Raises:
            Diverged: one of them is not finite, or they are far too large; the message names step and rate.
        """
        if self._waiting:
            losses = self.world.total(torch.stack(self._waiting).cpu().double()) / self.world.size
            first = step - len(losses) + 1
            self._waiting = []
            wrong = torch.nonzero(~torch.isfinite(losses)).flatten()
            if len(wrong) or float(losses.mean()) > self.limit:
                at = int(wrong[0]) if len(wrong) else int(losses.argmax())
                what = "is not a number" if len(wrong) else f"has diverged to {float(losses[at]):.4g}"
                raise Diverged(
                    f"the loss {what} at step {first + at} (epoch {epoch}, learning rate {lr:g}); checkpoints from "
                    "before are kept: try a lower --lr, or --precision fp32"
                )
            self.total += float(losses.sum())
            self.count += len(losses)
        return self.total / self.count if self.count else math.nan

    def begin(self) -> None:
        """Begin a new mean."""
        self.total, self.count = 0.0, 0


@torch.no_grad()
def check_weights(weights: list[Tensor], step: int, lr: float) -> None:
    """Make sure that what is about to be written can be used.

    Raises:
        Diverged: a weight is not finite.
    """
    norms = torch.stack(torch._foreach_norm(weights))
    if not bool(torch.isfinite(norms).all()):
        raise Diverged(
            f"a weight is not a number after step {step} (learning rate {lr:g}); checkpoints from before are kept: "
            "try a lower --lr"
        )
