"""Taking a trained language model out of its run: one step of reading, as an exported program (``.pt2``) or ONNX."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasharness.errors import DataError, UsageError
from nasharness.nets.shrinkrnn import RecurrentCell
from nasharness.training.exported import format_of, write, write_weights
from nasharness.training.language.model import LanguageModel
from nasharness.training.language.task import load

#: where the vocabulary lies in an exported file, as JSON: {"words": [...], "state": width of the state}
ENTRY = "nasharness-text.json"


class Reader(nn.Module):
    """One word further, in each of a batch of texts.

    ``forward(tokens int64 [batch], state [batch, S]) -> (log-probabilities of the next word [batch, words], state)``.
    A text begins with a state of zeros and the end of a line.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read a word of each text."""
        model, cell = self.model, self.model.cell
        x = nn.functional.embedding(tokens, model.embedding)
        if isinstance(cell, RecurrentCell):  # the plain step: products that any exporter knows
            output = state = cell.step(x, state, None, None)
        else:
            outputs, state = cell(x[None], state)
            output = outputs[0]
        logits = nn.functional.linear(output, model.embedding, model.bias)
        return torch.log_softmax(logits, dim=-1), state


def export_text(run: Path, out: Path, *, format: str | None = None, weights: str | None = None) -> dict[str, Any]:  # noqa: A002
    """Write the model of a run in its best weights to ``out`` and return {format, difference, bytes}.

    The file reads a word of any number of texts (:class:`Reader`) and holds the vocabulary. It is loaded again and
    compared with the model on a few words.

    Raises:
        UsageError: unknown format, or a package for it is not installed; ``weights`` other than the best.
        DataError: there is no trained model in ``run``, the file cannot be written, or its answers differ.
    """
    if weights not in (None, "best"):
        raise UsageError(f"--weights {weights}: of a run on text the best are taken out; leave it out")
    kind = format_of(out, format)
    model, vocabulary = load(run)
    if kind == "safetensors":
        words = json.dumps({"words": list(vocabulary.words)})
        return {"format": kind, "difference": write_weights(model, out, entry=ENTRY, record=words),
                "bytes": out.stat().st_size}  # fmt: skip
    reader = Reader(model).eval()
    tokens, state = torch.arange(3) % len(vocabulary), model.start(3).detach()
    texts = torch.export.Dim("texts", min=1)
    shapes = {"tokens": {0: texts}, "state": {0: texts}}
    with warnings.catch_warnings():  # of an LSTM's weights, which the library lays side by side as it reads them
        warnings.filterwarnings("ignore", "The tensor attributes", UserWarning)
        program = torch.export.export(reader, (tokens, state), dynamic_shapes=shapes)
    record = json.dumps({"words": list(vocabulary.words), "state": state.shape[1]})
    names = {"inputs": ["tokens", "state"], "outputs": ["log_probabilities", "next_state"]}
    write(program, out, kind, entry=ENTRY, record=record, **names)
    difference = _difference(reader, out, kind)
    if not difference < 1e-3:
        raise DataError(f"{out} does not compute what the model does: it differs by {difference:.2g}; please report it")
    return {"format": kind, "difference": difference, "bytes": out.stat().st_size}


def _difference(reader: Reader, out: Path, kind: str) -> float:
    """Read a few words with the file and with the model, two texts side by side; return the largest difference."""
    draw = torch.Generator().manual_seed(0)
    state = reader.model.start(2).detach()
    if kind == "pt2":
        module = torch.export.load(str(out)).module()
    else:
        from onnx.reference import ReferenceEvaluator  # slow, exact, and there wherever onnx is

        session = ReferenceEvaluator(str(out))
    other, worst = state, 0.0
    with torch.no_grad():
        for _ in range(3):
            tokens = torch.randint(reader.model.words, (2,), generator=draw)
            expected, state = reader(tokens, state)
            if kind == "pt2":
                found, other = module(tokens, other)
            else:
                given = {"tokens": tokens.numpy(), "state": other.numpy()}
                found, other = (torch.from_numpy(np.asarray(part)) for part in session.run(None, given))
            worst = max(worst, float((found - expected).abs().max()), float((other - state).abs().max()))
    return worst
