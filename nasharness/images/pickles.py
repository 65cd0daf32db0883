"""Reads a batch of images pickled by Python 2 or 3: a dictionary of numpy arrays, lists and strings, and nothing else.

CIFAR's batches are pickles of Python 2 (protocol 2), the downsampled ImageNet's of Python 3. Both need numpy's array
constructor; a stand-in records shape and bytes, and no numpy code runs before they have been checked.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError
from nasharness.images.base import Labels, Pixels
from nasharness.storage.contained import contained
from nasharness.tables.unpickle import NUMPY_SCALARS, OLD_PROTOCOLS, Allowed, Inert, UnsafePickle, loads

#: bytes of one batch: CIFAR-100's training images are 155 MB
LIMIT: Final = 1 << 28


class _Array(Inert):
    """A pickled array of plain numbers; ``values`` once its state was given."""

    __slots__ = ("values",)
    values: NDArray[Any]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:  # version, shape, dtype, Fortran order, bytes
            raise UnsafePickle("gives an array a state that is none")
        _, shape, dtype, fortran, raw = state
        if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
            raise UnsafePickle("makes an array of no shape")
        order, code = getattr(dtype, "order", None), getattr(dtype, "code", None)
        if isinstance(raw, str):  # a string of Python 2, which holds bytes
            raw = raw.encode("latin1")
        if order is None or code is None or not isinstance(raw, bytes):
            raise UnsafePickle("makes an array of something else than a plain number's bytes")
        plain = np.dtype(f"{order}{code}")
        if len(raw) != math.prod(shape) * plain.itemsize:
            raise DataError(f"damaged: an array of shape {shape} has {len(raw):,} bytes")
        self.values = np.frombuffer(raw, dtype=plain).reshape(shape, order="F" if fortran else "C")


class _Name(Inert):
    """A class that is only named, as an argument."""

    __slots__ = ()

    def __init__(self, *args: object) -> None:
        if args:
            raise UnsafePickle("calls numpy.ndarray with arguments")


def _empty(*args: object) -> _Array:
    return _Array()


_ALLOWED: Final[Allowed] = {
    **OLD_PROTOCOLS,
    **NUMPY_SCALARS,
    ("numpy", "ndarray"): _Name,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty for core in ("core", "_core")},
}


def read_batch(data: bytes, *, what: str) -> dict[str, object]:
    """Return the dictionary that ``data`` pickles, arrays as numpy arrays, keys as strings.

    Raises UnsafePickle for a pickle that asks for more than arrays, DataError for a damaged one; ``what`` names it.
    """
    found: dict[str, object] = contained(f"{__name__}:batch_here", what, len(data), data, what)
    return found


def batch_here(data: bytes, what: str) -> dict[str, object]:
    """``read_batch``, in the process that reads."""
    batch = loads(data, _ALLOWED, what=what, limit=LIMIT, encoding="latin1")
    if not isinstance(batch, dict):
        raise DataError(f"{what}: holds a {type(batch).__name__}, expected a dictionary with 'data' and 'labels'")
    found: dict[str, object] = {}
    for key, value in batch.items():
        name = key.decode("latin1") if isinstance(key, bytes) else str(key)
        found[name] = getattr(value, "values", None) if isinstance(value, _Array) else value
    return found


def images_of(batch: dict[str, object], side: int, labels: str, *, what: str) -> tuple[Pixels, Labels]:
    """Return pixels uint8 ``[n, 3, side, side]`` and labels int64 ``[n]`` of a batch; ``labels`` is their key.

    Raises DataError where the batch is not of that shape.
    """
    pixels, answers = batch.get("data"), batch.get(labels)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
        found = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(f"{what}: 'data' is {found}, expected uint8 [n, {3 * side * side}]")
    if pixels.shape[1] != 3 * side * side:
        raise DataError(f"{what}: 'data' has {pixels.shape[1]:,} values an image, expected 3 x {side} x {side}")
    if isinstance(answers, np.ndarray) and answers.dtype.kind in "iu" and answers.ndim == 1:
        y = answers.astype(np.int64)
    elif isinstance(answers, list) and all(type(item) is int and abs(item) < 1 << 31 for item in answers):
        y = np.array(answers, dtype=np.int64)
    else:
        raise DataError(f"{what}: {labels!r} is {type(answers).__name__}, expected a list of whole numbers")
    if len(y) != len(pixels):
        raise DataError(f"{what}: {len(pixels):,} images but {len(y):,} labels")
    return pixels.reshape(-1, 3, side, side), y


def strings_of(batch: dict[str, object], key: str) -> tuple[str, ...] | None:
    """The list of strings under ``key``, None where there is none."""
    names = batch.get(key)
    if isinstance(names, list) and names and all(isinstance(name, (str, bytes)) for name in names):
        return tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in names)
    return None
