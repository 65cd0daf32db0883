"""Zen-Score: how much an untrained network with Gaussian weights magnifies a small change of Gaussian images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nasharness.proxies.registry import register

if TYPE_CHECKING:
    from nasharness.proxies.candidate import Candidate

#: Size of the change, of the images' own.
_GAMMA = 1e-2


@register("zen", citation="Lin et al., Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition, ICCV 2021")
def zen(candidate: Candidate) -> float:
    """Logarithm of the change of the last features for a small change of the image; no images.

    Weights and images are Gaussian; the images change by 1e-2 of others. To the logarithm of the change, summed over
    the features in front of the average and averaged over the batch, comes that of each normalisation's mean deviation
    (from its running variance, as in the authors' code), which normalising has taken away.
    """
    import torch

    from nasharness.proxies.observed import deviations, last_features

    shape, device = candidate.images.shape, candidate.images.device
    stream = candidate.stream("zen")
    with torch.no_grad():
        net = candidate.network()
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=stream))
        images = torch.randn(shape, generator=stream)
        other = images + _GAMMA * torch.randn(shape, generator=stream)
        one, two = (last_features(net, some.to(device)) for some in (images, other))
        change = float((one - two).abs().sum((1, 2, 3)).mean())
        scale = float(torch.cat(deviations(net)).log().sum())
    return math.log(change) + scale if change > 0 else -math.inf
