"""NAS-OoD on a table: a search distribution against an adversary that weighs environments.

NAS-OoD (H. Bai, F. Zhou, L. Hong, N. Ye, S.-H. G. Chan, Z. Li: NAS for Out-of-Distribution Generalization, ICCV 2021,
arXiv 2109.02038) trains a generator of images of a novel domain to be as hard as possible for the super-network, while
weights and architecture minimise the loss on them. A table has no images: environments are measurements in which the
same architecture does differently, and the adversary weighs them. How far it may stray is said by a Kullback-Leibler
term, in the place of the generator's cycle consistency. After the abstract and the released code; the paper's body was
not seen, and the transfer to a table is ours (docs/reproduction/nas-ood.md#on-tables).
"""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.categorical import Adam, draw, mask, softmax
from nasharness.algorithms.darts_table import ranks, score_gradient
from numpy.typing import NDArray

from nasharness.errors import UsageError, unknown
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices

SCALES = ("z", "raw")


def robust(losses: Floats, rho: float) -> Floats:
    """What the adversary makes of ``losses [..., environments]``: ``max_q sum_e q_e loss_e - rho KL(q || uniform)``.

    In closed form ``rho log mean_e exp(loss_e / rho)``: the worst case where ``rho`` is 0, near the average where it is
    large. Float64 ``[...]``.
    """
    worst = losses.max(axis=-1)
    if rho == 0:
        return np.asarray(worst)
    # written out: a mean's bits must not depend on the batch
    total = np.zeros(worst.shape)
    for environment in range(losses.shape[-1]):
        total = total + np.exp((losses[..., environment] - worst) / rho)
    return np.asarray(worst + rho * np.log(total / losses.shape[-1]))


def adversary(losses: Floats, rho: float) -> Floats:
    """The weights ``[..., environments]`` at which that maximum is reached: proportional to ``exp(loss_e / rho)``."""
    worst = losses.max(axis=-1, keepdims=True)
    if rho == 0:
        reached = (losses == worst) * 1.0
    else:
        reached = np.exp((losses - worst) / rho)
    total = np.zeros(worst.shape[:-1])
    for environment in range(losses.shape[-1]):
        total = total + reached[..., environment]
    return np.asarray(reached / total[..., None])


@register(
    "nas-ood.table",
    citation="after Bai et al., NAS-OoD, ICCV 2021, arXiv 2109.02038; the transfer to a table is ours",
    needs=("product", "objectives", "environments"),
    no_start="it learns from what its own softmaxes draw, by their gradient",
    meanings={
        "rho": "how much straying from equal weights costs the adversary; at least 0 (the worst case); ours",
        "rho_first": "the same when the search begins, falling along a line to rho; at least 0; ours",
        "scale": "what losses are compared in; z (standard scores among what was evaluated) or raw (as measured); ours",
        "lr": "rate of Adam on the distribution; at least 0 (uniform draws to the end); as in darts.table",
        "batch": "architectures a step; at least 2; ours",
    },
    variants={
        "random": ("The robust choice among random architectures: nas-ood.table whose distribution stays uniform",
                   {"lr": 0.0, "rho_first": 5.0}),
    },
)  # fmt: skip
class NasOodTable(Algorithm):
    """A distribution over architectures against an adversary over environments, which a term of divergence restrains.

    Each step draws ``batch`` architectures from independent softmaxes and evaluates them in all source environments
    (``--environments a,b,c``). The adversary's weights are in closed form proportional to exp(mean loss / rho), the
    loss of an architecture in an environment being its negative standard score among all that the run has evaluated;
    the softmaxes take an Adam step along the score function of the weighted scores, ranked within the batch. The
    answer is the evaluated architecture with the best robust score. The incumbent is the best in the first environment
    alone: what a search would find that knows no other. The target (``--target d``) scores both, and no search sees it.
    """

    def __init__(
        self,
        task: Task,
        *,
        rho: float = 5.0,
        rho_first: float = 10.0,
        scale: str = "z",
        lr: float = 0.2,
        batch: int = 5,
    ) -> None:
        super().__init__(task)
        for name, value in (("rho", rho), ("rho_first", rho_first), ("lr", lr)):
            if not value >= 0:
                raise UsageError(f"nas-ood.table: {name} = {value}: expected at least 0")
        if batch < 2:
            raise UsageError(f"nas-ood.table: batch = {batch}: expected at least 2: one architecture has no score")
        if scale not in SCALES:
            raise unknown("nas-ood.table: scale", scale, SCALES)
        self._rho, self._rho_first, self._standard, self._batch = rho, rho_first, scale == "z", batch
        self._logits = np.repeat(mask(self.space), self.runs, axis=2)
        self._adam = Adam(self._logits.shape, lr, 0.5, 0.999) if lr else None
        self._ids = task.nothing
        self._values = np.empty((self.runs, 0, len(task.objectives)))

    def ask(self) -> Asked:
        positions = len(self.space.sizes)
        u = self.streams.uniform(self._batch * positions).T.reshape(self._batch, positions, self.runs)
        self._p = softmax(self._logits)
        self._drawn = np.stack([draw(self._p, part, self.space.sizes) for part in u])
        return np.asarray(self.space.index(self._drawn.transpose(2, 0, 1)))  # type: ignore[attr-defined]

    def losses(self) -> Floats:
        """Losses of all that was evaluated, ``[runs, told, environments]``; NaN of what was not."""
        told = ~np.isnan(self._values)
        if not self._standard:
            return -self._values
        known = np.where(told, self._values, 0.0)
        count = np.maximum(told.sum(axis=1, keepdims=True), 1)
        middle = known.sum(axis=1, keepdims=True) / count
        apart = np.where(told, self._values - middle, 0.0)
        spread = np.sqrt((apart**2).sum(axis=1, keepdims=True) / count)
        # in an environment where all do alike nothing is to be lost
        return -np.where(told, apart / np.where(spread > 0, spread, 1.0), np.nan)

    def tell(self, ids: Indices, values: Floats) -> None:
        # what is known to break a limit was not evaluated: it says nothing of any environment, but is never wanted
        broken = ~np.isnan(values[..., 0]) & (self.task.excess(ids) > 0)
        self._ids = np.concatenate([self._ids, ids], axis=1)
        self._values = np.concatenate([self._values, np.where(broken[..., None], np.nan, values)], axis=1)
        if self._adam is None:
            return
        losses = self.losses()[:, -ids.shape[1] :]
        told = ~np.isnan(losses[..., 0])
        count = np.maximum(told.sum(axis=1), 1)[:, None]
        weights = adversary(np.where(told[..., None], losses, 0.0).sum(axis=1) / count, self._rho_now())
        score = np.zeros(told.shape)
        for environment in range(losses.shape[2]):
            score = score - weights[:, None, environment] * losses[..., environment]
        score = np.where(broken, -np.inf, score)
        # a step cut short by the budget: Adam's momentum alone must not move the distribution
        enough = (told | broken).sum(axis=1) > 1
        self._logits += self._adam.step(-score_gradient(self._p, self._drawn, ranks(score.T))) * enough

    def _rho_now(self) -> float:
        """From ``rho_first`` to ``rho``, by the share of the budget that is spent."""
        budget = self.task.evaluations
        spent = 1.0 if budget is None else min(1.0, self._ids.shape[1] / budget)
        return self._rho_first + spent * (self._rho - self._rho_first)

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        """The best robust score among what was evaluated, the first of equals."""
        losses = self.losses()[rows]
        told = ~np.isnan(losses[..., 0])
        scores = np.where(told, -robust(np.where(told[..., None], losses, 0.0), self._rho), -np.inf)
        return np.asarray(self._ids[rows][np.arange(len(rows)), scores.argmax(axis=1)])
