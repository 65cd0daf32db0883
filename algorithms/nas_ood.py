"""NAS-OoD on images: a generator of a novel domain against weights and architecture (one-shot).

Its tabular form, which weighs environments, is in ``nas_ood_table.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.errors import UsageError, unknown
from nasharness.search import register
from nasharness.search.one_shot import OneShot, OneShotTask, Step
from nasharness.search.streams import generator as stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from nasharness.spaces.base import Choices, Floats
    from nasharness.supernets.base import Gates
    from nasharness.supernets.tss import TssSupernet

GENERATORS = ("learned", "none", "random", "augment")
#: parts of a run: weights and classifiers on real images; the search; the searched architecture alone
WARM, SEARCH, ALONE = range(3)
#: the stream of a run that the generator's first weights and a random cell come from
_INITIAL = int.from_bytes(b"novel", "big")


@register(
    "nas-ood",
    citation="after Bai et al., NAS-OoD, ICCV 2021, arXiv 2109.02038; details ours",
    kind="one-shot",
    spaces=("tss",),
    needs=("domains",),
    variants={
        "paper": (
            "NAS-OoD with the weights and rates of its code, and NATS-Bench's training of supernets.",
            {
                "lambda_ot": 0.01,
                "lambda_ce": 0.01,
                "generator_lr": 1e-4,
                "lr": 3e-4,
                "stage1_ratio": 1.0,
                "start": 0.5,
                "width": 64,
            },
        )
    },
    published=("paper",),
    meanings={
        "generator": "what makes images of a novel domain; learned, or a control: none, random (untrained) or augment "
        "(contrast, brightness, noise); the code's, controls ours",
        "cell": "which cell is trained alone; search, random or the index of one; the code's, controls ours",
        "lambda_cycle": "what the cycle's L1 norm counts for the generator; at least 0; the code's",
        "lambda_ot": "what transport away from the sources counts for it; at least 0; ours (nas-ood.paper: the code's)",
        "lambda_ce": "what the class's cross-entropy counts for it; at least 0; ours (nas-ood.paper: the code's)",
        "adv_weight": "factor of the reversed gradient that reaches it from the supernet; at least 0; the code's",
        "stage1_ratio": "share of a batch that it makes in the search; 0 to 1; ours (nas-ood.paper: the code's)",
        "ratio": "share of a batch that it makes when the cell is trained alone; 0 to 1; the code's",
        "start": "share of those last epochs that go by before it makes any; 0 to 1; ours (nas-ood.paper: the code's)",
        "warmup": "share of the epochs on real images alone, in which the classifiers learn; 0 to 1; ours",
        "search": "share of the epochs that search; above 0, with warmup at most 1; ours",
        "generator_lr": "rate of Adam on the generator; more than 0; ours (nas-ood.paper: the code's)",
        "lr": "rate of Adam on the architecture parameters; more than 0; ours (nas-ood.paper: the code's)",
        "width": "channels of the generator's first convolution; at least 1; ours (nas-ood.paper: the code's)",
    },
)
class NasOod(OneShot):
    """NAS-OoD: weights and architecture against a generator of images of a novel domain, all in one-level steps.

    In the first ``warmup`` of the epochs shared weights are trained through uniformly drawn cells on real images, and
    two classifiers, of domains and of classes, beside them; then these are frozen. In the next ``search`` of the epochs
    the generator takes a step down its own losses (cycle, transport away from the sources, class); a share
    ``stage1_ratio`` of the batch is edited by it, and one backward pass through a softmax mixture of operations gives
    the gradients of weights and architecture, and with its sign reversed that of the generator. What is left of the
    epochs trains the most probable cell alone, a share ``ratio`` of each batch being edited by the generator as it is.

    After the abstract and the released code; the paper's body was not seen, and details are ours: the space and a
    softmax over its operations other than ``none`` in place of sparse coding, the first part, the rates and the lengths
    of the parts (docs/reproduction/nas-ood.md#on-images).
    """

    def __init__(
        self,
        task: OneShotTask,
        *,
        generator: str = "learned",
        cell: str = "search",
        lambda_cycle: float = 10.0,
        lambda_ot: float = 1.0,
        lambda_ce: float = 1.0,
        adv_weight: float = 1.0,
        stage1_ratio: float = 0.5,
        ratio: float = 0.5,
        start: float = 0.0,
        warmup: float = 0.1,
        search: float = 0.4,
        generator_lr: float = 1e-3,
        lr: float = 5e-3,
        width: int = 8,
    ) -> None:
        super().__init__(task)
        least = {"lambda_cycle": lambda_cycle, "lambda_ot": lambda_ot, "lambda_ce": lambda_ce, "adv_weight": adv_weight}
        shares = {"stage1_ratio": stage1_ratio, "ratio": ratio, "start": start, "warmup": warmup}
        above = {"generator_lr": generator_lr, "lr": lr, "width": width, "search": search}
        for name, value, met, expected in (
            *((name, value, value >= 0, "at least 0") for name, value in least.items()),
            *((name, value, 0 <= value <= 1, "0 to 1") for name, value in shares.items()),
            *((name, value, value > 0, "more than 0") for name, value in above.items()),
            ("search", search, search + warmup <= 1, f"at most 1 together with warmup = {warmup}"),
        ):
            if not met:
                raise UsageError(f"nas-ood: {name} = {value}: expected {expected}")
        if generator not in GENERATORS:
            raise unknown("nas-ood: generator", generator, GENERATORS)
        if task.domains < 2:
            raise UsageError(
                f"nas-ood learns from how source domains differ, and the images have {task.domains}: use --images "
                "digits or others in domains, and --target-domain NAME for the one that is held out"
            )
        import torch

        from nasharness.supernets.adversary import NovelDomain, Weights
        from nasharness.supernets.policy import Policy

        self._kind, self._adv_weight, self._ratios = generator, adv_weight, (0.0, stage1_ratio, ratio)
        self._warm = min(task.epochs, max(1, round(warmup * task.epochs)))
        self._searched = min(task.epochs, self._warm + max(1, round(search * task.epochs)))
        self._edited_from = self._searched + round(start * (task.epochs - self._searched))
        drawn = stream(task.seed, _INITIAL)
        self._policy = Policy(task, lr=lr, weight_decay=1e-3)
        self._given = self._cell(cell, drawn)
        self._alone: Choices | None = self._given
        self._novel: NovelDomain | None = None
        if generator in ("learned", "random"):
            weights = Weights(lambda_cycle, lambda_ot, lambda_ce)
            first = torch.Generator().manual_seed(int(drawn.integers(2**63 - 1)))
            classes = self.supernet.classes
            self._novel = NovelDomain(task, classes, first, weights=weights, lr=generator_lr, width=width)
        self._said: dict[str, list[float]] = {}

    @property
    def supernet(self) -> TssSupernet:
        """The supernet as what it is."""
        return self.net  # type: ignore[return-value]

    def gates(self, step: Step) -> Gates:
        part = self._part(step.epoch)
        if part == ALONE and self._alone is None:
            self._alone = self._most_probable()
        if self._alone is not None:
            return self._single(self._alone)
        if part == WARM:
            return self._single(self.task.rng.integers(1, max(self.space.sizes), len(self.space.sizes)))
        return self._mixture()

    def images(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        from nasharness.supernets.adversary import reversed_gradient

        part, real, labels, domains = self._part(step.epoch), *self._sources(step)
        count = round(self._ratios[part] * len(real))
        if not count or self._kind == "none" or (part == ALONE and step.epoch < self._edited_from):
            return real, labels
        if self._novel is None:
            made = self._augmented(real[:count])
        elif part == SEARCH and self._kind == "learned":
            self._numbers = self._novel.descend(real[:count], labels[:count], domains[:count])
            made = reversed_gradient(self._novel.edit(real[:count], domains[:count]), self._adv_weight)
        else:
            with torch.no_grad():
                made = self._novel.edit(real[:count], domains[:count])
        return torch.cat([made, real[count:]]), labels

    def search_step(self, step: Step) -> dict[str, float]:
        part, learned = self._part(step.epoch), self._kind == "learned"
        if part == WARM:
            return self._novel.perceive(*self._sources(step)) if self._novel is not None and learned else {}
        if part == ALONE:
            return {}
        if self._policy.logits.grad is not None:
            self._policy.step(self._policy.logits.grad)
        if self._novel is None or not learned or not self._ratios[SEARCH]:
            return {}
        self._novel.step()
        for name, value in self._numbers.items():
            self._said.setdefault(name, []).append(value)
        return self._numbers

    def end_epoch(self, epoch: int) -> dict[str, float]:
        self._remark = ""
        if self._said:
            edit, kept = (np.mean(self._said[name]) for name in ("edit", "edited_class_accuracy"))
            self._remark = f"edits of {edit:.3f}, {kept:.0f} % still of their class"
        self._said = {}
        return {}

    def remark(self) -> str:
        return self._remark

    def derive(self) -> int:
        choices = self._most_probable() if self._alone is None else self._alone
        return int(self.space.index(choices))  # type: ignore[attr-defined]

    def probabilities(self) -> Floats:
        if self._given is not None:
            return np.eye(max(self.space.sizes))[self._given]
        shares = self._shares().detach().double().numpy()
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def state(self) -> dict[str, Any]:
        return {
            "policy": self._policy.state(),
            "alone": None if self._alone is None else [int(one) for one in self._alone],
            "novel": None if self._novel is None else self._novel.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._policy.load_state(state["policy"])
        self._alone = None if state["alone"] is None else np.array(state["alone"], dtype=np.int8)
        if self._novel is not None:
            self._novel.load_state(state["novel"])

    def trained_parameters(self) -> Iterable[torch.Tensor]:
        return [self._policy.logits, *(() if self._novel is None else self._novel.parameters())]

    def _part(self, epoch: int) -> int:
        return WARM if epoch < self._warm else SEARCH if epoch < self._searched else ALONE

    def _sources(self, step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if step.weight_domains is None:
            raise UsageError("nas-ood: the step brings no domains")
        return step.weight_images, step.weight_labels, step.weight_domains

    def _cell(self, cell: str, drawn: np.random.Generator) -> Choices | None:
        """The cell that is not searched, or None."""
        if cell == "search":
            return None
        if cell == "random":
            return drawn.integers(1, max(self.space.sizes), len(self.space.sizes)).astype(np.int8)
        return np.asarray(self.space.choices(self.space.parse(cell)), dtype=np.int8)

    def _shares(self) -> torch.Tensor:
        """Weights ``[6, 5]`` of the operations: a softmax over all but ``none``, which the paper's space has not."""
        import torch

        logits = self._policy.logits
        return torch.cat([logits.new_zeros((len(logits), 1)), logits[:, 1:].softmax(dim=1)], dim=1)

    def _mixture(self) -> Gates:
        from nasharness.supernets.tss import EdgeGates

        weights = self._shares().to(self.task.device)[None]
        return EdgeGates(np.repeat(np.arange(max(self.space.sizes))[None, None] > 0, len(self.space.sizes), 1), weights)

    def _single(self, choices: Choices) -> Gates:
        from nasharness.supernets.tss import EdgeGates

        return EdgeGates.single(choices)

    def _most_probable(self) -> Choices:
        logits = self._policy.logits.detach()[:, 1:]
        return np.asarray(logits.argmax(dim=1).numpy() + 1, dtype=np.int8)

    def _augmented(self, images: torch.Tensor) -> torch.Tensor:
        """Another contrast (half to three halves), brightness (0.3 either way) and noise (0.2) for every image."""
        import torch

        def drawn(shape: tuple[int, ...]) -> torch.Tensor:
            return torch.rand(shape, generator=self.task.generator, device=self.task.device)

        one = (len(images), 1, 1, 1)
        noise = torch.randn(images.shape, generator=self.task.generator, device=self.task.device)
        return images * (0.5 + drawn(one)) + 0.3 * (2 * drawn(one) - 1) + 0.2 * noise
