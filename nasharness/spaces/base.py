"""What every search space offers: architectures, their strings, and ways to draw and to change them."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError, unknown
from nasharness.spaces.graph import LabelledGraph, Skeleton
from nasharness.spaces.named import Named
from nasharness.spaces.protocol import Protocol

#: Architectures by index, int32 of any shape.
Indices = NDArray[np.int32]
#: Architectures by their choices, int8 ``[..., positions]``.
Choices = NDArray[np.int8]
#: Values, float64 of any shape.
Floats = NDArray[np.float64]
Array = TypeVar("Array", bound=NDArray[Any])

#: Rules by which two architectures count as the same network (see ``isomorphism.py``).
RULES = ("corrected", "published", "skip")
#: What an algorithm may need of a space: see ``Space.offers``.
OFFERS = ("index", "neighbours", "product", "ladder", "nested", "graph")

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")


def frozen(array: Array) -> Array:
    """Return ``array`` made read-only: a cached table that a caller could write to would corrupt every later run."""
    array.setflags(write=False)
    return array


class Space:
    """A set of architectures. Where it can be enumerated an architecture is an index, else its vector of choices.

    Everything is vectorised over leading axes: architectures have the shape ``[..., *arch_shape]``, indices ``[...]``
    and vectors ``[..., positions]``. Randomness comes in as float64 uniforms in [0, 1), never from a generator of the
    space's own, so that a batch of runs can draw in lockstep from each run's own stream. What comes from outside is
    checked: a negative or too large index or choice raises `UsageError`, it never wraps round.

    A subclass sets the attributes below, and ``sample``, ``mutate``, ``choices``, ``string`` and ``from_string``.
    """

    name: str
    #: one line for listings
    summary: str = ""
    #: number of architectures
    size: int
    #: names of the options at each position, in the order of their integers; a *feature* where choices are not free
    options: tuple[tuple[str, ...], ...]
    #: names of the positions, e.g. ``0->1``
    positions: tuple[str, ...]
    #: whether the options of a position are ordered (widths) rather than categories (operations)
    ordinal: bool = False
    #: the form of the published string, for error messages
    string_form: str
    #: what measuring it usually means
    protocol: Protocol = Protocol()
    #: what to say where a table of it is asked for and none is published
    no_table: str = ""
    #: uniforms that one ``sample`` and one ``mutate`` consume
    uniforms_per_sample: int = 1
    mutation_uniforms: int = 1
    #: which of OFFERS this space has: ``index`` (it can be enumerated), ``neighbours``, ``product`` (any option may
    #: stand at any position), ``ladder`` (an option can be made weaker: AutoShrink's home ground),
    #: ``nested`` (options are parts of one another: Single-Path NAS's); ``graph`` is seen by itself, see `has_graph`
    offers: frozenset[str] = frozenset({"index", "neighbours"})
    #: which edge of a cell each position is, where every architecture has the same ones
    skeleton: Skeleton | None = None
    #: quantities with a closed form, see ``closed_form``
    closed_forms: tuple[str, ...] = ()
    #: architectures that were published under a name, which ``parse`` understands
    named: Mapping[str, Named] = MappingProxyType({})
    #: shape and type of one architecture: a number, or a vector of choices
    arch_shape: tuple[int, ...] = ()
    arch_dtype: type[np.signedinteger[Any]] = np.int32

    # -- sizes -----------------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of options at each position, e.g. ``(5, 5, 5, 5, 5, 5)``."""
        return tuple(map(len, self.options))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets with published measurements, the default first; empty where only tables tell."""
        return self.protocol.datasets

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"Space({self.name!r}, size={self.size})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Sent to another process by name: tables are rebuilt there in milliseconds, and a space stays a singleton.
        from nasharness.spaces import get

        return get, (self.name,)

    # -- checks ----------------------------------------------------------------------------------------------------

    def _checked(self, ids: ArrayLike) -> Indices:
        """Return ``ids`` as int32 ``[...]``, every one a valid index, or raise `UsageError` naming the bad value."""
        array = np.asarray(ids)
        if array.dtype != np.int32:
            if array.dtype.kind not in "iu" and array.size:
                raise UsageError(f"indices of space {self.name} must be whole numbers, not {array.dtype} values")
            wide = array
            array = array.astype(np.int32)
            if array.size and (wide != array).any():
                array = np.where(wide != array, np.int32(-1), array)
        else:
            wide = array
        # As unsigned numbers the negative ones are huge, so one reduction finds both kinds of error.
        if array.size and array.view(np.uint32).max() >= self.size:
            bad = wide[(array < 0) | (array >= self.size)].flat[0]
            raise self._out_of_range(bad)
        return array

    def _out_of_range(self, value: object) -> UsageError:
        return UsageError(f"index {value} is outside space {self.name}: expected 0 to {self.size - 1}")

    def _last_axis(self, u: ArrayLike, count: int, purpose: str) -> Floats:
        """Return uniforms as float64 ``[..., count]``, or raise `UsageError` where their last axis is another."""
        array = np.asarray(u, dtype=np.float64)
        if not array.ndim or array.shape[-1] != count:
            raise UsageError(
                f"{purpose} in space {self.name} needs uniforms of shape [..., {count}], got {list(array.shape)}"
            )
        return array

    def _outcomes(self, u: ArrayLike, count: int) -> Indices:
        """Return int32 ``[...]``: which of ``count`` equal parts of [0, 1) each uniform of ``[...]`` falls in.

        For float64 u < 1 the product rounds below ``count``. Raises `UsageError` for a number outside [0, 1).
        """
        scaled: Floats = np.asarray(u, dtype=np.float64) * count
        outcomes = np.asarray(scaled).astype(np.int32)
        if outcomes.size and outcomes.view(np.uint32).max() >= count:
            raise self._not_uniforms()
        return outcomes

    def _unit(self, u: Floats) -> Floats:
        """Return ``u``, or raise `UsageError` for a number outside [0, 1)."""
        if u.size and not (u.min() >= 0 and u.max() < 1):
            raise self._not_uniforms()
        return u

    def _not_uniforms(self) -> UsageError:
        return UsageError(f"randomness for space {self.name} must be uniforms in [0, 1); got a number outside")

    # -- architectures as choices and as text ----------------------------------------------------------------------

    def choices(self, ids: ArrayLike) -> Choices:
        """Return the option at each position, int8 (int16 where one has more than 127) ``[..., positions]``."""
        raise NotImplementedError

    def strings(self) -> list[str]:
        """Return the published string of every architecture, in index order. Cached: treat it as read-only."""
        raise NotImplementedError

    def string(self, arch: Any) -> str:
        """Return the published string of an architecture."""
        return self.strings()[self._one(arch)]

    def from_string(self, text: str) -> Any:
        """Return the architecture of a published string; blanks around it do not matter.

        Raises `UsageError` quoting the text, the offending slot and the expected form.
        """
        raise NotImplementedError

    def parse(self, value: Any) -> Any:
        """Return the architecture meant by an index (any integer type), its digits as text, a published string or a
        name.
        """
        if not isinstance(value, str):
            return self._one(value)
        text = self._text(value)
        if _WHOLE_NUMBER.fullmatch(text):
            # Python refuses to convert thousands of digits; no index has more than ten.
            number = int(text) if len(text) <= 20 else None
            if number is None or not 0 <= number < self.size:
                raise self._out_of_range(text if len(text) <= 40 else f"{text[:40]}...")
            return number
        return self.from_string(text)

    def _text(self, value: str) -> str:
        """The string of an architecture, of its name or of itself."""
        text = value.strip()
        return self.named[text].arch if text in self.named else text

    def _one(self, arch: object) -> int:
        try:
            number = operator.index(arch)  # type: ignore[arg-type]
        except TypeError:
            raise UsageError(
                f"{arch!r} is not an architecture of space {self.name}: expected an index (0 to {self.size - 1}) "
                f"or a string of the form {self.string_form}"
            ) from None
        if not 0 <= number < self.size:
            raise self._out_of_range(number)
        return number

    def _malformed(self, text: str, why: str) -> UsageError:
        shown = text if len(text) <= 200 else f"{text[:200]}..."
        return UsageError(f"{shown!r} is not an architecture of space {self.name}: {why}; expected {self.string_form}")

    # -- drawing at random, and moving -----------------------------------------------------------------------------

    def sample(self, u: ArrayLike) -> Any:
        """Return one uniform architecture for each row of uniforms ``[..., uniforms_per_sample]``."""
        raise NotImplementedError

    def sample_index(self, u: ArrayLike) -> Indices:
        """Return int32 ``[...]``: a uniform architecture for each uniform of ``[...]``; needs an enumerable space.

        The distribution is that of `sample`, at one uniform each.
        """
        return self._outcomes(u, self.size)

    def mutate(self, ids: ArrayLike, u: ArrayLike) -> Any:
        """Return one mutant for each architecture ``[...]``, by the published rule of the space where there is one.

        ``u``: uniforms ``[..., mutation_uniforms]``; its leading axes and those of ``ids`` broadcast.
        """
        raise NotImplementedError

    def neighbours(self, ids: ArrayLike) -> Indices:
        """Return int32 ``[..., k]``: the architectures one step away; padded with -1 where there are fewer than ``k``.

        Order: by position, then by ascending option, the option already taken left out.
        """
        raise NotImplementedError

    # -- what it computes ------------------------------------------------------------------------------------------

    @property
    def has_graph(self) -> bool:
        """Whether architectures are graphs: see `graph`."""
        return self.skeleton is not None or type(self).graph is not Space.graph

    def graph(self, arch: Any) -> LabelledGraph | None:
        """Return which operation joins what in an architecture; None where the space is no space of graphs."""
        if self.skeleton is None:
            return None
        row = self.choices(np.asarray(self.parse(arch)))
        names = [self.options[position][int(choice)] for position, choice in enumerate(row)]
        return self.skeleton.graph(names, self.options[0][self.skeleton.absent])

    def is_constant(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Return bool ``[...]``: whether no path leads from the network's input to its output."""
        if self.skeleton is None:
            checked = self._checked(ids) if not self.arch_shape else np.asarray(ids)[..., 0]
            return np.zeros(checked.shape, dtype=np.bool_)
        return ~self.skeleton.fed(self.choices(ids))[..., -1]

    def canonical(self, ids: ArrayLike, rule: str = "corrected") -> Indices:
        """Return int32 ``[...]``: the lowest index of each architecture's isomorphism class under ``rule``.

        The default: no two architectures are the same network.
        """
        if rule not in RULES:
            raise unknown("isomorphism rule", rule, RULES)
        return self._checked(ids)

    def classes(self, rule: str = "corrected") -> int:
        """Return the number of isomorphism classes under ``rule``."""
        everything = np.arange(self.size, dtype=np.int32)
        return int(np.count_nonzero(self.canonical(everything, rule) == everything))

    def params(self, ids: ArrayLike, dataset: str) -> Floats:
        """Return the number of parameters in millions, float64 ``[...]``, of the network trained on ``dataset``."""
        raise self._no_form("params")

    def flops(self, ids: ArrayLike, dataset: str) -> Floats:
        """Return the multiply-accumulates of one image in millions, float64 ``[...]``.

        Counted as NATS-Bench does: convolutions and the linear layer with its bias; no normalisation, pooling or sum.
        """
        raise self._no_form("macs")

    def closed_form(self, name: str, ids: ArrayLike, dataset: str) -> Floats:
        """Return one of ``closed_forms``, float64 ``[...]``: ``params`` or ``macs``, both in millions."""
        if name not in self.closed_forms:
            raise self._no_form(name)
        return self.params(ids, dataset) if name == "params" else self.flops(ids, dataset)

    def _no_form(self, name: str) -> UsageError:
        known = ", ".join(self.closed_forms) or "none"
        return UsageError(f"space {self.name} has no closed form of {name!r} (it has: {known})")

    # -- for people ------------------------------------------------------------------------------------------------

    def draw(self, arch: Any, ascii: bool = False) -> str:  # noqa: A002
        """Return the architecture as a small text picture, at most 80 columns, without a final line break."""
        from nasharness.spaces.drawing import draw_choices

        row = self.choices(np.asarray(self.parse(arch))).tolist()
        chosen = [options[choice] for options, choice in zip(self.options, row, strict=True)]
        return draw_choices(self.positions, chosen)
