"""AutoShrink driven by shared weights: a supernet is trained, judged and shrunk in turn until little of it is left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from nasharness.algorithms.autoshrink import CITATION
from nasharness.algorithms.autoshrink_set import sample_from
from nasharness.algorithms.ridge import PooledModel, normal_scores
from nasharness.algorithms.shrinking import check, penalty
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import register
from nasharness.search.one_shot import OneShot, OneShotTask, Step
from nasharness.spaces.base import Floats, Indices

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates

#: draws from which the first that connects input and output is trained
_ATTEMPTS = 8

#: scores that a decision rests on at most: those of the oldest weights fall out first
_WINDOW = 1_000

#: architectures and their values, oldest first: ``[told]`` each
Evidence = tuple[Indices, Floats]


@register(
    "autoshrink.supernet",
    citation=CITATION,
    kind="one-shot",
    spaces=("tss", "sss"),
    meanings={
        "warmup": "share of the epochs before the first shrinking; 0 to 1; ours",
        "events": "shrinkings, spread evenly over the rest; at least 1; ours",
        "samples": "architectures scored at a shrinking, all survivors equally often; 2 to 1,000; ours",
        "left": "options left a position at the end, on average; at least 1; ours",
        "finalists": "best predicted architectures that meet in the contest for the answer; 1 to 1,000; ours",
        "batches": "validation batches of that contest; at least 1; ours",
        "theta": "prior variance of an interaction relative to one of an order less; at least 0; ours",
        "noise": "variance of a score's noise, in normal scores; more than 0; ours",
        "cost_weight": "accuracy, as a fraction, given up per tenfold MACs; at least 0; as in autoshrink",
    },
)
class AutoShrinkSupernet(OneShot):
    """AutoShrink on sets of surviving options, which are all that is trained, judged by the shared weights.

    Starts from all options everywhere; each step trains one architecture drawn uniformly from the survivors. After the
    first ``warmup`` of the epochs, ``events`` shrinkings are spread evenly over the rest, each down to fewer options,
    until ``left`` a position remain on average and one at least: late, since under-trained weights mislead, and step by
    step, so that the remaining training goes to ever fewer architectures. A shrinking scores, on one validation batch,
    ``samples`` survivors that hold every surviving option equally often, and the best predicted architecture of each
    surviving option: what its removal would lose. A ridge model with shrunken interactions, pooled over all scores so
    far, then decides: the option whose best architecture is the worst goes first.

    The answer: after one more such round, the ``finalists`` best predicted of all survivors are scored on ``batches``
    batches, and the one with the best prediction from all evidence wins. Before the last epoch, once there is evidence,
    that is the best predicted survivor, without a contest. ``theta``, ``noise``: of the model, as in
    ``autoshrink.pooled``. ``cost_weight`` as in ``autoshrink``. Why evidence is pooled:
    docs/reproduction/autoshrink.md#t4; the schedule, the rounds and the finalists are ours.

    The model's defaults were chosen on simulated shared weights, scores that agree with a table's at a correlation of
    0.6 to 0.7 and err in systematic ways: less ``noise`` than 4 overfits some fifty scores so much that random search
    at equal cost is better.
    """

    derives_by_scoring = True

    def __init__(
        self,
        task: OneShotTask,
        *,
        warmup: float = 0.4,
        events: int = 4,
        samples: int = 50,
        left: float = 2.0,
        finalists: int = 20,
        batches: int = 3,
        theta: float = 0.5,
        noise: float = 8.0,
        cost_weight: float = 0.0,
    ) -> None:
        super().__init__(task)
        check("warmup", warmup, least=0, most=1)
        check("events", events, least=1)
        check("samples", samples, least=2, most=1_000)
        check("left", left, least=1)
        check("finalists", finalists, least=1, most=1_000)
        check("batches", batches, least=1)
        check("theta", theta, least=0)
        check("cost_weight", cost_weight, least=0)
        if not noise > 0:
            raise UsageError(f"autoshrink: noise = {noise}: expected more than 0")
        self._samples, self._finalists, self._batches = samples, finalists, batches
        self._penalty = penalty(self.space, task.dataset, cost_weight) / 100 if cost_weight else None
        self._model = PooledModel(self.space, theta, noise)
        #: options of every cell of the model's grid ``[n, positions]``
        self._grid = self.space.choices(self._model.index).astype(np.intp)
        sizes = np.array(self.space.sizes)
        self._alive = np.arange(sizes.max()) < sizes[:, None]
        self._levels = levels(task.epochs, warmup, events, int(sizes.sum()), math.ceil(left * len(sizes)))
        self._done = 0
        self._told: Evidence = np.empty(0, dtype=np.int32), np.empty(0)

    def surviving(self) -> NDArray[np.bool_]:
        """Options that are left: bool ``[positions, options]``."""
        return self._alive.copy()

    def gates(self, step: Step) -> Gates:
        drawn = sample_from(self.space, self._alive, self.task.rng.random((_ATTEMPTS, len(self.space.sizes))))
        connected = ~self.space.is_constant(drawn)
        return self.net.gates_of(int(drawn[connected.argmax()]))

    def end_epoch(self, epoch: int) -> dict[str, float]:
        self._done = epoch + 1
        level = self._levels.get(epoch)
        if level is not None and level < self._alive.sum():
            self._told = self._judge(self._told)
            predicted = self._predict(self._told)
            (self._alive,) = self._model.survivors(predicted[None], np.array([level]))
        return {"options_left": float(self._alive.sum())}

    def derive(self) -> int:
        last = self._done == self.task.epochs
        told = self._judge(self._told) if last or not len(self._told[0]) else self._told
        predicted = self._predict(told)
        if not last:
            return int(self._model.index[predicted.argmax()])
        best = np.argsort(-predicted, kind="stable")[: self._finalists]
        best = best[predicted[best] > -np.inf]
        told = self._add(told, self._model.index[best], self._batches)
        return int(self._model.index[best[self._predict(told)[best].argmax()]])

    def _judge(self, told: Evidence) -> Evidence:
        """Score a balanced sample of the survivors and the best predicted architecture of each surviving option."""
        archs = [self.space.index(self._balanced())]
        if len(told[0]):
            predicted = self._predict(told)
            archs += [
                self._model.index[[np.where(self._grid[:, position] == option, predicted, -np.inf).argmax()]]
                for position, option in np.argwhere(self._alive)
            ]
        return self._add(told, np.unique(np.concatenate(archs)), 1)

    def _balanced(self) -> NDArray[np.intp]:
        """Draw choices ``[samples, positions]`` that hold all surviving options of a position equally often."""
        columns = []
        for alive in self._alive:
            options = self.task.rng.permutation(np.flatnonzero(alive))
            columns.append(self.task.rng.permutation(np.resize(options, self._samples)))
        return np.stack(columns, axis=1)

    def _add(self, told: Evidence, archs: Indices, batches: int) -> Evidence:
        """Score architectures on so many batches and add normal scores, placed where older evidence expects them.

        Scores of another moment are of other weights and another batch: only their order tells something, and
        survivors are ranked among survivors, whose mean the model knows.
        """
        scores = np.mean([self.task.score(archs, False) for _ in range(batches)], axis=0)
        if self._penalty is not None:
            scores = scores - self._penalty[archs]
        values = normal_scores(scores[None])[0]
        if len(told[0]):
            values = values + self._predict(told)[self._model.cell[archs]].mean()
        ids, earlier = np.concatenate([told[0], archs]), np.concatenate([told[1], values])
        return ids[-_WINDOW:].astype(np.int32), earlier[-_WINDOW:]

    def _predict(self, told: Evidence) -> Floats:
        """Predict all cells of the grid ``[n]``; those that did not survive are minus infinity."""
        ((_, predicted),) = self._model.predict(told[0][None], told[1][None])
        alive = self._alive[np.arange(self._grid.shape[1]), self._grid].all(axis=1)
        return np.where(alive, predicted[0], -np.inf)

    def state(self) -> dict[str, Any]:
        return {
            "done": self._done,
            "alive": self._alive.tolist(),
            "archs": self._told[0].tolist(),
            "values": self._told[1].tolist(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._done = state["done"]
        self._alive = np.array(state["alive"], dtype=np.bool_)
        self._told = np.array(state["archs"], dtype=np.int32), np.array(state["values"], dtype=np.float64)


def levels(epochs: int, warmup: float, events: int, options: int, left: int) -> dict[int, int]:
    """Return how many options are to be left at the end of which epochs, evenly spread between warm-up and end."""
    found: dict[int, int] = {}
    for event in range(1, events + 1):
        epoch = round(epochs * (warmup + (1 - warmup) * event / (events + 1)))
        found[max(1, min(epoch, epochs)) - 1] = options - round((options - min(left, options)) * event / events)
    return found
