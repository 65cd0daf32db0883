"""``nasharness train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nasharness.cli.completion import Names
from nasharness.cli.terminal import Progress, quiet_option, use_processors


@click.command("train")
@click.option("--space", required=True, type=Names("spaces"), metavar="tss|sss", help="Space of the architectures.")
@click.option("--arch", required=True, metavar="INDEX|STRING", help="Architecture, by index or published string.")
@click.option(
    "--images", required=True, metavar="NAME|PATH", help="cifar10, cifar100, ImageNet16-120, digits, JPEG parquet."
)
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Folder that holds the images' files.")
@click.option(
    "--epochs", required=True, type=int, metavar="N", help="Epochs; the learning rate falls over all of them."
)
@click.option("--batch", default=256, show_default=True, metavar="N", help="Images of a step.")
@click.option("--lr", default=0.1, show_default=True, help="Learning rate at first; 0 at the end.")
@click.option("--channels", default=16, show_default=True, metavar="C", help="Of the first stage of tss.")
@click.option("--cells", type=int, metavar="N", help="Cells in each of three stages (default: tss 5, sss 1).")
@click.option("--split", metavar="NAME", help="full, halves, test-halves or validation (default full; see above).")
@click.option("--split-file", type=click.Path(path_type=Path), metavar="FILE", help="A published split.")
@click.option("--validation", default=0.2, show_default=True, metavar="SHARE", help="For --split validation.")
@click.option("--seed", default=0, show_default=True, help="Of weights, order and augmentation.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="auto: a GPU if there is one."
)
@click.option("--precision", default="auto", show_default=True, metavar="auto|fp32|bf16", help="auto: bf16 on a GPU.")
@click.option("--compile", is_flag=True, help="torch.compile: a minute at the start, faster steps.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Checkpoints, log.csv and result.json.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, exactly where its last epoch ended.")
@click.option("--json", "as_json", is_flag=True, help="Print the record, result.json, and nothing else.")
@quiet_option
def command(
    epochs: int, batch: int, lr: float, channels: int, cells: int | None, as_json: bool, out: Path | None, **given: Any
) -> None:
    """Train one architecture from scratch as NATS-Bench trained all of them, and show the table's number beside it.

    \b
    nasharness train --space tss --arch 13714 --images cifar10 --data DIR --epochs 12 --out runs/13714

    Splits: full trains on all training images (CIFAR-100 and ImageNet16-120 as published: half of the test images
    validate, --split test-halves); halves trains on half of them, as the table's cifar10-valid.
    """  # noqa: D301 - click reads it
    use_processors()
    from nasharness.training.nats import NatsRecipe
    from nasharness.training.nats_run import TrainRequest, render, train

    request = TrainRequest(recipe=NatsRecipe(epochs, batch, lr, channels, cells), out=out, **given)
    with Progress("steps") as progress:
        made = train(request, progress)
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(render(made))
    click.echo(f"written    {out / 'result.json' if out is not None else 'nothing; --out DIR keeps everything'}")
