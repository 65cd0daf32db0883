"""A moving average of the weights, to be evaluated beside the raw ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nasharness.training.imagenet.statistics import momenta, settled, start


class MovingAverage:
    """Average of every floating tensor of ``network``: weights and batch norm's running statistics.

    ``average <- d average + (1 - d) weight``, ramp ``d = min(decay, (1 + n) / (10 + n))``. ``n`` counts images in units
    of ``unit``: with the published 128 images a GPU, it is steps times GPUs (docs/reproduction/training.md#imagenet),
    and does not depend on how many processes share a batch.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, *, unit: int = 128) -> None:
        self.decay, self.unit = decay, unit
        self.images = self.updates = 0
        self._network = network
        self._live = _floating(network)
        self._began = dict.fromkeys(momenta(network), 1.0)  # share of batch norm's first statistics in the average
        self._average = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    def rate(self) -> float:
        """Return d as of now."""
        n = self.images / self.unit
        return min(self.decay, (1 + n) / (10 + n))

    @torch.no_grad()
    def update(self, images: int) -> None:
        """Take in the network's weights after a step on ``images`` images."""
        self.images += images
        self.updates += 1
        rate = self.rate()
        for momentum in self._began:
            now = start(momentum, self.updates)
            self._began[momentum] = rate * self._began[momentum] + (1 - rate) * now
        torch._foreach_lerp_(list(self._average.values()), list(self._live.values()), 1 - rate)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the averaged weights inside the block; its own come back, bit for bit.

        Batch norm's statistics are without the share of where they began (see
        :mod:`nasharness.training.imagenet.statistics`).
        """
        own = [tensor.detach().clone() for tensor in self._live.values()]
        self._set(list(self._average.values()))
        try:
            with settled(self._network, lambda momentum, _: self._began[momentum]):
                yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(list(self._live.values()), values)

    def buffers(self) -> Iterator[Tensor]:
        """The averages of batch norm's statistics."""
        return (self._average[name] for name, _ in self._network.named_buffers() if name in self._average)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the count, for a checkpoint."""
        return {
            "average": dict(self._average),
            "images": self.images,
            "updates": self.updates,
            "began": dict(self._began),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        averages = state["average"]
        if averages.keys() != self._average.keys():
            raise KeyError("the moving average in the checkpoint is of another network")
        for name, tensor in self._average.items():
            tensor.copy_(averages[name])
        self.images, self.updates = state["images"], state["updates"]
        self._began = dict(state["began"])


def _floating(network: nn.Module) -> dict[str, Tensor]:
    state = network.state_dict(keep_vars=True)
    return {name: tensor.detach() for name, tensor in state.items() if tensor.is_floating_point()}
