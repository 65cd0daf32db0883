"""Recurrent cells for language modelling, by name or from the record of a search's winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nasharness.errors import UsageError, unknown
from nasharness.nets.shrinkrnn import PUBLISHED, Recurrence
from nasharness.spaces import shrink


def darts(choices: list[tuple[str, int]], concat: list[int]) -> Recurrence:
    """The cell of a DARTS genotype (arXiv 1806.09055): node j applies ``choices[j - 1]``, (activation, node it reads).

    One edge enters every node, so its weight per node is this module's weight per edge; nodes ``concat`` are averaged.
    """
    return Recurrence(
        activations=tuple(name for name, _ in choices),
        edges=tuple(sorted((source, node) for node, (_, source) in enumerate(choices, 1))),
        outputs=tuple(concat),
    )


_ALL = list(range(1, 9))
#: ShrinkRNN (docs/reproduction/autoshrink.md#published-networks), and the cells of the DARTS paper's first- and
#: second-order search.
CELLS: dict[str, Recurrence] = {
    "shrinkrnn": PUBLISHED,
    "darts-rnn-v1": darts(
        [("relu", 0), ("relu", 1), ("tanh", 2), ("relu", 3), ("relu", 4), ("identity", 1), ("relu", 5), ("relu", 1)],
        _ALL,
    ),
    "darts-rnn-v2": darts(
        [("sigmoid", 0), ("relu", 1), ("relu", 1), ("identity", 1),
         ("tanh", 2), ("sigmoid", 5), ("tanh", 3), ("relu", 5)],
        _ALL,
    ),
}  # fmt: skip


def names() -> list[str]:
    """Cells that ``recurrence`` knows by name."""
    return list(CELLS)


def recurrence(winner: Mapping[str, Any] | str) -> Recurrence:
    """Return the cell of one of ``names()``, or of the content of a ``winner.json``.

    ``{"space": "shrink-rnn", "winner": {"arch": ...}}`` (or ``mask`` and ``operations``), or
    ``{"space": "darts-rnn", "winner": {"recurrent": [[activation, input], ...], "concat": [...]}}``. Raises UsageError
    for an unknown name or space and for an incomplete record.
    """
    if isinstance(winner, str):
        if winner not in CELLS:
            raise unknown("recurrent cell", winner, CELLS)
        return CELLS[winner]
    space, chosen = winner.get("space"), winner.get("winner")
    if space not in _READERS:
        raise unknown("space of a recurrent winner", space, _READERS)
    if not isinstance(chosen, Mapping):
        raise UsageError(f"winner of space {space}: expected an object under the key 'winner', got {chosen!r:.80}")
    return _READERS[space](chosen)


def _genotype(chosen: Mapping[str, Any]) -> Recurrence:
    """A cell of DARTS's recurrent space."""
    try:
        choices = [(str(name), int(source)) for name, source in chosen["recurrent"]]
        concat = [int(node) for node in chosen["concat"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"genotype {dict(chosen)!r:.120}: expected recurrent, a list of [activation, input], and concat, a list of "
            f"nodes ({type(error).__name__}: {error})"
        ) from error
    return darts(choices, concat)


_READERS: dict[Any, Callable[[Mapping[str, Any]], Recurrence]] = {
    "shrink-rnn": lambda chosen: Recurrence.of(shrink.RNN.read(chosen)),
    "darts-rnn": _genotype,
}
