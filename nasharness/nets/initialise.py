"""Weights drawn from a given generator: torch's own constructors draw from the global one, which nothing here touches.

Modules are made without drawing (``torch.nn.utils.skip_init``) and filled by the functions below.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Standard deviation of a standard normal cut at 2. TensorFlow divides by it: what is drawn has the one asked for.
_CUT = 0.87962566103423978


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    padding: int | None = None,
) -> nn.Conv2d:
    """A convolution without bias and with uninitialised weights; padded so that stride 1 keeps the size."""
    pad = dilation * (kernel // 2) if padding is None else padding
    made: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, inputs, outputs, kernel, stride=stride, padding=pad, groups=groups, dilation=dilation, bias=False
    )
    return made


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with bias, uninitialised."""
    made: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    return made


def fans(weight: Tensor) -> tuple[int, int]:
    """Fan-in and fan-out of a convolution's or linear layer's weight ``[out, in / groups, ...]``, within a group."""
    receptive = weight[0][0].numel()
    depthwise = weight.dim() > 2 and weight.shape[1] == 1
    return weight.shape[1] * receptive, (1 if depthwise else weight.shape[0]) * receptive


def truncated_normal(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill from a normal cut at two of its deviations, such that the outcome has deviation ``std``."""
    wide = std / _CUT
    with torch.no_grad():
        nn.init.trunc_normal_(weight, 0.0, wide, -2 * wide, 2 * wide, generator=generator)


def glorot_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / (fan-in + fan-out), as TensorFlow's ``glorot_normal_initializer`` (truncated)."""
    fan_in, fan_out = fans(weight)
    truncated_normal(weight, math.sqrt(2 / (fan_in + fan_out)), generator)


def he_normal_fan_out(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / fan-out, truncated: TensorFlow's variance scaling of 2.0 by fan-out."""
    truncated_normal(weight, math.sqrt(2 / fans(weight)[1]), generator)


def seeded(generator: torch.Generator | None) -> torch.Generator:
    """The generator given, or one seeded with 0: weights without one are the same every time."""
    return generator if generator is not None else torch.Generator().manual_seed(0)
