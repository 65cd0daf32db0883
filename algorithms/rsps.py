"""RSPS: random search with parameter sharing; weights of random cells, and the best of some random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from nasharness.algorithms.policy_search import best_scored, require
from numpy.typing import NDArray

from nasharness.search import register
from nasharness.search.one_shot import OneShot, OneShotTask, Step

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates
    from nasharness.supernets.tss import TssSupernet


@register(
    "rsps",
    citation="Li & Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019, "
    "arXiv 1902.07638",
    kind="one-shot",
    spaces=("tss",),
    variants={"paper": ("RSPS with NATS-Bench's settings.", {"fresh": True})},
    published=("paper",),
    meanings={
        "candidates": "random cells that are scored; at least 1; NATS-Bench's",
        "fresh": "whether each is scored once, on a batch of its own; ours is false: two rounds (rsps.paper: true)",
    },
)
class Rsps(OneShot):
    """RSPS: trains shared weights on random cells, every cell of the network another, and scores random candidates.

    Operations are drawn uniformly for each edge of each cell, and again for a node all of whose inputs are ``none``.
    The answer is the best scored of ``candidates`` cells drawn uniformly, in two rounds (`best_scored`), or with
    ``fresh`` each once, on its own batch, as published and in ``rsps.paper`` (docs/reproduction/one-shot.md#rsps).
    """

    derives_by_scoring = True

    def __init__(self, task: OneShotTask, *, candidates: int = 100, fresh: bool = False) -> None:
        super().__init__(task)
        require(self, candidates >= 1, "candidates", candidates, "at least 1")
        self._candidates, self._fresh = candidates, fresh
        into = np.array([int(position.partition("->")[2]) for position in self.space.positions])
        #: for each node, its edges; by position
        self._inputs = [np.flatnonzero(into == node) for node in np.unique(into)]
        self._none = self.space.options[0].index("none")

    def draw(self, cells: int) -> NDArray[np.int64]:
        """Draw operations for so many cells, int64 ``[cells, edges]``; no node has only ``none`` for inputs."""
        choices = np.empty((cells, len(self.space.sizes)), dtype=np.int64)
        for edges in self._inputs:
            again = np.arange(cells)
            while len(again):
                choices[np.ix_(again, edges)] = self.task.rng.integers(
                    self.space.sizes[0], size=(len(again), len(edges))
                )
                again = again[(choices[np.ix_(again, edges)] == self._none).all(axis=1)]
        return choices

    def gates(self, step: Step) -> Gates:
        from nasharness.supernets.tss import EdgeGates

        return EdgeGates.single(self.draw(cast("TssSupernet", self.net).cells_total))

    def derive(self) -> int:
        archs = self.space.sample_index(self.task.rng.random(self._candidates))
        return best_scored(self.task, archs, self._fresh)
