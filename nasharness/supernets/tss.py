"""The supernet of the topology space: every operation on every edge of a cell.

docs/reproduction/one-shot.md#common-protocol says how NATS-Bench trained it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.blocks import PLAIN, Norm
from nasharness.nets.cell import NONE, Cell, matters, plan, scales
from nasharness.nets.skeleton import Skeleton
from nasharness.nets.tss import one_hot
from nasharness.spaces.base import Space
from nasharness.spaces.tss import EDGES, OPERATIONS
from nasharness.supernets.base import Gates, Supernet, evaluating
from nasharness.supernets.sharing import SharedCell, distinct


@dataclass(frozen=True)
class EdgeGates(Gates):
    """Which operations are computed, and what their outputs are multiplied by.

    ``active``: bool ``[rows, 6, 5]``; ``weights``: ``[rows, 6, 5]``, or None for 1 everywhere. One row holds for all
    cells alike; otherwise there is one for each cell, from the input on. The weight of an operation that is not
    active, and of ``none``, is not read. ``shifts``: ``[rows, 4]``, numbers that are added to the nodes of a cell, or
    None for none.
    """

    active: NDArray[np.bool_]
    weights: Tensor | None = None
    shifts: Tensor | None = None

    @property
    def computed(self) -> float:
        """See `Gates.computed`."""
        return float(self.active.sum(axis=-1).mean())

    @classmethod
    def mixture(cls, weights: Tensor) -> EdgeGates:
        """All operations, weighted: ``[6, 5]`` for all cells alike or ``[cells, 6, 5]`` (DARTS, arXiv 1806.09055)."""
        rows = weights if weights.ndim == 3 else weights[None]
        return cls(np.ones(tuple(rows.shape), dtype=np.bool_), rows)

    @classmethod
    def single(cls, choices: ArrayLike) -> EdgeGates:
        """One operation an edge: whole numbers ``[6]``, or ``[cells, 6]``."""
        return cls(one_hot(np.atleast_2d(choices)))

    @classmethod
    def straight_through(cls, choices: ArrayLike, weights: Tensor, undrawn: bool = False) -> EdgeGates:
        """One operation an edge, ``choices`` ``[6]``, and gradients to its weight (GDAS, arXiv 1910.04465).

        ``weights`` ``[6, 5]`` (or both with a leading axis of cells): zero but for the chosen operations, and with the
        gradient of soft weights, such as ``hard - soft.detach() + soft``. Only the chosen operations are computed, so
        only their entries receive a gradient: <upstream gradient, output of the operation>, which softmax spreads to
        the others. ``undrawn``: the entries of the others, which are zeros, are added to what their edge leads to as
        they are, as in the published code (AutoDL-Projects, ``forward_gdas`` of ``search_cells.py``): their gradient is
        the sum of the upstream one.
        """
        active = cls.single(choices).active
        weights = weights if weights.ndim == 3 else weights[None]
        if not undrawn:
            return cls(active, weights)
        others = weights.masked_fill(torch.from_numpy(active).to(weights.device), 0.0).sum(dim=2)
        nodes = torch.zeros(len(EDGES), 4, dtype=others.dtype, device=others.device)
        nodes[range(len(EDGES)), [target for _, target in EDGES]] = 1
        return cls(active, weights, others @ nodes)


#: the work of a cell that computes everything
_ALL = plan(np.ones((len(EDGES), len(OPERATIONS)), dtype=np.bool_).tobytes(), True)


def _mixed(cell: Cell, x: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
    return cell.compute(x, _ALL, weights)


class TssSupernet(Supernet, Skeleton):
    """Shared weights of all 15,625 cells, ``cells`` of them in each of three stages of C, 2C and 4C channels.

    Batch normalisation in the cells and in front of the classifier uses the statistics of the batch, in evaluation
    too, and learns nothing; stem and residual blocks have ordinary layers. The published supernet gives the
    convolutions in cells a bias, which that normalisation subtracts again: it is left out here.

    Convolutions that leave the same node share a parameter. An operation that a step did not sample then has gradient
    zero if another in the stack was sampled; whoever trains sees to it that it is zero, and not None, otherwise too
    (`nasharness.supernets.session.Session`).
    """

    space: ClassVar[Space] = spaces.get("tss")  # type: ignore[misc]
    positions, options = len(EDGES), len(OPERATIONS)

    def __init__(self, classes: int, *, channels: int = 16, cells: int = 5, generator: torch.Generator) -> None:
        super().__init__(
            (channels, 2 * channels, 2 * channels, 4 * channels, 4 * channels),
            classes,
            cells,
            np.ones((self.positions, self.options), dtype=np.bool_),
            norm=Norm(),
            cell_norm=PLAIN,
            generator=generator,
        )
        self.classes, self.channels, self.cells_total = classes, channels, 3 * cells
        self._fused: Callable[[Cell, Tensor, tuple[Tensor, Tensor]], Tensor] | None = None

    def fuse(self, backend: str = "inductor") -> None:
        """From now on compute mixtures of all operations with compiled cells, where that pays: on a GPU.

        There the many small kernels of a mixture become few; the first steps take a minute. Single operations differ
        from step to step, so they are never compiled. On a CPU, where compiling gains nothing, this does nothing,
        unless another ``backend`` of ``torch.compile`` than the default is named.
        """
        if backend != "inductor" or self.stem.conv.weight.is_cuda:
            self._fused = torch.compile(_mixed, dynamic=False, backend=backend)

    def forward(self, images: Tensor, gates: Gates) -> Tensor:
        """Logits ``[batch, classes]`` of images ``[batch, 3, side, side]`` through `EdgeGates`."""
        if not isinstance(gates, EdgeGates) or len(gates.active) not in (1, self.cells_total):
            raise UsageError(f"a tss supernet takes EdgeGates of 1 row or {self.cells_total}, one for each cell")
        return self._after(self.stem(images.contiguous(memory_format=torch.channels_last)), gates, 0)

    def _after(self, x: Tensor, gates: EdgeGates, done: int) -> Tensor:
        """Go on from the features ``x`` behind stem and ``done`` cells of the first stage, 0 or 1."""
        shared = len(gates.active) == 1
        number = done
        for stage, cells in enumerate(self.stages):
            if stage:
                x = self.residuals[stage - 1](x)
            weights = None
            for cell in cells[0 if stage else done :]:  # type: ignore[index]
                row = 0 if shared else number
                if gates.weights is not None and (weights is None or not shared):
                    weights = gates.weights[row], scales(gates.weights[row], cell.c_out)
                if self._fused is not None and weights is not None and gates.active[row].all():
                    x = self._fused(cell, x, weights)
                else:
                    x = cell(x, gates.active[row], weights, None if gates.shifts is None else gates.shifts[row])
                number += 1
        return self.answers(self.head(x))

    def gates_of(self, arch: int) -> EdgeGates:
        """See `Supernet.gates_of`."""
        return EdgeGates.single(self.space.choices(arch))

    @torch.inference_mode()
    def each(self, images: Tensor, archs: ArrayLike) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """See `Supernet.each`. Cells that differ in edges that cannot matter are one; the first cell is shared."""
        choices = self.space.choices(np.ravel(archs))
        choices = np.where(matters(one_hot(choices)), choices, choices.dtype.type(NONE))
        with evaluating(self):
            stem = self.stem(images.contiguous(memory_format=torch.channels_last))
            first = SharedCell(self.stages[0][0], stem)  # type: ignore[index]
            for places, row in distinct(choices):
                yield places, self._after(first.output(row), EdgeGates.single(row), 1)
