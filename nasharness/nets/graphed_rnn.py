"""A cell's segments as CUDA graphs: launching some hundred small kernels takes longer than they do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

#: x, state, mask of the input, mask of the state, and the cell's two weights -> outputs
Segment = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Graphs:
    """Records ``segment`` and its gradient once for each shape, and replays them.

    Calls must go in pairs of forward and backward, as a training step makes them. Memory grows with the number of
    lengths met (51 in the published recipe). Where recording fails, or what is replayed differs from what was computed
    without, a warning says so and every call goes to ``segment`` itself from then on.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.works = True
        self._recorded: dict[tuple[object, ...], Segment] = {}

    def __call__(self, *given: Tensor) -> Tensor:
        """As ``segment``."""
        if not self.works or not given[0].is_cuda or not torch.is_grad_enabled():
            return self.segment(*given)
        key = tuple((tuple(tensor.shape), tensor.dtype, tensor.requires_grad) for tensor in given)
        if key not in self._recorded:
            try:
                self._recorded[key] = self._record(given)
            except RuntimeError as error:
                self.works = False
                warnings.warn(f"no CUDA graphs, which costs time only: {str(error).splitlines()[0]}", stacklevel=2)
                return self.segment(*given)
        return self._recorded[key](*given)

    def _record(self, given: tuple[Tensor, ...]) -> Segment:
        # weights are recorded where they lie, so that they are not copied; the rest gets memory of its own
        sample = tuple(
            tensor
            if isinstance(tensor, torch.nn.Parameter)
            else tensor.detach().clone().requires_grad_(tensor.requires_grad)
            for tensor in given
        )
        recorded = cast(Segment, torch.cuda.make_graphed_callables(self.segment, sample))
        with torch.no_grad():
            expected = self.segment(*given)
        found = recorded(*given).detach()
        if not torch.allclose(found.float(), expected.float(), rtol=1e-2, atol=1e-2):
            raise RuntimeError("a replayed segment differs from a computed one")
        return recorded
