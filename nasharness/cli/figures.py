"""``nasharness figures``."""

from __future__ import annotations

from pathlib import Path

import click

from nasharness.cli.terminal import Progress, quiet_option
from nasharness.errors import UsageError


@click.command("figures")
@click.argument("studies", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="STUDY...")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the files (default: STUDY/figures)."
)
@click.option("--only", metavar="NAME,...", help="Only these figures; --list names them all.")
@click.option(
    "--format", "formats", default="png,pdf", show_default=True, metavar="png,pdf,svg", help="Kinds of files."
)
@click.option("--average", default="mean", show_default=True, metavar="mean|median", help="What curves show.")
@click.option(
    "--width", default="auto", show_default=True, metavar="auto|column|page", help="Of a paper in two columns."
)
@click.option("--style", default="paper", show_default=True, metavar="paper|talk", help="talk: larger, for slides.")
@click.option("--no-caption", is_flag=True, help="Leave the note below out; NAME.txt has it.")
@click.option("--partial", is_flag=True, help="Draw what is finished of a study that is not complete.")
@click.option("--list", "list_names", is_flag=True, is_eager=True, expose_value=False, callback=lambda *a: _list(*a),
              help="List the figures and exit.")  # fmt: skip
@quiet_option
def command(
    studies: tuple[Path, ...],
    out: Path | None,
    only: str | None,
    formats: str,
    average: str,
    width: str,
    style: str,
    no_caption: bool,
    partial: bool,
) -> None:
    """Draw the figures of a study, the course of a training run, or a search of shrink-cnn or shrink-rnn so far: PNG
    and PDF, and the numbers drawn as CSV.
    """  # noqa: D205 - click reads it
    from nasharness.analysis import figures
    from nasharness.analysis.figures import graph_shrinking, training

    setting = figures.Setting(width, style, captions=not no_caption)
    if len(studies) == 1 and training.is_run(studies[0]):
        target = out if out is not None else studies[0] / "figures"
        files = training.draw_run(studies[0], target, formats=_words(formats) or (), setting=setting)
        click.echo(f"written    {len(files)} files in {target}: training")
        return
    if len(studies) == 1 and graph_shrinking.is_search(studies[0]):
        target = out if out is not None else studies[0]
        files = graph_shrinking.write(studies[0], target, formats=_words(formats) or (), setting=setting)
        click.echo(f"written    {len(files)} files in {target}: shrinking")
        return
    from nasharness.studies import load

    wanted = _words(only)
    figures.names(wanted)
    results = load(studies, partial=partial)
    target = out if out is not None else studies[0] / "figures"
    progress = Progress("figures")
    try:
        drawn = figures.draw(
            results,
            target,
            only=wanted,
            formats=_words(formats) or (),
            average=average,
            setting=setting,
            progress=progress,
        )
    finally:
        progress.close()
    for name, reason in drawn.left_out.items():
        click.echo(f"left out   {name}: {reason}")
    made = [path.stem for path in drawn.written if path.suffix == ".csv"]
    click.echo(f"written    {len(drawn.written)} files in {target}: {', '.join(made)}")


def _words(text: str | None) -> list[str] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"{text!r}: expected names separated by commas (nasharness figures --help)")
    return words


def _list(context: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from nasharness.analysis.figures import KINDS

    for name, kind in KINDS.items():
        click.echo(f"{name:<22} {kind.title}")
    context.exit()
