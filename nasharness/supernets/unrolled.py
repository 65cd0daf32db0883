"""The second-order gradient of DARTS: how the architecture acts through one step of the shared weights.

With w' the weights after one more step on the weight batch, the gradient of the architecture batch's loss L(w'(a), a)
by the architecture parameters a is (Liu, Simonyan & Yang, ICLR 2019, equations 6 to 8)

    dL/da (w', a) - lr * d2 L_weights / da dw (w, a) * dL/dw (w', a)

and the product with the mixed second derivative is a finite difference of first ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from nasharness.supernets.base import Gates

#: length of the step in the weights that the finite difference takes to either side
_RADIUS = 1e-2

Batch = tuple[Tensor, Tensor]


def unrolled_gradient(
    net: nn.Module,
    optimiser: torch.optim.SGD,
    parameters: Tensor,
    gates: Callable[[Tensor], Gates],
    weight_batch: Batch,
    arch_batch: Batch,
) -> tuple[Tensor, float]:
    """Return the gradient by ``parameters``, in their shape, and the architecture batch's loss one step ahead.

    ``gates``: makes gates of architecture parameters. Batches: images ``[batch, 3, side, side]``, labels ``[batch]``.
    The step ahead is that of ``optimiser`` with its momentum and weight decay, in the published code's form
    w - lr (momentum * buffer + gradient + decay * w), also where the optimiser adds Nesterov's correction.

    Nothing of the network or of its optimiser changes: every pass works on other weights, and on copies of the running
    statistics. All is computed in float32 (or the weights' float64): a difference of 1e-2 spread over all weights is
    lost in bfloat16's or TensorFloat32's eight or eleven bits.
    """
    named = dict(net.named_parameters())
    weights = list(named.values())
    leaf = parameters.detach().requires_grad_()

    def loss(values: Sequence[Tensor], batch: Batch) -> Tensor:
        state = dict(zip(named, values, strict=True)) | {name: b.clone() for name, b in net.named_buffers()}
        logits = functional_call(net, state, (batch[0], gates(leaf)))
        return functional.cross_entropy(logits, batch[1])

    with _full_precision(weights[0].device):
        first = torch.autograd.grad(loss(weights, weight_batch), weights, allow_unused=True, materialize_grads=True)
        rates, ahead = [], []
        with torch.no_grad():
            settings = {p: group for group in optimiser.param_groups for p in group["params"]}
            for weight, gradient in zip(weights, first, strict=True):
                group = settings.get(weight)
                if group is None:  # not trained: stays where it is
                    rates.append(0.0)
                    ahead.append(weight.detach().clone().requires_grad_())
                    continue
                step = gradient + group["weight_decay"] * weight
                buffer = optimiser.state[weight].get("momentum_buffer") if weight in optimiser.state else None
                if buffer is not None:
                    step = step + group["momentum"] * buffer
                rates.append(float(group["lr"]))
                ahead.append((weight - group["lr"] * step).requires_grad_())
        value = loss(ahead, arch_batch)
        direct, *slopes = torch.autograd.grad(value, [leaf, *ahead], allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            direction = [rate * slope for rate, slope in zip(rates, slopes, strict=True)]
            length = float(torch.stack([part.double().square().sum() for part in direction]).sum().sqrt())
        if length == 0:
            return direct, float(value.detach())
        radius = _RADIUS / length
        sides = []
        for signed in (radius, -radius):
            with torch.no_grad():
                moved = [weight + signed * part for weight, part in zip(weights, direction, strict=True)]
            sides.append(torch.autograd.grad(loss(moved, weight_batch), leaf)[0])
    return direct - (sides[0] - sides[1]) / (2 * radius), float(value.detach())


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Compute in the precision of the weights, without TensorFloat32 in convolutions."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    with cudnn.flags(cudnn.enabled, cudnn.benchmark, cudnn.benchmark_limit, cudnn.deterministic, False):
        yield
