"""SynFlow: how much of a constant signal passes through all of the weights, without normalisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nasharness.proxies.registry import register

if TYPE_CHECKING:
    from nasharness.proxies.candidate import Candidate


@register(
    "synflow",
    citation="Tanaka et al., Pruning neural networks without any data by iteratively conserving synaptic flow, NeurIPS "
    "2020; as a proxy: Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021",
)
def synflow(candidate: Candidate) -> float:
    """Logarithm of the synaptic flow: weight times its gradient, summed over weights; no images.

    The network without normalisation, every weight replaced by its absolute value, is shown an image of ones; the
    gradient is that of the sum of its outputs. In double precision: flows grow to 1e60 and more.
    """
    import torch

    from nasharness.proxies.observed import without_normalisation

    net = without_normalisation(candidate.network().double())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    ones = torch.ones((1, *candidate.images.shape[1:]), dtype=torch.float64, device=candidate.images.device)
    weights = [parameter for parameter in net.parameters() if parameter.dim() > 1]  # biases are no synapses
    gradients = torch.autograd.grad(net(ones).sum(), weights, allow_unused=True)
    flow = sum(
        float((weight.detach() * gradient).sum())
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    # the classifier's own weights see nothing of the image where nothing comes through to it
    return math.log(flow) if flow > 0 else -math.inf
