"""One command that proves the training half on a GPU: equality, speed against plain code, resume, and real outcomes.

    python benchmarks/gpu_proof.py --images DIR --text DIR [--out results/gpu/NAME.json] [--only rnn,ptb] [--again]

Each stage runs in a process of its own and ends within ``--minutes`` (9), so that the whole fits short leases of a
machine; a stage that is already in ``--out`` is not run again unless ``--again`` says so. ``--device cpu`` (what is
taken where there is no GPU) runs every stage at toy size, which proves that the script works and nothing else: such
numbers are marked ``"scale": "toy"``. What a stage cannot do here it says in ``skipped``, never by a made-up number.

* rnn: ShrinkRNN's segments as CUDA graphs against the plain cell, at lengths 5 to 55: largest difference, memory;
* text: words/s of `bench_text.py` against an eager loop over time;
* syncs: host-device synchronisations a step that torch warns of, for text, images and a supernet;
* supernets: steps of `bench_supernets.py` against an eager fp32 supernet;
* one-shot: a short epoch of every one-shot algorithm: images/s, and how often torch.compile compiled anew;
* images: `bench_retrain.py`: ShrinkCNN-A beside timm's networks, synthetic and from JPEG, and a profile of a step;
* resume: `nasharness retrain` stopped by SIGTERM and by kill -9, resumed, against one that was left alone;
* cell: cell 13714 trained for 12 epochs by `nasharness train`, beside the table's accuracy;
* ptb: `nasharness retrain --task ptb` until the stage's time is over: the best validation perplexity, the curve.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from nasharness.runs import log  # noqa: E402

#: width, batch and lengths of the recurrent stages; the published recipe's, and small ones
RNN = {"full": (745, 64, (5, 12, 20, 35, 48, 55)), "toy": (24, 4, (5, 9))}
#: validation perplexity that AutoShrink's language model is published with (AAAI 2020, Table 2), before finetuning
GOAL = 58.5


@dataclass(frozen=True)
class Proof:
    """What every stage is told. ``seconds``: what it may take."""

    device: str
    scale: str
    seconds: float
    images: str | None
    text: str | None
    folder: Path

    @property
    def full(self) -> bool:
        return self.scale == "full"

    def bench(self, name: str, *words: object) -> dict[str, Any]:
        """Run another benchmark with ``--out`` and return what it wrote."""
        out = self.folder / f"{name}.json"
        self.run([sys.executable, str(ROOT / "benchmarks" / name), *map(str, words), "--out", str(out)])
        return dict(json.loads(out.read_text()))

    def nasharness(self, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run our command line, with environment ``variables`` besides."""
        return self.run(nasharness(*words), **variables)

    def run(self, words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises RuntimeError with the end of what it said where it fails."""
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=self.seconds, check=False,
                              env=os.environ | variables)  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(words[1:])}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
        return done


def nasharness(*words: object) -> list[str]:
    return [sys.executable, "-m", "nasharness", *map(str, words)]


def rnn(proof: Proof) -> dict[str, Any]:
    import torch

    from nasharness.nets.fused_rnn import FusedCell
    from nasharness.nets.shrinkrnn import PUBLISHED, RecurrentCell

    width, batch, lengths = RNN[proof.scale]
    device = torch.device(proof.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    plain = RecurrentCell(PUBLISHED, width, generator=torch.Generator().manual_seed(0)).to(device)
    fused = FusedCell(PUBLISHED, width, generator=torch.Generator().manual_seed(0)).to(device)
    fused.compiled = proof.device.startswith("cuda")
    found: dict[str, Any] = {"width": width, "batch": batch, "graphs": fused.compiled, "lengths": {}}
    draw = torch.Generator().manual_seed(1)
    for length in lengths:
        given = [torch.randn(length, batch, width, generator=draw), torch.randn(batch, width, generator=draw)]
        aim = torch.randn(length, batch, width, generator=draw).to(device)
        outcomes = []
        for cell in (plain, fused):
            x, state = (tensor.to(device).requires_grad_() for tensor in given)
            outputs, _ = cell(x, state)
            grads = torch.autograd.grad((outputs * aim).sum(), [x, state, *cell.parameters()])
            outcomes.append([outputs.detach(), *grads])
        differences = [float((a - b).norm() / a.norm()) for a, b in zip(*outcomes, strict=True)]
        found["lengths"][length] = {"outputs": differences[0], "gradients": max(differences[1:])}
    found["largest_relative_difference"] = max(max(row.values()) for row in found["lengths"].values())
    found["graphs_kept"] = fused.compiled and fused.graphs.works
    if device.type == "cuda":
        found["memory_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    if found["largest_relative_difference"] > 1e-3:
        raise RuntimeError(f"graphs differ from the plain cell: {json.dumps(found)}")
    return found


def text(proof: Proof) -> dict[str, Any]:
    width, batch, _ = RNN[proof.scale]
    shape = ("--width", width, "--batch", batch, "--bptt", 35 if proof.full else 8)
    return proof.bench("bench_text.py", "--device", proof.device, *shape, *(() if proof.full else ("--repeats", 1)))


def syncs(proof: Proof) -> dict[str, Any]:
    """Torch's own count, over ten steps after ten of warming up."""
    if not proof.device.startswith("cuda"):
        return {"skipped": "a CPU has nothing to wait for: needs a GPU"}
    import torch

    found = {}
    for name, step in (("text", _text_step(proof)), ("supernet", _supernet_step(proof))):
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(10):
                step()
        torch.cuda.set_sync_debug_mode("default")
        places = [f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)]
        found[name] = {"a_step": len(places) / 10, "where": sorted(set(places))}
    return found


def _text_step(proof: Proof) -> Callable[[], None]:
    import dataclasses

    import numpy as np
    import torch

    from benchmarks.bench_text import WORDS, Ours
    from nasharness.training.language import recipes

    width, batch, _ = RNN[proof.scale]
    changes = {"width": width, "batch": batch, "bptt": 35, "lr": 1e-3}
    recipe = dataclasses.replace(recipes.get("shrinkrnn", changes), jitter=False)
    tokens = np.random.default_rng(0).integers(0, WORDS, batch * (20 * 35 + 1))
    return Ours(recipe, tokens, torch.device(proof.device), torch.bfloat16, True).step


def _supernet_step(proof: Proof) -> Callable[[], None]:
    import torch
    from torch.nn import functional

    from benchmarks.bench_supernets import Setting
    from nasharness.supernets.tss import EdgeGates

    setting = Setting(proof.device, 16, 5 if proof.full else 1, 64)
    setting.net.train()
    optimiser = torch.optim.SGD(setting.net.parameters(), lr=0.025, momentum=0.9, nesterov=True)

    def step() -> None:
        optimiser.zero_grad()
        with setting.autocast():
            out = setting.net(setting.images, EdgeGates.single(setting.rng.integers(0, 5, 6)))
        functional.cross_entropy(out.float(), setting.labels).backward()
        optimiser.step()

    return step


def supernets(proof: Proof) -> dict[str, Any]:
    size = ("--cells", 5, "--batch", 64, 256) if proof.full else ("--cells", 1, "--batch", 8, "--channels", 4)
    small = () if proof.full else ("--rank-batch", 16, "--archs", 4, "--sample", 2, "--repeats", 1)
    return proof.bench("bench_supernets.py", "--device", proof.device, *size, *small)


def one_shot(proof: Proof) -> dict[str, Any]:
    from nasharness.search import registry

    names = [name for name in registry.names("one-shot") if not registry.get(name).published]
    images = proof.images or "digits"
    cells, channels = (5, 16) if proof.full else (1, 4)
    precision = "bf16" if proof.full else "fp32"
    found: dict[str, Any] = {"images": images, "precision": precision}
    for name in sorted(names):
        spaces = registry.get(name).spaces
        space = "tss" if {"*", "tss"} & set(spaces) else spaces[0]
        out = proof.folder / f"one-shot-{name}"
        # of the images at hand, digits alone come in domains
        own = "digits" if "domains" in registry.get(name).needs else images
        words = ["run", "--algo", name, "--space", space, "--images", own, "--epochs", 1, "--out", out]
        # sss searches its channels, and the layers of mobile are given
        size = {"tss": ["--channels", channels, "--cells", cells], "sss": ["--cells", 1]}.get(space, [])
        words += [*size, "--device", proof.device, "--precision", precision]
        began = time.perf_counter()
        told = proof.nasharness(*words, TORCH_LOGS="recompiles")
        row = log.read(out / "seed-0")[0]
        found[name] = {
            "space": space,
            "images_per_s": row["images_per_second"],
            "loss": row["loss"],
            "wall_s": time.perf_counter() - began,
            "recompiled": told.stderr.count("Recompiling function"),
        }
    return found


def images(proof: Proof) -> dict[str, Any]:
    if proof.full:
        found = proof.bench("bench_retrain.py", "--device", proof.device, "--compile", "--workers", os.cpu_count() or 1)
    else:
        small = ("--batch", 2, "--size", 32, "--steps", 1, "--warmup", 1, "--images", 4, "--workers", 0)
        found = proof.bench("bench_retrain.py", "--device", proof.device, *small, "--networks", "shrinkcnn-a")
    return found | {"profile": _profile(proof)}


def _profile(proof: Proof) -> list[str]:
    """What a step of ShrinkCNN-A spends its time on, the ten costliest."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from nasharness.nets import imagenet

    side, batch = (224, 256) if proof.full else (32, 2)
    device = torch.device(proof.device)
    net = imagenet.build("shrinkcnn-a", 1000, size=side).to(device).to(memory_format=torch.channels_last)
    inputs = torch.randn(batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    gpu = device.type == "cuda"
    for _ in range(3):
        net(inputs).sum().backward()
    with (
        profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as watched,
        torch.autocast(device.type, torch.bfloat16, enabled=gpu),
    ):
        net(inputs).sum().backward()
    key = "self_device_time_total" if gpu else "self_cpu_time_total"
    rows = sorted(watched.key_averages(), key=lambda row: -getattr(row, key))
    total = sum(getattr(row, key) for row in rows) or 1
    return [f"{100 * getattr(row, key) / total:5.1f} %  {row.key[:90]}" for row in rows[:10]]


def resume(proof: Proof) -> dict[str, Any]:
    """The same text, learnt in one go, stopped by SIGTERM, and killed: validation losses must agree to the last bit."""
    data = _toy_text(proof.folder / "text")
    common = ["retrain", "--network", "shrinkrnn", "--task", "ptb", "--data", data, "--recipe", "small"]
    common += ["--epochs", 3, "--batch", 4, "--set", "width=32", "--device", proof.device, "--precision", "fp32"]

    def losses(name: str) -> list[float]:
        return [row["valid_perplexity"] for row in log.read(proof.folder / name)]

    proof.nasharness(*common, "--out", proof.folder / "whole")
    found: dict[str, Any] = {"epochs": len(losses("whole"))}
    for name, how in (("sigterm", signal.SIGTERM), ("kill", signal.SIGKILL)):
        words = nasharness(*common, "--out", proof.folder / name)
        started = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while started.poll() is None and not list((proof.folder / name).glob("checkpoints/*")):
            time.sleep(0.02)
        started.send_signal(how)
        code = started.wait()
        proof.nasharness(*common, "--out", proof.folder / name, "--resume")
        found[name] = {"exit": code, "same_bits": losses(name) == losses("whole")}
        if not found[name]["same_bits"]:
            raise RuntimeError(f"{name}: validation losses {losses(name)} after resuming, {losses('whole')} without")
    return found


def _toy_text(folder: Path) -> Path:
    """Write a language in which each word is followed by one of two."""
    draw = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 100), ("valid", 30), ("test", 30)):
        lines = [" ".join(f"w{word}" for word in range(30))] if part == "train" else []
        for _ in range(count):
            word, line = draw.randrange(30), []
            for _ in range(draw.randint(5, 12)):
                line.append(f"w{word}")
                word = (3 * word + draw.choice([1, 2])) % 30
            lines.append(" ".join(line))
        (folder / f"toy.{part}.txt").write_text("\n".join(lines) + "\n")
    return folder


def cell(proof: Proof) -> dict[str, Any]:
    given = (proof.images or "digits") if proof.full else "digits"
    size = () if proof.full else ("--channels", 4, "--cells", 1, "--batch", 64)
    words = ["train", "--space", "tss", "--arch", 13714, "--images", given, "--epochs", 12 if proof.full else 1, *size]
    told = proof.nasharness(*words, "--device", proof.device, "--out", proof.folder / "cell", "--json")
    return {"images": given, **json.loads(told.stdout)}


def ptb(proof: Proof) -> dict[str, Any]:
    data = Path(proof.text) if proof.text else _toy_text(proof.folder / "ptb")
    out = proof.folder / "ptb-run"
    words = ["retrain", "--network", "shrinkrnn", "--task", "ptb", "--data", data, "--out", out]
    small = not (proof.full and proof.text)
    words += ["--recipe", "small", "--epochs", 2, "--batch", 4, "--set", "width=32"] if small else ["--compile"]
    command = nasharness(*words, "--device", proof.device)
    began = time.perf_counter()
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, told = started.communicate(timeout=max(30.0, proof.seconds - 60))
    except subprocess.TimeoutExpired:
        started.terminate()
        _, told = started.communicate()
    if started.returncode not in (0, 75):
        raise RuntimeError(told.strip()[-500:])
    curve = [(row["seconds"], row["valid_perplexity"]) for row in log.read(out)]
    best = min(perplexity for _, perplexity in curve)
    found = {"text": data.name, "wall_s": time.perf_counter() - began, "best_valid_perplexity": best, "curve": curve}
    return found if small else found | {"goal": GOAL, "reached": best <= GOAL}


STAGES: dict[str, Callable[[Proof], dict[str, Any]]] = {
    "rnn": rnn, "text": text, "syncs": syncs, "supernets": supernets, "one-shot": one_shot, "images": images,
    "resume": resume, "cell": cell, "ptb": ptb,
}  # fmt: skip


def run_stage(name: str, proof: Proof) -> dict[str, Any]:
    """A stage in a process of its own, so that neither memory nor a crash of one reaches the next."""
    told = proof.folder / f"{name}.stage.json"
    words = [sys.executable, __file__, "--stage", name, "--told", str(told), "--device", proof.device]
    words += ["--scale", proof.scale, "--minutes", str(proof.seconds / 60)]
    words += [word for flag, value in (("--images", proof.images), ("--text", proof.text)) if value
              for word in (flag, value)]  # fmt: skip
    began = time.perf_counter()
    started = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, said = started.communicate(timeout=proof.seconds)
        found = json.loads(told.read_text()) if started.returncode == 0 else {"failed": said.strip()[-1000:]}
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # with all that it has started
        started.communicate()
        found = {"failed": f"not done after {proof.seconds / 60:g} minutes"}
    return found | {"stage_s": round(time.perf_counter() - began, 1)}


def headline(found: dict[str, Any]) -> str:
    """One line of a stage: what failed or was skipped, else its numbers at the top level."""
    for key in ("failed", "skipped"):
        if key in found:
            return f"{key}: {' '.join(str(found[key]).split())[-200:]}"
    flat = {key: value for key, value in found.items() if isinstance(value, (int, float, bool))}
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in flat.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="cuda where there is one, else cpu")
    parser.add_argument("--scale", choices=("full", "toy"), help="full on a GPU, toy elsewhere")
    parser.add_argument("--images", help="as nasharness run --images: cifar10, a Parquet file of JPEGs ...")
    parser.add_argument("--text", help="folder of NAME.{train,valid,test}.txt: Penn Treebank")
    parser.add_argument("--only", default=",".join(STAGES), help="stages, by commas")
    parser.add_argument("--minutes", type=float, default=9.0, help="the longest that a stage may take")
    parser.add_argument("--again", action="store_true", help="run stages anew that --out holds")
    parser.add_argument("--out", type=Path, help="keep the numbers there, and go on from it")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--told", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    # two threads that wait for each other on two busy processors are far slower than one
    os.environ.setdefault("OMP_NUM_THREADS", "1" if asked.device == "cpu" else str(os.cpu_count()))
    import torch

    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    scale = asked.scale or ("full" if device.startswith("cuda") else "toy")
    with tempfile.TemporaryDirectory() as folder:
        proof = Proof(device, scale, 60 * asked.minutes, asked.images, asked.text, Path(folder))
        if asked.stage:
            asked.told.write_text(json.dumps(STAGES[asked.stage](proof)))
            return
        wanted = asked.only.split(",")
        if unknown := set(wanted) - set(STAGES):
            parser.error(f"no stage {', '.join(sorted(unknown))}: {', '.join(STAGES)}")
        kept = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "cpu"
        about = {"date": time.strftime("%Y-%m-%d"), "hardware": name, "torch": torch.__version__, "scale": scale}
        for stage in wanted:
            before = kept.get(stage, {})
            if asked.again or "stage_s" not in before or "failed" in before or before["scale"] != scale:
                kept[stage] = about | run_stage(stage, proof)
                if asked.out:
                    asked.out.parent.mkdir(parents=True, exist_ok=True)
                    asked.out.write_text(json.dumps(kept, indent=1) + "\n")
            print(f"{stage:10} {kept[stage]['stage_s']:7.1f} s  {headline(kept[stage])}", flush=True)
        sys.exit(any("failed" in kept[stage] for stage in wanted))


if __name__ == "__main__":
    main()
