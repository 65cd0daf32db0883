"""A small language that can be learnt: each word is followed by one of two."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = 30


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
