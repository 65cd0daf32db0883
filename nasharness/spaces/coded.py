"""Product spaces whose published string has one character a position."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import Any

from nasharness.spaces.product import ProductSpace


class CodedSpace(ProductSpace):
    """The string of an architecture is a code: ``alphabet`` has a character for each option, the same everywhere.

    A text of the code's length and characters is a code before it is an index.
    """

    alphabet: str

    def strings(self) -> list[str]:
        """See `Space.strings`."""
        return self._strings

    @cached_property
    def _strings(self) -> list[str]:
        return list(map("".join, product(self.alphabet, repeat=len(self.positions))))

    def from_string(self, text: str) -> int:
        """See `Space.from_string`."""
        code, count = text.strip(), len(self.positions)
        if len(code) != count:
            raise self._malformed(text, f"it has {len(code)} character(s) where {count} are expected")
        wrong = next((place for place, character in enumerate(code) if character not in self.alphabet), None)
        if wrong is not None:
            raise self._malformed(text, f"{code[wrong]!r} of {self.positions[wrong]} is none of {self.alphabet}")
        return int(self.index([self.alphabet.index(character) for character in code]))

    def parse(self, value: Any) -> int:
        """See `Space.parse`."""
        if isinstance(value, str):
            code = value.strip()
            if len(code) == len(self.positions) and not set(code) - set(self.alphabet):
                return self.from_string(code)
        return int(super().parse(value))
