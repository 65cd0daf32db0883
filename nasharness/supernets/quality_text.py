"""The ranking of shared weights as text, as plain values, as a file of scores, and as rows of a figure."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path
from typing import Any

from nasharness import spaces
from nasharness.analysis.layout import bracket, estimate, plain
from nasharness.analysis.validation import proxies
from nasharness.storage import atomically, writing
from nasharness.supernets.quality import SCORES, Report

#: Gain of tau over the last third of a run from which on it is said to be rising still.
RISING = 0.03


def verdict(report: Report) -> str:
    """What the numbers say about whether this supernet may be trusted."""
    first = report.found[0]
    tau, (low, high) = first.tau["all"]
    if not low > 0:
        return (
            f"the shared weights rank no better than chance (tau by {first.name} {bracket(tau, (low, high), 2)}): what "
            "was derived from them says nothing; train longer (--epochs) or with a larger --lr"
        )
    text = f"the shared weights rank better than chance (tau by {first.name} {bracket(tau, (low, high), 2)})"
    if len(report.curve) > 2:
        last = report.curve[-1].tau[first.name][0]
        earlier = report.curve[-1 - math.ceil(len(report.curve) / 3)].tau[first.name][0]
        if last - earlier > RISING:
            return f"{text}; tau still rises ({earlier:.2f} to {last:.2f} over the last third): longer training may pay"
    return text


def render(report: Report) -> str:
    """What was asked, tau by epoch, rank quality at the end, and the verdict."""
    weights, problem = report.weights, report.problem
    told = [
        f"supernet   {weights.path}: {weights.identity['algorithm']} on {weights.identity['space']}, seed "
        f"{weights.identity['seed']}, epoch {weights.epoch} of {weights.identity['epochs']}",
        f"images     {report.images}",
        f"ranked     {len(report.truth):,} of {problem.space.size:,} architectures",
        f"truth      {problem.final} on {problem.dataset}, table {problem.table.name} (checksum "
        f"{problem.table.checksum[:12]})",
        proxies.INTERVALS,
        *(f"note       {note}" for note in report.notes),
    ]
    parts = [proxies.render(report.found, told)]
    if report.curve:
        rows = [[f"{point.epoch}", *(estimate(*point.tau[name], 3) for name in SCORES)] for point in report.curve]
        parts += [
            "",
            f"Kendall's tau by epoch, on {report.curve_archs:,} architectures and {report.curve_images:,} images",
            plain(["epoch", *(f"by {name}" for name in SCORES)], rows),
        ]
    if report.bias:
        rows = [
            [one.trait, f"{one.score:+.2f}", f"{one.truth:+.2f}", estimate(*one.excess, 2)]
            for one in sorted(report.bias, key=lambda one: -one.excess[0])
        ]
        what = "the width of each layer" if problem.space.ordinal else "the number of positions that hold an option"
        parts += [
            "",
            f"Bias: Spearman's rho of {what} with {report.found[0].name} and with the table",
            plain(["option", "shared weights", "table", "overrated by"], rows),
        ]
    return "\n".join([*parts, "", f"verdict    {verdict(report)}"])


def as_dict(report: Report) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    weights, problem = report.weights, report.problem
    return {
        "supernet": str(weights.path),
        "algorithm": weights.identity["algorithm"],
        "space": weights.identity["space"],
        "epoch": weights.epoch,
        "seed": weights.identity["seed"],
        "dataset": problem.dataset,
        "truth": str(problem.final),
        "table": problem.table.checksum,
        "images": report.images,
        "architectures": len(report.truth),
        "scores": proxies.as_dict(report.found),
        "by_epoch": {
            "architectures": report.curve_archs,
            "images": report.curve_images,
            "points": [
                {"epoch": point.epoch} | {name: proxies.plain_estimate(*one, "tau") for name, one in point.tau.items()}
                for point in report.curve
            ],
        },
        "bias": [
            {"option": one.trait, "shared_weights": one.score, "table": one.truth}
            | proxies.plain_estimate(*one.excess, "excess")
            for one in report.bias
        ],
        "verdict": verdict(report),
        "notes": report.notes,
    }


def write_scores(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write columns index, affinity, accuracy, loss: a file that ``nasharness validate --scores`` reads.

    Raises UsageError where the file cannot be written.
    """
    file = Path(path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", *SCORES])
    ranked = report.ranked
    for index, *scores in zip(ranked.index, *ranked.columns(), strict=True):
        writer.writerow([int(index), *(repr(float(score)) for score in scores)])
    with writing(file, "choose another --save-scores"):
        atomically(file, text.getvalue())
    return file


def frame(report: Report) -> Any:
    """The rows of the figure, a data frame; see ``nasharness.analysis.figures.supernet``."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for point in report.curve:
        for name, (tau, (low, high)) in point.tau.items():
            rows.append({"part": "epoch", "epoch": point.epoch, "score": name, "tau": tau, "low": low, "high": high})
    for one in report.found:
        tau, (low, high) = one.tau["all"]
        rows.append(
            {"part": "end", "epoch": report.weights.epoch, "score": one.name, "tau": tau, "low": low, "high": high}
        )
    for bias in report.bias:
        excess, (low, high) = bias.excess
        rows.append(
            {"part": "bias", "option": bias.trait, "shared": bias.score, "table": bias.truth, "excess": excess}
            | {"low": low, "high": high}
        )
    ranked = report.ranked
    for index, final, *scores in zip(ranked.index, report.truth, *ranked.columns(), strict=True):
        rows.append(
            {"part": "architecture", "index": int(index), "final": final} | dict(zip(SCORES, scores, strict=True))
        )
    made = pd.DataFrame(rows)
    for column in ("epoch", "index"):
        made[column] = made[column].astype("Int64")
    return made


def captions(report: Report) -> dict[str, str]:
    """What the figure says beside its numbers: ``title``, ``truth`` (label of the table's axis) and ``note``."""
    weights, problem = report.weights, report.problem
    size = problem.space.size
    curve = (
        f"Left: {report.curve_archs:,} architectures on {report.curve_images:,} images, bands are 95 % bootstrap "
        "intervals over architectures. Beside it: "
        if report.curve
        else ""
    )
    space = spaces.get(weights.identity["space"]).name
    return {
        "title": f"{weights.identity['algorithm']} on {space}, seed {weights.identity['seed']}",
        "truth": f"{problem.final} on {problem.dataset} (%)",
        "note": f"{curve}{len(report.truth):,} of {size:,} architectures, {report.images.partition(', which')[0]} "
        f"after epoch {weights.epoch}. Table {problem.table.name}, checksum {problem.table.checksum[:12]}. Images: "
        f"{weights.origin.get('images', '')}.",
    }
