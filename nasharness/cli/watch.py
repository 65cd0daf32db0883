"""``nasharness watch``."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasharness.cli.terminal import ascii_only, duration
from nasharness.errors import UsageError

if TYPE_CHECKING:
    from nasharness.analysis.watching import Part

#: Characters of a bar.
BAR = 20


@click.command("watch")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option("--every", default=2.0, show_default=True, metavar="SECONDS", help="How often to look.")
@click.option("--once", is_flag=True, help="Look once; so it is, too, where the output is no terminal.")
def command(folders: tuple[Path, ...], every: float, once: bool) -> None:
    """Show how far studies and trainings are, which run elsewhere: rates, and the time that is left.

    DIR is the --out of a study, a training, a search by training or a supernet. It only reads; Ctrl-C ends the watching
    and nothing else.
    """
    from nasharness.analysis.watching import together

    if every <= 0:
        raise UsageError(f"--every {every:g}: expected a number of seconds above 0")
    shown = 0
    try:
        while True:
            parts = together(folders)
            lines = table(parts, shutil.get_terminal_size().columns, sys.stdout.isatty())
            if shown:
                click.echo(f"\x1b[{shown}A\x1b[J", nl=False)
            click.echo("\n".join(lines))
            if once or not sys.stdout.isatty() or all(part.finished for part in parts):
                return
            shown = len(lines)
            time.sleep(every)
    except KeyboardInterrupt:
        return


def table(parts: Sequence[Part], width: int, colour: bool) -> list[str]:
    """A line a part: name, bar, how many, seconds each, time left, what it measures; none wider than ``width``."""
    full, empty = ("#", ".") if ascii_only() else ("█", "░")
    longest = max(len(part.name) for part in parts)
    counts = [f"{part.done:,}" + (f" of {part.total:,}" if part.total is not None else "") for part in parts]
    most = max(map(len, counts))
    lines = []
    for part, count in zip(parts, counts, strict=True):
        share = part.done / part.total if part.total else 0.0
        bar = full * int(BAR * share) + empty * (BAR - int(BAR * share)) if part.total is not None else " " * BAR
        words = [f"{count:>{most}} {part.unit}"]
        if part.each is not None and not part.finished:
            words.append(f"{part.each:.3g} s each")
        if part.finished:
            words.append("done")
        elif part.left is not None:
            words.append(f"{duration(part.left)} left")
        words += [part.detail] if part.detail else []
        line = f"{part.name:<{longest}}  {bar}  {', '.join(words)}"[: max(20, width - 1)]
        place = longest + 2
        if colour:
            code = "32" if part.finished else "36"
            line = f"{line[:place]}\x1b[{code}m{line[place : place + BAR]}\x1b[0m{line[place + BAR :]}"
        lines.append(line)
    return lines
