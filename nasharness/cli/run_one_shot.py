"""``nasharness run --images``: one-shot algorithms."""

from __future__ import annotations

import json
from typing import Any

import click

from nasharness.cli.terminal import Progress, ascii_only, use_processors


def train(
    algorithm: str, space: str, dataset: str, judged: dict[str, Any], asked: dict[str, Any], as_json: bool
) -> None:
    """Do what ``nasharness run --images`` says; ``judged``, ``asked``: of ``Judge.find``, ``OneShotRequest.create``."""
    use_processors()
    from nasharness.supernets.judge import Judge
    from nasharness.supernets.request import OneShotRequest
    from nasharness.supernets.run import execute
    from nasharness.supernets.text import header, render

    request = OneShotRequest.create(algorithm, space, dataset, **asked)
    judge = Judge.find(space, dataset, **judged)
    if not as_json:
        click.echo(header(request, judge))
        click.echo()
    with Progress("steps") as progress:
        result = execute(request, judge, progress)
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
