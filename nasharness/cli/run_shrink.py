"""What ``nasharness run`` does on AutoShrink's own spaces: every candidate is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nasharness.cli.terminal import Progress, ascii_only, need_torch
from nasharness.errors import UsageError

#: options of ``nasharness run`` that are settings of the search too
SETTINGS = ("epochs", "batch", "lr")
#: the others that mean something here
OPTIONS = ("images", "data", "text", "jobs", "device", "precision", "resume")


def search(algorithm: str, space: str, asked: Mapping[str, Any], options: Mapping[str, Any], as_json: bool) -> None:
    """Search ``shrink-cnn`` or ``shrink-rnn`` and print what was found.

    ``asked``: out, settings, seed, runs. ``options``: of those that train, by name, the ones that were given. Raises
    UsageError for what cannot be asked, DataError for data that are not here.
    """
    from nasharness import spaces

    graphs = spaces.graphs(space)
    if algorithm not in graphs.algorithms:
        spaces.get(space)  # which says what the space needs
    for name in options:
        if name not in (*SETTINGS, *OPTIONS):
            raise UsageError(
                f"--{name.replace('_', '-')} is for supernets; space {space} knows {_options()}, and --set"
            )
    out, runs = asked["out"], asked["runs"]
    if out is None:
        raise UsageError(f"a search of space {space} trains hundreds of networks: add --out DIR, where they are kept")
    if runs != 1:
        raise UsageError(f"--runs {runs}: a search of space {space} is one run; make others with --seed and --out")
    need_torch()
    from nasharness.training.proxy_search.run import ShrinkRequest
    from nasharness.training.proxy_search.run import search as shrink

    settings = {name: options[name] for name in SETTINGS if name in options} | dict(asked["settings"])
    given = {name: options[name] for name in OPTIONS if name in options and name != "resume"}
    request = ShrinkRequest.create(algorithm, space, out=out, settings=settings, seed=asked["seed"], **given)
    resume = bool(options.get("resume"))
    if not as_json:
        for line in _header(request):
            click.echo(line)
    with Progress("trainings") as progress:
        found = shrink(request, resume=resume, progress=progress)
    drawn = _draw(out)
    if as_json:
        click.echo(json.dumps(found.winner() | {"trainings_replayed": found.replayed}, allow_nan=False))
        return
    for line in _outcome(found, drawn, ascii=ascii_only()):
        click.echo(line)


def _options() -> str:
    return ", ".join(f"--{name}" for name in (*SETTINGS, *OPTIONS))


def _header(request: Any) -> list[str]:
    changed = ", ".join(f"{key}={value}" for key, value in request.settings.record().items())
    side = "side by side" if request.jobs > 1 else "at a time"
    return [
        f"search     {request.algorithm} on {request.space.name}, seed {request.seed}",
        f"start      {request.start}",
        f"data       {request.dataset} from {request.source}: {request.proxy.note}",
        f"settings   {changed}",
        f"trainings  {request.jobs} {side} on {', '.join(request.devices)}",
        "",
    ]


def _draw(out: Path) -> str:
    """Draw the search; figures are no reason to fail after hours of training."""
    from nasharness.analysis.figures.graph_shrinking import write

    try:
        return ", ".join(path.name for path in write(out))
    except UsageError as error:
        return f"no figure: {error}"


def _outcome(found: Any, drawn: str, ascii: bool) -> list[str]:  # noqa: A002 - as in Space.draw
    from nasharness.spaces.drawing_graph import draw_graph

    best, proxy, trajectory = found.best, found.request.proxy, found.trajectory
    value = f"{100 * best.value:.2f} %" if proxy.quality == "accuracy" else f"{best.value:.2f}"
    failed = sum(one.stopped.startswith("diverged") for step in trajectory.steps for one in step.candidates)
    stopped = sum(bool(one.stopped) for step in trajectory.steps for one in step.candidates) - failed
    return [
        f"winner     {best.graph}",
        "",
        *("  " + line for line in draw_graph(best.graph, ascii=ascii).splitlines()),
        "",
        f"score      {best.score:.4f}: proxy {proxy.quality} {value}, {best.cost:,.0f} {proxy.unit}, "
        f"{proxy.params(best.graph):,} parameters",
        f"search     {trajectory.trainings} trainings ({found.replayed} replayed, {stopped} stopped early, {failed} "
        f"diverged) in {len(trajectory.steps)} steps; ended: {trajectory.ended}",
        f"written    {found.request.out}: winner.json, trajectory.json, journal.jsonl, {drawn}",
    ]
