"""What the strings of architectures have in common: their positions and options, and whether these fill a product.

A column of strings is cut into tokens, at the first separator that cuts every row into equally many, else into
characters. A token that takes many values and is no number is cut further, into its characters. Positions at which all
rows agree are no choice and left out. Shorter tokens are filled up with ``ABSENT``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError
from nasharness.spaces.listed import FilledSpace, ListedSpace

SEPARATORS = ("|", ":", "-", "_", ";", ",", " ")
#: What stands behind the end of a shorter token.
ABSENT = "·"
#: Values that a token may take before it is cut into characters.
_MANY = 32
#: Options of one position at most; a position with more says nothing about which rows are alike.
_MOST = 1_024
_TUPLE = re.compile(r"\s*[\[(](.*)[\])]\s*", re.DOTALL)


def space_of(
    name: str, columns: Sequence[str], keys: Sequence[NDArray[Any]], ordered: bool
) -> FilledSpace | ListedSpace:
    """The space whose architectures are the rows of ``keys``: a product space if they fill one, else a listed one.

    ``columns``: the names of the columns ``keys``, each ``[n]`` without repeated rows. ``ordered``: whether options are
    quantities. Raises DataError for an empty string.
    """
    texts = [[_text(value) for value in key.tolist()] for key in keys]
    for column, values in zip(columns, texts, strict=True):
        if "" in values:
            raise DataError(f"column {column!r} is empty in row {values.index('')}; every row needs its architecture")
    if len(texts) == 1:
        published, tokens = texts[0], _tokens(texts[0])
        names = [f"p{number}" for number in range(len(tokens))]
    else:
        published, tokens, names = [",".join(row) for row in zip(*texts, strict=True)], texts, list(columns)
    positions, features, options = _features(names, tokens)
    size = len(published)
    strings = np.array([text.encode() for text in published])
    made: dict[str, Any] = {"options": options, "positions": positions, "ordinal": ordered and _quantities(options)}
    filled = bool(options) and size == int(np.prod([float(len(names)) for names in options]))
    what = f"{size:,} architectures of an imported table"
    if filled and len(np.unique(features, axis=0)) == size:
        return FilledSpace(
            name, strings, features=features, summary=f"{what}, a product of {len(options)} positions", **made
        )
    return ListedSpace(name, strings, features=features if options else None, summary=f"{what}, listed", **made)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 - NaN differs from itself


def _tokens(texts: Sequence[str]) -> list[list[str]]:
    """Cut a column of strings: one list of ``n`` tokens a position."""
    inner = [_TUPLE.fullmatch(text) for text in texts]
    if all(inner):
        rows = [[part.strip() for part in match[1].split(",")] for match in inner if match]
        if len({len(row) for row in rows}) == 1:
            return [list(column) for column in zip(*rows, strict=True)]
    for separator in SEPARATORS:
        if separator in texts[0]:
            rows = [[part.strip() for part in text.split(separator)] for text in texts]
            if len({len(row) for row in rows}) == 1:
                return [list(column) for column in zip(*rows, strict=True)]
    return _characters(texts)


def _characters(texts: Sequence[str]) -> list[list[str]]:
    length = max(map(len, texts))
    return [list(column) for column in zip(*(text.ljust(length, ABSENT) for text in texts), strict=True)]


def _features(names: Sequence[str], tokens: Sequence[Sequence[str]]) -> tuple[list[str], NDArray[Any], list[list[str]]]:
    """Names of the positions that vary, what each row has there ``[n, positions]``, and the options of each."""
    positions, columns, options = [], [], []
    for name, column in zip(names, tokens, strict=True):
        cut = [(name, list(column))]
        if len(set(column)) > _MANY and not (_number(column[0]) and len(set(column)) <= _MOST):
            cut = [(f"{name}.{place}", part) for place, part in enumerate(_characters(column))]
        for label, values in cut:
            distinct = sorted(
                set(values), key=lambda value: (not _number(value), float(value) if _number(value) else 0, value)
            )
            if 1 < len(distinct) <= _MOST:
                number = {value: place for place, value in enumerate(distinct)}
                positions.append(label)
                columns.append([number[value] for value in values])
                options.append(distinct)
    dtype = np.int8 if max(map(len, options), default=0) <= 127 else np.int16
    return positions, np.array(columns, dtype=dtype).T.copy(), options


def _number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _quantities(options: Sequence[Sequence[str]]) -> bool:
    return all(_number(option) for names in options for option in names)
