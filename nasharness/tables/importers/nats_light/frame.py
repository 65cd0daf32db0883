"""Reads a pickled pandas DataFrame of plain columns, without pandas and without running anything of the pickle.

The few globals such a pickle needs are replaced by stand-ins that record what they are given; the columns are then
rebuilt from the blocks. Written against files of pandas 0.25, 1.0, 1.5, 2.2 and 3.1, protocols 2 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError
from nasharness.tables.unpickle import NUMPY_SCALARS, OLD_PROTOCOLS, Inert, UnsafePickle, loads


class _Object(Inert):
    """A ``numpy.dtype`` of Python objects: here, strings and numbers."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class _Array(Inert):
    """A pickled array; ``values`` is what was rebuilt of it."""

    __slots__ = ("values",)
    values: NDArray[Any]

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) == 5:  # numpy: version, shape, dtype, Fortran order, data
            self.values = _rebuild(state[1], state[2], bool(state[3]), state[4])
        elif isinstance(state, tuple) and state and isinstance(state[-1], _Array):  # pandas 3: dtype, array
            self.values = state[-1].values
        else:
            raise UnsafePickle("gives an array a state that is none")


class _Manager(Inert):
    """pandas' BlockManager: the axes, and blocks of columns with their places."""

    __slots__ = ("axes", "blocks")

    def __init__(self, blocks: object = (), axes: object = (), *rest: object) -> None:
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: object) -> None:
        try:
            newest = state[3]["0.14.1"]  # type: ignore[index]
            self.axes = newest["axes"]
            self.blocks = [(block["values"], block["mgr_locs"]) for block in newest["blocks"]]
        except (TypeError, KeyError, IndexError):
            raise UnsafePickle("gives a BlockManager a state that is none") from None


class _Frame(Inert):
    __slots__ = ("manager",)

    def __setstate__(self, state: object) -> None:
        manager = (state.get("_mgr") or state.get("_data")) if isinstance(state, dict) else None
        if not isinstance(manager, _Manager):
            raise UnsafePickle("gives a DataFrame a state without a BlockManager")
        self.manager = manager


class _Name(Inert):
    """A class that is only named, as an argument."""

    __slots__ = ()

    def __init__(self, *args: object) -> None:
        pass


def _rebuild(shape: object, dtype: object, fortran: bool, raw: object) -> NDArray[Any]:
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise UnsafePickle("makes an array of no shape")
    size = math.prod(shape)
    values: NDArray[Any]
    if isinstance(dtype, _Object):
        if not isinstance(raw, list) or not all(type(item) in (str, int, float, type(None)) for item in raw):
            raise UnsafePickle("makes an array of objects other than strings and numbers")
        values = np.empty(len(raw), dtype=object)
        values[:] = raw
    else:
        order, code = getattr(dtype, "order", None), getattr(dtype, "code", None)
        if order is None or not isinstance(raw, (bytes, bytearray)):
            raise UnsafePickle("makes an array of something else than a plain number's bytes")
        plain = np.dtype(f"{order}{code}")
        if len(raw) % plain.itemsize:
            raise DataError("damaged: an array's bytes are no whole number of values")
        values = np.frombuffer(bytes(raw), dtype=plain)
    if values.size != size:
        raise DataError(f"damaged: an array of shape {shape} has {values.size} values")
    return values.reshape(shape, order="F" if fortran else "C")


def _dtype(code: object, *options: object) -> object:
    if code in ("O", "O4", "O8"):
        return _Object()
    return NUMPY_SCALARS["numpy", "dtype"](code, *options)


def _frombuffer(raw: object, dtype: object, shape: object, order: object = "C") -> _Array:
    array = _Array()
    array.values = _rebuild(shape, dtype, order == "F", raw)
    return array


def _empty_array(*args: object) -> _Array:
    return _Array()


def _index(kind: object, parts: object) -> object:
    return parts.get("data") if isinstance(parts, dict) else None


def _block(values: object, places: object, *rest: object) -> tuple[object, object]:
    return values, places


def _slice(start: object, stop: object = None, step: object = None) -> range:
    if not all(type(item) is int for item in (start, stop, step or 1)) or step == 0:
        raise UnsafePickle("makes a slice of something else than whole numbers")
    return range(start, stop, step or 1)  # type: ignore[call-overload,no-any-return]


ALLOWED: dict[tuple[str, str], Callable[..., object]] = {
    **{key: OLD_PROTOCOLS[key] for key in (("_codecs", "encode"), ("__builtin__", "bytes"), ("builtins", "bytes"))},
    **{(module, "slice"): _slice for module in ("builtins", "__builtin__")},
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _Name,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    **{(module, "DataFrame"): _Frame for module in ("pandas.core.frame", "pandas")},
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): _Name,
    ("pandas.core.indexes.range", "RangeIndex"): _Name,
    ("pandas.core.indexes.numeric", "Int64Index"): _Name,
    ("pandas", "Index"): _Name,
    ("pandas", "RangeIndex"): _Name,
    ("pandas", "StringDtype"): _Name,
    ("pandas.arrays", "StringArray"): _Name,
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _empty_array,
}


def read_frame(content: bytes, what: str) -> dict[str, NDArray[Any]]:
    """Return the columns of the DataFrame pickled in ``content``, each [rows], by name, in their order.

    ``what`` names the file in messages. Raises UnsafePickle naming the first global that such a file does not need,
    DataError where the pickle is damaged or holds something else than a DataFrame of plain columns.
    """
    frame = loads(content, ALLOWED, what=what)
    if not isinstance(frame, _Frame) or not hasattr(frame, "manager"):
        raise DataError(f"{what}: the pickle holds a {type(frame).__name__.strip('_')}, expected a pandas DataFrame")
    try:
        return _columns(frame.manager)
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"{what}: the pickled DataFrame is damaged: {error}") from None


def _columns(manager: Any) -> dict[str, NDArray[Any]]:
    names = [str(name) for name in manager.axes[0].values.reshape(-1)]
    columns: dict[int, NDArray[Any]] = {}
    for values, places in manager.blocks:
        block = np.atleast_2d(values.values)
        where = list(places) if isinstance(places, range) and len(places) <= len(names) else places.values.tolist()
        if len(where) != len(block):
            raise ValueError(f"a block of {len(block)} columns has {len(where)} places")
        columns.update(zip(where, block, strict=True))
    if sorted(columns) != list(range(len(names))) or len({len(column) for column in columns.values()}) > 1:
        raise ValueError("its blocks are not the columns it names")
    return {name: columns[place] for place, name in enumerate(names)}
