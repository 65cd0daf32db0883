"""What a network costs, counted from the network itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def params(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module, shape: Sequence[int]) -> int:
    """Return the multiply-accumulates of a forward pass over an input of ``shape``, e.g. ``(1, 3, 32, 32)``.

    Counted as NATS-Bench does: convolutions and matrix products, and the bias of linear layers; no normalisation,
    activation, pooling or sum. Nothing is computed and the module is left alone: a copy without values is traced.
    """
    twin = copy.deepcopy(module).to("meta").eval()
    biases = 0

    def count_bias(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal biases
        biases += output.numel()

    for layer in twin.modules():
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            layer.register_forward_hook(count_bias)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(torch.empty(tuple(shape), device="meta"))
    return int(counter.get_total_flops()) // 2 + biases
