"""A pickle reader for files from strangers.

A pickle is a program; the standard reader lets it import and call anything. This one is given the few globals that a
format needs, each with a stand-in to call in its place, and refuses every other by name before anything of it runs.
Stand-ins are wrapped so that a pickle can call them and do nothing else with them.

What is left to a hostile file is to exhaust time, memory or the C stack. ``loads`` walks the opcodes first
(``check``) and refuses that as well. A caller that reads many files in a process of its own, where a crash, a hang or
an exhausted memory is contained and reported, may pass ``checked=True`` and save the walk.
"""

from __future__ import annotations

import bz2
import io
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

from nasharness.errors import DataError
from nasharness.tables.pickle_check import check

Allowed = Mapping[tuple[str, str], Callable[..., object]]
T = TypeVar("T")

#: most bytes that one pickle may hold after decompression, unless the caller says otherwise
LIMIT: Final = 1 << 26
#: most streams of bz2 in a file: one for each 900 kB where several processors packed it
STREAMS: Final = 1_000


class UnsafePickle(DataError):  # noqa: N818 - says what it found
    """A pickle asked for something that its format does not need; nothing of it ran."""


class _StandIn:
    """A function that a pickle may call and cannot change: no attributes to set, no state to build."""

    __slots__ = ("_function", "_name")

    _function: Callable[..., object]
    _name: str

    def __init__(self, function: Callable[..., object], name: str) -> None:
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "_name", name)

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise UnsafePickle(f"sets attribute {name!r} of {self._name}")

    def __setstate__(self, state: object) -> NoReturn:
        raise UnsafePickle(f"sets the state of {self._name}")


class Inert:
    """Base of the types that stand in for classes a pickle makes instances of; it can call them and nothing else.

    The NEWOBJ opcode insists on a type, so these are handed out as they are. A subclass has slots, so that no pickle
    can set an attribute, and a ``__setstate__`` of its own where its format needs one.
    """

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise UnsafePickle(f"sets the state of a {type(self).__name__.strip('_')}")


class Limited:
    """Limits an unpickler to stand-ins: the class to inherit from before ``pickle.Unpickler``."""

    def limit(self, allowed: Allowed, what: str) -> None:
        """Admit the globals ``allowed``; ``what`` names the file in messages."""
        self._allowed, self._what = stand_ins(allowed), what

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            known = ", ".join(sorted({f"{m}.{n}" for m, n in self._allowed})) or "none at all"
            raise UnsafePickle(
                f"{self._what}: refused: the pickle asks for {module}.{name}, which this format does not need "
                f"(expected: {known}); nothing of it was run"
            ) from None

    def persistent_load(self, pid: object, /) -> Any:
        raise UnsafePickle(f"{self._what}: refused: the pickle refers to an object outside itself (a persistent id)")


class _Reader(Limited, pickle.Unpickler):
    """The C unpickler, limited."""


def loads(
    data: bytes,
    allowed: Allowed | None = None,
    *,
    what: str,
    checked: bool = False,
    limit: int = LIMIT,
    encoding: str = "ASCII",
) -> object:
    """Return the object that the pickle ``data`` builds.

    ``allowed`` maps (module, name) to what is called in that global's place; builtin containers, strings and numbers
    need no global. ``what`` names the file in messages. ``checked=True`` skips the walk over the opcodes. ``encoding``:
    of the strings of Python 2; "latin1" keeps bytes as they are.
    Raises UnsafePickle for a refused pickle, DataError for one that is damaged or larger than ``limit`` bytes.
    """
    if len(data) > limit:
        raise DataError(f"{what}: the pickle is larger than {limit:,} bytes, which no file of this format is")
    if not checked:
        problem = check(data)
        if problem:
            kind = UnsafePickle if problem.startswith("refused") else DataError
            raise kind(f"{what}: {problem}")
    reader = _Reader(io.BytesIO(data), encoding=encoding)
    reader.limit(allowed or {}, what)
    return guarded(reader.load, what)


def guarded(load: Callable[[], T], what: str) -> T:
    """Return what ``load`` does; raise DataError, with ``what`` in front, for whatever a damaged pickle makes it raise.

    Raises UnsafePickle where the pickle asked for something that it was not given.
    """
    try:
        return load()
    except UnsafePickle as error:
        message = str(error)
        raise UnsafePickle(
            message if message.startswith(f"{what}: ") else f"{what}: refused: the pickle {message}"
        ) from None
    except DataError as error:
        raise DataError(f"{what}: {error}") from None
    except MemoryError:
        raise DataError(f"{what}: damaged: reading it takes more memory than any file of this format") from None
    except Exception as error:  # whatever a damaged pickle makes the C reader raise
        raise DataError(f"{what}: damaged or no pickle: {_brief(error)}") from None


def stand_ins(allowed: Allowed) -> dict[tuple[str, str], object]:
    """Wrap every allowed callable so that a pickle can call it and nothing else."""
    return {
        key: function
        if isinstance(function, type) and issubclass(function, Inert)
        else _StandIn(function, ".".join(key))
        for key, function in allowed.items()
    }


def bunzip2(data: bytes, *, what: str, limit: int = LIMIT) -> bytes:
    """Decompress bz2 ``data`` (one or more streams) to at most ``limit`` bytes.

    Raises DataError where it is no bz2, ends too early, or unpacks to more.
    """
    pieces: list[bytes] = []
    room = limit
    for _ in range(STREAMS):
        if not data:
            break
        stream = bz2.BZ2Decompressor()
        try:
            pieces.append(stream.decompress(data, room + 1))
        except (OSError, ValueError) as error:
            if pieces:  # bytes after the last stream: the bz2 tool ignores them as well
                break
            raise DataError(f"{what}: not bz2 data ({error})") from None
        room -= len(pieces[-1])
        if room < 0:
            raise DataError(f"{what}: unpacks to more than {limit:,} bytes, which no file of this format does")
        if not stream.eof:
            raise DataError(f"{what}: truncated: the bz2 data end too early; fetch the file again")
        data = stream.unused_data
    else:
        raise DataError(f"{what}: refused: more than {STREAMS:,} streams of bz2, which no file of this format has")
    if not pieces:
        raise DataError(f"{what}: empty file; fetch it again")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


# ---- stand-ins that several formats share


class _Dtype:
    """What a pickled ``numpy.dtype`` may be: one plain number. Holds the struct format that reads it."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: object) -> None:
        # (version, byte order, subdtype, names, fields, itemsize, alignment, flags[, metadata])
        if not isinstance(state, tuple) or len(state) < 8 or any(item is not None for item in state[2:5]):
            raise UnsafePickle("gives a numpy.dtype the state of something else than a plain number")
        if state[1] not in ("<", ">", "|", "="):
            raise UnsafePickle("gives a numpy.dtype an unknown byte order")
        self.order = "<" if state[1] in ("|", "=") else str(state[1])


_STRUCT = {
    **{"b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"},
    **{"f2": "e", "f4": "f", "f8": "d"},
}


def _dtype(code: object, *options: object) -> _Dtype:
    if not isinstance(code, str) or code.lstrip("<>=|") not in _STRUCT:
        raise UnsafePickle(f"makes a numpy.dtype of {_brief(code)}; only plain numbers are read")
    dtype = _Dtype(code.lstrip("<>=|"))
    if code[0] == ">":
        dtype.order = ">"
    return dtype


def _scalar(dtype: object, raw: object = None) -> float | int | bool:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise UnsafePickle("makes a numpy scalar of something else than a plain number's bytes")
    value: float | int | bool = struct.unpack(dtype.order + _STRUCT[dtype.code], raw)[0]
    return value


def _ordered_dict(*args: object) -> dict[object, object]:
    # A plain dict keeps its order as well, and has no attributes that a pickle could set.
    if not args:
        return {}
    if len(args) == 1 and isinstance(args[0], (list, tuple)) and all(_is_pair(item) for item in args[0]):
        return {item[0]: item[1] for item in args[0]}
    raise UnsafePickle("calls collections.OrderedDict with something else than pairs")


def _is_pair(item: object) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2


def _encode(text: object, encoding: object = "latin1") -> bytes:
    # How protocol 2, which knows no bytes, writes them.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickle("calls _codecs.encode for something else than latin1 text")
    return text.encode("latin1")


def _empty_bytes(*args: object) -> bytes:
    if args:
        raise UnsafePickle("calls bytes with arguments")
    return b""


def _set(*args: object) -> set[object]:
    if len(args) > 1 or not all(isinstance(item, (list, tuple)) for item in args):
        raise UnsafePickle("calls builtins.set with something else than a list")
    items: Iterable[object] = args[0] if args else ()  # type: ignore[assignment]
    return set(items)


ORDERED_DICT: Final[Allowed] = {("collections", "OrderedDict"): _ordered_dict}
#: numpy scalars of plain numbers, returned as Python numbers of the same value; no numpy code runs
NUMPY_SCALARS: Final[Allowed] = {
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy", "dtype"): _dtype,
}
#: what protocols 0 to 2 need to write bytes and sets
OLD_PROTOCOLS: Final[Allowed] = {
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,
    ("builtins", "bytes"): _empty_bytes,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
}


def _brief(thing: object) -> str:
    """Name a value or an error without printing a hostile one at length."""
    if isinstance(thing, Exception):
        return f"{type(thing).__name__}: {' '.join(str(thing)[:120].split())}"
    return repr(thing)[:60] if isinstance(thing, (str, int, float, bytes)) else f"a {type(thing).__name__}"
