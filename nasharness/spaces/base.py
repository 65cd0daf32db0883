"""What every tabular search space offers: integer choices, an index and a published string for each architecture."""

from __future__ import annotations

import operator
import re
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError, unknown

Indices = NDArray[np.int32]
Choices = NDArray[np.int8]
Floats = NDArray[np.float64]
Array = TypeVar("Array", bound=NDArray[Any])

#: Classes and image side of each data set, the two numbers that params and FLOPs depend on.
DATASETS: dict[str, tuple[int, int]] = {
    "cifar10": (10, 32),
    "cifar10-valid": (10, 32),
    "cifar100": (100, 32),
    "ImageNet16-120": (120, 16),
}
#: Rules by which two architectures count as the same network (see ``isomorphism.py``).
RULES = ("corrected", "published", "skip")

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")


def frozen(array: Array) -> Array:
    """Return ``array`` made read-only: a cached table that a caller could write to would corrupt every later run."""
    array.setflags(write=False)
    return array


class Space:
    """A finite product space: an architecture takes one option at each of ``len(sizes)`` positions.

    Everything is vectorised over leading axes: indices have any shape ``[...]``, choices ``[..., positions]``.
    Randomness comes in as float64 uniforms in [0, 1), never from a generator of the space's own, so that a batch of
    runs can draw in lockstep from each run's own stream. Indices and choices that come from outside are checked:
    a negative or too large one raises `UsageError`, it never wraps round.

    A *code* is the mixed-radix number of the choices, position 0 most significant. The index of an architecture is its
    code unless a subclass overrides ``_order``.
    """

    name: ClassVar[str]
    #: one line for listings
    summary: ClassVar[str] = ""
    #: number of options at each position, e.g. ``(5, 5, 5, 5, 5, 5)``
    sizes: ClassVar[tuple[int, ...]]
    #: names of the options at each position, in the order of their integers
    options: ClassVar[tuple[tuple[str, ...], ...]]
    #: names of the positions, e.g. ``0->1``
    positions: ClassVar[tuple[str, ...]]
    #: whether the options of a position are ordered (widths) rather than categories (operations)
    ordinal: ClassVar[bool]
    #: the form of the published string, for error messages
    string_form: ClassVar[str]
    #: data sets for which published measurements exist
    datasets: ClassVar[tuple[str, ...]] = ("cifar10", "cifar100", "ImageNet16-120")
    #: uniforms that one mutation consumes
    mutation_uniforms: ClassVar[int] = 1

    # -- sizes -----------------------------------------------------------------------------------------------------

    @cached_property
    def size(self) -> int:
        """Number of architectures."""
        return int(np.prod(self.sizes))

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"Space({self.name!r}, size={self.size})"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        # Sent to another process by name: tables are rebuilt there in milliseconds, and a space stays a singleton.
        from nasharness.spaces import get

        return get, (self.name,)

    @property
    def uniforms_per_sample(self) -> int:
        """Uniforms that one `sample` consumes: one for each position."""
        return len(self.sizes)

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
        digits = self._code_of_index[:, None] // self._places % np.array(self.sizes, dtype=np.int32)
        return frozen(digits.astype(np.int8))

    @cached_property
    def _neighbours(self) -> Indices:
        columns = []
        for position, count in enumerate(self.sizes):
            here = self._choices[:, position, None].astype(np.int32)
            other = np.arange(count - 1, dtype=np.int32)
            other = other + (other >= here)  # skip the option already taken
            columns.append(self._code_of_index[:, None] + (other - here) * self._places[position])
        return frozen(self._index_of_code[np.concatenate(columns, axis=1)])

    @cached_property
    def _canonical(self) -> dict[str, Indices]:
        return {}

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

    def _not_uniforms(self) -> UsageError:
        return UsageError(f"randomness for space {self.name} must be uniforms in [0, 1); got a number outside")

    # -- architecture <-> index ------------------------------------------------------------------------------------

    def choices(self, ids: ArrayLike) -> Choices:
        """Return the option taken at each position, int8 ``[..., positions]``, of indices ``[...]``."""
        return self._choices.take(self._checked(ids), axis=0)

    def index(self, choices: ArrayLike) -> Indices:
        """Return the index, int32 ``[...]``, of choices ``[..., positions]``.

        Raises `UsageError` where the last axis has the wrong length or a choice is not one of its position's options.
        """
        array = np.asarray(choices)
        count = len(self.sizes)
        if not array.ndim or array.shape[-1] != count:
            raise UsageError(
                f"choices of space {self.name} have shape [..., {count}], one for each of "
                f"{', '.join(self.positions)}; got shape {list(array.shape)}"
            )
        if array.dtype.kind not in "iu" and array.size:
            raise UsageError(f"choices of space {self.name} must be whole numbers, not {array.dtype} values")
        if array.size and (array.min() < 0 or array.max() >= min(self.sizes)):
            bad = (array < 0) | (array >= np.array(self.sizes))
            if bad.any():
                where = tuple(np.argwhere(bad)[0])
                position = int(where[-1])
                raise UsageError(
                    f"choice {array[where]} at position {position} ({self.positions[position]}) is outside space "
                    f"{self.name}: expected 0 to {self.sizes[position] - 1} ({', '.join(self.options[position])})"
                )
        # float64 represents every code exactly, and only floating-point products run at full speed.
        codes = array.astype(np.float64) @ self._places.astype(np.float64)
        return self._index_of_code.take(codes.astype(np.intp))

    # -- published strings -----------------------------------------------------------------------------------------

    def strings(self) -> list[str]:
        """Return the published string of every architecture, in index order. Cached: treat it as read-only."""
        return self._strings

    @cached_property
    def _strings(self) -> list[str]:
        raise NotImplementedError

    def string(self, arch: int) -> str:
        """Return the published string of index ``arch``."""
        return self._strings[self._one(arch)]

    def from_string(self, text: str) -> int:
        """Return the index of a published string; blanks around it do not matter.

        Raises `UsageError` quoting the text, the offending slot and the expected form.
        """
        raise NotImplementedError

    def parse(self, value: str | int | np.integer) -> int:
        """Return the index meant by an index (any integer type), its digits as text, or a published string."""
        if not isinstance(value, str):
            return self._one(value)
        text = value.strip()
        if _WHOLE_NUMBER.fullmatch(text):
            # Python refuses to convert thousands of digits; no index has more than ten.
            number = int(text) if len(text) <= 20 else None
            if number is None or not 0 <= number < self.size:
                raise self._out_of_range(text if len(text) <= 40 else f"{text[:40]}...")
            return number
        return self.from_string(text)

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

    # -- drawing at random -----------------------------------------------------------------------------------------

    def sample(self, u: ArrayLike) -> Indices:
        """Return int32 ``[...]``: an independent uniform option at each position from uniforms ``[..., positions]``."""
        uniforms = self._last_axis(u, len(self.sizes), "sampling")
        if uniforms.size and not (uniforms.min() >= 0 and uniforms.max() < 1):
            raise self._not_uniforms()
        codes: Floats = np.floor(uniforms * np.array(self.sizes)) @ self._places.astype(np.float64)
        return self._index_of_code.take(codes.astype(np.intp))

    def sample_index(self, u: ArrayLike) -> Indices:
        """Return int32 ``[...]``: a uniform architecture for each uniform of ``[...]``.

        The distribution is that of `sample`, at one uniform each.
        """
        return self._outcomes(u, self.size)

    def mutate(self, ids: ArrayLike, u: ArrayLike) -> Indices:
        """Return one mutant for each of ``ids`` ``[...]``, int32, by NATS-Bench's rule for the space.

        ``u``: uniforms ``[..., mutation_uniforms]``; its leading axes and those of ``ids`` broadcast.
        """
        raise NotImplementedError

    def neighbours(self, ids: ArrayLike) -> Indices:
        """Return int32 ``[..., k]``: every architecture that differs at exactly one position.

        Order: by position, then by ascending option, the option already taken left out.
        """
        return self._neighbours.take(self._checked(ids), axis=0)

    # -- same networks ---------------------------------------------------------------------------------------------

    def canonical(self, ids: ArrayLike, rule: str = "corrected") -> Indices:
        """Return int32 ``[...]``: the lowest index of each architecture's isomorphism class under ``rule``.

        Rules (on tss; sss has no two equal networks): ``corrected``, 5,390 classes, to remove duplicates;
        ``published``, the 6,466 classes of the NAS-Bench-201 paper, to conform; ``skip``, 12,751 classes.
        """
        return self._canonical_table(rule).take(self._checked(ids))

    def classes(self, rule: str = "corrected") -> int:
        """Return the number of isomorphism classes under ``rule``."""
        table = self._canonical_table(rule)
        return int(np.count_nonzero(table == np.arange(self.size)))

    def _canonical_table(self, rule: str) -> Indices:
        if rule not in RULES:
            raise unknown("isomorphism rule", rule, RULES)
        table = self._canonical.get(rule)
        if table is None:
            table = self._canonical[rule] = frozen(self._compute_canonical(rule))
        return table

    def _compute_canonical(self, rule: str) -> Indices:
        return np.arange(self.size, dtype=np.int32)

    def is_constant(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Return bool ``[...]``: whether no path leads from the network's input to its output."""
        return np.zeros(self._checked(ids).shape, dtype=np.bool_)

    # -- cost in closed form ---------------------------------------------------------------------------------------

    def params(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """Return the number of parameters in millions, float64 ``[...]``, of the network trained on ``dataset``."""
        raise NotImplementedError

    def flops(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """Return the multiply-accumulates of one image in millions, float64 ``[...]``.

        Counted as NATS-Bench does: convolutions and the linear layer with its bias; no normalisation, pooling or sum.
        """
        raise NotImplementedError

    def _classes_and_side(self, dataset: str) -> tuple[int, int]:
        try:
            return DATASETS[dataset]
        except (KeyError, TypeError):
            raise unknown("dataset", dataset, DATASETS, "nasharness list datasets") from None

    # -- for people ------------------------------------------------------------------------------------------------

    def draw(self, arch: int, ascii: bool = False) -> str:  # noqa: A002
        """Return the architecture as a small text graph, at most 80 columns, without a final line break."""
        raise NotImplementedError
