"""Speed of the tss supernet against the plain one of `eager_supernet.py`: ranking architectures, and search steps.

    python benchmarks/bench_supernets.py [--device cuda --channels 16 --cells 5 --batch 64 256] [--out FILE]

Both take turns in the same process with the same weights; a ratio is that of their medians. On a CPU it is of
processor time, which other people's work disturbs least (with one thread it is the time itself), and on a GPU of wall
time, ours in bfloat16 with compiled mixtures, theirs in float32 as PyTorch computes it by default.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.eager_supernet import EagerSupernet  # noqa: E402
from nasharness.supernets.ranking import rank  # noqa: E402
from nasharness.supernets.tss import EdgeGates, TssSupernet  # noqa: E402
from nasharness.training.memory import keep_freed_memory  # noqa: E402


class Setting:
    """Both supernets with equal weights, images, and a clock."""

    def __init__(self, device, channels, cells, batch):
        generator = torch.Generator().manual_seed(0)
        self.device, self.batch = torch.device(device), batch
        self.gpu = self.device.type == "cuda"
        self.net = TssSupernet(10, channels=channels, cells=cells, generator=generator).to(self.device)
        self.eager = EagerSupernet(10, channels, cells).to(self.device).copy_from(self.net)
        self.net.fuse()
        images = torch.randn(batch, 3, 32, 32, generator=generator).to(self.device)
        self.plain_images, self.images = images, images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(0, 10, (batch,), generator=generator).to(self.device)
        self.rng = np.random.default_rng(0)

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.gpu)

    def seconds(self, function):
        if self.gpu:
            torch.cuda.synchronize()
        clock = time.perf_counter if self.gpu else time.process_time
        started = clock()
        function()
        if self.gpu:
            torch.cuda.synchronize()
        return clock() - started


def ranking(setting, count, sample):
    """Seconds an architecture: ours over ``count`` random cells, theirs over ``sample`` of them, before and after."""
    archs = setting.rng.integers(0, setting.net.space.size, count)
    chosen = setting.net.space.choices(archs[:sample])
    setting.eager.eval()
    setting.net.published = True  # as the eager network evaluates

    @torch.no_grad()
    def theirs(rows):
        for row in rows:
            logits = setting.eager.single(setting.plain_images, row)
            predictions.append(logits.argmax(-1))

    def ours():
        with setting.autocast():
            rank(setting.net, archs, [(setting.images, setting.labels)])

    predictions = []
    with setting.autocast():
        rank(setting.net, archs[:2], [(setting.images, setting.labels)])
    theirs(chosen[:1])
    predictions.clear()
    half = len(chosen) // 2
    before = setting.seconds(lambda: theirs(chosen[:half]))
    mine = setting.seconds(ours) / count
    after = setting.seconds(lambda: theirs(chosen[half:]))
    same = (setting.net.logits(setting.images, archs[:sample]).argmax(-1) == torch.stack(predictions)).float().mean()
    eager = (before + after) / len(chosen)
    return {"architectures": count, "eager_architectures": len(chosen), "ours_s": mine, "eager_s": eager,
            "ratio": eager / mine, "equal_predictions": float(same)}  # fmt: skip


def steps(setting, kind, repeats):
    """Seconds a step: one of weights, and for DARTS and GDAS one of the architecture too, on another batch."""
    labels = setting.labels
    results = {}
    for name, net in (("ours", setting.net), ("eager", setting.eager)):
        net.train()
        logits = nn.Parameter(1e-3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(1)))
        weights = torch.optim.SGD(net.parameters(), lr=0.025, momentum=0.9, nesterov=True, weight_decay=5e-4)
        adam = torch.optim.Adam([logits], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(3)
        results[name] = (net, logits, weights, adam, rng, generator)

    def loss(name, learn):
        net, logits, _, _, rng, generator = results[name]
        alphas = logits if learn else logits.detach()
        ours = name == "ours"
        if kind == "single":
            choices = rng.integers(0, 5, 6)
            out = net(setting.images, EdgeGates.single(choices)) if ours else net.single(setting.plain_images, choices)
        elif kind == "darts":
            soft = alphas.softmax(1).to(setting.device)
            out = net(setting.images, EdgeGates.mixture(soft)) if ours else net.mixture(setting.plain_images, soft)
        else:
            noise = -torch.empty(6, 5).exponential_(generator=generator).log()
            soft = ((alphas.log_softmax(1) + noise) / 5).softmax(1)
            choices = soft.detach().argmax(1)
            hard = (functional.one_hot(choices, 5) + (soft - soft.detach())).to(setting.device)
            if not ours:
                out = net.straight_through(setting.plain_images, choices.tolist(), hard)
            elif learn:
                out = net(setting.images, EdgeGates.straight_through(choices.numpy(), hard))
            else:
                out = net(setting.images, EdgeGates.single(choices.numpy()))
        return functional.cross_entropy(out.float(), labels)

    def step(name):
        _, logits, weights, adam, _, _ = results[name]

        def value(learn):
            if name == "ours":
                with setting.autocast():
                    return loss(name, learn)
            return loss(name, learn)

        weights.zero_grad()
        value(False).backward()
        weights.step()
        if kind != "single":
            if name == "ours":
                logits.grad = torch.autograd.grad(value(True), logits)[0]
            else:
                adam.zero_grad()
                value(True).backward()
            adam.step()

    for _ in range(10 if setting.gpu else 1):
        step("ours"), step("eager")
    inner = 20 if setting.gpu else 1
    times = {"ours": [], "eager": []}
    busy = {}
    for _ in range(repeats):
        for name in times:
            with Utilisation(setting.gpu) as meter:
                times[name].append(setting.seconds(lambda name=name: [step(name) for _ in range(inner)]) / inner)
            busy.setdefault(name, []).append(meter.percent)
    ours, eager = (statistics.median(times[name]) for name in ("ours", "eager"))
    row = {"ours_s": ours, "eager_s": eager, "ratio": eager / ours, "images_per_s": setting.batch / ours}
    if setting.gpu:
        row["gpu_utilisation_percent"] = {name: statistics.median(values) for name, values in busy.items()}
    return row


class Utilisation:
    """Mean of the GPU utilisation that the driver reports while the block runs; NaN where it cannot be had."""

    def __init__(self, gpu):
        self.gpu, self.percent, self.readings = gpu, float("nan"), []
        self.stop = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._watch, daemon=True)
        if self.gpu:
            self.thread.start()
        return self

    def _watch(self):
        while not self.stop.wait(0.05):
            try:
                self.readings.append(torch.cuda.utilization())
            except Exception:  # no pynvml, or a driver that does not say
                return

    def __exit__(self, *error):
        self.stop.set()
        if self.gpu:
            self.thread.join()
        if self.readings:
            self.percent = statistics.mean(self.readings)


def hardware(device):
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {torch.get_num_threads()} thread(s)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--batch", type=int, nargs="+", default=[64], help="of search steps")
    parser.add_argument("--rank-batch", type=int, default=256)
    parser.add_argument("--archs", type=int, nargs="+", default=[100, 500], help="architectures to rank")
    parser.add_argument("--sample", type=int, default=20, help="architectures that the plain supernet ranks")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--only", nargs="+", choices=("rank", "single", "darts", "gdas"), default=None)
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON, beside those that are there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kinds = arguments.only or ["rank", "single", "darts", "gdas"]
    rows = []

    def note(row):
        rows.append(row)
        print(json.dumps(row), flush=True)

    kept = keep_freed_memory()
    for cells in arguments.cells:
        common = {"channels": arguments.channels, "cells": cells}
        if "rank" in kinds:
            setting = Setting(arguments.device, arguments.channels, cells, arguments.rank_batch)
            for count in arguments.archs:
                row = ranking(setting, count, arguments.sample)
                note({"what": "rank", **common, "batch": arguments.rank_batch, **row})
        for batch in arguments.batch:
            for kind in (kind for kind in kinds if kind != "rank"):
                setting = Setting(arguments.device, arguments.channels, cells, batch)
                note({"what": kind, **common, "batch": batch, **steps(setting, kind, arguments.repeats)})
    measured = {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(arguments.device),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "clock": "wall" if arguments.device == "cuda" else "processor",
        "freed_memory_kept": kept,
    }
    if arguments.out:
        write(arguments.out, arguments.device, measured, rows)


def write(path, device, measured, rows):
    """Put rows into the file, in place of those of the same setting and beside what was measured on other devices."""

    def setting(row):
        return tuple(row.get(key) for key in ("what", "channels", "cells", "batch", "architectures"))

    everything = json.loads(path.read_text()) if path.exists() else {}
    before = everything.pop(device, {}).get("rows", [])
    new = {setting(row) for row in rows}
    measured["rows"] = [row for row in before if setting(row) not in new] + rows
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**everything, device: measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
