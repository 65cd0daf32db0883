"""ENAS's controller: an LSTM that names an option for one position after another (Pham et al., ICML 2018)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from nasharness.spaces.base import Choices, Floats

#: hidden units and layers of the LSTM; how logits are bounded: 2.5 tanh(logits / 5)
#: (docs/reproduction/one-shot.md#enas)
_HIDDEN, _LAYERS = 32, 2
_BOUND, _TEMPERATURE = 2.5, 5.0
#: Initial values are uniform between minus and plus this: of the first input, the embedding, the prediction's weights
#: and the LSTM's first layer, as published; of everything else the published code leaves to torch.
_INITIAL, _OTHERS = 0.1, _HIDDEN**-0.5
_PUBLISHED = ("first", "embedding.weight", "predict.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0")


class Controller(nn.Module):
    """A distribution over architectures, each option given those before: ``positions`` times ``options``.

    Weights and biases are drawn uniformly with ``rng``, from [-0.1, 0.1] where the published code says so, else from
    plus or minus one over the root of the hidden units, as it has them from torch.
    """

    def __init__(self, positions: int, options: int, rng: np.random.Generator, dtype: torch.dtype) -> None:
        super().__init__()
        self.positions, self.options = positions, options
        # made without memory first: torch's own initialisation would draw from its global generator
        self.first = nn.Parameter(torch.empty(_HIDDEN, dtype=dtype, device="meta"))
        self.lstm = nn.LSTM(_HIDDEN, _HIDDEN, _LAYERS, dtype=dtype, device="meta")
        self.embedding = nn.Embedding(options, _HIDDEN, dtype=dtype, device="meta")
        self.predict = nn.Linear(_HIDDEN, options, dtype=dtype, device="meta")
        self.to_empty(device="cpu")
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                most = _INITIAL if name in _PUBLISHED else _OTHERS
                parameter.copy_(torch.from_numpy(rng.uniform(-most, most, tuple(parameter.shape))))

    def forward(self, choices: Tensor) -> Tensor:
        """Return log probabilities ``[n, positions, options]`` of every option, given ``choices`` before it.

        ``choices``: int64 ``[n, positions]``; the last is not read.
        """
        before = self.embedding(choices[:, :-1])
        inputs = torch.cat([self.first.expand(len(choices), 1, -1), before], dim=1)
        outputs, _ = self.lstm(inputs.transpose(0, 1))
        return self._log_softmax(outputs.transpose(0, 1))

    def _log_softmax(self, outputs: Tensor) -> Tensor:
        logits = _BOUND * torch.tanh(self.predict(outputs) / _TEMPERATURE)
        return logits.log_softmax(dim=-1)

    @torch.no_grad()
    def sample(self, u: Floats) -> Choices:
        """Draw architectures from uniforms ``[n, positions]``: int8 ``[n, positions]``."""
        inputs, memory = self.first.expand(1, len(u), -1), None
        drawn = np.empty(u.shape, dtype=np.int8)
        for position in range(self.positions):
            outputs, memory = self.lstm(inputs, memory)
            below = self._log_softmax(outputs[0]).double().exp().cumsum(dim=1)[:, :-1].numpy()
            drawn[:, position] = (u[:, position, None] >= below).sum(axis=1)
            inputs = self.embedding(torch.from_numpy(drawn[:, position].astype(np.int64)))[None]
        return drawn

    @torch.no_grad()
    def marginals(self) -> Floats:
        """Return the exact distribution at each position, float64 ``[positions, options]``: over all prefixes."""
        inputs, memory = self.first.expand(1, 1, -1), None
        reached = torch.ones(1, dtype=torch.float64)
        found = []
        for _ in range(self.positions):
            outputs, memory = self.lstm(inputs, memory)
            joint = reached[:, None] * self._log_softmax(outputs[0]).double().exp()
            found.append((joint.sum(dim=0) / joint.sum()).numpy())
            reached = joint.flatten()
            memory = tuple(part.repeat_interleave(self.options, dim=1) for part in memory)
            inputs = self.embedding.weight.repeat(outputs.shape[1], 1)[None]
        return np.stack(found)


def log_likelihood(log_probabilities: Tensor, choices: Tensor) -> Tensor:
    """Return the log probability ``[n]`` of whole architectures from those of their options."""
    return log_probabilities.gather(2, choices[:, :, None]).sum(dim=(1, 2))


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy ``[n]`` in nats along each architecture, summed over positions."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=(1, 2))
