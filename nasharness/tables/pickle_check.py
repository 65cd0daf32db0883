"""Walk over a pickle's opcodes without running it, and say what no honest file does.

The C reader trusts sizes that the file declares: a memo index of 10^9 makes it clear sixteen gigabytes, a tuple of
tuples of tuples with shared parts takes exponential time to hash, a deep one overflows the C stack. Here the stack and
the memo are simulated with one number per object, the work that hashing it would take.
"""

from __future__ import annotations

import struct

#: largest work of hashing one nested tuple, in objects visited; also bounds how deep tuples nest
HASH_WORK = 256
#: largest work of hashing long tuples in the whole file
TOTAL_WORK = 10_000_000
#: operations of the longest pickle, and objects that it may remember; HW-NAS-Bench's takes about two million
OPERATIONS, MEMO = 20_000_000, 4_000_000
#: longest number, in bytes or characters
NUMBER = 1_000
#: opcodes that reach past the globals that a reader allows
REFUSED = {
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    ord("P"): "PERSID",
    ord("Q"): "BINPERSID",
    ord("i"): "INST",
    ord("o"): "OBJ",
    0x92: "NEWOBJ_EX",
    0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
}
_FIXED = {ord("K"): 1, ord("M"): 2, ord("J"): 4, ord("G"): 8}
_SIZED = {
    **dict.fromkeys(b"\x8cCU\x8a", "<B"),
    **dict.fromkeys(b"XBT\x8b", "<I"),
    **dict.fromkeys(b"\x8d\x8e\x96", "<Q"),
}
_NUMBERS = frozenset(b"\x8a\x8b")
_LINES = frozenset(b"ILSVF")
_EMPTY = frozenset(b"N\x88\x89]}\x8f)")
_MARK = -1


class _Bad(Exception):  # noqa: N818 - never leaves this file
    """What is wrong with the pickle."""


def check(data: bytes) -> str:
    """Return what is wrong with the pickle ``data``, or an empty string.

    A text that starts with ``refused`` tells of an attempt on the reader, ``damaged`` of bytes that are no pickle.
    Takes about half a microsecond per opcode and memory for one integer per object.
    """
    try:
        _walk(data)
    except _Bad as problem:
        return str(problem)
    except (IndexError, struct.error):
        return "damaged: the pickle ends too early, or takes more from its stack than is on it"
    return ""


def _walk(data: bytes) -> None:
    stack: list[int] = []
    memo: dict[int, int] = {}
    spent = 0
    at, end = 0, len(data)
    push = stack.append
    left = OPERATIONS
    while True:
        op = data[at]
        at += 1
        left -= 1
        if left < 0 or len(memo) > MEMO:
            raise _Bad(
                f"refused: more than {OPERATIONS:,} operations, or {MEMO:,} objects remembered; nothing of it was run"
            )
        if op in _FIXED:
            at += _FIXED[op]
            push(1)
        elif op == 0x94:
            memo[len(memo)] = stack[-1]
        elif op in _SIZED:
            at, size = _sized(data, at, op)
            if op in _NUMBERS and size > NUMBER:
                raise _Bad(f"refused: a number of {size:,} bytes")
            push(1)
        elif op in _EMPTY:
            push(1)
        elif op == 0x28:
            push(_MARK)
        elif op == 0x2E:
            return
        elif op in REFUSED:
            raise _Bad(f"refused: opcode {REFUSED[op]}, which no format read here uses; nothing of it was run")
        elif op in b"hj":
            index = data[at] if op == 0x68 else struct.unpack_from("<I", data, at)[0]
            at += 1 if op == 0x68 else 4
            push(_recall(memo, index))
        elif op in b"qr":
            index = data[at] if op == 0x71 else struct.unpack_from("<I", data, at)[0]
            at += 1 if op == 0x71 else 4
            _remember(memo, index, stack[-1], end)
        elif op == 0x80:
            at += 1
        elif op == 0x95:
            if struct.unpack_from("<Q", data, at)[0] > end - at:
                raise _Bad("damaged: a frame is longer than the file")
            at += 8
        elif op in b"gp" or op in _LINES or op == 0x63:
            at = _text(data, at, op, stack, memo)
        else:
            spent += _shape(op, stack)
            if spent > TOTAL_WORK:
                raise _Bad("refused: keys that take for ever to hash; nothing of it was run")
        if at > end:
            raise _Bad("damaged: the pickle ends too early")


def _sized(data: bytes, at: int, op: int) -> tuple[int, int]:
    layout = _SIZED[op]
    size = struct.unpack_from(layout, data, at)[0]
    at += struct.calcsize(layout)
    if size > len(data) - at:
        raise _Bad(f"damaged: declares {size:,} bytes where {len(data) - at:,} are left")
    return at + size, size


def _recall(memo: dict[int, int], index: int) -> int:
    if index not in memo:
        raise _Bad(f"damaged: refers to object {index}, which it has not built")
    return memo[index]


def _remember(memo: dict[int, int], index: int, work: int, end: int) -> None:
    if not 0 <= index <= end:
        raise _Bad(f"refused: memo index {index:,} in a pickle of {end:,} bytes; nothing of it was run")
    memo[index] = work


def _text(data: bytes, at: int, op: int, stack: list[int], memo: dict[int, int]) -> int:
    """The opcodes whose argument ends with the line: protocol 0, and GLOBAL up to protocol 3."""
    stop = data.find(b"\n", at)
    if stop < 0:
        raise _Bad("damaged: the pickle ends too early")
    line = data[at:stop]
    if op in b"gp":
        if not line.isdigit() or len(line) > 12:
            raise _Bad("damaged: a memo index that is no number")
        if op == 0x67:
            stack.append(_recall(memo, int(line)))
        else:
            _remember(memo, int(line), stack[-1], len(data))
        return stop + 1
    if op == 0x63:
        stop = data.find(b"\n", stop + 1)
        if stop < 0:
            raise _Bad("damaged: the pickle ends too early")
    elif op in b"ILF" and len(line) > NUMBER:
        raise _Bad(f"refused: a number of {len(line):,} digits")
    stack.append(1)
    return stop + 1


def _shape(op: int, stack: list[int]) -> int:
    """The opcodes that build objects from those on the stack. Returns the work of hashing the long ones."""
    spent = 0
    if op in b"\x85\x86\x87":
        _gather(stack, len(stack) - (op - 0x84))
    elif op in b"t\x91":
        _gather(stack, _mark(stack))
    elif op in b"ld":
        spent = _long(stack, _mark(stack))
        stack.append(1)
    elif op in b"eu\x90":
        spent = _long(stack, _mark(stack))
    elif op == 0x31:
        del stack[_mark(stack) :]
    elif op == 0x61 or op == 0x30:
        _take(stack, 1)
    elif op == 0x73:
        spent = _long(stack, len(stack) - 2)
    elif op == 0x32:
        stack.append(stack[-1])
    elif op == 0x62:
        _take(stack, 1)
    elif op in b"R\x81\x93":
        work = min(sum(stack[-2:]), HASH_WORK)
        _take(stack, 2)
        stack.append(max(work, 1))
    else:
        raise _Bad(f"damaged: byte {op:#04x} is no opcode of a pickle")
    return spent


def _long(stack: list[int], start: int) -> int:
    """Take the objects from ``start`` on off the stack; return what hashing the long ones among them takes."""
    if start < 0:
        raise _Bad("damaged: takes more from its stack than is on it")
    work = sum(item for item in stack[start:] if item > HASH_WORK)
    del stack[start:]
    return work


def _mark(stack: list[int]) -> int:
    for at in range(len(stack) - 1, -1, -1):
        if stack[at] == _MARK:
            return at
    raise _Bad("damaged: takes more from its stack than is on it")


def _take(stack: list[int], count: int) -> None:
    if len(stack) < count:
        raise _Bad("damaged: takes more from its stack than is on it")
    del stack[-count:]


def _gather(stack: list[int], start: int) -> None:
    """Replace the objects from ``start`` on by one tuple of them."""
    if start < 0:
        raise _Bad("damaged: takes more from its stack than is on it")
    work = 1 + sum(abs(item) for item in stack[start:])
    # A long flat tuple is honest; what is refused is work that comes from nesting.
    if work > HASH_WORK and work > 2 * (len(stack) - start):
        raise _Bad("refused: tuples nested so that hashing them takes for ever; nothing of it was run")
    del stack[start:]
    stack.append(work)
