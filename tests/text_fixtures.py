"""A small language that can be learnt (each word is followed by one of two), and tiny runs on it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch

from nasharness.runs import checkpoint
from nasharness.runs.log import read
from nasharness.training.options import Options

WORDS = 30
TINY = {"width": "8", "bptt": "10", "valid_streams": "2"}


def write_corpus(folder: Path, name: str = "tiny", *, lines: tuple[int, int, int] = (60, 12, 12)) -> Path:
    """Write NAME.train.txt, NAME.valid.txt and NAME.test.txt; all words are in the training part."""
    draw = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in zip(("train", "valid", "test"), lines, strict=True):
        sentences = [" ".join(f"w{word}" for word in range(WORDS))] if part == "train" else []
        for _ in range(count):
            word, sentence = draw.randrange(WORDS), []
            for _ in range(draw.randint(3, 9)):
                sentence.append(f"w{word}")
                word = (3 * word + draw.choice([1, 2])) % WORDS
            sentences.append(" ".join(sentence))
        (folder / f"{name}.{part}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return folder


def options(data: Path, out: Path, *, recipe: str = "small", extra: dict[str, str] | None = None, **given) -> Options:
    settings = {"network": "shrinkrnn", "epochs": 2, "batch": 4, "precision": "fp32"} | given
    return Options("ptb", data=data, out=out, recipe=recipe, extra=TINY | (extra or {}), **settings)


def outcome(out: Path) -> tuple[list[dict], dict]:
    """Everything of a run that must not depend on interruptions."""
    clock = ("seconds", "words_per_second", "memory_bytes", "sha256")  # and the seal of what has them
    rows = [{key: value for key, value in row.items() if key not in clock} for row in read(out)]
    last = checkpoint.load(checkpoint.Keeper(out / "checkpoints").steps()[-1], kind="retrain-text")["trainer"]
    record = json.loads((out / "retrained.json").read_text())
    return rows, {**last, "record": {key: value for key, value in record.items() if key not in clock}}


def assert_same(a: object, b: object) -> None:
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert isinstance(b, list | tuple)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b
