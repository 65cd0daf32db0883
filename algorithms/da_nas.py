"""DA-NAS on images: candidates are dropped early on easy classes, and the classes grow as the candidates shrink.

Its tabular forms are in ``da_nas_table.py`` and ``da_nas_pooled.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from nasharness.algorithms.policy_search import FINAL, require
from nasharness.algorithms.staging import ends, quotas_of, shares, whole
from numpy.typing import NDArray

from nasharness.errors import DataError, unknown
from nasharness.search import register
from nasharness.search.one_shot import OneShot, OneShotTask, Step
from nasharness.spaces.base import Choices, Floats

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from nasharness.supernets.base import Gates

SCORES = ("marginal", "probability", "speed")
ORDERS = ("easy", "hard", "random")
#: tries from which the draw with the fewest architectures that pass nothing on is taken
_TRIES = 8
#: length of the first stage beside that of each other one by default: before shared weights know something, candidates
#: that learn nothing look best
_FIRST = 3
#: share of an advantage's mean that the newest reward is
_MOVING = 0.05


@register(
    "da-nas",
    citation="Dai et al., DA-NAS: Data Adapted Pruning for Efficient Neural Architecture Search, ECCV 2020, arXiv "
    "2003.12563",
    kind="one-shot",
    spaces=("tss", "mobile", "fbnet"),
    meanings={
        "stages": "share of the classes in each stage, easiest first, as 0.4,0.7,1; growing, the last 1 ('1': the "
        "search without stages, all else equal); ours",
        "lengths": "relative lengths of the stages in epochs, as 1,1,2; whole numbers (empty: the first is three times "
        "as long as each other); ours",
        "quotas": "candidates of a position left after each stage but the last, as 3,2; falling (empty: in equal "
        "ratios down to 2); ours",
        "score": "what a candidate is dropped for: the mean score of paths with it, its probability in a policy, the "
        "speed at which the loss of paths with it falls; marginal, probability or speed; ours",
        "order": "which classes come first; easy, or as controls hard or random; easy is the abstract's",
        "reference": "epochs of the small network that tells easy classes from hard ones; at least 1; ours",
        "samples": "paths that are scored at the end of a stage (marginal); at least 2; ours",
        "candidates": "paths of what is left that meet in the contest for the answer; at least 1; ours",
        "lr": "rate of Adam on the policy (probability); more than 0; ours",
    },
)
class DaNas(OneShot):
    """DA-NAS: begins with all candidates on a few easy classes, ends with few candidates on all classes.

    A small network of its own, trained first, tells which classes are easy. Each of ``stages`` adds classes, easiest
    first, and ends with dropping, at each position, the candidates with the lowest score until its quota is left. In an
    epoch every candidate left is trained on as many images as the stage has: paths are drawn such that the candidates
    of a position take turns, one pass over the images for each. So an epoch costs images times candidates, and
    shrinks with both. Weights of what is left are kept; the classifier keeps its rows and gets those of the new
    classes; learning rate and momentum begin anew.

    Scores: ``marginal``, the mean score of ``samples`` balanced paths on one validation batch; ``probability``, that of
    a policy trained by REINFORCE on the images that judge, over the last third of the stage, whose paths are drawn from
    it in the stage's second half; ``speed``, the slope of the loss on those images of the paths trained. The answer:
    ``candidates`` paths of what is left are scored, and the best quarter again, with the path of the best scored
    candidates. After the abstract; details ours (docs/reproduction/da-nas.md#on-images).
    """

    derives_by_scoring = True

    def __init__(
        self,
        task: OneShotTask,
        *,
        stages: str = "0.4,0.7,1",
        lengths: str = "",
        quotas: str = "",
        score: str = "marginal",
        order: str = "easy",
        reference: int = 2,
        samples: int = 100,
        candidates: int = 100,
        lr: float = 0.02,
    ) -> None:
        super().__init__(task)
        for name, value, known in (("score", score, SCORES), ("order", order, ORDERS)):
            if value not in known:
                raise unknown(f"da-nas: {name}", value, known)
        require(self, reference >= 1, "reference", reference, "at least 1")
        require(self, samples >= 2, "samples", samples, "at least 2")
        require(self, candidates >= 1, "candidates", candidates, "at least 1")
        require(self, lr > 0, "lr", lr, "more than 0")
        self._shares = shares(stages)
        given = whole("lengths", lengths, 1) or [_FIRST, *[1] * (len(self._shares) - 1)]
        self._ends = ends(task.epochs, given, len(self._shares))
        self._quotas = quotas_of(quotas, task.space.sizes, len(self._shares))
        self._score, self._order, self._reference = score, order, reference
        self._samples, self._candidates = samples, candidates
        sizes = np.array(task.space.sizes)
        self._alive = np.arange(sizes.max()) < sizes[:, None]
        #: classes, those of the first stage first; None until they are known
        self._classes: list[int] | None = None
        self._policy: Any = None
        if score == "probability":
            from nasharness.supernets.policy import Policy

            self._policy = Policy(task, lr=lr, weight_decay=0.0)
        self._turns = np.zeros((1, len(sizes)), dtype=np.int8)
        self._baseline = 0.0
        self._said = ""
        self._forget()

    def _forget(self) -> None:
        """Begin a stage: nothing is known of the candidates."""
        self._seen = np.zeros((3, *self._alive.shape))
        self._first = np.zeros(2)

    # -- data ------------------------------------------------------------------------------------------------------

    def stage(self, epoch: int) -> int:
        """Number of the stage that an epoch is of, from 0."""
        return next(number for number, end in enumerate(self._ends) if epoch < end)

    def taught(self, epoch: int) -> NDArray[np.bool_] | None:
        share, count = self._shares[self.stage(epoch)], len(self.task.classes)
        if share == 1:
            return None
        if self._classes is None:
            self._classes = self._ordered(count)
        taught = np.zeros(count, dtype=np.bool_)
        taught[self._classes[: max(2, round(share * count))]] = True
        return taught

    def _ordered(self, count: int) -> list[int]:
        from nasharness.supernets.policy import initial_rng

        if self._order == "random":
            return [int(one) for one in initial_rng(self.task).permutation(count)]
        hard = self.task.difficulty(self._reference)
        return [int(one) for one in np.argsort(hard if self._order == "easy" else -hard, kind="stable")]

    def falling(self, epoch: int) -> tuple[int, int]:
        return self._extent(epoch)

    def _extent(self, epoch: int) -> tuple[int, int]:
        """The first epoch of the stage that an epoch is of, and the one behind its last."""
        stage = self.stage(epoch)
        return (self._ends[stage - 1] if stage else 0), self._ends[stage]

    def passes(self, epoch: int) -> int:
        return int(self._alive.sum(axis=1).max())

    # -- paths -----------------------------------------------------------------------------------------------------

    def draw(self, count: int) -> Choices:
        """Draw paths int8 ``[count, positions]`` in which the candidates left of a position take turns."""
        left = self._alive.sum(axis=1)
        turns = int(left.max())
        rounds = -(-count // turns)
        keys = self.task.rng.random((_TRIES, rounds, *self._alive.shape))
        order = np.where(self._alive, keys, np.inf).argsort(axis=-1)  # of each round: what is left, shuffled
        turn = np.arange(turns)[:, None] % left  # [turns, positions]
        drawn = np.take_along_axis(order[:, :, None], turn[None, None, :, :, None], axis=-1)[..., 0]
        constant = self.space.is_constant(self.space.index(drawn)).sum(axis=-1)  # [tries, rounds]
        drawn = drawn[constant.argmin(axis=0), np.arange(rounds)]
        return drawn.reshape(-1, drawn.shape[-1])[:count].astype(np.int8)

    def gates(self, step: Step) -> Gates:
        if self._policy is not None and self._late(step.epoch, 2):
            return self._gates(self._sampled(1)[0])
        turn = step.step % self.passes(step.epoch)
        if turn == 0:
            self._turns = self.draw(self.passes(step.epoch))
        return self._gates(self._turns[turn])

    def _gates(self, path: Choices) -> Gates:
        arch = self.space.index(path)
        return self.net.gates_of(arch if self.space.arch_shape else int(arch))

    def _late(self, epoch: int, part: int) -> bool:
        """Whether an epoch is of the last 1/``part`` of its stage, rounded up, and not its first one where it can."""
        begin, end = self._extent(epoch)
        return epoch >= end - max(1, (end - begin) // part)

    # -- evidence --------------------------------------------------------------------------------------------------

    def search_step(self, step: Step) -> dict[str, float]:
        if self._policy is not None:
            return {"reward": self._reinforce(step)}
        if self._score != "speed" or self.stage(step.epoch) == len(self._ends) - 1:
            return {}
        import torch

        from nasharness.supernets import policy

        path = self._turns[step.step % self.passes(step.epoch)]
        with torch.no_grad():
            loss = float(policy.loss(self.task, self._gates(path), step.arch_images, step.arch_labels))
        self._first += (loss, 1) if self._first[1] < self.passes(step.epoch) else (0, 0)
        now = (step.epoch - self._extent(step.epoch)[0]) * step.steps + step.step + 1
        self._seen[:, np.arange(len(path)), path] += np.array([now * loss, now, now * now])[:, None]
        return {}

    def _logs(self) -> torch.Tensor:
        """Log probabilities of the policy ``[positions, options]`` among the candidates that are left."""
        import torch

        logits: torch.Tensor = self._policy.logits
        return logits.masked_fill(torch.from_numpy(~self._alive), -torch.inf).log_softmax(dim=1)

    def _sampled(self, count: int) -> Choices:
        """Draw paths ``[count, positions]`` from the policy."""
        below = self.probabilities()
        u = self.task.rng.random((count, len(self._alive), 1))
        drawn = (u >= np.cumsum(below, axis=1)[:, :-1]).sum(axis=2)
        last = self._alive.shape[1] - 1 - self._alive[:, ::-1].argmax(axis=1)
        return np.minimum(drawn, last).astype(np.int8)  # a sum of probabilities may end below 1

    def _reinforce(self, step: Step) -> float:
        """One step of the policy towards paths with a high probability of the right class; return that."""
        import torch

        from nasharness.supernets import policy

        (path,) = self._sampled(1)
        with torch.no_grad():
            logits = policy.forward(self.task, self._gates(path), step.arch_images)
            reward = float(logits.softmax(1).gather(1, step.arch_labels[:, None]).mean())
        chosen = self._logs().gather(1, torch.from_numpy(path.astype(np.int64))[:, None]).sum()
        self._policy.descend(-(reward - self._baseline) * chosen)
        self._baseline += _MOVING * (reward - self._baseline)
        return reward

    def _marginals(self, paths: Choices, scores: Floats) -> Floats:
        """Mean score of the paths with each candidate ``[positions, options]``; infinite where there is none."""
        has = paths[:, :, None] == np.arange(self._alive.shape[1])
        count = has.sum(axis=0)
        total = (has * scores[:, None, None]).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.inf)

    def _scores(self) -> Floats:
        """How good each candidate is ``[positions, options]``, at the end of a stage; infinite for one not seen."""
        if self._score == "marginal":
            paths = self.draw(self._samples)
            return self._marginals(paths, self.task.score(self.space.index(paths), False))
        if self._score == "probability":
            return self._seen[0]
        loss, time, square = self._seen
        start = self._first[0] / max(1.0, self._first[1])
        return np.where(square > 0, (start * time - loss) / np.maximum(square, 1), np.inf)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        stage = self.stage(epoch)
        taught = self.taught(epoch)
        classes = len(self.task.classes) if taught is None else int(taught.sum())
        if self._policy is not None and self._late(epoch, 3):
            self._seen[0] += self.probabilities()
        self._said = ""
        if epoch == 0 and self._classes is not None:
            self._said = f"{self._order} classes first: {', '.join(self.task.classes[one] for one in self._classes)}"
        if epoch + 1 == self._ends[stage] and epoch + 1 < self.task.epochs:
            dropped = self._drop(self._scores(), self._quotas[stage])
            self._said += "; " if self._said else ""
            self._said += f"stage {stage + 1} of {len(self._ends)} over, {classes} classes: {dropped} dropped"
            if self._policy is not None:
                self._policy.restart()
            self._forget()
        return {"stage": float(stage + 1), "classes": float(classes), "candidates": float(self._alive.sum(1).mean())}

    def _drop(self, scores: Floats, quotas: list[int]) -> int:
        """Keep the best candidates at each position, the first of equals; return how many are dropped."""
        order = np.argsort(np.where(self._alive, -scores, np.inf), axis=1, kind="stable")
        kept = np.zeros_like(self._alive)
        np.put_along_axis(kept, order, np.arange(order.shape[1]) < np.array(quotas)[:, None], axis=1)
        dropped = int((self._alive & ~kept).sum())
        self._alive &= kept
        if self.space.is_constant(self.space.index(self.draw(self._samples))).all():
            raise DataError(
                "da-nas: quotas: what is left are networks that pass nothing on; raise quotas, or take another score"
            )
        return dropped

    # -- answers ---------------------------------------------------------------------------------------------------

    def derive(self) -> Any:
        paths = self.draw(self._candidates) if self._policy is None else self._sampled(self._candidates)
        scores = self.task.score(self.space.index(paths), False)
        known = self._marginals(paths, scores) if self._policy is None else self.probabilities()
        best = np.where(self._alive & np.isfinite(known), known, -np.inf).argmax(axis=1).astype(np.int8)
        quarter = np.sort(np.argsort(-scores, kind="stable")[: -(-len(paths) // 4)])
        finalists = self.space.index(np.unique(np.concatenate([paths[quarter], best[None]]), axis=0))
        means = np.mean([self.task.score(finalists, False) for _ in range(FINAL)], axis=0)
        answer = finalists[int(means.argmax())]
        return answer if self.space.arch_shape else int(answer)

    def remark(self) -> str:
        return self._said

    def surviving(self) -> NDArray[np.bool_]:
        return self._alive.copy()

    def probabilities(self) -> Floats | None:
        return None if self._policy is None else np.asarray(self._logs().detach().double().exp().numpy())

    def trained_parameters(self) -> Iterable[torch.Tensor]:
        return [] if self._policy is None else [self._policy.logits]

    def state(self) -> dict[str, Any]:
        import torch

        return {
            "alive": torch.from_numpy(self._alive.copy()),
            "classes": self._classes,
            "seen": torch.from_numpy(self._seen.copy()),
            "first": self._first.tolist(),
            "baseline": self._baseline,
            "policy": None if self._policy is None else self._policy.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._alive, self._seen = (state[name].cpu().numpy().copy() for name in ("alive", "seen"))
        self._classes, self._first = state["classes"], np.array(state["first"], dtype=np.float64)
        self._baseline = state["baseline"]
        if self._policy is not None:
            self._policy.load_state(state["policy"])
