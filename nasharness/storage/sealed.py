"""Our own JSON files: read within limits, checked against a schema, and sealed with the SHA-256 of what they say.

A seal finds damage and edits. It is no signature: whoever can write the file can seal it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.storage.files import regular, write_json, writing

#: bytes of the largest file of ours; a study of 100,000 cells is smaller
LARGEST = 1 << 26
SEAL = "sha256"
#: control characters and marks that turn the direction of text, raw or escaped: they belong in no file of ours
_CONTROLS = re.compile(
    rb"\\u00[01][0-9a-fA-F]|\\u00(?:7[fF]|[89][0-9a-fA-F])|\\[bf]|\\u20(?:2[a-eA-E]|6[6-9])|[\x00-\x08\x0b-\x1f\x7f]"
    rb"|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` with the SHA-256 of its content under SEAL."""
    bare = {key: item for key, item in value.items() if key != SEAL}
    return {**bare, SEAL: _digest(bare)}


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record whole, or not at all, with its seal; numbers that are not finite become null.

    Raises DataError where it cannot be written.
    """
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    with writing(path, "free some space and resume", DataError):
        write_json(path, seal(finite))


def read_sealed(
    path: Path, schema: Any, advice: str, *, sealed: bool = True, missing: NasharnessError | None = None,
    error: type[NasharnessError] = DataError,
) -> dict[str, Any]:  # fmt: skip
    """Read a JSON object of the form ``schema``, a type that msgspec knows.

    ``advice``: what makes the file anew, for messages. ``sealed``: whether it must have a seal; where it has one, it
    must be right. ``missing``: what to raise where there is no file. Raises ``error`` in one line for anything else.
    """
    text = read_bytes(path, missing=missing, error=error, advice=advice)
    found = parse(text, schema, path, advice, error)
    written = found.get(SEAL)
    if (sealed or written is not None) and written != _digest({k: v for k, v in found.items() if k != SEAL}):
        why = "has no checksum of its content" if written is None else "is not what was written: its checksum differs"
        raise error(f"{path} {why}; {advice}")
    return found


def parse(
    text: bytes, schema: Any, what: object, advice: str, error: type[NasharnessError] = DataError
) -> dict[str, Any]:
    """The JSON object in ``text``, checked against ``schema``. Raises ``error`` in one line."""
    try:
        control = _CONTROLS.search(text)
        if control is not None:
            raise error(f"{what} is damaged: a control character at byte {control.start():,}; {advice}")
        found = msgspec.json.decode(text, type=dict[str, Any])
        msgspec.convert(found, schema)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        why = "nested too deeply" if isinstance(problem, RecursionError) else " ".join(str(problem).split())[:200]
        raise error(f"{what} is damaged: {why}; {advice}") from None
    return found


def convert(value: Any, schema: Any, what: object, advice: str) -> Any:
    """``value``, plain or with tensors in it, as ``schema``. Raises DataError in one line."""
    try:
        return msgspec.convert(value, schema)
    except (msgspec.MsgspecError, RecursionError) as problem:
        raise DataError(f"{what} is damaged: {' '.join(str(problem).split())[:200]}; {advice}") from None


def read_bytes(
    path: Path, *, missing: NasharnessError | None = None, error: type[NasharnessError] = DataError,
    advice: str = "", largest: int = LARGEST,
) -> bytes:  # fmt: skip
    """All of a regular file that is not larger than ``largest``. Raises ``missing`` or ``error``."""
    ending = f"; {advice}" if advice else ""
    try:
        with regular(path) as file:
            text: bytes = file.read(largest + 1)
    except FileNotFoundError as problem:
        raise (missing or error(f"no file {path}{ending}")) from problem
    except UsageError as problem:
        raise error(str(problem)) from None
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror or problem}{ending}") from problem
    if len(text) > largest:
        raise error(f"{path} is larger than {largest:,} bytes, which no such file is{ending}")
    return text


def read_text(path: Path, what: str = "", *, error: type[NasharnessError] = DataError, largest: int = LARGEST) -> str:
    """The text of a regular file in UTF-8, as ``read_bytes``. ``what``: what it is, for messages."""
    named = f"{what} {path}".strip()
    try:
        missing = error(f"cannot read {named}: no such file")
        text = read_bytes(path, missing=missing, error=error, largest=largest)
        return text.decode("utf-8-sig")  # editors of Windows put a byte-order mark first
    except UnicodeDecodeError as problem:
        raise error(f"{named} is not UTF-8 text: {problem.reason} at byte {problem.start:,}") from None


def _digest(value: Mapping[str, Any]) -> str:
    content = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
