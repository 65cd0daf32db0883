"""The control of one-shot search: shared weights are trained as elsewhere, and the answer ignores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasharness.search import register
from nasharness.search.one_shot import OneShot, OneShotTask, Step

if TYPE_CHECKING:
    from nasharness.supernets.base import Gates


@register(
    "random.supernet",
    citation="the control of Li & Talwalkar, UAI 2019, and Yu et al., Evaluating the Search Phase of Neural "
    "Architecture Search, ICLR 2020",
    kind="one-shot",
    spaces=("tss", "sss"),
    control=True,
)
class RandomSupernet(OneShot):
    """Control: trains shared weights on uniformly drawn architectures, and answers with a random one.

    What a one-shot search gains over this, it gains by what it learnt. The answer depends on the seed alone.
    Weights are trained as all are (docs/reproduction/one-shot.md#common-protocol).
    """

    def __init__(self, task: OneShotTask) -> None:
        super().__init__(task)
        from nasharness.supernets.policy import initial_rng

        self._answer = int(self.space.sample_index(initial_rng(task).random()))

    def gates(self, step: Step) -> Gates:
        return self.net.uniform_gates(self.task.rng)

    def derive(self) -> int:
        return self._answer
