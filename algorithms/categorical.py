"""An independent categorical distribution at each position of a space, and Adam: what policy searches share.

Arrays are ``[positions, options, runs]``, runs last: every operation is element by element over contiguous runs, and
sums over options are written out, so that a run's bits do not depend on its batch. Where a position has fewer options
than another, the logits of those missing are minus infinity.
"""

from __future__ import annotations

import numpy as np

from nasharness.spaces.base import Choices, Floats, Space


def mask(space: Space) -> Floats:
    """Return float64 ``[positions, options, 1]``: 0 for an option, minus infinity for one that a position lacks."""
    options = np.arange(max(space.sizes))
    return np.where(options < np.array(space.sizes)[:, None], 0.0, -np.inf)[:, :, None]


def softmax(logits: Floats) -> Floats:
    """Return the probabilities of ``logits [positions, options, runs]``."""
    top = logits[:, 0]
    for option in range(1, logits.shape[1]):
        top = np.maximum(top, logits[:, option])
    weights = np.exp(logits - top[:, None])
    total = weights[:, 0]
    for option in range(1, logits.shape[1]):
        total = total + weights[:, option]
    return np.asarray(weights / total[:, None])


def draw(probabilities: Floats, u: Floats, sizes: tuple[int, ...]) -> Choices:
    """Return one option at each position, int8 ``[positions, runs]``, from uniforms ``[positions, runs]``."""
    choices = np.zeros(u.shape, dtype=np.int8)
    below = np.zeros(u.shape)
    for option in range(probabilities.shape[1] - 1):
        below = below + probabilities[:, option]
        choices += u >= below
    last = np.array(sizes, dtype=np.int8)[:, None] - np.int8(1)
    drawn: Choices = np.minimum(choices, last)  # rounding may leave a sum of probabilities below u
    return drawn


class Adam:
    """Adam (Kingma & Ba, ICLR 2015) without weight decay, in PyTorch's form."""

    def __init__(self, shape: tuple[int, ...], lr: float, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self._lr, self._beta1, self._beta2, self._eps = lr, beta1, beta2, 1e-8
        self._mean = np.zeros(shape)
        self._square = np.zeros(shape)
        self._steps = 0

    def step(self, gradient: Floats) -> Floats:
        """Return what to add to the parameters to descend along ``gradient``."""
        self._steps += 1
        self._mean *= self._beta1
        self._mean += (1.0 - self._beta1) * gradient
        self._square *= self._beta2
        self._square += (1.0 - self._beta2) * gradient * gradient
        rate = self._lr / (1.0 - self._beta1**self._steps)
        root = (1.0 - self._beta2**self._steps) ** 0.5
        return np.asarray(-rate * self._mean / (np.sqrt(self._square) / root + self._eps))
