"""Architecture parameters: one categorical distribution a position, the Adam that trains it, and Gumbel noise.

They are some forty numbers, so they stay on the CPU, whatever the device of the supernet: what is drawn from them is
needed there (a gate that computes one operation must know which), it is then the same on every device, and a step
waits for the device once, when the gradient arrives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness.search.one_shot import OneShotTask
from nasharness.search.streams import generator
from nasharness.spaces.base import Choices, Floats
from nasharness.spaces.product import product
from nasharness.supernets.base import Gates

#: the stream of a run that initial values come from; the run's own is seeded anew every epoch
_INITIAL = int.from_bytes(b"initial", "big")


def initial_rng(task: OneShotTask) -> np.random.Generator:
    """Return the run's generator for initial values: it depends on the seed alone."""
    return generator(task.seed, _INITIAL)


def dtype_of(task: OneShotTask) -> torch.dtype:
    """Return the precision of the shared weights, which architecture parameters have too."""
    return next((parameter.dtype for parameter in task.net.parameters()), torch.float32)


def forward(task: OneShotTask, gates: Gates, images: Tensor) -> Tensor:
    """Return logits ``[batch, classes]`` in at least float32, computed in the run's precision."""
    with task.autocast():
        logits: Tensor = task.net(images, gates)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def loss(task: OneShotTask, gates: Gates, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of a batch through ``gates``."""
    return functional.cross_entropy(forward(task, gates, images), labels)


@torch.no_grad()
def top1(task: OneShotTask, gates: Gates, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy on a batch through ``gates``, in percent; in the network's present mode."""
    return 100.0 * float((forward(task, gates, images).argmax(dim=1) == labels).double().mean())


def copied(state: Any) -> Any:
    """Return a state of nested dictionaries, lists and tensors with every tensor copied, to the CPU."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    return [copied(value) for value in state] if isinstance(state, (list, tuple)) else state


class Policy:
    """Logits ``[positions, options]``, normal with standard deviation 1e-3 at first, trained by Adam.

    Adam's betas are (0.5, 0.999) and its eps 1e-8, as in every search of NATS-Bench
    (docs/reproduction/one-shot.md#common-protocol).
    """

    def __init__(self, task: OneShotTask, *, lr: float, weight_decay: float) -> None:
        self._task = task
        sizes = task.space.sizes
        #: the row of the logits that each gate of a forward pass draws from
        self.rows = list(task.net.gated or range(len(sizes)))
        initial = 1e-3 * initial_rng(task).standard_normal((len(sizes), max(sizes)))
        self.logits = nn.Parameter(torch.tensor(initial, dtype=dtype_of(task)))
        self._adam = torch.optim.Adam(
            [self.logits], lr=lr, betas=(0.5, 0.999), eps=1e-8, weight_decay=weight_decay, foreach=False
        )

    def softmax(self) -> Tensor:
        """Return the probabilities ``[positions, options]``, through which a gradient reaches the logits."""
        return self.logits.softmax(dim=1)

    def perturbed(self, tau: float) -> Tensor:
        """Return (log probability + Gumbel noise) / tau, ``[gates, options]``: softmax makes it Gumbel-softmax."""
        shape = len(self.rows), self.logits.shape[1]
        noise = torch.from_numpy(self._task.rng.gumbel(size=shape)).to(self.logits.dtype)
        return (self.logits.log_softmax(dim=1)[self.rows] + noise) / tau

    def sample(self) -> Choices:
        """Draw an option for each gate: int8 ``[gates]``."""
        below = self.probabilities()[self.rows].cumsum(axis=1)[:, :-1]
        drawn: Choices = (self._task.rng.random((len(below), 1)) >= below).sum(axis=1).astype(np.int8)
        return drawn

    def log_probability(self, choices: Choices) -> Tensor:
        """Return the log probability of options ``[gates]``, summed over gates."""
        chosen = torch.from_numpy(choices.astype(np.int64))[:, None]
        return self.logits.log_softmax(dim=1)[self.rows].gather(1, chosen).sum()

    def descend(self, loss: Tensor) -> None:
        """Take one step of Adam down ``loss``; nothing but the logits gets a gradient, zero where it reaches none."""
        (gradient,) = torch.autograd.grad(loss, [self.logits], allow_unused=True, materialize_grads=True)
        self.step(gradient)

    def step(self, gradient: Tensor) -> None:
        """Take one step of Adam along a gradient ``[positions, options]``."""
        self.logits.grad = gradient
        self._adam.step()
        self.logits.grad = None

    def restart(self) -> None:
        """Let Adam begin anew; the logits stay."""
        self._adam.state.clear()

    def probabilities(self) -> Floats:
        """Return the probabilities as float64 ``[positions, options]``."""
        return np.asarray(self.logits.detach().double().softmax(dim=1).numpy())

    def most_probable(self) -> int:
        """Return the index of the architecture of the most probable option at each position."""
        return int(product(self._task.space).index(self.logits.detach().argmax(dim=1).numpy()))

    def state(self) -> dict[str, Any]:
        """Return the logits and Adam's moments, copied."""
        return {"logits": self.logits.detach().clone(), "adam": copied(self._adam.state_dict())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``."""
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self._adam.load_state_dict(copied(state["adam"]))
