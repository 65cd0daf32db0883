"""The card of an exported network: what it is, how it was trained, what it came to, how to use it; in Markdown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasharness.errors import DataError
from nasharness.storage import atomically, writing
from nasharness.training.retrained import Retraining, read
from nasharness.version import __version__

USE = {
    "pt2": "`nasharness predict {name} --trust FILE...`, or `torch.export.load` of your own file.",
    "onnx": "`nasharness predict {name} FILE...`, or any runtime of ONNX.",
    "safetensors": "Weights by their names in the network that nasharness builds: `safetensors.torch.load_file`. No "
    "code is in it, and no network.",
}


def write(run: Path, file: Path, made: Mapping[str, Any]) -> Path:
    """Write the card of ``file``, which holds the network of ``run``, beside it as FILE.md; return where.

    ``made``: what the export returned. Raises DataError where a record is damaged or the card cannot be written.
    """
    card = file.with_name(f"{file.name}.md")
    text = content(read(run), file, made)
    with writing(card, "", DataError):
        atomically(card, text)
    return card


def content(training: Retraining, file: Path, made: Mapping[str, Any]) -> str:
    """Return the card. Nothing in it names a place on the machine that trained."""
    record = training.record
    known: dict[str, object] = {
        "file": f"{file.name}, {made['format']}, {made['bytes']:,} bytes",
        "SHA-256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "task": f"{training.task}, {training.data}",
        "outcome": training.quality or "not evaluated yet",
        "recipe": training.recipe,
        "epochs": f"{training.done:,}" + ("" if training.finished else f" of {training.epochs:,}: not finished"),
        "batch": record.get("batch"),
        "seed": record.get("seed"),
        "parameters": training.params,
        "multiply-accumulates": training.macs,
        "hardware": training.hardware or None,
        "found by": str(training.search) if training.search is not None else None,
        "versions": f"nasharness {record.get('nasharness', __version__)}, torch {record.get('torch', 'unknown')}",
    }
    rows = [
        f"| {name} | {_cell(f'{value:,}' if isinstance(value, int) else str(value))} |"
        for name, value in known.items()
        if value is not None
    ]
    return "\n".join(
        [
            f"# {_cell(training.network)}",
            "",
            "| what | value |",
            "|---|---|",
            *rows,
            "",
            f"**Use.** {USE.get(made['format'], '').format(name=file.name)}",
            "",
            "**Limits.** One training, with one seed: how much another would differ is not known from it. What the "
            "network does on anything but the data above was not measured. Rights in the data may bind its weights.",
            "",
        ]
    )


def _cell(text: str) -> str:
    """Text in one cell of a table, without markup."""
    plain = " ".join(text.split())
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'")):
        plain = plain.replace(sign, shown)
    return plain
