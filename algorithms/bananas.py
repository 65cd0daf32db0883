"""BANANAS: an ensemble of predictors on path encodings, independent Thompson sampling, mutants of the best."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.candidates import MEANINGS, NEEDS, PoolSearch, scores
from nasharness.algorithms.ensembles import best_evidence, paths, predictions

from nasharness.errors import UsageError
from nasharness.search import Task, register
from nasharness.spaces.base import Floats, Indices


@register(
    "bananas",
    citation="White et al., BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search, "
    "AAAI 2021; https://github.com/naszilla/naszilla",
    needs=NEEDS,
    learns_after="start",
    variants={"paper": ("BANANAS with its code's settings: ten at a time, out of mutants of the best", {"batch": 10})},
    meanings={
        "networks": "of the ensemble; at least 2; White et al.",
        "ridge": "how much networks are held to their prior; more than 0; ours",
        "mutants": "share of the pool that is mutants; 0 to 1; White et al.",
        **{
            key: text.format(
                start="White et al.",
                pool="White et al.",
                batch="ours (White et al.: 10)",
                parents="White et al. (one, and up to five where it has too few mutants)",
            ).replace(", half of them mutants", "")
            for key, text in MEANINGS.items()
        },
    },
)
class Bananas(PoolSearch):
    """BANANAS: predictors on path encodings, independent Thompson sampling, mutants of the best architectures.

    Each step fits an ensemble to everything the run has paid for, draws for every candidate, independently, a value
    from a normal distribution with the ensemble's mean and standard deviation, and evaluates the candidates of the
    largest values.

    What differs from the paper: its networks have ten or twenty layers and are trained by Adam; these have one layer
    without end, fitted in closed form, and differ by how they weight the evidence (the Bayesian bootstrap) instead of
    by where they begin. Paths are not truncated. On spaces of chains, where a path would be the whole architecture,
    features are its choices.
    """

    def __init__(
        self,
        task: Task,
        *,
        networks: int = 5,
        ridge: float = 0.1,
        mutants: float = 1.0,
        start: int = 10,
        pool: int = 100,
        batch: int = 0,
        parents: int = 5,
    ) -> None:
        super().__init__(task, start=start, pool=pool, batch=batch, parents=parents)
        if not 2 <= networks <= 1_000:
            raise UsageError(f"bananas: networks = {networks}: expected 2 to 1,000")
        if not 0 <= mutants <= 1:
            raise UsageError(f"bananas: mutants = {mutants}: expected 0 to 1")
        if not 1e-6 <= ridge <= 1e6:
            raise UsageError(f"bananas: ridge = {ridge}: expected 0.000001 to 1,000,000")
        self._networks, self._ridge, self.mutants = networks, ridge, mutants
        self._paths = paths(self.space)

    @classmethod
    def name(cls) -> str:
        return "bananas"

    def _worth(self, pool: Indices) -> Floats:
        ids, values = best_evidence(self.ids, self.values)
        told, candidates = ids.shape[1], pool.shape[1]
        u = self.streams.uniform(self._networks * told + 2 * candidates)
        drawn = u[:, : self._networks * told].reshape(self.runs, self._networks, told)
        weights = np.maximum(-np.log1p(-drawn), 1e-3)  # exponential: the Bayesian bootstrap (Rubin, 1981)
        found = predictions(self._paths, ids, scores(values), pool, weights, self._ridge)
        first, second = np.split(u[:, self._networks * told :], 2, axis=1)
        normal = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)  # Box & Muller, 1958
        return np.round(found.mean(axis=1) + found.std(axis=1) * normal, 6)
