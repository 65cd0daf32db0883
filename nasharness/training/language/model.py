"""A word-level language model around a recurrent cell, and the masks of its dropout."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nasharness.errors import UsageError, unknown
from nasharness.nets import language
from nasharness.nets.fused_rnn import FusedCell
from nasharness.nets.initialise import seeded
from nasharness.nets.shrinkrnn import Recurrence
from nasharness.training.language.recipes import TextRecipe

#: LSTMs that a run on text can train by name
LSTMS = ("lstm", "awd-lstm")
#: what stands where a graph does: the widths of an LSTM's layers
Network = Recurrence | tuple[int, ...]


@dataclass(frozen=True)
class Masks:
    """What a segment drops: 0, or 1 / share kept; the same at every time step. None drops nothing.

    ``words``: ``[words]``, whole vectors of the embedding; ``embedded``, ``input``, ``state``, ``output``:
    ``[batch, width]``. Of an LSTM's layers: ``between``: ``[batch, width of the layer]`` of all but the last;
    ``weights``: ``[4 H, H]``, of each one's weights from state to state.
    """

    words: Tensor | None = None
    embedded: Tensor | None = None
    input: Tensor | None = None
    state: Tensor | None = None
    output: Tensor | None = None
    between: tuple[Tensor | None, ...] = ()
    weights: tuple[Tensor | None, ...] = ()

    @classmethod
    def draw(cls, recipe: TextRecipe, words: int, generator: torch.Generator, layers: Sequence[int] = ()) -> Masks:
        """Draw the masks of one segment for all of ``recipe.batch`` streams, on the generator's device.

        ``layers``: the widths of an LSTM's.
        """

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
            between=tuple(mask(recipe.drop_between, recipe.batch, width) for width in layers[:-1]),
            weights=tuple(mask(recipe.drop_weights, 4 * width, width) for width in layers),
        )

    def streams(self, chosen: slice) -> Masks:
        """Return the masks of some of the streams."""

        def share(part: Tensor | None) -> Tensor | None:
            return None if part is None else part[chosen]

        return replace(
            self, embedded=share(self.embedded), input=share(self.input), state=share(self.state),
            output=share(self.output), between=tuple(map(share, self.between)),
        )  # fmt: skip


class LstmCell(nn.Module):
    """Long short-term memories, one above the other; their state is [h, c] of each in turn, ``[batch, 2 sum(widths)]``.

    With weight-drop (Merity et al., ICLR 2018, section 2) the weights from state to state are masked for a segment, so
    that the library's fused kernel serves all the same. It has no place for a mask on the state itself.
    """

    def __init__(self, inputs: int, widths: Sequence[int], *, generator: torch.Generator) -> None:
        super().__init__()
        self.widths = tuple(widths)
        # its constructor draws from the global generator, but not on a device that holds no numbers
        self.layers = nn.ModuleList(
            nn.LSTM(below, width, device="meta").to_empty(device="cpu")
            for below, width in zip((inputs, *widths), widths, strict=False)
        )
        with torch.no_grad():
            for layer, width in zip(self.layers, widths, strict=True):
                for weight in layer.parameters():
                    weight.uniform_(-(width**-0.5), width**-0.5, generator=generator)

    def forward(self, x: Tensor, state: Tensor, masks: Masks | None = None) -> tuple[Tensor, Tensor]:
        """``x [time, batch, inputs]`` -> outputs ``[time, batch, H]`` of the last layer, and the last state."""
        masks = masks or Masks()
        out = x if masks.input is None else x * masks.input
        parts, left = [], torch.split(state, [width for width in self.widths for _ in range(2)], dim=-1)
        for number, layer in enumerate(self.layers):
            memory = (left[2 * number].contiguous()[None], left[2 * number + 1].contiguous()[None])
            dropped = masks.weights[number] if masks.weights else None
            if dropped is None:
                out, (h, c) = layer(out, memory)
            else:
                weights: list[Tensor] = [*layer.parameters()]  # input to state, state to state, and two biases
                weights[1] = weights[1] * dropped
                with warnings.catch_warnings():  # cuDNN wants weights side by side, which masked ones are not
                    warnings.filterwarnings("ignore", "RNN module weights are not part", UserWarning)
                    out, h, c = torch.lstm(out, memory, weights, True, 1, 0.0, self.training, False, False)
            parts += [h[0], c[0]]
            between = masks.between[number] if number < len(masks.between) else None
            if between is not None:
                out = out * between
        return out, torch.cat(parts, dim=-1)


class LanguageModel(nn.Module):
    """Embedding, cell, and a decoder that shares the embedding's weights, with a bias that starts at 0.

    The parameters of a graph's cell are those of :class:`nasharness.nets.shrinkrnn.RecurrentNet`, by name and shape, so
    that its weights are interchangeable with it.

    Args:
        graph: of the cell, or the widths of an LSTM's layers, of which the last is ``width``.
        words: in the vocabulary.
        width: of embedding and state.
        initial: bound of the uniform initial weights.
        generator: draws them.
    """

    def __init__(
        self,
        graph: Network,
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
        if isinstance(graph, tuple):
            self.cell = LstmCell(width, graph, generator=draw)
        else:
            self.cell = FusedCell(graph, width, bound=initial, generator=draw)
        self.bias = nn.Parameter(torch.zeros(words))

    def start(self, batch: int) -> Tensor:
        """Return the state before a text."""
        return self.embedding.new_zeros(batch, 2 * sum(self.layers) or self.width)

    @property
    def layers(self) -> tuple[int, ...]:
        """The widths of an LSTM's layers; none of a graph's cell."""
        return self.cell.widths if isinstance(self.cell, LstmCell) else ()

    def forward(self, tokens: Tensor, state: Tensor, masks: Masks | None = None) -> tuple[Tensor, Tensor]:
        """Read ``tokens`` int64 ``[time, batch]``; return raw outputs ``[time, batch, width]`` and the last state."""
        masks = masks or Masks()
        x = nn.functional.embedding(tokens, self.embedding)
        if masks.words is not None:
            x = x * masks.words[tokens][..., None]
        if masks.embedded is not None:
            x = x * masks.embedded
        if isinstance(self.cell, LstmCell):
            outputs, state = self.cell(x, state, masks)
        else:
            outputs, state = self.cell(x, state, masks.input, masks.state)
        return outputs, state

    def use(self, dtype: torch.dtype | None, *, compiled: bool = False) -> None:
        """Set the dtype of the cell's products (None: that of the weights), and whether its steps are compiled."""
        if isinstance(self.cell, FusedCell):
            self.cell.dtype, self.cell.compiled = dtype, compiled


def cell_of(network: str | Mapping[str, Any], recipe: TextRecipe) -> Network:
    """Return the graph of a cell, or the widths of an LSTM's layers: ``lstm`` has one, ``awd-lstm`` as the recipe says.

    Raises:
        UsageError: as :func:`nasharness.nets.language.recurrence`; the recipe drops what this cell cannot.
    """
    if isinstance(network, str) and network not in (*LSTMS, *language.CELLS):
        raise unknown("recurrent cell", network, (*language.CELLS, *LSTMS))
    if network in LSTMS:
        if recipe.drop_state:
            raise UsageError(
                f"recipe {recipe.name}: drop_state = {recipe.drop_state:g}, but an LSTM keeps its states in a kernel; "
                "give --set drop_state=0 (and drop_weights=0.5, say: weight-drop), or --recipe awd-lstm"
            )
        below = (recipe.hidden,) * (recipe.layers - 1) if network == "awd-lstm" else ()
        return (*below, recipe.width)
    if recipe.drop_weights:
        raise UsageError(
            f"recipe {recipe.name}: drop_weights = {recipe.drop_weights:g} is for {' and '.join(LSTMS)}; of a graph's "
            "cell the states are dropped: --set drop_weights=0 and drop_state, or --recipe shrinkrnn"
        )
    return language.recurrence(network)


def describe(graph: Network) -> str:
    """Return the name of a published cell or an LSTM, or a graph's edges and activations."""
    if isinstance(graph, tuple):
        return LSTMS[len(graph) > 1]
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
