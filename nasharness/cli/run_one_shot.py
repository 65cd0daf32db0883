"""``nasharness run --images``: one-shot algorithms."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from nasharness.cli.terminal import ascii_only, use_processors

if TYPE_CHECKING:
    from nasharness.supernets.session import Epoch


def train(
    algorithm: str, space: str, dataset: str, judged: dict[str, Any], asked: dict[str, Any], as_json: bool
) -> None:
    """Do what ``nasharness run --images`` says; ``judged``, ``asked``: of ``Judge.find``, ``OneShotRequest.create``."""
    use_processors()
    from nasharness.runs.signals import Stopped, preemptible
    from nasharness.supernets.judge import Judge
    from nasharness.supernets.request import OneShotRequest
    from nasharness.supernets.run import Interrupted, execute
    from nasharness.supernets.text import header, render

    request = OneShotRequest.create(algorithm, space, dataset, **asked)
    judge = Judge.find(space, dataset, **judged)
    if not as_json:
        click.echo(header(request, judge))
        click.echo()
    watcher = Watch(space, dataset, len(request.seeds) > 1)
    with preemptible() as code:
        try:
            result = execute(request, judge, watcher)
        except Interrupted as interrupted:
            raise Stopped(str(interrupted), code()) from None
        finally:
            watcher.close()
    written = None if request.out is None else result.write()
    if as_json:
        click.echo(json.dumps(result.summary(), allow_nan=False))
        return
    click.echo(render(result, ascii=ascii_only()))
    click.echo(f"written    {written if written is not None else 'nothing; --out DIR keeps everything'}")
    if written is not None and judge.problem is None:
        click.echo(f"next       nasharness retrain --winner {written}   what the winner reaches by itself")
    elif written is not None:
        click.echo(f"next       nasharness validate --supernet {written}   how well the shared weights rank")


class Watch:
    """Progress on standard error: a line an epoch, on a terminal one line that is rewritten step by step."""

    def __init__(self, space: str, dataset: str, many: bool, stream: Any = None) -> None:
        self.space, self.dataset, self.many = space, dataset, many
        self.stream = stream if stream is not None else sys.stderr
        self.terminal = bool(self.stream.isatty())
        self.last: dict[int, str] = {}
        self.shown = 0.0
        self.open = False

    def step(self, seed: int, epoch: int, step: int, steps: int) -> None:
        """Note that a step of an epoch is done."""
        now = time.monotonic()
        if self.terminal and now - self.shown > 0.25:
            self.shown = now
            before = self.last.get(seed, self._named(seed))
            self._rewrite(f"{before}  |  epoch {epoch}: step {step:,} of {steps:,}".removeprefix("  |  "))

    def epoch(self, seed: int, epoch: Epoch, final: float | None) -> None:
        """Note that an epoch is done."""
        from nasharness.supernets.text import line

        text = self._named(seed) + line(epoch, final, self.space, self.dataset)
        if self.terminal:
            self.last[seed] = text if epoch.arch is None else text.rpartition("  ")[0]  # the architecture is long
            self._rewrite(text)
        else:
            self.stream.write(text + "\n")
            self.stream.flush()

    def close(self) -> None:
        """Leave the line that was being rewritten as it is."""
        if self.open:
            self.stream.write("\n")
            self.stream.flush()
            self.open = False

    def _named(self, seed: int) -> str:
        return f"seed {seed}  " if self.many else ""

    def _rewrite(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self.stream.write(f"\r\x1b[K{text[:width]}")
        self.stream.flush()
        self.open = True
