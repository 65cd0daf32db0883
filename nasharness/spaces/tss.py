"""The topology space of NATS-Bench, identical to NAS-Bench-201: 5^6 = 15,625 cells (arXiv 2009.00437, 2001.00326).

A cell is the complete acyclic graph on nodes 0 (input) to 3 (output); a node is the sum over its incoming edges of
the edge's operation applied to the edge's source. Edges come in the order 0->1, 0->2, 1->2, 0->3, 1->3, 2->3.
"""

from __future__ import annotations

import random
import re
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import nearest, unknown
from nasharness.spaces.base import RULES, Floats, Indices, frozen
from nasharness.spaces.graph import Skeleton
from nasharness.spaces.nats import NatsSpace, protocol
from nasharness.spaces.registry import register

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
#: (source, target) of each position
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_SLOT = re.compile(r"\s*([^~|+]*?)\s*~\s*([^~|+]*?)\s*")


@register
class TopologySpace(NatsSpace):
    """``tss``: an operation on each of the six edges of a cell."""

    name = "tss"
    summary = "NATS-Bench topology space (NAS-Bench-201): 5 operations on 6 edges of a cell"
    options = (OPERATIONS,) * 6
    positions = tuple(f"{source}->{target}" for source, target in EDGES)
    ordinal = False
    string_form = f"|op~0|+|op~0|op~1|+|op~0|op~1|op~2| with op one of {', '.join(OPERATIONS)}"

    #: What an operation of an edge can be replaced by when it is shrunk: the next weaker ones (AutoShrink's removals,
    #: of one choice at a time, carried over to this space).
    ladder = {
        "nor_conv_3x3": ("nor_conv_1x1", "avg_pool_3x3", "skip_connect"),
        "nor_conv_1x1": ("skip_connect", "avg_pool_3x3", "none"),
        "avg_pool_3x3": ("skip_connect", "none"),
        "skip_connect": ("none",),
        "none": (),
    }
    decisions = {
        "none": {"conv": False, "skip": False},
        "skip_connect": {"conv": False, "skip": True},
        "nor_conv_1x1": {"conv": True, "ring": False},
        "nor_conv_3x3": {"conv": True, "ring": True},
    }
    offers = NatsSpace.offers | {"ladder", "nested"}
    skeleton = Skeleton(
        ("0", "1", "2", "3"), EDGES, absent=OPERATIONS.index("none"), identity=OPERATIONS.index("skip_connect")
    )
    protocol = protocol(
        200,
        nats={"cifar10": 20_000.0, "cifar100": 40_000.0, "ImageNet16-120": 120_000.0},
        nb201={"cifar10": 12_000.0},  # of the NAS-Bench-201 paper, on CIFAR-10 alone
    )

    def _order(self) -> Indices:
        # NATS-Bench lists the cells in lexicographic order and shuffles the list after random.seed(88). A generator
        # object of our own gives the same order and leaves the global one alone.
        codes = list(range(self.size))
        random.Random(88).shuffle(codes)
        return np.array(codes, dtype=np.int32)

    def strings(self) -> list[str]:
        """See `Space.strings`."""
        return self._strings

    @cached_property
    def _strings(self) -> list[str]:
        parts = []
        for target in (1, 2, 3):
            slots = [[f"{op}~{source}" for op in OPERATIONS] for source in range(target)]
            parts.append(["|" + "|".join(combination) + "|" for combination in product(*slots)])
        by_code = ["+".join(combination) for combination in product(*parts)]
        return [by_code[code] for code in self._code_of_index.tolist()]

    def from_string(self, text: str) -> int:
        """See `Space.from_string`."""
        nodes = text.strip().split("+")
        if len(nodes) != 3:
            raise self._malformed(text, f"it has {len(nodes)} part(s) between '+' where 3 are expected")
        choices = []
        for target, node in enumerate(nodes, 1):
            inner = node.strip()
            if len(inner) < 2 or inner[0] != "|" or inner[-1] != "|":
                raise self._malformed(text, f"node {target}, {inner!r}, does not begin and end with '|'")
            slots = inner[1:-1].split("|")
            if len(slots) != target:
                raise self._malformed(text, f"node {target}, {inner!r}, has {len(slots)} slot(s), not {target}")
            for source, slot in enumerate(slots):
                match = _SLOT.fullmatch(slot)
                if match is None or match[2] != str(source):
                    raise self._malformed(text, f"slot {slot!r} of node {target} is not of the form op~{source}")
                if match[1] not in OPERATIONS:
                    close = ", ".join(nearest(match[1], OPERATIONS))
                    raise self._malformed(text, f"slot {slot!r} of node {target} has an unknown op (nearest: {close})")
                choices.append(OPERATIONS.index(match[1]))
        return int(self.index(choices))

    @cached_property
    def _mutation_columns(self) -> NDArray[np.intp]:
        """Columns of the neighbour table, each repeated in proportion to its chance: ``[72]``.

        A target node (1/3), one of its incoming edges, a different operation (1/4): an edge has 1/3, 1/6, 1/6, 1/9,
        1/9, 1/9, that is 6, 3, 3, 2, 2, 2 eighteenths.
        """
        shares = [edge for edge, (_, target) in enumerate(EDGES) for _ in range(6 // target)]
        columns = [edge * 4 + other for edge in shares for other in range(4)]
        return frozen(np.array(columns, dtype=np.intp))

    def mutate(self, ids: ArrayLike, u: ArrayLike) -> Indices:
        """Draw a target node, one of its edges, and a different operation for it, each uniformly.

        ``ids [...]``, ``u [..., 1]``: one uniform picks among the 72 equally likely outcomes. Never a no-op.
        """
        parents = self._checked(ids)
        outcome = self._outcomes(self._last_axis(u, 1, "mutation")[..., 0], 72)
        columns = self._mutation_columns.take(outcome)
        return self._neighbours.take(parents * 24 + columns)

    def canonical(self, ids: ArrayLike, rule: str = "corrected") -> Indices:
        """See `Space.canonical`.

        Rules: ``corrected``, 5,390 classes, to remove duplicates; ``published``, the 6,466 classes of the
        NAS-Bench-201 paper, to conform; ``skip``, 12,751 classes.
        """
        if rule not in RULES:
            raise unknown("isomorphism rule", rule, RULES)
        if rule not in self._canonical:
            from nasharness.spaces.isomorphism import lowest_indices

            self._canonical[rule] = frozen(lowest_indices(rule, self._index_of_code))
        return self._canonical[rule].take(self._checked(ids))

    @cached_property
    def _canonical(self) -> dict[str, Indices]:
        return {}

    @cached_property
    def _constant(self) -> NDArray[np.bool_]:
        return frozen(~self.skeleton.fed(self._choices)[:, -1])

    def is_constant(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Return bool ``[...]``: whether no path leads from node 0 to node 3. So it is for 341 cells."""
        return self._constant.take(self._checked(ids))

    @cached_property
    def _convolutions(self) -> tuple[Floats, Floats]:
        """Number of 1x1 and of 3x3 convolutions in each cell, float64 ``[size]``."""
        counts = [
            np.count_nonzero(self._choices == OPERATIONS.index(op), axis=1) for op in ("nor_conv_1x1", "nor_conv_3x3")
        ]
        return frozen(counts[0].astype(np.float64)), frozen(counts[1].astype(np.float64))

    def params(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.params`. Only the numbers of convolutions matter, so there are 28 distinct values."""
        classes, _ = self._classes_and_side(dataset)
        ids = self._checked(ids)
        small, large = (count.take(ids) for count in self._convolutions)
        return (243_040 * large + 28_000 * small + 72_656 + 65 * classes) / 1e6

    def flops(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.flops`."""
        classes, side = self._classes_and_side(dataset)
        ids = self._checked(ids)
        small, large = (count.take(ids) for count in self._convolutions)
        return ((35_389_440 * large + 3_932_160 * small + 7_782_400) * (side / 32) ** 2 + 65 * classes) / 1e6

    def draw(self, arch: int, ascii: bool = False) -> str:  # noqa: A002
        """See `Space.draw`: nodes 0 to 3 in a row, every edge with its operation."""
        from nasharness.spaces.drawing import draw_cell

        graph = self.graph(arch)
        return "" if graph is None else draw_cell(graph, ascii=ascii)
