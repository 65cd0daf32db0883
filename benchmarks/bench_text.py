"""Speed of training ShrinkRNN against a plain eager loop over time, in the same run.

    python benchmarks/bench_text.py [--device cuda] [--width 745 --batch 64 --bptt 35] [--out FILE]

A step is all of the published recipe's: embedding, five dropouts, cell, tied decoder, cross-entropy, TAR, gradient,
clipping, SGD. The eager loop is `nasharness.nets.shrinkrnn.RecurrentCell`, one product an edge and one step of time
after the other, with torch's own linear layer and cross-entropy: what one writes down first. All take turns in the same
process on the same words with equal weights; a ratio is that of medians. On a CPU it is of processor time, which other
people's work disturbs least (with one thread it is the time itself), and on a GPU of wall time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import statistics
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nasharness.nets.shrinkrnn import PUBLISHED, RecurrentNet  # noqa: E402
from nasharness.training.distributed import World  # noqa: E402
from nasharness.training.language import recipes  # noqa: E402
from nasharness.training.language.data import Corpus, Vocabulary  # noqa: E402
from nasharness.training.language.model import LanguageModel, Masks  # noqa: E402
from nasharness.training.language.train import TextTrainer, penalty  # noqa: E402

WORDS = 10_000


class Eager:
    """The plain form. ``dtype`` bf16: under autocast."""

    def __init__(self, recipe, text, device, dtype):
        self.recipe, self.device, self.dtype = recipe, device, dtype
        self.net = RecurrentNet(PUBLISHED, WORDS, recipe.width, generator=torch.Generator().manual_seed(0)).to(device)
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.text, self.place = text, 0
        self.masks = torch.Generator(device).manual_seed(1)
        self.state = torch.zeros(recipe.batch, recipe.width, device=device)

    def step(self):
        recipe, first = self.recipe, self.place
        inputs, targets = self.text[first : first + recipe.bptt], self.text[first + 1 : first + recipe.bptt + 1]
        self.place = (first + recipe.bptt) % (len(self.text) - 2 * recipe.bptt)
        masks = Masks.draw(recipe, WORDS, self.masks)
        self.optimiser.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            x = functional.embedding(inputs, self.net.embedding * masks.words[:, None]) * masks.embedded
            raw, state = self.net.cell(x, self.state, masks.input, masks.state)
            dropped = raw * masks.output
            logits = functional.linear(dropped, self.net.embedding, self.net.bias)
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        (loss + penalty(raw.float(), dropped, recipe)).backward()
        self.state = state.detach().float()
        nn.utils.clip_grad_norm_(self.net.parameters(), recipe.clip)
        self.optimiser.step()
        self.loss = loss.detach()


class Ours:
    """The trainer of `nasharness retrain`."""

    def __init__(self, recipe, tokens, device, dtype, compiled):
        corpus = Corpus("random", Path(), Vocabulary(tuple(map(str, range(WORDS)))), tokens, tokens, tokens)
        model = LanguageModel(PUBLISHED, WORDS, recipe.width, generator=torch.Generator().manual_seed(0)).to(device)
        model.use(dtype, compiled=compiled)
        self.trainer = TextTrainer(model, corpus, recipe, seed=0, world=World(0, 1, device), dtype=dtype)

    def step(self):
        if self.trainer.position + 2 * self.trainer.recipe.bptt >= len(self.trainer.text):
            self.trainer.begin_epoch()
        self.trainer.step()


def seconds(device, function, inner):
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.synchronize()
    clock = time.perf_counter if gpu else time.process_time
    started = clock()
    for _ in range(inner):
        function()
    if gpu:
        torch.cuda.synchronize()
    return (clock() - started) / inner


def hardware(device):
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {torch.get_num_threads()} thread(s)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=745)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--bptt", type=int, default=35)
    parser.add_argument("--repeats", type=int, default=0, help="default: 15 on a GPU, 3 elsewhere")
    parser.add_argument("--compile", action="store_true", help="ours compiled on a CPU, too")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    gpu = device.type == "cuda"
    # segments of one length, so that every step costs the same; a rate at which random words do not diverge
    changes = {"width": asked.width, "batch": asked.batch, "bptt": asked.bptt, "lr": 1e-3}
    recipe = dataclasses.replace(recipes.get("shrinkrnn", changes), jitter=False)
    tokens = np.random.default_rng(0).integers(0, WORDS, asked.batch * (20 * asked.bptt + 1))
    text = torch.from_numpy(tokens.reshape(asked.batch, -1).T.copy()).to(device)
    settings = {
        "eager fp32": Eager(recipe, text, device, torch.float32),
        "eager bf16": Eager(recipe, text, device, torch.bfloat16),
        "ours fp32": Ours(recipe, tokens, device, torch.float32, False),
        "ours bf16": Ours(recipe, tokens, device, torch.bfloat16, False),
    }
    if gpu or asked.compile:
        settings["ours fp32 compiled"] = Ours(recipe, tokens, device, torch.float32, True)
        settings["ours bf16 compiled"] = Ours(recipe, tokens, device, torch.bfloat16, True)
    for setting in settings.values():
        for _ in range(5 if gpu else 1):
            setting.step()
    times = {name: [] for name in settings}
    for _ in range(asked.repeats or (15 if gpu else 3)):
        for name, setting in settings.items():
            times[name].append(seconds(device, setting.step, 10 if gpu else 1))
    words = asked.batch * asked.bptt
    rows = {}
    for name, values in times.items():
        middle = statistics.median(values)
        rows[name] = {"seconds_a_step": middle, "words_per_second": words / middle, "least_s": min(values)}
    for name, row in rows.items():
        for rival in ("eager fp32", "eager bf16"):
            row[f"times_{rival.replace(' ', '_')}"] = rows[rival]["seconds_a_step"] / row["seconds_a_step"]
        print(f"{name:20} {row['words_per_second']:12,.0f} words/s   {row['times_eager_fp32']:6.2f} x eager fp32   "
              f"{row['times_eager_bf16']:6.2f} x eager bf16")  # fmt: skip
    record = {
        "command": " ".join(["python", "benchmarks/bench_text.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "hardware": hardware(device),
        "clock": "wall" if gpu else "processor",
        "torch": torch.__version__,
        "width": asked.width,
        "batch": asked.batch,
        "bptt": asked.bptt,
        "results": rows,
    }
    if asked.out is not None:
        known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(known | {device.type: record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
