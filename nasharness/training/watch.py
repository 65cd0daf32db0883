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

    ``classes``: outputs; a mean loss of ``factor`` times that of guessing, ln(classes), counts as diverged.
    ``perplexity``: whether messages speak of it.
    """

    def __init__(self, world: World, classes: int, *, factor: float = 10.0, perplexity: bool = False) -> None:
        self.world, self.limit = world, factor * math.log(max(classes, 2))
        self._classes, self._perplexity = classes, perplexity
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
                raise self.diverged(float(losses[at]), f"at step {first + at} (epoch {epoch}, learning rate {lr:g})")
            self.total += float(losses.sum())
            self.count += len(losses)
        return self.total / self.count if self.count else math.nan

    def diverged(self, loss: float, where: str) -> Diverged:
        """The error that says what a loss has come to."""
        what = "is not a number"
        if math.isfinite(loss) and self._perplexity:
            # beyond what a float holds it is infinite to whoever reads it
            what = f"has diverged to perplexity {math.exp(min(loss, 700.0)):.4g}, where guessing has {self._classes:,},"
        elif math.isfinite(loss):
            what = f"has diverged to {loss:.4g}"
        return Diverged(
            f"the loss {what} {where}; checkpoints from before are kept: try a lower --lr, or --precision fp32"
        )

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
