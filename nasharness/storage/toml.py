"""TOML files written by hand, and the line on which each key of theirs stands, for messages."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nasharness.errors import NasharnessError, UsageError
from nasharness.storage.sealed import read_text

#: bytes of the largest file, and dots in a line of it
LARGEST, DOTS = 1 << 18, 200


class Lines:
    """Finds the line on which a key or a value of a file stands; tomllib does not tell."""

    def __init__(self, path: Path | None, text: str) -> None:
        self.path = path
        self.text = text.splitlines()

    def prefix(self, line: int | None = None) -> str:
        """How a message about the file begins; nothing where the plan came from options."""
        if self.path is None:
            return ""
        return f"{self.path}: " if line is None else f"{self.path}, line {line}: "

    def find(self, key: str, value: str | None = None, section: str = "") -> int | None:
        """1-based line of ``key`` in ``[section]``, or of the first ``"value"`` from there on."""
        here, found = "", None
        for number, line in enumerate(self.text, 1):
            header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
            if header and "=" not in line.partition("]")[0]:
                here = re.sub(r"""["']|\s""", "", header[1])
            elif here == section and re.match(rf"""\s*(["']?){re.escape(key)}\1\s*[=.]""", line):
                found = number
                break
        if found is None and section:
            for number, line in enumerate(self.text, 1):
                if re.sub(r"""["']|\s""", "", line).startswith(f"[{section}.{key}]"):
                    return number
            return self.find(section.rpartition(".")[2], None, section.rpartition(".")[0])
        if found is None:
            headers = [n for n, line in enumerate(self.text, 1) if re.match(rf"\s*\[+[^\]]*{re.escape(key)}", line)]
            return headers[0] if headers else None
        if value is not None:
            for number in range(found, len(self.text) + 1):
                if re.search(rf"""["']{re.escape(value)}["']""", self.text[number - 1]):
                    return number
        return found

    @contextmanager
    def at(self, key: str, value: str | None = None, section: str = "") -> Iterator[None]:
        """Add file and line to the message of an error that is raised within."""
        try:
            yield
        except NasharnessError as error:
            if self.path is None:
                raise
            raise type(error)(self.prefix(self.find(key, value, section)) + str(error)) from None


def read_toml(path: str | os.PathLike[str], what: str) -> tuple[Lines, dict[str, Any]]:
    """Read a TOML file: where its keys stand, and its values. Raises UsageError with the line of what is wrong.

    ``what``: what the file is, for messages.
    """
    file = Path(path)
    text = read_text(file, f"the {what}", error=UsageError, largest=LARGEST)
    lines = Lines(file, text)
    for number, line in enumerate(lines.text, 1):
        if line.count(".") > DOTS:  # each dot of a key costs as many steps as there were before it
            raise UsageError(f"{lines.prefix(number)}more than {DOTS} dots in a line")
    try:
        return lines, tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        if isinstance(error, tomllib.TOMLDecodeError):
            raise _not_toml(lines, error) from None
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(f"{lines.prefix()}not a {what}: {why}") from None


def _not_toml(lines: Lines, error: tomllib.TOMLDecodeError) -> UsageError:
    found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    reason = re.sub(r"\s*\(at [^)]*\)", "", str(error))
    line = int(found[1]) if found else len(lines.text)
    shown = f": {lines.text[line - 1].strip()!r}" if 0 < line <= len(lines.text) else ""
    return UsageError(f"{lines.prefix(line)}not TOML ({reason}){shown}")
