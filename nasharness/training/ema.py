"""A moving average of the weights, to be evaluated beside the raw ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """Average of every floating tensor of ``network``: weights and batch norm's running statistics.

    ``average <- d average + (1 - d) weight``, ramp ``d = min(decay, (1 + n) / (10 + n))``. ``n`` counts images in
    units of ``unit``: with the published 128 images a GPU, it is steps times GPUs (facts, autoshrink.md 5.1), and does
    not depend on how many processes share a batch.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, *, unit: int = 128) -> None:
        self.decay, self.unit, self.images = decay, unit, 0
        self._live = _floating(network)
        self._average = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    def rate(self) -> float:
        """Return d as of now."""
        n = self.images / self.unit
        return min(self.decay, (1 + n) / (10 + n))

    @torch.no_grad()
    def update(self, images: int) -> None:
        """Take in the network's weights after a step on ``images`` images."""
        self.images += images
        torch._foreach_lerp_(list(self._average.values()), list(self._live.values()), 1 - self.rate())

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the averaged weights inside the block; its own come back, bit for bit."""
        own = [tensor.detach().clone() for tensor in self._live.values()]
        self._set(list(self._average.values()))
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(list(self._live.values()), values)

    def state_dict(self) -> dict[str, object]:
        """Return the averages and the count, for a checkpoint."""
        return {"average": dict(self._average), "images": self.images}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take up what :meth:`state_dict` gave."""
        averages = state["average"]
        if not isinstance(averages, dict) or averages.keys() != self._average.keys():
            raise KeyError("the moving average in the checkpoint is of another network")
        for name, tensor in self._average.items():
            tensor.copy_(averages[name])
        self.images = int(str(state["images"]))


def _floating(network: nn.Module) -> dict[str, Tensor]:
    state = network.state_dict(keep_vars=True)
    return {name: tensor.detach() for name, tensor in state.items() if tensor.is_floating_point()}
