"""``nasharness score``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasharness.cli.completion import Names
from nasharness.cli.options import words
from nasharness.cli.terminal import Progress, use_processors

if TYPE_CHECKING:
    from nasharness.proxies.scoring import Scored


@click.command("score")
@click.option("--proxy", "proxies", required=True, multiple=True, type=Names("proxies"), metavar="NAME,...",
              help="params, macs, synflow, naswot, jacob_cov, zen, or one of yours; repeatable.")  # fmt: skip
@click.option("--space", required=True, type=Names("spaces"), metavar="tss|sss", help="Space of the architectures.")
@click.option(
    "--images", required=True, metavar="NAME|PATH", help="cifar10, cifar100, ImageNet16-120, digits, JPEG parquet."
)
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Folder that holds the images' files.")
@click.option("--cells", "archs", default="100", show_default=True, metavar="N|all|FILE",
              help="Architectures: so many drawn with the seed, all, or those of a file, one a line.")  # fmt: skip
@click.option("--batch", default=64, show_default=True, metavar="N", help="Images that every network is shown.")
@click.option("--channels", type=int, metavar="C", help="Of the first stage of tss (default 16).")
@click.option("--depth", "cells", type=int, metavar="N", help="Cells in each of three stages (default: tss 5, sss 1).")
@click.option("--init", default="pytorch", show_default=True, metavar="pytorch|kaiming", help="How weights are drawn.")
@click.option("--seed", default=0, show_default=True, help="Of architectures, images and weights.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="auto: a GPU if there is one."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Scores, FILE.csv or FILE.parquet.")
@click.option("--resume", is_flag=True, help="Go on with the file in --out, where it was stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(proxies: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Score untrained networks by zero-cost proxies: a file that starts and validate read.

    \b
    nasharness score --proxy synflow,naswot --space tss --images cifar10 --cells 500 --out scores.csv
    nasharness validate --scores scores.csv
    nasharness run --algo rea --space tss --start scores:scores.csv@synflow:10 --runs 100

    Higher is better; -inf is the score of a network whose answer does not depend on the image.
    """  # noqa: D301 - click reads it
    use_processors()
    from nasharness.proxies.scoring import Request, score

    progress = Progress("scores")
    try:
        scored = score(Request([name for text in proxies for name in words(text)], **given), progress)
    finally:
        progress.close()
    click.echo(json.dumps(_plain(scored)) if as_json else _render(scored))


def _plain(scored: Scored) -> dict[str, Any]:
    return {
        **scored.identity,
        "source": scored.source,
        "file": None if scored.out is None else str(scored.out),
        "index": scored.index.tolist(),
        "scores": {name: [_number(value) for value in values.tolist()] for name, values in scored.scores.items()},
    }


def _number(value: float) -> float | str | None:
    """JSON knows no infinities: a text, and None for no score."""
    return value if math.isfinite(value) else None if math.isnan(value) else str(value)


def _render(scored: Scored) -> str:
    import numpy as np

    from nasharness.analysis.layout import plain

    known = scored.identity
    rows = []
    for name, values in scored.scores.items():
        finite = values[np.isfinite(values)]
        best = "-" if not len(finite) else str(scored.index[np.where(np.isfinite(values), values, -np.inf).argmax()])
        numbers = [f"{value:.6g}" for value in np.quantile(finite, [0, 0.5, 1])] if len(finite) else ["-"] * 3
        took = f"{scored.seconds[name]:.3g}" if name in scored.seconds else "-"
        rows.append([name, *numbers, best, f"{np.isneginf(values).sum():,}", f"{np.isnan(values).sum():,}", took])
    size = f"{known['channels'] or 'published'} channels, {known['cells'] or 'published'} cells a stage"
    return "\n".join(
        [
            f"space      {scored.space.name}: {len(scored.index):,} of {scored.space.size:,} architectures",
            f"images     {known['batch']} of {known['dataset']}: {scored.source}",
            f"network    {size}; {known['init']} weights, seed {known['seed']}; {known['device']}",
            "",
            plain(["proxy", "least", "median", "best", "index", "-inf", "none", "seconds each"], rows),
            "",
            f"written    {scored.out or 'nothing; --out FILE keeps the scores'}",
        ]
    )
