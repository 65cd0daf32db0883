"""The optimiser of a text recipe: SGD that is averaged once it stalls (ASGD), or Adam."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import torch
from torch import nn

from nasharness.errors import UsageError
from nasharness.runs.checkpoint import load_optimiser
from nasharness.training.language.recipes import TextRecipe


def stalled(recorded: Sequence[float], loss: float, patience: int) -> bool:
    """Whether a validation loss ends plain SGD (Merity et al., ICLR 2018, algorithm 1).

    So it does when more than ``patience`` epochs are ``recorded`` before it and the least loss of all but the last
    ``patience`` of them is below it.
    """
    return len(recorded) > patience and loss > min(recorded[:-patience])


class TextOptimiser:
    """Steps, learning rate and averaging.

    Averaged SGD is torch's, with t0 = 0 and lambda = 0, as published: the weights go on as under SGD, each step with
    the rate given at the step before it, while their mean since the change is what is validated and kept.

    Args:
        network: whose weights are trained.
        recipe: says how.
        segments: of the whole run, about; the schedule of Adam ends there.
    """

    def __init__(self, network: nn.Module, recipe: TextRecipe, segments: float) -> None:
        self.parameters = list(network.parameters())
        self.recipe, self.segments = recipe, segments
        self.averaging = False
        self.losses: list[float] = []
        self._make()

    def _make(self) -> None:
        recipe = self.recipe
        settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
        self.torch: torch.optim.Optimizer
        if recipe.optimiser == "adam":
            self.torch = torch.optim.Adam(self.parameters, **settings)
        elif recipe.optimiser != "sgd":
            raise UsageError(f"optimiser {recipe.optimiser!r} of a recipe for text: expected sgd or adam")
        elif self.averaging:
            self.torch = torch.optim.ASGD(self.parameters, t0=0, lambd=0.0, **settings)
        else:
            self.torch = torch.optim.SGD(self.parameters, **settings)

    def rate(self, segment: int) -> float:
        """Return the learning rate of a segment, counted from 0, for ``bptt`` words."""
        recipe = self.recipe
        if recipe.optimiser == "sgd":
            return recipe.lr
        warm = recipe.warmup * self.segments
        if segment < warm:
            return recipe.lr * (segment + 1) / warm
        share = min(1.0, (segment - warm) / max(1.0, self.segments - warm))
        return recipe.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)

    def step(self, lr: float) -> None:
        """Clip the gradient and take a step."""
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        for group in self.torch.param_groups:
            group["lr"] = lr
        self.torch.step()

    def record(self, loss: float) -> bool:
        """Take in an epoch's validation loss; begin to average where SGD has stalled. Return whether it just did."""
        begins = (
            self.recipe.optimiser == "sgd" and not self.averaging and stalled(self.losses, loss, self.recipe.patience)
        )
        if begins:
            self.averaging = True
            self._make()
        self.losses.append(loss)
        return begins

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have the averaged weights inside the block, where there are any; then its own again."""
        own = [parameter.detach().clone() for parameter in self.parameters] if self.averaging else []
        with torch.no_grad():
            for parameter in self.parameters if self.averaging else ():
                if "ax" in self.torch.state[parameter]:
                    parameter.copy_(self.torch.state[parameter]["ax"])
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, own, strict=False):
                    parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {"averaging": self.averaging, "losses": list(self.losses), "torch": self.torch.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        self.averaging = msgspec.convert(state["averaging"], bool)
        self.losses = msgspec.convert(state["losses"], list[float])
        self._make()
        load_optimiser(self.torch, state["torch"])
