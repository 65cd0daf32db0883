"""Files of JSON lines that grow by a row at a time, and that a crash may have cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nasharness.errors import DataError


def read_lines(path: Path, what: str, advice: str) -> tuple[list[dict[str, Any]], int]:
    """The rows of ``path`` and the bytes that they take; what lies behind was being written when something crashed.

    Raises DataError, ``PATH, line N: no WHAT; ADVICE``, for another line that is no row, and OSError.
    """
    content = path.read_bytes()
    rows: list[dict[str, Any]] = []
    whole = 0
    for line in content.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        end = whole + len(line) + 1
        if not isinstance(row, dict):
            if rows and not content[end:].strip(b"\n"):
                break  # the last one: a disk may have kept its end and lost what came before
            raise DataError(f"{path}, line {len(rows) + 1}: no {what}; {advice}")
        rows.append(row)
        whole = end
    return rows, whole
