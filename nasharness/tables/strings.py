"""What the strings of architectures have in common: their positions and options, and whether these fill a product.

A column of strings is cut into tokens, at the first separator that cuts every row into equally many, else into
characters. A token that takes many values and is no number is cut further, into its characters. Positions at which all
rows agree are no choice and left out. Shorter tokens are filled up with ``ABSENT``.

A column of tokens is held as ``Tokens``: which of a few texts each row has. Arrow's functions cut the text, so that
millions of rows take little memory besides their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
_TUPLE = r"(?s)^\s*[\[(](?P<inside>.*)[\])]\s*$"

#: Of one position: which of the texts each row has ``[n]``, and the texts, in the order in which rows bring them.
Tokens = tuple[NDArray[Any], list[str]]


def space_of(
    name: str, columns: Sequence[str], keys: Sequence[NDArray[Any]], ordered: bool
) -> FilledSpace | ListedSpace:
    """The space whose architectures are the rows of ``keys``: a product space if they fill one, else a listed one.

    ``columns``: the names of the columns ``keys``, each ``[n]`` without repeated rows. ``ordered``: whether options are
    quantities. Raises DataError for an empty string, and for what cannot be shown.
    """
    texts = [texts_of(key) for key in keys]
    for column, values in zip(columns, texts, strict=True):
        empty = pc.index(values, "").as_py()
        if empty >= 0:
            raise DataError(f"column {column!r} is empty in row {empty}; every row needs its architecture")
        odd = pc.index(pc.utf8_is_printable(values), False).as_py()
        if odd >= 0:
            raise DataError(
                f"column {column!r}, row {odd}: {values[odd].as_py()[:40]!r}: a character that cannot be shown"
            )
    if len(texts) == 1:
        tokens = _tokens(texts[0])
        names = [f"p{number}" for number in range(len(tokens))]
    else:
        tokens, names = [_distinct(column) for column in texts], list(columns)
    positions, features, options = _features(names, tokens, len(texts[0]))
    published = joined(texts)
    size = len(published)
    strings = np.array(published.cast(pa.large_binary()).to_numpy(zero_copy_only=False), dtype=bytes)
    made: dict[str, Any] = {"options": options, "positions": positions, "ordinal": ordered and _quantities(options)}
    filled = bool(options) and size == int(np.prod([float(len(names)) for names in options]))
    what = f"{size:,} architectures of an imported table"
    if filled and len(np.unique(np.ravel_multi_index(features.T, [len(names) for names in options]))) == size:
        return FilledSpace(
            name, strings, features=features, summary=f"{what}, a product of {len(options)} positions", **made
        )
    return ListedSpace(name, strings, features=features if options else None, summary=f"{what}, listed", **made)


def texts_of(values: NDArray[Any]) -> Any:
    """A column of architectures as Arrow strings ``[n]`` without spaces around them; empty where there is no value."""
    if values.dtype == object:
        with contextlib.suppress(pa.ArrowTypeError, pa.ArrowInvalid):  # not all of them text
            texts = pa.array(values, pa.large_string(), from_pandas=True)
            return pc.fill_null(pc.utf8_trim_whitespace(texts), "")
    return pa.array([_text(value) for value in values.tolist()], pa.large_string())


def joined(texts: Sequence[Any]) -> Any:
    """The published strings of rows whose architectures are these columns of texts."""
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, pa.scalar(",", pa.large_string()))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 - NaN differs from itself


def _distinct(texts: Any) -> Tokens:
    found = texts.dictionary_encode()
    return found.indices.to_numpy(), found.dictionary.to_pylist()


def _tokens(texts: Any) -> list[Tokens]:
    """Cut a column of strings: the tokens of each position."""
    inside = pc.struct_field(pc.extract_regex(texts, _TUPLE), "inside")
    if not inside.null_count:
        cut = _split(inside, ",")
        if cut:
            return cut
    for separator in SEPARATORS:
        if separator in texts[0].as_py():
            cut = _split(texts, separator)
            if cut:
                return cut
    return _characters(texts)


def _split(texts: Any, separator: str) -> list[Tokens]:
    """The tokens between separators; none where rows have not equally many."""
    rows = pc.split_pattern(texts, separator)
    counts = pc.min_max(pc.list_value_length(rows)).as_py()
    if counts["min"] != counts["max"]:
        return []
    which, words = _distinct(pc.utf8_trim_whitespace(pc.list_flatten(rows)))
    return [_renumbered(column, words) for column in which.reshape(len(texts), -1).T]


def _renumbered(which: NDArray[Any], words: Sequence[str]) -> Tokens:
    """Without the words that no row has."""
    used = np.bincount(which, minlength=len(words)) > 0
    place = np.cumsum(used, dtype=np.int32) - 1
    return place[which], [words[number] for number in np.flatnonzero(used).tolist()]


def _characters(texts: Any) -> list[Tokens]:
    length = pc.max(pc.utf8_length(texts)).as_py()
    columns = [_distinct(pc.utf8_slice_codeunits(texts, at, at + 1)) for at in range(length)]
    return [(which, [word or ABSENT for word in words]) for which, words in columns]


def _features(
    names: Sequence[str], tokens: Sequence[Tokens], size: int
) -> tuple[list[str], NDArray[Any], list[list[str]]]:
    """Names of the positions that vary, what each row has there ``[n, positions]``, and the options of each."""
    positions, columns, options = [], [], []
    for name, (which, words) in zip(names, tokens, strict=True):
        cut = [(name, which, words)]
        if len(words) > _MANY and not (_number(words[0]) and len(words) <= _MOST):
            parts = _characters(pa.array(words, pa.large_string()))
            cut = [(f"{name}.{place}", part[which], letters) for place, (part, letters) in enumerate(parts)]
        for label, column, values in cut:
            distinct = sorted(
                values, key=lambda value: (not _number(value), float(value) if _number(value) else 0, value)
            )
            if 1 < len(distinct) <= _MOST:
                number = {value: place for place, value in enumerate(distinct)}
                positions.append(label)
                columns.append(np.array([number[value] for value in values], dtype=np.int16)[column])
                options.append(distinct)
    features = np.empty((size, len(columns)), dtype=np.int8 if max(map(len, options), default=0) <= 127 else np.int16)
    for place, column in enumerate(columns):
        features[:, place] = column
    return positions, features, options


def _number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _quantities(options: Sequence[Sequence[str]]) -> bool:
    return all(_number(option) for names in options for option in names)
