"""Product spaces: any option may stand at any position."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError
from nasharness.spaces.base import Choices, Floats, Indices, Space, frozen


class _Choosing(Space):
    """What product spaces share, listed or not: choices at positions, drawn and changed one position at a time."""

    #: option -> the next weaker ones, from the strongest option to the weakest; empty for ordered options
    ladder: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    #: option -> what is decided on the way to it, of which a part is a part of the other options: whether there is a
    #: convolution at all, and whether it has the ring around its centre; empty for ordered options. An option that is
    #: part of no other is left out
    decisions: Mapping[str, Mapping[str, bool]] = MappingProxyType({})

    @property
    def uniforms_per_sample(self) -> int:  # type: ignore[override]
        """Uniforms that one `sample` consumes: one for each position."""
        return len(self.sizes)

    @cached_property
    def _counts(self) -> Indices:
        return frozen(np.array(self.sizes, dtype=np.int32))

    def _checked_choices(self, choices: ArrayLike) -> np.ndarray[Any, np.dtype[Any]]:
        """Return choices ``[..., positions]`` as they are, or raise `UsageError` naming the bad one."""
        array = np.asarray(choices)
        count = len(self.positions)
        if not array.ndim or array.shape[-1] != count:
            raise UsageError(
                f"choices of space {self.name} have shape [..., {count}], one for each of "
                f"{', '.join(self.positions)}; got shape {list(array.shape)}"
            )
        if array.dtype.kind not in "iu" and array.size:
            raise UsageError(f"choices of space {self.name} must be whole numbers, not {array.dtype} values")
        if array.size and (array.min() < 0 or array.max() >= min(self.sizes)):
            bad = (array < 0) | (array >= self._counts)
            if bad.any():
                where = tuple(np.argwhere(bad)[0])
                position = int(where[-1])
                raise UsageError(
                    f"choice {array[where]} at position {position} ({self.positions[position]}) is outside space "
                    f"{self.name}: expected 0 to {self.sizes[position] - 1} ({', '.join(self.options[position])})"
                )
        return array

    def _drawn(self, u: ArrayLike) -> Floats:
        """An independent uniform option at each position, float64 ``[..., positions]``, from as many uniforms."""
        return np.floor(self._unit(self._last_axis(u, len(self.positions), "sampling")) * self._counts)

    def _move(self, u: ArrayLike) -> tuple[Indices, Floats]:
        """Which position a mutation changes, int32 ``[...]``, and a uniform for the other option, ``[...]``."""
        scaled = self._unit(self._last_axis(u, 1, "mutation"))[..., 0] * len(self.positions)
        position = scaled.astype(np.int32)
        return position, scaled - position

    def _changed(self, choices: Choices, position: Indices, rest: Floats) -> Choices:
        """Choices ``[..., positions]`` with another option, uniformly, at ``position`` ``[...]``."""
        lead = np.broadcast_shapes(choices.shape[:-1], position.shape)
        mutants = np.broadcast_to(choices, (*lead, len(self.positions))).copy()
        where = np.broadcast_to(position, lead)[..., None]
        here = np.take_along_axis(mutants, where, axis=-1)
        others = np.maximum(self._counts[where] - 1, 0)
        other = np.minimum(
            (np.broadcast_to(rest, lead)[..., None] * others).astype(mutants.dtype), np.maximum(others - 1, 0)
        )
        other = np.where(others == 0, here, other + (other >= here))  # skip the option already taken
        np.put_along_axis(mutants, where, other.astype(mutants.dtype), axis=-1)
        return mutants

    def weaker(self, position: int) -> NDArray[np.int8]:
        """What each option of a position can be shrunk to by one step: int8 ``[options, slots]``, -1 where to nothing.

        Ordered options go down by one; kinds follow ``ladder``. Raises UsageError for a space with neither.
        """
        options = self.options[position]
        if self.ordinal:
            return np.arange(-1, len(options) - 1, dtype=np.int8)[:, None]
        if set(options) - set(self.ladder):
            raise UsageError(f"space {self.name} has no ladder of shrinking for the options {', '.join(options)}")
        table = np.full((len(options), max(map(len, self.ladder.values()))), -1, dtype=np.int8)
        for number, option in enumerate(options):
            for slot, name in enumerate(name for name in self.ladder[option] if name in options):
                table[number, slot] = options.index(name)
        return table

    def paths(self, position: int) -> NDArray[np.int8]:
        """What is decided on the way to each option of a position: int8 ``[options, decisions]``.

        1 for yes, -1 for no, 0 where it is not asked; all 0 for an option that no decisions lead to. Ordered options
        are decided one step after the other. Raises UsageError for a space with neither.
        """
        options = self.options[position]
        if self.ordinal:
            steps = np.arange(len(options) - 1)
            taken = np.arange(len(options))[:, None]
            return np.where(steps < taken, 1, np.where(steps == taken, -1, 0)).astype(np.int8)
        if not self.decisions:
            raise UsageError(f"space {self.name} does not say what is decided on the way to {', '.join(options)}")
        names = list(dict.fromkeys(name for path in self.decisions.values() for name in path))
        table = np.zeros((len(options), len(names)), dtype=np.int8)
        for number, option in enumerate(options):
            for name, on in self.decisions.get(option, {}).items():
                table[number, names.index(name)] = 1 if on else -1
        return table

    def fullest(self) -> list[int]:
        """The strongest option of each position: where shrinking starts."""
        if self.ordinal:
            return [count - 1 for count in self.sizes]
        first = next(iter(self.ladder), None)
        return [options.index(first) if first in options else 0 for options in self.options]


class ProductSpace(_Choosing):
    """A finite product space: an architecture takes one option at each of ``len(sizes)`` positions.

    A *code* is the mixed-radix number of the choices, position 0 most significant. The index of an architecture is its
    code unless a subclass overrides ``_order``.
    """

    offers = frozenset({"index", "neighbours", "product"})

    @cached_property
    def size(self) -> int:  # type: ignore[override]
        """Number of architectures."""
        return int(np.prod(self.sizes))

    # -- tables, built on first use --------------------------------------------------------------------------------

    def _order(self) -> Indices:
        """Return int32 ``[size]``: the code of each index."""
        return np.arange(self.size, dtype=np.int32)

    @cached_property
    def _places(self) -> Indices:
        """Value of one step at each position in a code, int32 ``[positions]``."""
        after = np.cumprod((1, *self.sizes[:0:-1]))[::-1]
        return frozen(after.astype(np.int32))

    @cached_property
    def _code_of_index(self) -> Indices:
        return frozen(self._order())

    @cached_property
    def _index_of_code(self) -> Indices:
        inverse = np.empty(self.size, dtype=np.int32)
        inverse[self._code_of_index] = np.arange(self.size, dtype=np.int32)
        return frozen(inverse)

    @cached_property
    def _choices(self) -> Choices:
        digits = self._code_of_index[:, None] // self._places % self._counts
        return frozen(digits.astype(np.int8 if max(self.sizes) <= 127 else np.int16))

    @cached_property
    def _neighbours(self) -> Indices:
        columns = []
        for position, count in enumerate(self.sizes):
            here = self._choices[:, position, None].astype(np.int32)
            other = np.arange(count - 1, dtype=np.int32)
            other = other + (other >= here)  # skip the option already taken
            columns.append(self._code_of_index[:, None] + (other - here) * self._places[position])
        return frozen(self._index_of_code[np.concatenate(columns, axis=1)])

    # -- architecture <-> index ------------------------------------------------------------------------------------

    def choices(self, ids: ArrayLike) -> Choices:
        """See `Space.choices`, of indices ``[...]``."""
        return self._choices.take(self._checked(ids), axis=0)

    def index(self, choices: ArrayLike) -> Indices:
        """Return the index, int32 ``[...]``, of choices ``[..., positions]``.

        Raises `UsageError` where the last axis has the wrong length or a choice is not one of its position's options.
        """
        # float64 represents every code exactly, and only floating-point products run at full speed.
        codes = self._checked_choices(choices).astype(np.float64) @ self._places.astype(np.float64)
        return self._index_of_code.take(codes.astype(np.intp))

    # -- drawing at random, and moving -----------------------------------------------------------------------------

    def sample(self, u: ArrayLike) -> Indices:
        """Return int32 ``[...]``: an independent uniform option at each position from uniforms ``[..., positions]``."""
        codes: Floats = self._drawn(u) @ self._places.astype(np.float64)
        return self._index_of_code.take(codes.astype(np.intp))

    def mutate(self, ids: ArrayLike, u: ArrayLike) -> Indices:
        """Draw a position and another option for it, each uniformly: one uniform, never a no-op where there is one.

        See `Space.mutate`; spaces with a published rule override this.
        """
        position, rest = self._move(u)
        return self.index(self._changed(self.choices(ids), position, rest))

    def neighbours(self, ids: ArrayLike) -> Indices:
        """Return int32 ``[..., k]``: all that differ at exactly one position; see `Space.neighbours`."""
        return self._neighbours.take(self._checked(ids), axis=0)


def product(space: Space) -> ProductSpace:
    """Return ``space``, or raise UsageError where it is no product space that can be enumerated."""
    if not isinstance(space, ProductSpace):
        raise UsageError(f"space {space.name!r} is no product space that can be enumerated")
    return space


class ChoiceSpace(_Choosing):
    """A product space too large to be enumerated: an architecture is its vector of choices, int8 ``[positions]``.

    Published strings join the options' names by ``separator``. No array of the space's size is ever made.
    """

    offers = frozenset({"product"})
    arch_dtype = np.int8
    separator = ","

    def __init__(self, name: str, options: tuple[tuple[str, ...], ...], positions: tuple[str, ...] = ()) -> None:
        self.name, self.options = name, tuple(map(tuple, options))
        self.positions = tuple(positions) or tuple(f"p{number}" for number in range(len(options)))
        self.string_form = f"{len(options)} options joined by {self.separator!r}"

    @property
    def size(self) -> int:  # type: ignore[override]
        """Number of architectures, exactly."""
        total = 1
        for count in self.sizes:
            total *= count
        return total

    @property
    def arch_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """One vector: ``(positions,)``."""
        return (len(self.positions),)

    def __len__(self) -> int:
        return min(self.size, 2**63 - 1)  # Python knows no longer length

    def choices(self, ids: ArrayLike) -> Choices:
        """An architecture is its choices already: checked, and returned."""
        return self._checked_choices(ids).astype(np.int8, copy=False)

    def index(self, choices: ArrayLike) -> Choices:
        """The architecture of choices ``[..., positions]``: themselves, checked."""
        return self.choices(choices)

    def string(self, arch: Any) -> str:
        """See `Space.string`."""
        row = self.choices(arch)
        return self.separator.join(options[choice] for options, choice in zip(self.options, row.tolist(), strict=True))

    def from_string(self, text: str) -> Choices:
        """See `Space.from_string`."""
        slots = [slot.strip() for slot in text.strip().split(self.separator)]
        if len(slots) != len(self.positions):
            raise self._malformed(text, f"it has {len(slots)} part(s) where {len(self.positions)} are expected")
        row = []
        for position, slot, options in zip(self.positions, slots, self.options, strict=True):
            if slot not in options:
                raise self._malformed(text, f"{position} is {slot!r}, not one of {', '.join(options)}")
            row.append(options.index(slot))
        return np.array(row, dtype=np.int8)

    def parse(self, value: Any) -> Choices:
        """Return the choices meant by a vector of numbers, a published string or a name."""
        return self.from_string(self._text(value)) if isinstance(value, str) else self.choices(value)

    def sample(self, u: ArrayLike) -> Choices:
        """Return int8 ``[..., positions]`` from uniforms ``[..., positions]``."""
        return self._drawn(u).astype(np.int8)

    def mutate(self, ids: ArrayLike, u: ArrayLike) -> Choices:
        """Draw a position and another option for it, each uniformly; see `Space.mutate`."""
        position, rest = self._move(u)
        return self._changed(self.choices(ids), position, rest)
