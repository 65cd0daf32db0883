"""Word-level text: a NAME.train.txt, NAME.valid.txt, NAME.test.txt triple, its vocabulary, and streams of tokens."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage import reading, regular

#: ends every line of a text, and is a word like any other
END = "<eos>"
#: stands for a word outside the vocabulary
UNKNOWN = "<unk>"
PARTS = ("train", "valid", "test")

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """Words in the order of their first appearance; a token is a place in it."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def checksum(self) -> str:
        """SHA-256 of the words: two networks can be exchanged only where it is equal."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()

    def encode(self, path: Path, *, unknown_words: str = "error") -> Tokens:
        """Turn a text into tokens, int64 ``[tokens]``, an END after every line.

        ``unknown_words``: what becomes of words outside the vocabulary: ``"error"``, or ``"unk"`` for UNKNOWN.

        Raises:
            DataError: the text cannot be read, or has such words and they are errors.
        """
        places = {word: place for place, word in enumerate(self.words)}
        stand_in = places.get(UNKNOWN) if unknown_words == "unk" else None
        tokens: list[int] = []
        absent: dict[str, int] = {}
        for number, line in _lines(path):
            for word in (*line.split(), END):
                place = places.get(word, stand_in)
                if place is None:
                    absent.setdefault(word, number)
                else:
                    tokens.append(place)
        if absent:
            word, number = next(iter(absent.items()))
            fix = (
                "let them be unknown: --set unknown_words=unk (predict: --unknown-words unk)"
                if unknown_words == "error"
                else f"the vocabulary has no {UNKNOWN} either"
            )
            raise DataError(
                f"{path}, line {number}: {word!r} is not among the {len(self):,} words of the vocabulary"
                + (f", nor are {len(absent) - 1:,} other words of this text" if len(absent) > 1 else "")
                + f"; {fix}"
            )
        if not tokens:
            raise DataError(f"{path} holds no text")
        return np.asarray(tokens, dtype=np.int64)


@dataclass(frozen=True)
class Corpus:
    """A text in three parts, int64 ``[tokens]`` each, and the vocabulary of its training part."""

    name: str
    folder: Path
    vocabulary: Vocabulary
    train: Tokens
    valid: Tokens
    test: Tokens

    def describe(self) -> str:
        """Return what was read, in a line."""
        counts = " / ".join(f"{len(part):,}" for part in (self.train, self.valid, self.test))
        words = f"{len(self.vocabulary):,} words"
        return f"{self.name}: {counts} tokens (train / valid / test), {words}, from {self.folder}"


def read_corpus(folder: Path | str, name: str | None = None, *, unknown_words: str = "error") -> Corpus:
    """Read NAME.train.txt, NAME.valid.txt and NAME.test.txt of a folder.

    Args:
        folder: where they lie.
        name: NAME; None takes the only triple there is.
        unknown_words: words of the other two parts that the training part lacks are an ``"error"``, or ``"unk"``:
            UNKNOWN. Where the training part has no such word itself and the others need one, it is learnt from the
            words that the training part has once: they are UNKNOWN there, too, as many as new words are to be expected
            (Good, Biometrika 1953).

    Raises:
        UsageError: several triples and no name, an unknown name, or an unknown choice.
        DataError: a part is absent, empty or not UTF-8, or has unknown words that are errors.
    """
    folder = Path(folder)
    if unknown_words not in ("error", "unk"):
        raise unknown("treatment of unknown words", unknown_words, ("error", "unk"))
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}; expected one that holds NAME.train.txt, NAME.valid.txt and NAME.test.txt"
        )
    names = sorted(path.name.removesuffix(".train.txt") for path in folder.glob("*.train.txt"))
    if not names:
        raise DataError(f"{folder} holds no NAME.train.txt (ptb.train.txt, say)")
    if name is None:
        if len(names) > 1:
            raise UsageError(f"{folder} holds several texts ({', '.join(names)}); choose one with --set corpus=NAME")
        name = names[0]
    elif name not in names:
        raise unknown("corpus", name, names)
    paths = {part: folder / f"{name}.{part}.txt" for part in PARTS}
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path} is absent; train, valid and test belong together")
    words: Counter[str] = Counter()
    for _, line in _lines(paths["train"]):
        words.update((*line.split(), END))
    if unknown_words == "unk" and UNKNOWN not in words:
        others = (word for part in PARTS[1:] for _, line in _lines(paths[part]) for word in line.split())
        if any(word not in words for word in others):
            words = Counter({word: count for word, count in words.items() if count > 1 or word == END})
        words[UNKNOWN] = 0
    vocabulary = Vocabulary(tuple(words))
    parts = {part: vocabulary.encode(path, unknown_words=unknown_words) for part, path in paths.items()}
    return Corpus(name, folder, vocabulary, **parts)


def columns(tokens: Tokens, count: int) -> Tensor:
    """Cut a text into ``count`` equal streams, int64 ``[length, count]``; the remainder at the end is left out.

    Raises:
        DataError: the text is too short.
    """
    length = len(tokens) // count
    if length < 2:
        raise DataError(f"{len(tokens):,} tokens of training text do not make {count} streams; lower --batch")
    return torch.from_numpy(tokens[: length * count].reshape(count, length).T.copy())


def windows(tokens: Sequence[int] | Tokens, count: int, start: int) -> tuple[Tensor, Tensor]:
    """Cut a text into ``count`` streams such that every token is a target exactly once.

    A stream begins with the token before its first target; the first one with ``start``. Returns inputs and targets,
    int64 ``[length, count]``; targets behind the end of the text are -100, which losses ignore.
    """
    text = np.concatenate([[start], np.asarray(tokens, dtype=np.int64)])
    length = -(-(len(text) - 1) // count)
    place = np.arange(length)[:, None] + length * np.arange(count)
    inside = place < len(text) - 1
    inputs = text[np.minimum(place, len(text) - 1)]
    targets = np.where(inside, text[np.minimum(place + 1, len(text) - 1)], -100)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with reading(path), io.TextIOWrapper(regular(path), encoding="utf-8") as file:
            yield from enumerate(file, 1)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
