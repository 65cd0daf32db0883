"""NPENAS: evolution whose offspring a predictor chooses."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.candidates import MEANINGS, NEEDS, PoolSearch, scores
from nasharness.algorithms.ensembles import best_evidence, paths, predictions

from nasharness.errors import UsageError
from nasharness.search import Task, register
from nasharness.spaces.base import Floats, Indices


@register(
    "npenas",
    citation="Wei et al., NPENAS: Neural Predictor Guided Evolution for Neural Architecture Search, IEEE TNNLS 2022; "
    "https://github.com/auroua/NPENASv1",
    needs=NEEDS,
    learns_after="start",
    variants={"paper": ("NPENAS-NP with its code's settings: the ten best predicted of 100 mutants", {"batch": 10})},
    meanings={
        "ridge": "how much the network is held to its prior; more than 0; ours",
        **{
            key: text.format(
                start="Wei et al.", pool="Wei et al.", batch="ours (Wei et al.: 10)", parents="Wei et al."
            ).replace(", half of them mutants", ", all mutants")
            for key, text in MEANINGS.items()
        },
    },
)
class Npenas(PoolSearch):
    """NPENAS-NP: mutants of the best architectures, of which those that a predictor thinks best are evaluated.

    What differs from the paper: its predictor is a graph network (GIN) trained for a thousand epochs; this one has one
    layer without end on path encodings, fitted in closed form.
    """

    mutants = 1.0

    def __init__(
        self,
        task: Task,
        *,
        ridge: float = 0.1,
        start: int = 10,
        pool: int = 100,
        batch: int = 0,
        parents: int = 10,
    ) -> None:
        super().__init__(task, start=start, pool=pool, batch=batch, parents=parents)
        if not 1e-6 <= ridge <= 1e6:
            raise UsageError(f"npenas: ridge = {ridge}: expected 0.000001 to 1,000,000")
        self._ridge = ridge
        self._paths = paths(self.space)

    @classmethod
    def name(cls) -> str:
        return "npenas"

    def _worth(self, pool: Indices) -> Floats:
        ids, values = best_evidence(self.ids, self.values)
        weights = np.ones((self.runs, 1, ids.shape[1]))
        return predictions(self._paths, ids, scores(values), pool, weights, self._ridge)[:, 0]
