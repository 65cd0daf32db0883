"""NAS-BOWL: Bayesian optimisation with Weisfeiler-Lehman kernels of the architectures' graphs."""

from __future__ import annotations

from nasharness.algorithms.candidates import MEANINGS, NEEDS
from nasharness.algorithms.gaussian import GaussianSearch
from nasharness.algorithms.weisfeiler_lehman import subtree_kernel

from nasharness.errors import UsageError
from nasharness.search import Task, register
from nasharness.spaces.base import Floats, Indices


@register(
    "nas-bowl",
    citation="Ru et al., Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman "
    "Kernels, ICLR 2021; https://github.com/xingchenwan/nasbowl",
    needs=(*NEEDS, "graph"),
    learns_after="start",
    variants={
        "paper": (
            "NAS-BOWL with its code's settings: 30 random ones, then 5 at a time out of 100",
            {"start": 30, "batch": 5, "parents": 10, "noise": 0.01},
        ),
    },
    meanings={
        "rounds": "of relabelling, at most; fewer where they explain the evidence better; 0 to 10; Ru et al.",
        "noise": "variance of a score's noise, relative to the prior's; 0.000001 to 1,000,000; ours (Ru: to 0.01)",
        **{
            key: text.format(
                start="ours (Ru et al.: 30)",
                pool="Ru et al.",
                batch="ours (Ru et al.: 5)",
                parents="ours (Ru et al.: 10)",
            )
            for key, text in MEANINGS.items()
        },
    },
)
class NasBowl(GaussianSearch):
    """NAS-BOWL: a Gaussian process with a Weisfeiler-Lehman kernel of graphs, expected improvement, pools of mutants.

    Each run takes the number of rounds, 0 to ``rounds``, of the highest marginal likelihood. Operations are nodes, as
    published; what is on no path from input to output is left out, so that cells that compute the same look the same.

    What differs from the published code: the noise is fixed, signals enter as normal scores of their ranks instead of
    standardised logarithms of errors, rounds are chosen whenever the evidence has doubled, and on NAS-Bench-101 labels
    are counted as on NAS-Bench-201, where the code takes the smaller of two counts.
    (docs/reproduction/model-based.md#nas-bowl)
    """

    def __init__(
        self,
        task: Task,
        *,
        rounds: int = 2,
        noise: float = 0.1,
        start: int = 10,
        pool: int = 100,
        batch: int = 0,
        parents: int = 5,
    ) -> None:
        super().__init__(task, start=start, pool=pool, batch=batch, parents=parents, noise=noise)
        if not 0 <= rounds <= 10:
            raise UsageError(f"nas-bowl: rounds = {rounds}: expected 0 to 10")
        self.forms = rounds + 1
        self._subtrees = subtree_kernel(self.space, rounds)

    @classmethod
    def name(cls) -> str:
        return "nas-bowl"

    def kernel(self, one: Indices, other: Indices, form: Indices) -> Floats:
        return self._subtrees(one, other, form)
