"""``nasharness predict``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nasharness.cli.terminal import Progress, need_torch, quiet_option, use_processors
from nasharness.errors import DataError, UsageError


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path), metavar="RUN|FILE")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--top", type=int, default=5, show_default=True, metavar="K", help="Classes to print.")
@click.option("--weights", metavar="last|best|raw", help="Of a run on images; as for nasharness export.")
@click.option("--trust", is_flag=True, help="Load a .pt2 file of your own: loading one can run code that is in it.")
@click.option("--text", type=click.Path(path_type=Path), metavar="FILE", help="Of a run on text: a text's perplexity.")
@click.option("--unknown-words", default="error", show_default=True, metavar="error|unk",
              help="Text: words outside the run's vocabulary.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@quiet_option
def command(
    model: Path,
    images: tuple[Path, ...],
    top: int,
    weights: str | None,
    trust: bool,
    text: Path | None,
    unknown_words: str,
    as_json: bool,
) -> None:
    """Print what a retrained network makes of images (the most probable classes) or of a text (its perplexity).

    RUN: a run's folder; FILE: exported.
    """
    need_torch()
    if top < 1:
        raise UsageError(f"--top {top}: expected at least 1")
    if bool(images) == (text is not None):
        raise UsageError("give images, or --text FILE for a run on text")
    from nasharness import tasks

    task = tasks.of_run(model, "images" if images else "text")
    if images and task.reads != "images":
        raise UsageError(f"{model} is a run on text: give --text FILE")
    use_processors()
    failed = []
    with Progress("words") as progress:
        options = {"top": top, "weights": weights, "trust": trust, "unknown_words": unknown_words}
        for answer in task.function("predict")(model, images or [text], **options, progress=progress):
            progress.close()
            if answer.error:
                failed.append(answer.error)
            else:
                click.echo(json.dumps(answer.plain) if as_json else answer.line)
    if failed:
        raise DataError(f"cannot read {len(failed)} of {len(images)} images; {'; '.join(failed[:3])}")
