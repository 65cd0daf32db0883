"""Networks as sequences of operators, each priced by itself: what a table of operators needs to know of a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nasharness.errors import DataError
from nasharness.spaces.base import Floats

_CHUNK = 1 << 15


@dataclass(frozen=True)
class Operators:
    """Names of the operators of every network of a space, from input to output.

    ``before`` and ``after`` are the same in all; ``layers[position][option]`` stands where ``option`` is chosen.
    """

    before: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    after: tuple[str, ...]

    def names(self) -> list[str]:
        """Every name once."""
        chosen = [name for options in self.layers for name in options]
        return list(dict.fromkeys((*self.before, *chosen, *self.after)))

    def of(self, choices: ArrayLike) -> list[str]:
        """The operators of one network, in order."""
        picked = [options[choice] for options, choice in zip(self.layers, np.asarray(choices).tolist(), strict=True)]
        return [*self.before, *picked, *self.after]

    def summed(self, prices: Mapping[str, float]) -> Summed:
        """What adds up the prices of a network's operators. Raises DataError for a name without one."""
        missing = [name for name in self.names() if name not in prices]
        if missing:
            raise DataError(f"{len(missing)} operators have no price, as {missing[0]}")
        layers = tuple(np.array([prices[name] for name in options]) for options in self.layers)
        return Summed([prices[name] for name in self.before], layers, [prices[name] for name in self.after])


class Summed:
    """The sum of the prices of a network's operators, added in order, so that it equals a published sum to the bit.

    ``layers``: the prices of each position's options.
    """

    def __init__(self, before: list[float], layers: tuple[Floats, ...], after: list[float]) -> None:
        self._before, self.layers, self._after = before, layers, after

    def __call__(self, choices: ArrayLike) -> Floats:
        """Sums of networks ``[..., positions]``, float64 ``[...]``."""
        chosen = np.asarray(choices)
        rows = chosen.reshape(-1, len(self.layers))
        total = np.full(len(rows), sum(self._before))
        price = np.empty(min(_CHUNK, len(rows)))
        for at in range(0, len(rows), _CHUNK):  # a part that stays in the cache
            part = rows[at : at + _CHUNK].T.astype(np.intp)
            here, one = total[at : at + _CHUNK], price[: part.shape[1]]
            for options, prices in zip(part, self.layers, strict=True):
                here += np.take(prices, options, out=one, mode="clip")
            for fixed in self._after:
                here += fixed
        return total.reshape(chosen.shape[:-1])

    @property
    def fixed(self) -> float:
        """The price of what is the same in all."""
        return float(sum(self._before) + sum(self._after))

    def least(self) -> float:
        """The smallest sum that a network can have."""
        return self.fixed + float(sum(prices.min() for prices in self.layers))

    def most(self) -> float:
        """The largest."""
        return self.fixed + float(sum(prices.max() for prices in self.layers))
