"""A word-level language model around a recurrent cell, and the masks of its dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from nasharness.nets import language
from nasharness.nets.fused_rnn import FusedCell
from nasharness.nets.initialise import seeded
from nasharness.nets.shrinkrnn import Recurrence
from nasharness.training.language.recipes import TextRecipe


@dataclass(frozen=True)
class Masks:
    """What a segment drops: 0, or 1 / share kept; the same at every time step. None drops nothing.

    ``words``: ``[words]``, whole vectors of the embedding; ``embedded``, ``input``, ``state``, ``output``:
    ``[batch, width]``.
    """

    words: Tensor | None = None
    embedded: Tensor | None = None
    input: Tensor | None = None
    state: Tensor | None = None
    output: Tensor | None = None

    @classmethod
    def draw(cls, recipe: TextRecipe, words: int, generator: torch.Generator) -> Masks:
        """Draw the masks of one segment for all of ``recipe.batch`` streams, on the generator's device."""

        def mask(drop: float, *shape: int) -> Tensor | None:
            if not drop:
                return None
            kept = torch.full(shape, 1 - drop, device=generator.device)
            return torch.bernoulli(kept, generator=generator).div_(1 - drop)

        shape = (recipe.batch, recipe.width)
        return cls(
            words=mask(recipe.drop_words, words),
            embedded=mask(recipe.drop_embedded, *shape),
            input=mask(recipe.drop_input, *shape),
            state=mask(recipe.drop_state, *shape),
            output=mask(recipe.drop_output, *shape),
        )

    def streams(self, chosen: slice) -> Masks:
        """Return the masks of some of the streams."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Masks(
            **{name: part if part is None or name == "words" else part[chosen] for name, part in parts.items()}
        )


class LstmCell(nn.Module):
    """A long short-term memory of one layer, used like the other cells; its state is [h, c], ``[batch, 2H]``.

    The library's fused kernel has no place for a mask on the state: ``state_mask`` is not applied.
    """

    def __init__(self, hidden: int, *, bound: float, generator: torch.Generator) -> None:
        super().__init__()
        # its constructor draws from the global generator, but not on a device that holds no numbers
        self.lstm = nn.LSTM(hidden, hidden, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            for weight in self.lstm.parameters():
                weight.uniform_(-bound, bound, generator=generator)

    def forward(
        self, x: Tensor, state: Tensor, input_mask: Tensor | None = None, state_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``x [time, batch, H]`` -> outputs ``[time, batch, H]`` and the last state."""
        h, c = (part.contiguous()[None] for part in state.chunk(2, dim=-1))
        outputs, (h, c) = self.lstm(x if input_mask is None else x * input_mask, (h, c))
        return outputs, torch.cat([h[0], c[0]], dim=-1)


class LanguageModel(nn.Module):
    """Embedding, cell, and a decoder that shares the embedding's weights, with a bias that starts at 0.

    The parameters of a graph's cell are those of :class:`nasharness.nets.shrinkrnn.RecurrentNet`, by name and shape, so
    that its weights are interchangeable with it.

    Args:
        graph: of the cell; None is an LSTM.
        words: in the vocabulary.
        width: of embedding and state.
        initial: bound of the uniform initial weights.
        generator: draws them.
    """

    def __init__(
        self,
        graph: Recurrence | None,
        words: int,
        width: int,
        *,
        initial: float = 0.04,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        draw = seeded(generator)
        self.words, self.width = words, width
        self.embedding = nn.Parameter(torch.empty(words, width).uniform_(-initial, initial, generator=draw))
        self.cell: FusedCell | LstmCell
        if graph is None:
            self.cell = LstmCell(width, bound=width**-0.5, generator=draw)
        else:
            self.cell = FusedCell(graph, width, bound=initial, generator=draw)
        self.bias = nn.Parameter(torch.zeros(words))

    def start(self, batch: int) -> Tensor:
        """Return the state before a text."""
        return self.embedding.new_zeros(batch, self.width * (2 if isinstance(self.cell, LstmCell) else 1))

    def forward(self, tokens: Tensor, state: Tensor, masks: Masks | None = None) -> tuple[Tensor, Tensor]:
        """Read ``tokens`` int64 ``[time, batch]``; return raw outputs ``[time, batch, width]`` and the last state."""
        masks = masks or Masks()
        x = nn.functional.embedding(tokens, self.embedding)
        if masks.words is not None:
            x = x * masks.words[tokens][..., None]
        if masks.embedded is not None:
            x = x * masks.embedded
        outputs, state = self.cell(x, state, masks.input, masks.state)
        return outputs, state

    def use(self, dtype: torch.dtype | None, *, compiled: bool = False) -> None:
        """Set the dtype of the cell's products (None: that of the weights), and whether its steps are compiled."""
        if isinstance(self.cell, FusedCell):
            self.cell.dtype, self.cell.compiled = dtype, compiled


def cell_of(network: str | Mapping[str, Any]) -> Recurrence | None:
    """Return the graph of a cell, or None for ``lstm``.

    Raises:
        UsageError: as :func:`nasharness.nets.language.recurrence`.
    """
    return None if network == "lstm" else language.recurrence(network)


def describe(graph: Recurrence | None) -> str:
    """Return the name of a published cell, or a graph's edges and activations."""
    if graph is None:
        return "lstm"
    for name, published in language.CELLS.items():
        if published == graph:
            return name
    edges = " ".join(f"{source}-{target}" for source, target in graph.edges)
    return f"cell {edges} ({', '.join(graph.activations)}; out {', '.join(map(str, graph.outputs))})"


@contextlib.contextmanager
def exact(model: LanguageModel) -> Iterator[None]:
    """Let the model compute in the precision of its weights, uncompiled, inside the block."""
    cell = model.cell
    before = (getattr(cell, "dtype", None), getattr(cell, "compiled", False))
    model.use(None)
    try:
        yield
    finally:
        model.use(before[0], compiled=before[1])
