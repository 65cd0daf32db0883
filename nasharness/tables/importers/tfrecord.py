"""Records of TensorFlow, and messages of protocol buffers, as far as NAS-Bench-101's file needs them; nothing is run.

A record is its length (8 bytes, little-endian), a checksum (4), the bytes, a checksum (4). The checksums (CRC-32C) are
not compared: in Python that would take minutes. What a record says is checked instead by who reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from nasharness.errors import DataError, UsageError

#: bytes of the largest record
LARGEST = 1 << 16


def records(file: Path) -> Iterator[bytes]:
    """The records of a file. Raises DataError where it is cut off or is none, UsageError where it cannot be read."""
    try:
        with file.open("rb") as stream:
            number = 0
            while head := stream.read(12):
                length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else -1
                if not 0 <= length <= LARGEST:
                    raise DataError(f"{file}: record {number} is damaged, or this is no file of records of TensorFlow")
                body = stream.read(length + 4)
                if len(body) != length + 4:
                    raise DataError(f"{file}: cut off in record {number}")
                yield body[:length]
                number += 1
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from None


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Number and value of each field of a message: a whole number, a double, or bytes. Raises ValueError if damaged."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == 1:
            yield key >> 3, struct.unpack_from("<d", _exactly(message, at, 8))[0]
            at += 8
        elif kind == 2:
            length, at = _varint(message, at)
            yield key >> 3, _exactly(message, at, length)
            at += length
        else:
            raise ValueError(f"a field of kind {kind}")


def _exactly(message: bytes, at: int, length: int) -> bytes:
    if at + length > len(message):
        raise ValueError("cut off")
    return message[at : at + length]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("cut off")
        byte = message[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return value, at
    raise ValueError("a number that is too long")
