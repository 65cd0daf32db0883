"""NASWOT: how differently the rectifiers of an untrained network are switched by different images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nasharness.proxies.registry import register

if TYPE_CHECKING:
    from nasharness.proxies.candidate import Candidate


@register(
    "naswot", citation="Mellor et al., Neural Architecture Search without Training, ICML 2021 (arXiv 2006.04647v3)"
)
def naswot(candidate: Candidate) -> float:
    """Log-determinant of how many rectifiers two images switch alike, over all pairs of the batch.

    An image's code says which rectifiers let something through; the kernel of two images is the number of rectifiers
    less the Hamming distance of their codes. Every convolution of a cell has a rectifier of its own in front, as in
    the networks of the table; here those of a node are computed once and counted as often as they are there.
    """
    import torch

    from nasharness.proxies.observed import rectified

    batch = len(candidate.images)
    kernel = torch.zeros((batch, batch), dtype=torch.float64, device=candidate.images.device)

    def see(features: torch.Tensor, times: int) -> None:
        on = (features > 0).flatten(1).float()  # counts are exact below 2**24
        off = 1 - on
        kernel.add_(times * (on @ on.T + off @ off.T).double())

    with torch.no_grad():
        rectified(candidate.network(), candidate.images, see)
    sign, logarithm = torch.linalg.slogdet(kernel)
    return float(logarithm) if sign > 0 else -math.inf
