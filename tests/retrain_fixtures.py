"""A folder of small photographs, a network that learns them in seconds, and the command line with both."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
#: what a test process runs: ``nasharness`` with the network "tiny" known
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from tests.retrain_fixtures import with_tiny; with_tiny();"
    "from nasharness import cli; cli.main(sys.argv[1:])"
)


def tiny(winner, classes, *, size=224, generator=None):
    """Stand in for ``nasharness.nets.imagenet.build``: three layers with batch norm."""
    import torch
    from torch import nn

    generator = generator or torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes),
    )  # fmt: skip
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=generator)
        network[-1].bias.zero_()
    return network


def with_tiny():
    """Let every network be the tiny one, in this process."""
    from nasharness.nets import imagenet

    imagenet.build = tiny


def pictures(root: Path, classes: int = 10, train: int = 6, val: int = 3) -> Path:
    """Write ``root/{train,val}/CLASS/*.jpg``: classes differ in colour and in the direction of a ramp."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for label in range(classes):
            folder = root / split / f"class{label:02}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.zeros((40, 48, 3))
                pixels[..., label % 3] = 80 + 15 * label
                pixels[..., (label + 1) % 3] = np.linspace(0, 200, 48)[None] if label // 3 % 2 else 100
                pixels += rng.normal(0, 15, pixels.shape)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03}.jpg", quality=90)
    return root


def shards(folder: Path, out: Path, each: int = 7) -> Path:
    """Write the same images as WebDataset-style tar files, with ``classes.txt``."""
    names = sorted(path.name for path in (folder / "train").iterdir())
    for split in ("train", "val"):
        (out / split).mkdir(parents=True)
        files = [path for name in names for path in sorted((folder / split / name).glob("*.jpg"))]
        for shard in range(0, len(files), each):
            with tarfile.open(out / split / f"{shard:05}.tar", "w") as archive:
                for number, path in enumerate(files[shard : shard + each], start=shard):
                    label = names.index(path.parent.name)
                    suffix, text = ("json", f'{{"label": {label}}}') if number % 2 else ("cls", str(label))
                    for end, data in (("jpg", path.read_bytes()), (suffix, text.encode())):
                        member = tarfile.TarInfo(f"{number:06}.{end}")
                        member.size = len(data)
                        archive.addfile(member, io.BytesIO(data))
    (out / "classes.txt").write_text("\n".join(names) + "\n")
    return out


def process(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start ``nasharness`` with the tiny network."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ROOT), *map(str, arguments)],
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
