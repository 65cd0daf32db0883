"""``nasharness predict``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import click

from nasharness.errors import DataError, UsageError


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path), metavar="RUN|FILE")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--top", type=int, default=5, show_default=True, metavar="K", help="Classes to print.")
@click.option("--weights", default="best", show_default=True, metavar="best|last|raw", help="Of a run.")
@click.option("--trust", is_flag=True, help="Load a .pt2 file of your own: loading one can run code that is in it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(model: Path, images: tuple[Path, ...], top: int, weights: str, trust: bool, as_json: bool) -> None:
    """Print what a retrained network sees in images: the most probable classes. RUN: a run's folder; FILE: exported."""
    if importlib.util.find_spec("torch") is None:
        raise UsageError("this needs PyTorch: pip install 'nasharness[train]'")
    if top < 1:
        raise UsageError(f"--top {top}: expected at least 1")
    from nasharness.training.predict import predict

    failed = []
    for seen in predict(model, images, top=top, weights=weights, trust=trust):
        if seen.error:
            failed.append(f"{seen.path}: {seen.error}")
        elif as_json:
            classes = [{"class": name, "probability": share} for name, share in seen.classes]
            click.echo(json.dumps({"image": str(seen.path), "classes": classes}))
        else:
            click.echo(f"{seen.path}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in seen.classes))
    if failed:
        raise DataError(f"cannot read {len(failed)} of {len(images)} images; {'; '.join(failed[:3])}")
