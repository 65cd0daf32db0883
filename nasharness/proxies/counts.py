"""The proxies that look at no weight: how large a network is, and how much it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasharness.proxies.registry import register

if TYPE_CHECKING:
    from nasharness.proxies.candidate import Candidate

_CITATION = "Ning et al., Evaluating Efficient Performance Estimators of Neural Architectures, NeurIPS 2021"


@register("params", citation=_CITATION)
def params(candidate: Candidate) -> float:
    """Number of parameters, in millions."""
    if candidate.published:
        return float(candidate.space.params(candidate.arch, candidate.dataset))
    from nasharness.nets import counts

    return counts.params(candidate.network()) / 1e6


@register("macs", citation=_CITATION)
def macs(candidate: Candidate) -> float:
    """Multiply-accumulates of one image, in millions."""
    if candidate.published:
        return float(candidate.space.flops(candidate.arch, candidate.dataset))
    from nasharness.nets import counts

    return counts.macs(candidate.network(), (1, *candidate.images.shape[1:])) / 1e6
