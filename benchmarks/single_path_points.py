"""Single-Path NAS at several weights of the cost: latency and accuracy of what it finds, beside random networks.

    python benchmarks/single_path_points.py --data DIR -o results/single_path_points.csv

Each answer is trained alone from the beginning, and so is a random architecture of its latency (within 3 %), in equal
steps on the same CIFAR-10 images; both are judged on the test images. One CSV row a network; rows that the file has are
not computed again. At the scale of two processor cores: narrow networks, few images, few epochs.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from nasharness import hardware, spaces
from nasharness.errors import DataError
from nasharness.images import load
from nasharness.nets.mbconv import MBNet
from nasharness.search.interval import summarise
from nasharness.supernets.mobile import MobileSupernet
from nasharness.supernets.run import run_one_shot
from nasharness.training.batches import DeviceImages

SPACE = spaces.get("mobile")
LATENCY = hardware.reader(hardware.find(SPACE, "ImageNet", "pixel1_latency"))
FIELDS = ("cost_weight", "seed", "arm", "latency_ms", "accuracy", "signal", "arch", "images", "epochs", "seconds")


def alone(arch, images, epochs: int, seed: int, channels: int) -> float:
    """Test accuracy in percent of an architecture trained by itself: SGD at 0.05 along a cosine, batches of 64."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    macro = MobileSupernet(images.classes, channels=channels, side=images.side, generator=draw).macro
    net = MBNet(macro, SPACE.chosen(arch), images.classes, generator=torch.Generator().manual_seed(seed)).train()
    for module in net.modules():  # the published 0.01 is for hundreds of thousands of steps
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    train, test = (
        DeviceImages(x, y, images.mean, images.std, torch.device("cpu"), flip=flip)
        for x, y, flip in ((images.train_x, images.train_y, True), (images.test_x, images.test_y, False))
    )
    steps, done = epochs * (len(images.train_y) // 64), 0
    for _ in range(epochs):
        for x, y in train.batches(64, draw, drop_last=True):
            for group in optimiser.param_groups:
                group["lr"] = 0.05 * (1 + math.cos(math.pi * done / steps)) / 2
            loss = functional.cross_entropy(net(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            done += 1
    net.eval()
    with torch.inference_mode():
        right = sum(int((net(x).argmax(1) == y).sum()) for x, y in test.batches(500, shuffle=False, augment=False))
    return 100 * right / len(images.test_y)


def random_of(latency: float, rng: np.random.Generator):
    """A uniform draw among the architectures of this latency, within 3 %."""
    while True:
        archs = SPACE.sample(rng.random((4096, len(SPACE.sizes))))
        near = np.flatnonzero(np.abs(LATENCY(archs) / latency - 1) <= 0.03)
        if len(near):
            return archs[near[0]]
        latency *= 1 + 0.01 * rng.standard_normal()  # uniform draws hardly ever are as small as an extreme answer


def measure(weight: float, seed: int, images, asked: argparse.Namespace) -> list[dict[str, object]]:
    """The answer of a search and a random architecture as fast, each trained alone."""
    began = time.perf_counter()
    try:
        result = run_one_shot(
            "single-path", "mobile", "ImageNet", images=images, seed=seed, epochs=asked.epochs, channels=asked.channels,
            device="cpu", settings={"cost_weight": weight},
        )  # fmt: skip
    except DataError as error:  # all was left out
        print(f"cost_weight {weight:g}, seed {seed}: {error}")
        return []
    found, signal = np.asarray(result.winner, dtype=np.int8), result.runs[0].end.signal
    latency = float(LATENCY(found))
    rows = []
    for arm, arch in (("searched", found), ("random", random_of(latency, np.random.default_rng([seed, 1])))):
        accuracy = alone(arch, images, asked.alone, seed, asked.channels)
        rows.append(
            {
                "cost_weight": weight, "seed": seed, "arm": arm, "latency_ms": round(float(LATENCY(arch)), 4),
                "accuracy": accuracy, "signal": signal if arm == "searched" else "", "arch": SPACE.string(arch),
                "images": len(images.train_y), "epochs": f"{asked.epochs}+{asked.alone}",
                "seconds": round(time.perf_counter() - began, 1),
            }
        )  # fmt: skip
    return rows


def told(rows: list[dict[str, str]]) -> list[str]:
    """A line a weight: latency and accuracy, and how far random networks are behind, paired by seed; then over all."""
    gaps, lines = [], []
    for weight in sorted({float(row["cost_weight"]) for row in rows}):
        mine = [row for row in rows if float(row["cost_weight"]) == weight]
        both = [[row for row in mine if row["arm"] == arm] for arm in ("searched", "random")]
        latency, accuracy = (
            [np.mean([float(row[key]) for row in part]) for part in both] for key in ("latency_ms", "accuracy")
        )
        gaps += [float(a["accuracy"]) - float(b["accuracy"]) for a, b in zip(*both, strict=True)]
        lines.append(
            f"cost_weight {weight:g}: {len(both[0])} seeds, searched {latency[0]:.1f} ms {accuracy[0]:.1f} %, random "
            f"{latency[1]:.1f} ms {accuracy[1]:.1f} %"
        )
    if len(gaps) > 1:
        summary = summarise(np.array(gaps))
        lines.append(
            f"searched less random: {summary['mean']:+.2f} points, 95 % {summary['ci95']} over {len(gaps)} pairs"
        )
    return lines


def main() -> None:
    """Measure what is missing, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with CIFAR-10")
    parser.add_argument("--weights", default="0.3,3,30")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--alone", type=int, default=10, help="epochs of each network alone")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()
    whole = load("cifar10", asked.data)
    images = replace(whole, train_x=whole.train_x[: asked.images], train_y=whole.train_y[: asked.images])
    rows = list(csv.DictReader(asked.out.open())) if asked.out.exists() else []
    done = {(float(row["cost_weight"]), int(row["seed"])) for row in rows}
    for seed in range(asked.seeds):
        for weight in map(float, asked.weights.split(",")):
            if (weight, seed) in done:
                continue
            with asked.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS)
                if not file.tell():
                    writer.writeheader()
                writer.writerows(measure(weight, seed, images, asked))
    print("\n".join(told(list(csv.DictReader(asked.out.open())))))


if __name__ == "__main__":
    main()
