"""Batch norm over the images of all processes, on CPUs too, where torch has none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class _Sum(torch.autograd.Function):
    """Sum over processes; the gradient of a sum that all use is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def _total(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


class SyncBatchNorm2d(nn.BatchNorm2d):
    """``BatchNorm2d`` whose training statistics are those of all processes' images together.

    Mean and variance in two passes (two small sums over processes), as stable as the one-process form. Every process
    must hold the same number of images.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name torch's class gives it
        if not self.training:
            return super().forward(input)
        values = input if input.dtype == torch.float64 else input.float()
        count = distributed.get_world_size() * values.numel() // values.shape[1]
        mean = _total(values.sum(dim=(0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _total(centred.square().sum(dim=(0, 2, 3))) / count
        if self.running_mean is not None and self.running_var is not None:
            momentum = 0.1 if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        out: Tensor = centred * scale[:, None, None]
        if self.bias is not None:
            out = out + self.bias[:, None, None]
        return out.to(input.dtype)


def convert(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network with every ``BatchNorm2d`` synchronised: torch's own kernels on a GPU, the above elsewhere.

    Weights and statistics are shared with the original, and so are their names.
    """
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d
    return network
