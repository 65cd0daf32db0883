"""Recipes for language modelling, as frozen records: what decides a result is here, once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nasharness.errors import UsageError, unknown


@dataclass(frozen=True)
class TextRecipe:
    """A full training run on text.

    Attributes:
        width: of embedding and state, which are tied. Of ``awd-lstm``: ``layers``, all but the last of ``hidden``.
        epochs, batch: ``batch`` streams of text are read side by side.
        bptt: words a segment; ``jitter``: drawn anew for each (`language.train.segment_length`),
            with the learning rate multiplied by length / bptt.
        optimiser: ``"sgd"``: constant rate, averaged once it stalls (see ``patience``); ``"adam"``: warm-up over the
            first ``warmup`` share of all segments, then half a cosine to a hundredth.
        patience: SGD becomes averaged SGD when, after more than so many recorded epochs, the validation loss is above
            the least of all but the last so many.
        clip: largest norm of the gradient.
        drop_output, drop_state, drop_input, drop_embedded, drop_words: shares dropped of the cell's output, of the
            states that enter a product, of the cell's input, of the embedded input, of the words' vectors;
            drop_between, drop_weights: of what passes from layer to layer of an LSTM, of its weights from state to
            state; each mask holds for a segment.
        alpha, beta: weights of the mean square of dropped outputs (AR) and of the change of raw ones in time (TAR).
        initial: weights begin uniform within +- this.
        on_nan: ``"stop"``, or ``"reload"`` the best checkpoint and go on.
        valid_streams, test_streams: streams that the validation and the test text are read in.
        source: where the values come from, and what is ours.
    """

    name: str
    source: str
    width: int
    epochs: int
    batch: int
    lr: float
    optimiser: str
    bptt: int = 35
    jitter: bool = True
    patience: int = 5
    warmup: float = 0.0
    clip: float = 0.25
    weight_decay: float = 0.0
    drop_output: float = 0.0
    drop_state: float = 0.0
    drop_input: float = 0.0
    drop_embedded: float = 0.0
    drop_words: float = 0.0
    drop_between: float = 0.0
    drop_weights: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0
    initial: float = 0.04
    hidden: int = 1150
    layers: int = 3
    on_nan: str = "stop"
    valid_streams: int = 10
    test_streams: int = 1


RECIPES = {
    recipe.name: recipe
    for recipe in (
        TextRecipe(
            name="shrinkrnn",
            source="AutoShrink's training code as released (docs/reproduction/training.md#penn-treebank), which "
            "follows DARTS's (Liu et al., ICLR 2019) and AWD-LSTM's (Merity et al., ICLR 2018). Ours: losses are "
            "divided by the words counted.",
            width=745, epochs=3000, batch=64, lr=20.0, optimiser="sgd", weight_decay=8e-7,
            drop_output=0.75, drop_state=0.25, drop_input=0.75, drop_embedded=0.2, drop_words=0.1, beta=1e-3,
            on_nan="reload",
        ),
        TextRecipe(
            name="awd-lstm",
            source="Merity, Keskar, Socher: Regularizing and Optimizing LSTM Language Models, ICLR 2018 (arXiv "
            "1708.02182), with the settings that the README of salesforce/awd-lstm-lm gives for Penn Treebank "
            "(docs/reproduction/training.md#awd-lstm): about 61.2 / 58.8 validation / test, without fine-tuning and "
            "pointer. Ours: a segment has at most 20 words above bptt; random numbers (theirs begin with seed 141).",
            width=400, epochs=500, batch=20, lr=30.0, optimiser="sgd", bptt=70, weight_decay=1.2e-6,
            drop_output=0.4, drop_embedded=0.4, drop_words=0.1, drop_between=0.25, drop_weights=0.5, alpha=2.0,
            beta=1.0, initial=0.1,
        ),
        TextRecipe(
            name="small",
            source="Ours: Penn Treebank in minutes on two CPU cores. Adam and many small segments, because time allows "
            "few epochs only; wider initial weights, because the network is narrower.",
            width=200, epochs=3, batch=20, lr=1e-2, optimiser="adam", warmup=0.02, drop_output=0.25,
            drop_embedded=0.1, initial=0.1,
        ),
    )
}  # fmt: skip

#: settings that a user may change, and the least and largest value of each
RANGES: dict[str, tuple[float, float]] = {
    "width": (1, 1e5), "epochs": (1, 1e6), "batch": (1, 1e6), "bptt": (2, 1e4), "lr": (1e-9, 1e4), "clip": (1e-9, 1e9),
    "weight_decay": (0, 1), "drop_output": (0, 0.99), "drop_state": (0, 0.99), "drop_input": (0, 0.99),
    "drop_embedded": (0, 0.99), "drop_words": (0, 0.99), "drop_between": (0, 0.99),
    "drop_weights": (0, 0.99), "hidden": (1, 1e5), "layers": (1, 99),
    "alpha": (0, 1e3), "beta": (0, 1e3), "initial": (1e-6, 10),
    "patience": (1, 1e6), "warmup": (0, 1), "valid_streams": (1, 1e6), "test_streams": (1, 1e6),
}  # fmt: skip


def get(name: str, changes: Mapping[str, Any] | None = None) -> TextRecipe:
    """Return the recipe of that name with some values replaced; a value of None leaves one as it is.

    Raises:
        UsageError: there is no such recipe or setting, or a value is out of range.
    """
    if name not in RECIPES:
        raise unknown("recipe for text", name, RECIPES)
    recipe = RECIPES[name]
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    for key, value in given.items():
        if key not in RANGES:
            raise unknown("setting of a recipe for text", key, RANGES)
        kind = type(getattr(recipe, key))
        low, high = RANGES[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UsageError(f"{key} = {value!r}: expected a number between {low:g} and {high:g}")
        if kind is int and value != int(value):
            raise UsageError(f"{key} = {value!r}: expected a whole number")
        given[key] = kind(value)
    return dataclasses.replace(recipe, **given)
