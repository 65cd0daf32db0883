"""Full training of a recurrent cell on text, and the perplexity of a text under what was trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nasharness.errors import UsageError, unknown
from nasharness.runs import checkpoint
from nasharness.runs.job import Progress
from nasharness.runs.signals import Stop
from nasharness.tasks import Answer
from nasharness.training.device import choose, guarded
from nasharness.training.distributed import join, peers
from nasharness.training.language import recipes
from nasharness.training.language.data import END, UNKNOWN, Vocabulary, read_corpus
from nasharness.training.language.eval import mean_loss, perplexity
from nasharness.training.language.model import LSTMS, LanguageModel, Network, cell_of
from nasharness.training.language.run import CHECKPOINTS, MODEL_KIND, Extras, TextRun
from nasharness.training.options import Options


def retrain_text(options: Options, progress: Progress | None = None) -> dict[str, Any]:
    """Train a cell as a language model; return the record that ``retrained.json`` holds.

    The run is one process, or many under ``torchrun``: batch streams are shared out, and the outcome is the same but
    for rounding. SIGTERM writes a checkpoint and ends with code 75; a run resumed from any checkpoint repeats, bit by
    bit on a CPU, what it would have done uninterrupted.

    Args:
        options: what to do. ``options.network``: a cell by name (:func:`nasharness.nets.language.names`, ``lstm``
            or ``awd-lstm``), or the content of a winner.json; ``options.extra``: settings of the recipe
            (`language.recipes.RANGES`; ``emsize`` means ``width``, and so does ``nhid`` but for ``awd-lstm``, of which
            it is ``hidden``) and those of `language.run.Extras`.
        progress: told of words done and in all, what else is known, and a line on every epoch.

    Raises:
        UsageError: an option is wrong, or ``out`` holds another run.
        DataError: the text, a checkpoint or the disk is at fault, the GPU's memory too small, or another process lost.
        Diverged: the loss is not a number any more and the recipe does not, or cannot, go back.
        Stopped: the run was told to stop, and has saved what it needs to go on.
    """
    extras, changes = _extras(options)
    recipe = recipes.get(options.recipe or ("awd-lstm" if options.network in LSTMS else "shrinkrnn"), changes)
    graph = cell_of(options.network, recipe)
    corpus = read_corpus(options.data, extras.corpus, unknown_words=extras.unknown_words)
    with (
        join(options.device, timeout_seconds=options.timeout) as world,
        peers(world),
        guarded("--batch"),
        Stop() as stop,
    ):
        return TextRun(options, extras, recipe, graph, corpus, world).complete(stop, progress)


def _extras(options: Options) -> tuple[Extras, dict[str, float | None]]:
    """Sort ``options`` into what is text's own and what changes the recipe."""
    given = dict(options.extra)
    corpus, unknown_words = given.pop("corpus", None), given.pop("unknown_words", "error")
    dynamic = given.pop("dynamic", "no").lower()
    if dynamic not in ("yes", "no"):
        raise UsageError(f"dynamic = {dynamic!r}: expected yes or no")
    changes: dict[str, float | None] = {"epochs": options.epochs, "batch": options.batch, "lr": options.lr}
    for key, text in given.items():
        state = "hidden" if options.network == "awd-lstm" else "width"
        name = {"emsize": "width", "nhid": state}.get(key, key)
        if name not in recipes.RANGES:
            known = [*recipes.RANGES, "emsize", "nhid", *(field.name for field in dataclasses.fields(Extras))]
            raise unknown("setting of a run on text", key, known)
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{key} = {text!r}: expected a number") from None
        if changes.get(name) not in (None, value):
            why = "; embedding, state and decoder share one width" if name == "width" else ""
            raise UsageError(f"{key} = {text}, but {name} is {changes[name]:g} already{why}")
        changes[name] = value
    return Extras(corpus, unknown_words, dynamic == "yes"), changes


def load(run: Path | str) -> tuple[LanguageModel, Vocabulary]:
    """Return the model of a run in its best weights, on the CPU, and its vocabulary.

    Raises:
        DataError: there is no trained model in ``run``.
    """
    path = Path(run) / CHECKPOINTS / "best.pt"
    best = checkpoint.load(path, kind=MODEL_KIND)
    with checkpoint.fitting(path):
        graph = msgspec.convert(best["graph"], Network)
        words = Vocabulary(msgspec.convert(best["words"], tuple[str, ...]))
        width = msgspec.convert(best["width"], int)
        if not {END} <= set(words.words) or list(best["model"]["embedding"].shape) != [len(words), width]:
            raise ValueError(f"no words and weights of width {width}")  # before a network of any size is made
        for number, hidden in enumerate(graph if isinstance(graph, tuple) else ()):
            if list(best["model"][f"cell.layers.{number}.weight_hh_l0"].shape) != [4 * hidden, hidden]:
                raise ValueError(f"no layer of width {hidden}")
        model = LanguageModel(graph, len(words), width)
        model.load_state_dict(best["model"])
    return model.eval(), words


def text_perplexity(
    run: Path | str, text: Path | str, *, unknown_words: str = "error", device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the perplexity of a text under the best weights of a run, read in order in one stream.

    Args:
        run: folder that :func:`retrain_text` wrote.
        text: UTF-8, a sentence a line, words separated by blanks.
        unknown_words: ``error`` or ``unk``, as for `language.data.read_corpus`.
        device: to compute on.
        progress: called with words done and in all.

    Returns:
        ``perplexity``, ``loss`` (nats a token), ``tokens``, ``unknown`` (how many of them are the unknown word).

    Raises:
        DataError: there is no trained model in ``run``, or the text cannot be read or has unknown words.
    """
    model, words = load(run)
    model.to(choose(device))
    tokens = words.encode(Path(text), unknown_words=unknown_words)
    loss = mean_loss(model, tokens, words.words.index(END), progress=progress)
    unknown = int((tokens == words.words.index(UNKNOWN)).sum()) if UNKNOWN in words.words else 0
    return {"perplexity": perplexity(loss), "loss": loss, "tokens": len(tokens), "unknown": unknown}


def answers(
    model: Path, files: Sequence[Path], *, unknown_words: str, progress: Progress | None = None, **_: Any
) -> Iterator[Answer]:
    """`text_perplexity` as a task offers it."""
    for text in files:
        found = text_perplexity(model, text, unknown_words=unknown_words, progress=progress)
        words = f"{found['tokens']:,} words and line ends, {found['unknown']:,} of them unknown"
        yield Answer(f"{text}: perplexity {found['perplexity']:.2f} ({words})", {"text": str(text), **found})
