"""Cut one huge pickle of many records into one small pickle per record, without ever building the huge object.

A whole archive in a single pickle (``{"meta_archs": ..., "arch2infos": {index: record}, ...}``) cannot be read within
bounded memory by the standard reader: it remembers every string it has met, for tss some 170 million, in case a later
part refers to one. Here the opcodes are walked once. A reference inside a record is renumbered; a reference to
something before the record (a name, numpy's dtype) is replaced by what it stands for.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterator

from nasharness.errors import DataError
from nasharness.tables.pickle_check import REFUSED
from nasharness.tables.unpickle import LIMIT, UnsafePickle

#: key under which the records are kept
KEY = b"arch2infos"
#: records whose objects are remembered for later ones to refer to: what is shared at all is shared from the start
REMEMBERED = 8
#: longest object that is remembered, in bytes
LONGEST = 4096
_MARK = -2
_STALE = -1
_SIZED = {**dict.fromkeys(b"\x8cCU\x8a", 1), **dict.fromkeys(b"XBT", 4), **dict.fromkeys(b"\x8d\x8e\x96", 8)}
_EMPTY = frozenset(b"N\x88\x89]})\x8f")
_ENDS = frozenset(b"KMJus")
_INTS = {ord("K"): 1, ord("M"): 2, ord("J"): 4}


class _More(Exception):  # noqa: N818 - not an error: the walk reached the end of what was read so far
    """More bytes are needed to go on."""


class Splitter:
    """Iterates over ``(index, pickle of the record)``; afterwards ``rest`` is the pickle of all else.

    ``chunks``: the stream, in pieces. In ``rest`` every record is replaced by None.
    Raises DataError for a stream that is damaged, or arranged in a way that no known writer uses.
    """

    def __init__(self, chunks: Iterator[bytes], what: str) -> None:
        self.what = what
        self.rest = b""
        self._chunks = chunks
        self._data = b""
        self._at = 0
        self._stack: list[int] = []
        self._memo = 0  # objects memorised so far
        self._known: dict[int, bytes] = {}  # memorised objects that may be referred to, as their opcodes
        self._plain: dict[int, bytes] = {}  # the same without memo opcodes
        self._local: dict[int, int] = {}  # numbers of memorised objects within the rest
        self._base = -1  # place of the key of the records on the stack
        self._last = 0  # opcode of the last key
        self._stopped = False

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        rest: list[bytes] = [b"\x80\x04"]
        records = size = 0
        while True:
            parts = self._segment(-1, True)
            rest += parts
            size += sum(map(len, parts))
            if size > LIMIT:
                raise DataError(f"{self.what}: what is no record is larger than {LIMIT:,} bytes")
            if self._stopped:
                break
            index = self._key()
            first = self._memo
            body = self._segment(first, records < REMEMBERED)
            rest.append(b"N")
            records += 1
            yield index, b"\x80\x04" + b"".join(body) + b"."
            if self._at > 1 << 22:
                self._data = self._data[self._at :]
                self._at = 0
        self.rest = b"".join(rest) + b"."

    def _segment(self, first: int, keep: bool) -> list[bytes]:
        """Walk one record (``first``: number of its first memorised object) or, with -1, up to the next record."""
        # Places in the stream are known for objects of this segment alone: the buffer moves between segments.
        stack = [item if item == _MARK else _STALE for item in self._stack]
        while True:
            self._stack = stack.copy()
            try:
                return self._walk(first, keep)
            except _More:
                self._read()
            except IndexError:
                raise DataError(f"{self.what}: damaged: the pickle takes more from its stack than is on it") from None

    def _read(self) -> None:
        if len(self._data) - self._at > LIMIT:
            raise DataError(f"{self.what}: a record or the list of names is larger than {LIMIT:,} bytes")
        for chunk in self._chunks:
            if chunk:
                self._data = self._data[self._at :] + chunk
                self._at = 0
                return
        raise DataError(f"{self.what}: truncated: the pickle ends too early; fetch the file again")

    def _key(self) -> int:
        at = self._at - 1
        for op, size in _INTS.items():
            if self._last == op:
                return int.from_bytes(self._data[at + 1 - size : at + 1], "little")
        raise DataError(f"{self.what}: a record under a key that is no number")

    def _walk(self, first: int, keep: bool) -> list[bytes]:
        data, at, stack, memo = self._data, self._at, self._stack, self._memo
        end = len(data)
        level = len(stack) + 1 if first >= 0 else -1
        parts: list[bytes] = []
        done, starts = at, dict[int, int]()
        push = stack.append
        while True:
            if at >= end:
                raise _More
            start, op = at, data[at]
            if op in _ENDS and len(stack) == level:
                break
            at += 1
            if op == 0x47:  # G
                push(start)
                at += 8
            elif op == 0x94 or op in b"qr":
                if op != 0x94:
                    size = 1 if op == 0x71 else 4
                    at += size
                    if at > end:
                        raise _More
                    if int.from_bytes(data[at - size : at], "little") != memo:
                        raise DataError(f"{self.what}: the pickle numbers its objects out of order")
                    parts += (data[done:start], b"\x94")
                    done = at
                if keep:
                    starts[stack[-1]] = memo
                    self._remember(memo, data, stack[-1], start)
                if first < 0:
                    self._local[memo] = len(self._local)
                memo += 1
            elif op in _INTS:
                at += _INTS[op]
                push(start)
                if first < 0 and self._is_key(stack):
                    if at > end:
                        raise _More
                    self._last = op
                    break
            elif op in _SIZED:
                width = _SIZED[op]
                if at + width > end:
                    raise _More
                size = int.from_bytes(data[at : at + width], "little")
                if size > LIMIT:
                    raise DataError(f"{self.what}: damaged: declares an object of {size:,} bytes")
                at += width + size
                push(start)
                if first < 0 and data[at - size : at] == KEY:
                    self._base = len(stack) - 1
            elif op in _EMPTY:
                push(start)
            elif op == 0x28:  # MARK
                push(_MARK)
            elif op in b"hj":
                size = 1 if op == 0x68 else 4
                at += size
                if at > end:
                    raise _More
                number = int.from_bytes(data[at - size : at], "little")
                parts += (data[done:start], self._reference(number, first, memo))
                done = at
                push(start)
            elif op in b"usea\x90b":
                if op in b"ue\x90":
                    while stack.pop() != _MARK:
                        pass
                else:
                    del stack[-2 if op == 0x73 else -1 :]
                if keep and stack[-1] in starts:
                    self._remember(starts[stack[-1]], data, stack[-1], at)
            elif op == 0x74 or op == 0x91 or op in b"ld":
                begin = start
                while stack[-1] != _MARK:
                    begin = stack.pop()
                stack[-1] = min(begin, start) if begin >= 0 else _STALE
                if stack[-1] >= 0 and op != 0x91:
                    stack[-1] = self._mark_before(data, stack[-1])
            elif op in b"\x85\x86\x87R\x81\x93":
                count = {0x85: 1, 0x86: 2, 0x87: 3}.get(op, 2)
                begin = stack[-count]
                if begin == _MARK:
                    raise IndexError
                del stack[-count:]
                push(begin)
            elif op == 0x63:  # GLOBAL, up to protocol 3
                stop = data.find(b"\n", data.find(b"\n", at) + 1)
                if stop < 0 or data.find(b"\n", at) < 0:
                    raise _More
                at = stop + 1
                push(start)
            elif op == 0x95 or op == 0x80:
                parts.append(data[done:start])
                at += 8 if op == 0x95 else 1
                done = at
            elif op == 0x2E:
                if first >= 0:
                    raise DataError(f"{self.what}: damaged: the pickle ends inside a record")
                self._stopped = True
                break
            else:
                name = REFUSED.get(op)
                if name:
                    raise UnsafePickle(f"{self.what}: refused: opcode {name}; nothing of it was run")
                raise DataError(f"{self.what}: damaged: byte {op:#04x} is no opcode that such a file uses")
        if at > end:
            raise _More
        parts.append(data[done:at])
        self._at, self._memo = at, memo
        return parts

    def _mark_before(self, data: bytes, begin: int) -> int:
        """Where an object that starts with a MARK starts, given its first part."""
        return begin - 1 if begin > 0 and data[begin - 1] == 0x28 else _STALE

    def _is_key(self, stack: list[int]) -> bool:
        """Whether the number just pushed is the key of a record."""
        base = self._base
        if base < 0 or len(stack) < base + 3:
            return False
        if stack[base + 2] == _MARK:
            return (len(stack) - base) % 2 == 0
        return len(stack) == base + 3

    def _remember(self, number: int, data: bytes, start: int, end: int) -> None:
        if start >= 0 and end - start <= LONGEST:
            self._known[number] = data[start:end]
        else:
            self._known.pop(number, None)
        self._plain.pop(number, None)

    def _reference(self, number: int, first: int, memo: int) -> bytes:
        if number >= memo:
            raise DataError(f"{self.what}: damaged: refers to object {number}, which it has not built")
        if first >= 0 and number >= first:
            return b"j" + struct.pack("<I", number - first)
        if first < 0 and number in self._local:
            return b"j" + struct.pack("<I", self._local[number])
        return self._expand(number, 0)

    def _expand(self, number: int, depth: int) -> bytes:
        """The opcodes that build a remembered object anew."""
        if number in self._plain:
            return self._plain[number]
        if number not in self._known or depth > 20:
            raise DataError(
                f"{self.what}: its records share objects in a way that this reader does not follow; "
                "import the folder of single records or its .tar instead"
            )
        raw = self._known[number] + b"."
        tokens = [(op.name, arg, place) for op, arg, place in pickletools.genops(raw)]
        places = [place for _, _, place in tokens[1:]]
        out = []
        for (name, arg, place), stop in zip(tokens, places, strict=False):
            if name in ("BINGET", "LONG_BINGET"):
                out.append(self._expand(int(arg or 0), depth + 1))
            elif name not in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "FRAME"):
                out.append(raw[place:stop])
        self._plain[number] = b"".join(out)
        if len(self._plain[number]) > 4 * LONGEST:
            raise DataError(f"{self.what}: damaged: a shared object of more than {4 * LONGEST:,} bytes")
        return self._plain[number]
