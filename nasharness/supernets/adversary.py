"""NAS-OoD's generator of images of a novel domain, the losses that keep it realistic, and gradients that change sign.

After Bai et al., ICCV 2021, arXiv 2109.02038 (docs/reproduction/nas-ood.md#on-images).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nasharness.nets.editor import Editor, Perceiver, check_side
from nasharness.search.one_shot import OneShotTask
from nasharness.supernets.policy import copied

#: of the entropic transport: regularisation, most iterations, and the mean change of the potentials that ends them
EPSILON, ITERATIONS, TOLERANCE = 1.0, 100, 0.1


#: rate of Adam on the two classifiers
PERCEIVER_LR = 3e-3


@dataclass(frozen=True)
class Weights:
    """What the generator's own losses count: the cycle's L1 norm, the transport away from the source, the class."""

    cycle: float
    transport: float
    semantic: float


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


def reversed_gradient(x: Tensor, weight: float = 1.0) -> Tensor:
    """``x``, whose gradient is multiplied by minus ``weight`` on its way back: what is descended behind it, is climbed
    in front of it.
    """
    passed: Tensor = _Reversal.apply(x, weight)  # type: ignore[no-untyped-call]
    return passed


def sinkhorn(
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float = EPSILON,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """The cost of entropic transport from points ``x`` ``[n, d]`` to ``y`` ``[m, d]``, both of equal weights.

    Squared Euclidean cost; the plan maximises entropy times ``epsilon`` minus cost (Cuturi, NeurIPS 2013), found by
    alternating updates of the two potentials in logarithms. A number with its graph.
    """
    cost = (x[:, None] - y[None]).square().sum(-1)
    n, m = cost.shape
    log_a, log_b = -math.log(n), -math.log(m)
    u, v = cost.new_zeros(n), cost.new_zeros(m)
    for _ in range(iterations):
        before = u
        u = epsilon * (log_a - torch.logsumexp((v[None] - cost) / epsilon, dim=1))
        v = epsilon * (log_b - torch.logsumexp((u[:, None] - cost) / epsilon, dim=0))
        if float((u - before).detach().abs().mean()) < tolerance:
            break
    plan = ((u[:, None] + v[None] - cost) / epsilon).exp()
    return (plan * cost).sum()


def transport(x: Tensor, y: Tensor) -> Tensor:
    """``sinkhorn`` between features ``[n, d]`` of length one: at other scales ``epsilon`` means other things."""
    return sinkhorn(functional.normalize(x), functional.normalize(y))


class NovelDomain:
    """The generator, and the classifiers of domains and of classes that judge what it makes.

    First the classifiers learn (``perceive``), then the generator plays against a network: ``descend`` takes its own
    step, ``edit`` makes images through which a gradient comes back, and ``step`` takes a second one along that gradient
    and its own, as the released code does. The generator's domains are the task's and a novel one, the last.
    Raises UsageError for images that it cannot take.
    """

    def __init__(
        self, task: OneShotTask, classes: int, generator: torch.Generator, *, weights: Weights, lr: float, width: int
    ) -> None:
        check_side(task.side)
        self.weights, self._novel = weights, task.domains
        self.editor = Editor(task.domains + 1, width=width, generator=generator).to(task.device)
        self.domains, self.classes = (
            Perceiver(count, task.side, generator=generator).to(task.device) for count in (task.domains, classes)
        )
        self._adam = torch.optim.Adam(self.editor.parameters(), lr=lr, betas=(0.5, 0.999), foreach=False)
        judges = [*self.domains.parameters(), *self.classes.parameters()]
        self._judges_adam = torch.optim.Adam(judges, lr=PERCEIVER_LR, foreach=False)
        self._frozen = False

    def perceive(self, images: Tensor, labels: Tensor, domains: Tensor) -> dict[str, float]:
        """Take a step of the classifiers on images of the sources; say how often they are right."""
        of_domain, of_class = self.domains(images), self.classes(images)
        self._judges_adam.zero_grad()
        (functional.cross_entropy(of_domain, domains) + functional.cross_entropy(of_class, labels)).backward()  # type: ignore[no-untyped-call]
        self._judges_adam.step()
        return {"domain_accuracy": _right(of_domain, domains), "class_accuracy": _right(of_class, labels)}

    def descend(self, images: Tensor, labels: Tensor, domains: Tensor) -> dict[str, float]:
        """Take a step of the generator down its own losses, on images of the sources; say what they were.

        The cycle: how far an edited image that is edited back is from itself. Transport: how far the features of edited
        images are from those of the sources, which is to be much. Semantic: the cross-entropy of the class.
        """
        self._freeze()
        edited = self.edit(images, domains)
        again = self.editor(edited, torch.full_like(domains, self._novel), domains)
        cycle = (again - images).abs().mean()
        far = transport(self.domains.embed(edited), self.domains.embed(images))
        of_class = self.classes(edited)
        semantic = functional.cross_entropy(of_class, labels)
        self._adam.zero_grad()
        weights = self.weights
        (weights.cycle * cycle - weights.transport * far + weights.semantic * semantic).backward()
        self._adam.step()
        return {
            "cycle": float(cycle.detach()),
            "transport": float(far.detach()),
            "edit": float((edited - images).detach().abs().mean()),
            "edited_class_accuracy": _right(of_class, labels),
        }

    def edit(self, images: Tensor, domains: Tensor) -> Tensor:
        """Images of the sources as of the novel domain."""
        edited: Tensor = self.editor(images, domains, torch.full_like(domains, self._novel))
        return edited

    def step(self) -> None:
        """Take a step along the gradients that the generator has: of ``descend``, and what came back through edits."""
        self._adam.step()

    def state(self) -> dict[str, Any]:
        """Networks and optimisers, copied."""
        return copied({name: one.state_dict() for name, one in self._parts().items()})  # type: ignore[no-any-return]

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``."""
        for name, one in self._parts().items():
            one.load_state_dict(copied(state[name]))

    def parameters(self) -> Iterable[Tensor]:
        """All that is trained here."""
        return [*self.editor.parameters(), *self.domains.parameters(), *self.classes.parameters()]

    def _parts(self) -> dict[str, Any]:
        return {
            "editor": self.editor,
            "domains": self.domains,
            "classes": self.classes,
            "adam": self._adam,
            "judges_adam": self._judges_adam,
        }

    def _freeze(self) -> None:
        if not self._frozen:  # a gradient passes through them, and changes nothing
            for judge in (self.domains, self.classes):
                judge.eval().requires_grad_(False)
            self._frozen = True


def _right(logits: Tensor, labels: Tensor) -> float:
    """Accuracy in percent."""
    return 100 * float((logits.detach().argmax(1) == labels).float().mean())
