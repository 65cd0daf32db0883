"""AutoShrink's published networks, and any graph of its spaces, as a card: drawn, counted, with what was published."""

from __future__ import annotations

from typing import Any

from nasharness.spaces import drawing_graph
from nasharness.spaces.shrink import CNN, RNN, SHRINKCNN, SHRINKRNN, Graph
from nasharness.spaces.shrink_macro import Macro, counts, imagenet_macro, search_macro

#: What the letters behind published numbers mean.
TAGS = {
    "R": "claimed in the README of the official code (AutoShrink, AAAI 2020)",
    "V": "counted from the released files, and again here",
    "A": "abstract of the paper",
}
#: network -> (quantity, published value, tags)
PUBLISHED: dict[str, tuple[tuple[str, str, str], ...]] = {
    "shrinkcnn-a": (
        ("ImageNet top-1", "73.9 %", "R"),
        ("parameters", "3.6 M", "RV"),
        ("MACs", "384 M", "RV"),
        ("search cost", "1.5 GPU hours", "AR"),
    ),
    "shrinkcnn-b": (
        ("ImageNet top-1", "75.1 %", "R"),
        ("parameters", "3.6 M", "RV"),
        ("MACs", "384 M", "RV"),
        ("search cost", "1.5 GPU hours", "AR"),
    ),
    "shrinkrnn": (
        ("Penn Treebank perplexity", "58.5 validation, 56.5 test", "R"),
        ("parameters", "24 M", "R"),
        ("search cost", "1.5 GPU hours", "AR"),
    ),
}
_NOTES = {
    "shrinkcnn-a": "Activation ReLU, also within a separable leaf, as since 2020-02-09 (field leaf_depthwise).",
    "shrinkcnn-b": "Activation swish, but ReLU within a separable leaf, as since 2020-02-09 (field leaf_depthwise).",
    "shrinkrnn": "The README says 24 M parameters; the graph and width of the released script give 23.0 M.",
}
#: Width of embedding and state, and words, of the published language model
#: (docs/reproduction/autoshrink.md#published-networks).
WIDTH, WORDS = 745, 10_000


def names() -> list[str]:
    """Networks with a card of their own."""
    return list(PUBLISHED)


def card(name: str, graph: Graph | None = None) -> dict[str, Any]:
    """Return what is known of one of ``names()``, or of ``graph`` in the space ``name``, as plain values.

    Keys: ``name``, ``space``, ``arch`` (the graph's string), ``mask``, ``operations``, ``edges``, ``leaves``,
    ``counts``: what -> {params, batch_norm, macs}, ``published``: quantity -> {value, tags}, ``note``.
    """
    space = RNN if name in ("shrinkrnn", RNN.name) else CNN
    chosen = graph if graph is not None else (SHRINKRNN if space is RNN else SHRINKCNN)
    counted: dict[str, dict[str, int]] = {}
    if space is RNN:
        edges, hidden = len(chosen.eligible), WIDTH
        cell = 4 * hidden**2 + 2 * hidden**2 * edges
        counted[f"language model, width {hidden}, {WORDS:,} words"] = {
            "params": cell + WORDS * (hidden + 1), "batch_norm": 0, "macs": cell + WORDS * hidden,
        }  # fmt: skip
    else:
        macro = imagenet_macro(activation="swish" if name == "shrinkcnn-b" else "relu")
        for classes in (1000, 1001):
            counted[f"ImageNet, side {macro.side}, {classes:,} classes"] = vars(counts(chosen, macro, classes))
        counted["search network, side 32, 10 classes"] = vars(counts(chosen, search_macro(), 10))
    return {
        "name": name,
        "space": space.name,
        "arch": str(chosen),
        "mask": chosen.vector().tolist(),
        "operations": list(chosen.operations),
        "edges": [list(edge) for edge in chosen.eligible],
        "leaves": list(chosen.leaves),
        "counts": {what: {key: int(value) for key, value in row.items()} for what, row in counted.items()},
        "published": {what: {"value": value, "tags": tags} for what, value, tags in PUBLISHED.get(name, ())},
        "note": _NOTES.get(name, ""),
    }


def render(known: dict[str, Any], ascii: bool = False) -> str:  # noqa: A002 - as in Space.draw
    """A card as text for a person."""
    space = RNN if known["space"] == RNN.name else CNN
    graph = space.parse(known["arch"])
    total = graph.nodes * (graph.nodes - 1) // 2
    lines = [f"{known['name']}: {known['arch']}"] if known["name"] != space.name else [known["arch"]]
    lines += [f"{len(known['edges'])} of {total} edges between {graph.nodes} nodes", ""]
    lines += ["  " + line for line in drawing_graph.draw_graph(graph, ascii=ascii).splitlines()]
    lines += ["", "  " + _meaning(graph, space is RNN), ""]
    for what, row in known["counts"].items():
        norm = f", {row['params'] + row['batch_norm']:,} with batch norm" if row["batch_norm"] else ""
        unit = " a word" if space is RNN else ""
        lines.append(f"{what}: {row['params']:,} parameters{norm}; {row['macs']:,} MACs{unit}")
    if space is CNN and known["published"]:
        lines += ["", *_stages(imagenet_macro())]
    if known["published"]:
        rows = [(what, entry["value"], f"[{', '.join(entry['tags'])}]") for what, entry in known["published"].items()]
        widths = [max(len(row[place]) for row in rows) for place in range(2)]
        lines += ["", "published"]
        lines += [f"  {what:<{widths[0]}}  {value:<{widths[1]}}  {tags}" for what, value, tags in rows]
        used = {tag for entry in known["published"].values() for tag in entry["tags"]}
        lines += [f"  [{tag}] {meaning}" for tag, meaning in TAGS.items() if tag in used]
    return "\n".join(lines + ([known["note"]] if known["note"] else []))


def _meaning(graph: Graph, recurrent: bool) -> str:
    leaves = ", ".join(map(str, graph.leaves))
    many = "s" if len(graph.leaves) > 1 else ""
    if recurrent:
        return f"A dot is a matrix of its own; a node is the mean of its dots; new state: mean of node{many} {leaves}."
    return f"A node joins the channels that it reads; output: node{many} {leaves} joined, plus the cell's input."


def _stages(macro: Macro) -> list[str]:
    """The macro skeleton, a line a stage."""
    side = -(-macro.side // macro.stem_stride)
    rows = [("stem 3x3", "", str(macro.stem), str(side))]
    for number, stage in enumerate(macro.stages, 1):
        side = -(-side // stage.pool)
        rows.append((f"stage {number}", str(stage.cells), str(stage.width), str(side)))
    rows.append(("head 1x1", "", str(macro.head), str(side)))
    head = ("", "cells", "channels a node", "side")
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(4)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (head, *rows)
    ]
