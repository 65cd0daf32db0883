"""Optimisers of the published recipes, and which weights decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nasharness.errors import UsageError, unknown

OPTIMISERS = ("rmsprop-tf", "sgd", "nesterov")


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp as TensorFlow 1 computes it, per weight w with gradient g::

        ms  <- decay ms + (1 - decay) g^2          ms starts at 1, not at 0
        mom <- momentum mom + lr g / sqrt(ms + eps)    eps inside the root
        w   <- w - mom                              lr is part of mom: a later change of lr leaves it

    ``torch.optim.RMSprop`` differs in all three points. Weight decay is coupled: it is added to g before anything else.
    Source: docs/reproduction/training.md#imagenet.

    Args:
        params: weights or groups of them.
        lr: learning rate; 0 is allowed (the first epoch of a warm-up, the last of a cosine).
        decay: of the second moment.
        momentum: of the update.
        eps: inside the square root.
        weight_decay: coupled: twice the factor of a loss term that is a plain sum of squares.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        decay: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps <= 0 or weight_decay < 0 or not 0 <= decay < 1 or not 0 <= momentum < 1:
            raise UsageError(
                f"RMSpropTF(lr={lr}, decay={decay}, momentum={momentum}, eps={eps}, weight_decay={weight_decay}): "
                "expected lr and weight_decay of at least 0, eps above 0, decay and momentum in [0, 1)"
            )
        super().__init__(
            params, {"lr": lr, "decay": decay, "momentum": momentum, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients: Any = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["ms"] = torch.ones_like(weight)
                    self.state[weight]["mom"] = torch.zeros_like(weight)
            squares = [self.state[weight]["ms"] for weight in weights]
            momenta = [self.state[weight]["mom"] for weight in weights]
            if group["weight_decay"]:
                gradients = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            torch._foreach_mul_(squares, group["decay"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["decay"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_addcdiv_(momenta, gradients, roots, value=group["lr"])
            torch._foreach_sub_(weights, momenta)
        return loss


def is_depthwise(module: nn.Module) -> bool:
    """Whether a convolution has one filter per input channel."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def groups(network: nn.Module, weight_decay: float, *, decay_on: str) -> list[dict[str, Any]]:
    """Split the weights into those that decay and those that do not.

    ``decay_on``: ``"kernels"``: kernels of ordinary and pointwise convolutions and of linear layers, not of depthwise
    convolutions, nor biases and batch norm (docs/reproduction/training.md#imagenet); ``"all"``: every
    weight (DARTS, NATS-Bench); ``"all-but-norms"``: every weight that is not batch norm's (MnasNet, Single-Path NAS).

    Raises:
        UsageError: ``decay_on`` is none of these.
    """
    rules = ("kernels", "all", "all-but-norms")
    if decay_on not in rules:
        raise unknown("weight decay rule", decay_on, rules)
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    seen: set[int] = set()
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) in seen or not weight.requires_grad:
                continue
            seen.add(id(weight))
            kernel = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight" and not is_depthwise(module)
            norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            decays = kernel if decay_on == "kernels" else decay_on == "all" or not norm
            (decayed if decays else free).append(weight)
    made = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in made if group["params"]]


def make(
    name: str, network: nn.Module, lr: float, *, momentum: float, weight_decay: float, decay_on: str, eps: float = 1.0
) -> torch.optim.Optimizer:
    """Return an optimiser over the network's weights: ``rmsprop-tf``, ``sgd`` (plain momentum) or ``nesterov``.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in OPTIMISERS:
        raise unknown("optimiser", name, OPTIMISERS)
    weights = groups(network, weight_decay, decay_on=decay_on)
    if name == "rmsprop-tf":
        return RMSpropTF(weights, lr, momentum=momentum, eps=eps)
    return torch.optim.SGD(weights, lr, momentum=momentum, nesterov=name == "nesterov")


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr
