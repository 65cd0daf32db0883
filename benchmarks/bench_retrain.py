"""Images a second of full training: ShrinkCNN-A beside timm's networks, on tensors and from JPEG files.

    python benchmarks/bench_retrain.py [--device cuda] [--batch 256] [--compile] [--workers 16] [--out FILE]
    python benchmarks/bench_retrain.py --device cpu --batch 8 --size 64 --steps 4 --images 64 --networks shrinkcnn-a

Every network goes through the same step (recipe ``shrinkcnn``: RMSProp of TensorFlow, label smoothing, moving average;
channels last; bf16 on a GPU), timed after ``--warmup`` steps, the clock read when the device has finished:

* synthetic: one batch of random tensors, over and over: what the device can do;
* augment: bytes already decoded -> flip, colours, erasing, normalisation on the device, alone;
* decode: files -> crops in the workers, alone: the limit of the CPUs;
* jpeg: all of it, as ``nasharness retrain`` does it. Files are made here: smooth fields with noise, 500 x 375 pixels,
  about 100 kB, as ImageNet's.

"per MAC": images a second times the MACs of an image, ours over timm's.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nasharness.nets import imagenet
from nasharness.nets.counts import macs, params
from nasharness.training import optimisers
from nasharness.training.device import choose, synchronise
from nasharness.training.distributed import World
from nasharness.training.imagenet import decode, recipes, sources
from nasharness.training.imagenet.augment import Augmenter
from nasharness.training.imagenet.ema import MovingAverage
from nasharness.training.imagenet.loader import Images, Order, Steps, training_batches
from nasharness.training.imagenet.step import Batch, Trainer

TIMM = ("mobilenetv3_large_100", "efficientnet_b0")


def network(name: str, size: int) -> torch.nn.Module | None:
    """One of ours by name, or of timm's; None where timm is not installed."""
    if name in imagenet.names():
        return imagenet.build(name, 1000, size=size)
    with contextlib.suppress(ImportError):
        import timm

        return timm.create_model(name, num_classes=1000)
    return None


def trainer(net: torch.nn.Module, world: World, options: argparse.Namespace) -> Trainer:
    recipe = recipes.get("shrinkcnn")
    net.to(world.device).to(memory_format=torch.channels_last)
    optimiser = optimisers.make(
        recipe.optimiser,
        net,
        0.01,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        decay_on=recipe.decay_on,
    )
    return Trainer(
        net, optimiser, world, classes=1000, smoothing=recipe.smoothing, ema=MovingAverage(net, recipe.ema),
        precision=options.precision, compile=options.compile,
    )  # fmt: skip


def rate(step: Callable[[], Any], world: World, options: argparse.Namespace) -> float:
    """Images a second of ``step``, which works on one batch."""
    for _ in range(options.warmup):
        step()
    synchronise(world.device)
    start = time.perf_counter()
    for _ in range(options.steps):
        step()
    synchronise(world.device)
    return options.steps * options.batch / (time.perf_counter() - start)


def photographs(root: Path, count: int, width: int = 500, height: int = 375) -> None:
    """Write ImageNet-sized JPEG files in ten classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = (smooth + rng.normal(0, 14, smooth.shape)).clip(0, 255).astype(np.uint8)
        folder = root / "train" / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number:06}.jpg", quality=88)


def from_files(world: World, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of decoding alone, augmenting alone, and of training on files."""
    recipe = recipes.get("shrinkcnn")
    augmenter = Augmenter(
        recipe.augment, recipe.mean, recipe.std, size=options.size, seed=0, device=world.device
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photographs(root, options.images)
        source = sources.open_split(root, "train")
        size = sum(path.stat().st_size for path in root.rglob("*.jpg")) / len(source)
        images = Images(source, recipe, size=options.size, seed=0, training=True)
        order = Order(len(source), options.batch, 0)

        def raw() -> Iterator[Any]:
            steps = Steps(order, 0, options.warmup + options.steps, rank=0, size=1, accumulate=1)
            return training_batches(images, steps, workers=options.workers, pin=world.device.type == "cuda")

        batches = raw()
        decoding = rate(lambda: next(batches), world, options)
        first = next(raw())
        pixels = first.pixels.to(world.device)
        augmenting = rate(lambda: augmenter(pixels, first.numbers), world, options)

        def on_device() -> Iterator[Batch]:
            for part in raw():
                there = [t.to(world.device, non_blocking=True) for t in (part.pixels, part.labels, part.weights)]
                yield Batch(augmenter(there[0], part.numbers), there[1], there[2])

        training = trainer(imagenet.build("shrinkcnn-a", 1000, size=options.size), world, options)
        ready = on_device()
        return {
            "jpeg": rate(lambda: training.advance(ready, 0.01), world, options),
            "decode": decoding,
            "augment": augmenting,
            "decoder": decode.decoder(),
            "workers": options.workers,
            "mean_file_bytes": round(size),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--networks", nargs="+", default=["shrinkcnn-a", "shrinkcnn-b", *TIMM])
    parser.add_argument("--no-files", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    world = World(0, 1, choose(options.device))
    if world.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(options.batch, 3, options.size, options.size, generator=generator)
    batch = Batch(
        inputs.to(world.device).contiguous(memory_format=torch.channels_last),
        torch.randint(1000, (options.batch,), generator=generator).to(world.device),
        torch.ones(options.batch, device=world.device),
    )
    rows: dict[str, dict[str, Any]] = {}
    for name in options.networks:
        net = network(name, options.size)
        if net is None:
            print(f"{name}: left out, timm is not installed (pip install timm)")
            continue
        count = {"params": params(net), "macs": macs(net, (1, 3, options.size, options.size))}
        training, same = trainer(net, world, options), itertools.repeat(batch)
        speed = rate(lambda t=training, b=same: t.advance(b, 0.01), world, options)  # type: ignore[misc]
        rows[name] = {**count, "synthetic": speed, "tera_macs_per_s": speed * count["macs"] / 1e12}
        print(f"{name}: {speed:,.1f} images/s synthetic, {count['macs'] / 1e6:.1f} M MACs, "
              f"{rows[name]['tera_macs_per_s']:.4f} T MACs/s")  # fmt: skip
    for name, peer in itertools.product(rows, TIMM):
        if peer in rows and name not in TIMM:
            share = rows[name]["tera_macs_per_s"] / rows[peer]["tera_macs_per_s"]
            rows[name][f"per_mac_to_{peer}"] = share
            print(f"{name}: {share:.2f} times {peer}'s images/s per MAC")
    files = {} if options.no_files else from_files(world, options)
    if files:
        print(f"shrinkcnn-a from JPEG: {files['jpeg']:,.1f} images/s; decoding alone {files['decode']:,.1f}, "
              f"augmenting alone {files['augment']:,.1f} ({files['workers']} workers, {files['decoder']})")  # fmt: skip
    device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else platform.processor() or "cpu"
    result = {
        "date": time.strftime("%Y-%m-%d"), "device": device, "torch": torch.__version__,
        "settings": {key: str(value) for key, value in vars(options).items()}, "networks": rows, "files": files,
    }  # fmt: skip
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
