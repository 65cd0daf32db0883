"""Jacobian covariance: how differently an untrained network answers to small changes of different images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nasharness.proxies.registry import register

if TYPE_CHECKING:
    from nasharness.proxies.candidate import Candidate

#: What is added to every eigenvalue.
_K = 1e-5


@register(
    "jacob_cov",
    citation="Mellor et al., Neural Architecture Search without Training, arXiv 2006.04647v1; Abdelfattah et al., "
    "Zero-Cost Proxies for Lightweight NAS, ICLR 2021",
)
def jacob_cov(candidate: Candidate) -> float:
    """How little the gradients with respect to the images of a batch correlate: minus sum of log v + 1 / v.

    v: the eigenvalues of the matrix of correlations between images of the gradient of the summed outputs, plus 1e-5.
    At most minus the number of images, where nothing correlates.
    """
    import torch

    images = candidate.images.detach().clone().requires_grad_(True)
    (jacobian,) = torch.autograd.grad(candidate.network()(images).sum(), images, allow_unused=True)
    if jacobian is None:
        return -math.inf
    rows = jacobian.flatten(1).double().cpu().numpy()
    if (rows.std(axis=1) == 0).any():
        return -math.inf
    values = np.maximum(np.linalg.eigvalsh(np.corrcoef(rows)), 0.0) + _K
    return float(-(np.log(values) + 1 / values).sum())
