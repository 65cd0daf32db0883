"""Batch norm's running statistics without the weight of where they began.

Statistics start at mean 0, variance 1 and move by ``momentum`` a batch. At the published 0.001
(docs/reproduction/training.md#imagenet) they are still half of that after 700 batches, and an evaluation before then
measures it rather than the network. What is evaluated here is the running average divided by what it has seen, as Adam
does with its moments: the same after a few thousand batches, and right from the first. Training is not touched.

Where a step's batch comes in parts, each normalised by itself, the running statistics move once a step, by the mean of
what the parts say: as those of as many devices do, whose mean is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def momenta(network: nn.Module) -> dict[float, int]:
    """Return the momenta in use, and for each how many batches its layers have seen."""
    return {layer.momentum: int(layer.num_batches_tracked) for layer in _layers(network)}  # type: ignore[misc, arg-type]


def start(momentum: float, batches: int) -> float:
    """Return the share that where it began still has in a running average."""
    return float((1 - momentum) ** batches)


@contextlib.contextmanager
def settled(network: nn.Module, share: Callable[[float, int], float] = start) -> Iterator[None]:
    """Take the beginning out of the running statistics inside the block; they come back as they were.

    ``share``: (momentum, batches seen) -> what of the beginning is in the statistics now.
    """
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in _layers(network):
        began = share(layer.momentum, int(layer.num_batches_tracked))  # type: ignore[arg-type]
        if not 1e-7 < began < 1:
            continue
        for values, first in ((layer.running_mean, 0.0), (layer.running_var, 1.0)):
            if values is not None:
                kept.append((values, values.clone()))
                values.sub_(first * began).div_(1 - began)
    try:
        yield
    finally:
        for values, before in kept:
            values.copy_(before)


class Parts:
    """Running statistics that ``parts`` batches of a step move once, together: call it after each of them."""

    def __init__(self, network: nn.Module, parts: int) -> None:
        self._live = [
            values
            for layer in (_layers(network) if parts > 1 else ())
            for values in (layer.running_mean, layer.running_var, layer.num_batches_tracked)
            if values is not None
        ]
        self._parts = parts
        self._before = [values.clone() for values in self._live]
        self._sums = [torch.zeros_like(values) for values in self._live]

    @torch.no_grad()
    def __call__(self, part: int) -> None:
        """Take in what part number ``part``, from 0, has made of them."""
        for values, before, total in zip(self._live, self._before, self._sums, strict=True):
            total += values
            values.copy_(before)
            if part == self._parts - 1:
                values.copy_(total // self._parts if values.dtype == torch.int64 else total / self._parts)


def _layers(network: nn.Module) -> Iterator[_BatchNorm]:
    for layer in network.modules():
        known = isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.momentum is not None
        if known and layer.num_batches_tracked is not None:
            yield layer  # type: ignore[misc]
