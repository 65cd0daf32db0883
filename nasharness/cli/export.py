"""``nasharness export``."""

from __future__ import annotations

from pathlib import Path

import click

from nasharness.cli.terminal import need_torch


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A new file.")
@click.option("--format", metavar="pt2|onnx|safetensors", help="Format (default: by the name of FILE).")
@click.option("--weights", metavar="last|best|raw",
              help="Images: last (default): averaged, if the run keeps an average; best: of all epochs by top-1; raw: "
                   "last, as trained. Text: best by validation.")  # fmt: skip
def command(run: Path, out: Path, format: str | None, weights: str | None) -> None:  # noqa: A002
    """Take the network out of a retraining run: torch.export's format, ONNX, or its weights, checked against it.

    Images: the file takes pixels in [0, 1], float32 [n, 3, size, size], and gives logits; it normalises by itself and
    holds the names of the classes. Text: it takes a word of each text and a state, and gives the log-probabilities of
    the next word and the new state; it holds the vocabulary, and the weights are the best. safetensors: weights by
    name, and no network.

    Beside FILE lies its card, FILE.md: what it is, how it was trained, what it came to.
    """
    need_torch()
    from nasharness import tasks
    from nasharness.training import card

    made = tasks.of_run(run, "images").function("export")(run, out, format=format, weights=weights)
    click.echo(f"written    {out} ({made['format']}, {made['bytes'] / 2**20:.1f} MiB)")
    click.echo(f"checked    against the network: largest difference {made['difference']:.1e}")
    click.echo(f"card       {card.write(run, out, made)}")
