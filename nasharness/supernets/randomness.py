"""Random streams of a one-shot run: every epoch begins anew from (seed, epoch), so none needs to be saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

#: What a stream is for. The multi-trial streams of a run are purposes 0 and 1 (nasharness.search.streams).
SPLIT, WEIGHTS, SEARCH, DERIVE, BATCHES, ARCH_BATCHES, SCORES, DERIVE_SCORES, DIFFICULTY = range(16, 25)
#: the initialisation comes before the first epoch
BEFORE = 2**32 - 1


def _philox(seed: int, epoch: int, purpose: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, (epoch << 32) + purpose], dtype=np.uint64))


def reseed_numpy(rng: np.random.Generator, seed: int, epoch: int, purpose: int) -> None:
    """Set ``rng``, which is a Philox generator, to the beginning of a stream."""
    rng.bit_generator.state = _philox(seed, epoch, purpose).state


def reseed_torch(generator: torch.Generator, seed: int, epoch: int, purpose: int) -> None:
    """Set ``generator`` to the beginning of a stream."""
    words: Any = np.random.Generator(_philox(seed, epoch, purpose)).integers(2**63 - 1)
    generator.manual_seed(int(words))


def numpy_stream(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """A numpy generator at the beginning of a stream."""
    return np.random.Generator(_philox(seed, epoch, purpose))


def torch_stream(seed: int, epoch: int, purpose: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on ``device`` at the beginning of a stream."""
    generator = torch.Generator(device=device)
    reseed_torch(generator, seed, epoch, purpose)
    return generator
