"""Cross-entropy of a decoder tied to the embedding, with its gradient taken on the way.

The logits are by far the largest tensor of a word-level language model (35 x 64 x 10,000 of them a segment), so they
are made once, turned in place into probabilities and then into their own gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: rows of logits made at a time: bounds the memory, and is more than a published segment has
ROWS = 4096


def tied_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Mean negative log-likelihood, nats.

    Args:
        hidden: ``[n, H]``.
        weight: ``[words, H]``.
        bias: ``[words]``.
        targets: int64 ``[n]``.
        dtype: of the products and probabilities (bf16 halves their cost); None: that of ``hidden``.
    """
    loss: Tensor = _Loss.apply(hidden, weight, bias, targets, dtype or hidden.dtype)  # type: ignore[no-untyped-call]
    return loss


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        count = len(targets)
        low, low_bias = weight.to(dtype), bias.to(dtype)
        total = hidden.new_zeros(())
        grads: list[Tensor] | None = None
        to_hidden = []
        for first in range(0, count, ROWS):
            rows, wanted = hidden[first : first + ROWS].to(dtype), targets[first : first + ROWS, None]
            chances = torch.softmax(torch.addmm(low_bias, rows, low.t()), dim=1)
            right = chances.gather(1, wanted)
            # below the smallest normal number the logarithm would be infinite; such a loss is huge all the same
            total += -right.to(hidden.dtype).clamp_min(1e-37).log().sum()
            chances.scatter_(1, wanted, right - 1)  # adding in place walks over the whole matrix in bf16
            to_hidden.append(torch.mm(chances, low).to(hidden.dtype) / count)
            made = [torch.mm(chances.t(), rows), torch.mm(chances.new_ones(1, len(rows)), chances)[0]]
            part = [grad.to(weight.dtype) / count for grad in made]
            grads = part if grads is None else [old.add_(new) for old, new in zip(grads, part, strict=True)]
        ctx.save_for_backward(torch.cat(to_hidden), *(grads or ()))
        return total / count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        to_hidden, to_weight, to_bias = ctx.saved_tensors
        return to_hidden * grad, to_weight * grad, to_bias * grad, None, None
