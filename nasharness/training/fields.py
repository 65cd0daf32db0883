"""Values of our own JSON files, checked one by one as they are asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from nasharness.errors import DataError

#: characters; the longest text of a record is an architecture
_LONGEST = 5000


class Fields:
    """Values of a JSON object, each checked when it is asked for. Raises DataError, which names the key."""

    def __init__(self, values: object, source: str | os.PathLike[str]) -> None:
        if not isinstance(values, Mapping):
            raise DataError(f"{source} is damaged: expected an object, found {values!r:.40}")
        self.values: Mapping[str, Any] = values
        self.source = str(source)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key)
        if value is None and default is not None:
            return default
        # what cannot be shown (line ends, control sequences, halves of surrogates) is in no name
        if not isinstance(value, str) or not value.isprintable() or len(value) > _LONGEST:
            raise self._wrong(key, "a text")
        return value

    def number(self, key: str) -> float | None:
        """A number; None for one that was not finite when it was written."""
        value = self.values.get(key, "")
        if value is None or isinstance(value, float):
            return finite(value)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**63:
            raise self._wrong(key, "a number")
        return float(value)

    def integer(self, key: str) -> int:
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**63:
            raise self._wrong(key, "a whole number")
        return value

    def object(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            raise self._wrong(key, "an object")
        return value

    def _wrong(self, key: str, expected: str) -> DataError:
        found = f"{self.values[key]!r:.40}" if key in self.values else "nothing"
        return DataError(
            f"{self.source} is damaged: {key} is {found}, expected {expected}; the command that trained writes it "
            "again with --resume"
        )


def finite(value: object) -> float | None:
    """A number; None for anything that is not finite."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def two(value: float | None) -> str:
    """A number with two digits; ``unknown`` for None."""
    return "unknown" if value is None else f"{value:.2f}"
