"""The cell-level space of TransNAS-Bench-101: 4^6 = 4,096 cells, an operation on each of six edges.

Y. Duan, X. Chen, H. Xu, Z. Chen, X. Liang, T. Zhang, Z. Li: TransNAS-Bench-101: Improving Transferability and
Generalizability of Cross-Task Neural Architecture Search, CVPR 2021, arXiv:2105.11871.

Files write a cell as a tuple of six numbers, or as 64-41414-a_bc_def. The numbers are 0 none, 1 skip, 2 convolution
1x1, 3 convolution 3x3, on the edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3. So read, the 169 cells in which no path leads
from input to output are just those whose accuracy on scenes is the lowest of all, 7.48; the order of operations that
NASLib lists beside its tuples (identity, zero, 3x3, 1x1, edges sorted by source) does not explain the accuracies.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import product

from nasharness.spaces.graph import Skeleton
from nasharness.spaces.product import ProductSpace
from nasharness.spaces.registry import register

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
_PUBLISHED = re.compile(r"64-41414-([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")
_TUPLE = re.compile(r"[\[(]?" + r"\s*,\s*".join([r"\s*([0-9]+)\s*"] * 6) + r",?[\])]?")


@register
class MicroSpace(ProductSpace):
    """``tnb101-micro``: an operation on each of the six edges of a cell. Index = base-4 number, edge 0->1 first."""

    name = "tnb101-micro"
    summary = "TransNAS-Bench-101 cell-level space: 4 operations on 6 edges of a cell, several tasks"
    options = (OPERATIONS,) * 6
    positions = tuple(f"{source}->{target}" for source, target in EDGES)
    string_form = "(a, b, c, d, e, f) or 64-41414-a_bc_def, with digits 0 none, 1 skip, 2 conv 1x1, 3 conv 3x3"
    ladder = {
        "nor_conv_3x3": ("nor_conv_1x1", "skip_connect"),
        "nor_conv_1x1": ("skip_connect", "none"),
        "skip_connect": ("none",),
        "none": (),
    }
    decisions = {
        "none": {"conv": False, "skip": False},
        "skip_connect": {"conv": False, "skip": True},
        "nor_conv_1x1": {"conv": True, "ring": False},
        "nor_conv_3x3": {"conv": True, "ring": True},
    }
    offers = ProductSpace.offers | {"ladder", "nested"}
    skeleton = Skeleton(
        ("0", "1", "2", "3"), EDGES, absent=OPERATIONS.index("none"), identity=OPERATIONS.index("skip_connect")
    )

    def strings(self) -> list[str]:
        """See `Space.strings`."""
        return self._strings

    @cached_property
    def _strings(self) -> list[str]:
        return [str(digits) for digits in product(range(4), repeat=6)]

    def from_string(self, text: str) -> int:
        """See `Space.from_string`."""
        match = _PUBLISHED.fullmatch(text.strip()) or _TUPLE.fullmatch(text.strip())
        if match is None:
            raise self._malformed(text, "it is neither six numbers nor of the published form")
        digits = [int(digit) for digit in match.groups()]
        wrong = next((digit for digit in digits if digit >= len(OPERATIONS)), None)
        if wrong is not None:
            raise self._malformed(text, f"operation {wrong} does not exist")
        return int(self.index(digits))

    def draw(self, arch: int, ascii: bool = False) -> str:  # noqa: A002
        """See `Space.draw`: nodes 0 to 3 in a row, every edge with its operation."""
        from nasharness.spaces.drawing import draw_cell

        graph = self.graph(arch)
        if graph is None:
            raise AssertionError("a space with a skeleton has graphs")
        return draw_cell(graph, ascii=ascii)
