"""Which cells of tss compute the same network, by the string rules of NAS-Bench-201 (arXiv 2001.00326, section 3).

The string of node 0 is ``0``. The string of a later node is its incoming terms, sorted and joined by ``+``; the term
of an edge is ``(source's string)@operation``. Two cells with equal strings of node 3 are one class. The rules differ in
what they simplify:

``skip``       12,751 classes: the term of a skip connection is the bare string of its source.
``published``   6,466 classes: also, a zero operation, or any operation on a source whose string is exactly ``#``, gives
               the term ``#``. These zero terms stay in the sum, so that a node fed by zeros alone reads ``#+#`` and is
               not recognised as zero further on: networks that are equal count as different.
``corrected``   5,390 classes: zero terms are dropped from sums, and only an empty sum is ``#``.

No rule merges networks that differ, and ``corrected`` merges all that the other two do. (``published`` misses a few
pairs that ``skip`` finds, because a zero term changes the sorting.) None looks into sums passed on by skip connections,
except where sorting happens to line them up; doing so would leave 4,930 classes. Cells of a class were trained
separately: their CIFAR-10 test accuracies differ by 0.32 points in the median, up to 6.85.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from nasharness.spaces.base import Indices
from nasharness.spaces.tss import OPERATIONS

ZERO = "#"


def _terms(source: str, rule: str) -> list[str]:
    """Return the term of each operation, in their order, applied to a node with string ``source``."""
    terms = [f"({source})@{operation}" for operation in OPERATIONS]
    terms[OPERATIONS.index("skip_connect")] = source
    if rule != "skip":
        terms[OPERATIONS.index("none")] = ZERO
        if source == ZERO:
            terms = [ZERO] * len(OPERATIONS)
    return terms


def _sum(terms: tuple[str, ...], rule: str) -> str:
    kept = sorted(term for term in terms if term != ZERO) if rule == "corrected" else sorted(terms)
    return "+".join(kept) or ZERO


def cell_strings(rule: str) -> list[str]:
    """Return the string of the output node of all 15,625 cells, in lexicographic order of their operations."""
    from_0 = _terms("0", rule)
    strings = []
    for node_1 in from_0:
        node_1 = _sum((node_1,), rule)
        from_1 = _terms(node_1, rule)
        for pair in product(from_0, from_1):
            from_2 = _terms(_sum(pair, rule), rule)
            strings += [_sum(triple, rule) for triple in product(from_0, from_1, from_2)]
    return strings


def lowest_indices(rule: str, index_of_code: Indices) -> Indices:
    """Return int32 ``[15625]``: for each index, the lowest index of its class. ``index_of_code``: int32 ``[15625]``."""
    strings = cell_strings(rule)
    by_index = np.empty_like(index_of_code)
    by_index[index_of_code] = np.arange(len(strings), dtype=np.int32)
    lowest: dict[str, int] = {}
    return np.array(
        [lowest.setdefault(strings[code], index) for index, code in enumerate(by_index.tolist())], dtype=np.int32
    )
