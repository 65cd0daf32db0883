"""Bayesian optimisation with a Gaussian process over the choices of an architecture."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.candidates import MEANINGS, NEEDS
from nasharness.algorithms.gaussian import GaussianSearch

from nasharness.errors import UsageError, unknown
from nasharness.search import Task, register
from nasharness.spaces.base import Floats, Indices

KERNELS = ("product", "hamming")


@register(
    "gp",
    citation="Snoek et al., Practical Bayesian Optimization of Machine Learning Algorithms, NeurIPS 2012; "
    "for architectures as in White et al., BANANAS, AAAI 2021 (its baseline 'GP BayesOpt')",
    needs=NEEDS,
    learns_after="start",
    variants={
        "hamming": (
            "Bayesian optimisation with a kernel that is linear in the Hamming distance",
            {"kernel": "hamming"},
        ),
        "paper": (
            "Bayesian optimisation as the baseline of White et al. (2021): batches of 10 from 100 candidates",
            {"kernel": "hamming", "batch": 10},
        ),
    },
    meanings={
        "kernel": "of two architectures' choices; product (interactions of all orders) or hamming; ours",
        "theta": "product: prior variance of an interaction over that of one of an order less; above 0 to 1e6; ours",
        "noise": "variance of a score's noise, relative to the prior's; 0.000001 to 1,000,000; ours",
        **{
            key: text.format(
                start="as White et al.",
                pool="as White et al.",
                batch="ours (White et al.: 10)",
                parents="as White et al.",
            )
            for key, text in MEANINGS.items()
        },
    },
)
class GaussianProcessSearch(GaussianSearch):
    """Bayesian optimisation with a Gaussian process and expected improvement, over pools of candidates.

    The kernels, with d the number of positions at which two architectures differ: ``product``, (1 + theta)^-d, that is
    the product over positions of 1 where they agree and 1 / (1 + theta) where not, a prior of all main effects and
    interactions; ``hamming``, 1 - d / positions, a prior of main effects alone. Ordered options (widths) a and b count
    |a - b| / (options - 1) towards d instead of 1.

    Published forms differ in what is a fine point here: hyper-parameters are fixed instead of fitted; signals enter as
    normal scores of their ranks; the kernel of White et al. is an edit distance of cells, which this space-independent
    one equals where operations stand on the edges. (docs/reproduction/model-based.md#bayesian-optimisation)
    """

    def __init__(
        self,
        task: Task,
        *,
        kernel: str = "product",
        theta: float = 0.3,
        noise: float = 0.1,
        start: int = 10,
        pool: int = 100,
        batch: int = 0,
        parents: int = 5,
    ) -> None:
        super().__init__(task, start=start, pool=pool, batch=batch, parents=parents, noise=noise)
        if kernel not in KERNELS:
            raise unknown("gp: kernel", kernel, KERNELS)
        if not 0 < theta <= 1e6:
            raise UsageError(f"gp: theta = {theta}: expected more than 0, at most 1,000,000")
        positions = len(self.space.sizes)
        if not positions:
            raise UsageError(f"gp: the architectures of space {self.space.name!r} have no features to compare")
        #: steps of a distance of 1
        self._scale = max(self.space.sizes) - 1 if self.space.ordinal else 1
        distance = np.arange(positions * self._scale + 1) / self._scale
        self._table = (1 + theta) ** -distance if kernel == "product" else 1 - distance / positions

    @classmethod
    def name(cls) -> str:
        return "gp"

    def kernel(self, one: Indices, other: Indices, form: Indices) -> Floats:
        a, b = (np.moveaxis(self.space.choices(ids), -1, 0).copy() for ids in (one, other))  # a row a position
        total = np.zeros((*one.shape, other.shape[1]), dtype=np.uint16 if len(self._table) > 255 else np.uint8)
        for left, right in zip(a[..., None], b[:, :, None], strict=True):
            total += left != right if not self.space.ordinal else np.abs(left - right).view(np.uint8)
        return self._table.take(total)
