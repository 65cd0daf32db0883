"""Tensors and plain values as bytes, and back: data and never code.

A file is the line MAGIC, the SHA-256 of all that follows in hexadecimal, a newline, the length of the header (8 bytes,
little-endian), the header in MessagePack, and the tensors' bytes in the header's order, each at a multiple
of ALIGN from where they begin. In the header a tensor is its number, and a tuple is a list that begins with a mark.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
import torch
from torch import Tensor

from nasharness.errors import DataError, UsageError
from nasharness.storage.files import allocate, regular

MAGIC = b"nasharness checkpoint 2\n"
ALIGN = 64
#: bytes of the largest header: everything but tensors
HEADER = 1 << 24
CHUNK = 1 << 24
#: what a text begins with that holds it, or a byte of a file's name that is no character
ESCAPED = "\0"
_TENSOR, _TUPLE = 1, 2
_START = len(MAGIC) + 65
_DTYPES = {
    name: getattr(torch, name)
    for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
                 "complex64")
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class _Shape(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A tensor in the header. ``last``: whether it is kept with its channels last."""

    dtype: str
    shape: tuple[int, ...]
    last: bool

    def size(self) -> int:
        """Bytes. Raises ValueError for what is no tensor."""
        if self.dtype not in _DTYPES or len(self.shape) > 16 or any(not 0 <= side < 1 << 48 for side in self.shape):
            raise ValueError(f"a tensor of dtype {self.dtype!r:.20} and shape {self.shape!s:.40}")
        size: int = math.prod(self.shape) * _DTYPES[self.dtype].itemsize
        return size


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    tensors: list[_Shape]
    value: dict[str, Any]


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value``: tensors, numbers, strings, bytes, None, and dicts, lists and tuples of these.

    Raises UsageError for anything else, naming where it is; OSError where there is no room.
    """
    tensors: list[Tensor] = []
    plain = _flat(value, tensors, "")
    shapes = [_Shape(_NAMES[t.dtype], tuple(t.shape), _channels_last(t)) for t in tensors]
    header = msgspec.msgpack.encode(_Header(shapes, plain))
    if len(header) > HEADER:
        raise UsageError(f"a checkpoint of {len(header):,} bytes besides its tensors; at most {HEADER:,} are kept")
    digest = hashlib.sha256()
    with path.open("wb") as file:
        allocate(file.fileno(), _START + 8 + len(header) + sum(_padded(shape.size()) for shape in shapes))
        file.write(MAGIC + b"0" * 64 + b"\n")
        for piece in _pieces(header, shapes, tensors):
            digest.update(piece)
            file.write(piece)
        file.truncate()
        file.seek(len(MAGIC))
        file.write(digest.hexdigest().encode())


def read(path: Path) -> dict[str, Any]:
    """Read what :func:`write` wrote, tensors on the CPU.

    Raises DataError for a file that is damaged or something else, OSError where it cannot be read, UsageError for a
    pipe or a device.
    """
    with regular(path) as file:
        _verify(path, file)
        size = os.fstat(file.fileno()).st_size
        file.seek(_START)
        length = int.from_bytes(file.read(8), "little")
        if length > min(HEADER, size - _START - 8):
            raise DataError(f"{path} is damaged: a header of {length:,} bytes")
        try:
            header = msgspec.msgpack.decode(file.read(length), type=_Header, ext_hook=_extension)
            sizes = [shape.size() for shape in header.tensors]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DataError(f"{path} is damaged: {' '.join(str(error).split())[:120]}") from None
        if _START + 8 + _padded(length + 8) - 8 + sum(map(_padded, sizes)) != size:
            raise DataError(f"{path} is damaged: its tensors do not fill it")
        file.seek(_START + _padded(length + 8))
        tensors = [_tensor(file, shape, count) for shape, count in zip(header.tensors, sizes, strict=True)]
    try:
        value: dict[str, Any] = _deep(header.value, tensors)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    return value


def _verify(path: Path, file: IO[bytes]) -> None:
    head = file.read(_START)
    if not head.startswith(MAGIC):
        raise DataError(f"{path} is not a checkpoint of nasharness that this version reads")
    digest = hashlib.sha256()
    while piece := file.read(CHUNK):
        digest.update(piece)
    if head[len(MAGIC) :] != digest.hexdigest().encode() + b"\n":
        raise DataError(f"{path} is damaged: its content is not what was written (SHA-256)")


def _pieces(header: bytes, shapes: list[_Shape], tensors: list[Tensor]) -> Iterator[bytes | memoryview]:
    yield len(header).to_bytes(8, "little")
    yield header
    yield bytes(_padded(len(header) + 8) - len(header) - 8)
    for shape, tensor in zip(shapes, tensors, strict=True):
        whole = tensor.detach().cpu()
        whole = whole.permute(0, 2, 3, 1) if shape.last else whole
        flat = whole.contiguous().reshape(-1).view(torch.uint8).numpy()
        yield flat.data if len(flat) else b""
        yield bytes(_padded(len(flat)) - len(flat))


def _tensor(file: IO[bytes], shape: _Shape, count: int) -> Tensor:
    sides = shape.shape
    stored = (sides[0], *sides[2:], sides[1]) if shape.last and len(sides) == 4 else sides
    tensor = torch.empty(stored, dtype=_DTYPES[shape.dtype])
    if count:
        into = tensor.reshape(-1).view(torch.uint8).numpy()
        if file.readinto(into.data) != count:  # type: ignore[attr-defined]
            raise DataError("damaged: it ends too early")
    file.seek(_padded(count) - count, os.SEEK_CUR)
    return tensor.permute(0, 3, 1, 2) if stored is not sides else tensor


def _padded(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)


def _flat(value: Any, tensors: list[Tensor], where: str) -> Any:
    if isinstance(value, Tensor):
        if value.dtype not in _NAMES or value.layout != torch.strided:
            raise UsageError(f"a checkpoint cannot keep {where}: a tensor of {value.dtype}, {value.layout}")
        tensors.append(value)
        return msgspec.msgpack.Ext(_TENSOR, (len(tensors) - 1).to_bytes(4, "little"))
    if isinstance(value, Mapping):
        wrong = next((key for key in value if key is not None and type(key) not in (str, int, float, bool)), None)
        if wrong is not None:
            raise UsageError(f"a checkpoint cannot keep {where}: a key {wrong!r:.40}, expected texts or numbers")
        return {_text(key): _flat(item, tensors, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_flat(item, tensors, f"{where}[{place}]") for place, item in enumerate(value)]
        return [msgspec.msgpack.Ext(_TUPLE, b""), *items] if isinstance(value, tuple) else items
    if value is None or type(value) in (bool, float, str, bytes) or (type(value) is int and abs(value) < 1 << 63):
        return _text(value)
    raise UsageError(
        f"a checkpoint cannot keep {where}: {type(value).__name__} {value!r:.40}; expected tensors, numbers, texts, "
        "and lists and dictionaries of these"
    )


def _text(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        value.replace(ESCAPED, "\ud800").encode()
    except UnicodeEncodeError:
        return ESCAPED + value.encode("unicode_escape").decode("ascii")
    return value


class _Mark(int):
    """The number of a tensor; -1 for what begins a tuple."""


def _extension(code: int, data: memoryview) -> _Mark:
    if code == _TENSOR and len(data) == 4:
        return _Mark(int.from_bytes(data, "little"))
    if code == _TUPLE and not data:
        return _Mark(-1)
    raise ValueError("an unknown kind of value")


def _deep(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, dict):
        return {_deep(key, tensors): _deep(item, tensors) for key, item in value.items()}
    if isinstance(value, str):
        return value if not value.startswith(ESCAPED) else value[1:].encode("ascii").decode("unicode_escape")
    if isinstance(value, list):
        if value and isinstance(value[0], _Mark) and value[0] == -1:
            return tuple(_deep(item, tensors) for item in value[1:])
        return [_deep(item, tensors) for item in value]
    if isinstance(value, _Mark):
        if not 0 <= value < len(tensors):
            raise ValueError("it refers to a tensor that is not there")
        return tensors[value]
    return value
