"""What proxies look at inside of a NATS-Bench network, whose cells compute stacked what the papers compute apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from nasharness.nets.blocks import Head, Residual
from nasharness.nets.cell import Cell, Convolutions
from nasharness.nets.skeleton import Network


def rectified(net: Network, images: Tensor, see: Callable[[Tensor, int], None]) -> None:
    """Show ``images`` to ``net``, and ``see(features, times)`` what rectifiers let through, ``[batch, ...]``.

    ``times``: how many rectifiers of the published network let through the same.
    """

    def stacked(module: nn.Module, given: tuple[Any, ...]) -> None:
        see(given[0], len(given[1]))

    def single(module: nn.Module, given: tuple[Any, ...]) -> None:
        see(given[0], 1)

    def last(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        see(functional.relu(output), 1)

    hooks = []
    for module in net.modules():
        if isinstance(module, Cell):
            stacks = [*module.small.values(), *module.large.values()]  # a projection has no rectifier in front
            hooks += [stack.register_forward_pre_hook(stacked) for stack in stacks]
        elif isinstance(module, Residual):
            hooks += [layer.register_forward_pre_hook(single) for layer in (module.first, module.second)]
        elif isinstance(module, Head):
            hooks.append(module.norm.register_forward_hook(last))
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()


def last_features(net: Network, images: Tensor) -> Tensor:
    """What is averaged over the image in front of the classifier: ``[batch, channels, side / 4, side / 4]``."""
    kept: list[Tensor] = []
    hook = net.head.norm.register_forward_hook(lambda module, given, output: kept.append(functional.relu(output)))
    try:
        net(images)
    finally:
        hook.remove()
    return kept[0]


def deviations(net: Network) -> list[Tensor]:
    """Root of the mean running variance of each normalisation of the published network, of one or more at a time."""
    found = []
    for module in net.modules():
        for child in module.children():
            if isinstance(child, nn.BatchNorm2d) and child.running_var is not None:
                layers = len(module.edges) if isinstance(module, Convolutions) else 1
                found.append(child.running_var.view(layers, -1).mean(1).sqrt())
    return found


def without_normalisation(net: Network) -> Network:
    """The same network, changed in place, with nothing where it normalised."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return net
