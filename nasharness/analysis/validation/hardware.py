"""What HW-NAS-Bench (Li et al., ICLR 2021) says of devices, held against the data at hand.

Its claims, of theoretical cost that tracks real cost poorly and of the best network that depends on the device, are
computed from whatever devices are known here, one's own among them. Its tables were not seen; what is expected of a
device of HW-NAS-Bench was recomputed from its published columns, see docs/how-to/hardware.md#what-the-paper-claims.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import hardware, spaces
from nasharness.analysis.statistics.correlation import codes, kendall_of_codes
from nasharness.errors import DataError, UsageError
from nasharness.hardware.card import RULE
from nasharness.hardware.quantity import MEASURED, UNITS
from nasharness.runs.job import Progress
from nasharness.search import Problem
from nasharness.spaces.base import Floats, Space

AGREES, DISAGREES, ABSENT = "agrees", "disagrees", "not computable here"
#: One order tells another poorly below this Kendall's tau, and stands for it from ``SAME`` on. Ours.
POOR, SAME = 0.75, 0.85
#: A device's own network is the cheapest that is at most this many points below the most accurate one.
WITHIN = 0.5
#: Networks drawn of a space that is too large to list, with seed 0.
DRAWN = 5_000
#: (space, data set) -> pair of quantities -> Kendall's tau of the published columns, all rows they have.
EXPECTED = {
    ("tss", "cifar10"): {
        ("macs", "edgegpu_latency"): 0.37, ("macs", "raspi4_latency"): 0.74, ("macs", "edgetpu_latency"): 0.21,
        ("macs", "pixel3_latency"): 0.68, ("macs", "eyeriss_latency"): 0.42, ("macs", "fpga_latency"): 0.83,
        ("edgegpu_latency", "raspi4_latency"): 0.48, ("edgegpu_latency", "eyeriss_latency"): 0.37,
        ("edgegpu_latency", "fpga_latency"): 0.46, ("edgegpu_latency", "edgetpu_latency"): 0.50,
        ("raspi4_latency", "pixel3_latency"): 0.85, ("raspi4_latency", "fpga_latency"): 0.74,
        ("eyeriss_latency", "edgetpu_latency"): 0.66, ("edgegpu_latency", "edgegpu_energy"): 0.93,
    },
    ("fbnet", "cifar100"): {
        ("macs", "edgegpu_latency"): -0.01, ("macs", "raspi4_latency"): 0.77, ("macs", "eyeriss_latency"): 0.84,
        ("macs", "fpga_latency"): 0.88, ("raspi4_latency", "pixel3_latency"): 0.82,
    },
    ("fbnet", "ImageNet"): {
        ("macs", "edgegpu_latency"): 0.45, ("raspi4_latency", "pixel3_latency"): 0.89,
    },
}  # fmt: skip
#: How far a tau may be from that where all architectures are listed (some devices are known for most of them alone, and
#: for whom that is differs), and of drawn networks.
TOLERANCE = {True: 0.01, False: 0.03}


@dataclass(frozen=True)
class Line:
    """A number, what it is of, what was expected of it (NaN: nothing), and what that says."""

    what: str
    value: float
    unit: str = ""
    expected: float = float("nan")
    verdict: str = ""
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim, the numbers that it rests on, and whether they bear it out."""

    text: str
    verdict: str
    reason: str
    lines: tuple[Line, ...] = field(default=())


@dataclass(frozen=True)
class Costs:
    """Costs of the architectures of a space on one data set: of all, or of some drawn where it cannot be listed.

    ``columns``: quantity -> float64 ``[n]``, NaN where unknown or refused; ``macs`` among them where the space tells.
    ``accuracy``: final metric ``[n]``, None where no table tells; ``classes``: the network that each one is.
    """

    space: Space
    dataset: str
    columns: Mapping[str, Floats]
    quantities: Mapping[str, hardware.Quantity]
    accuracy: Floats | None
    judge: str
    classes: NDArray[Any]

    @property
    def listed(self) -> bool:
        """Whether these are all architectures of the space."""
        return "index" in self.space.offers

    def taus(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Kendall's tau of pairs of columns, over the architectures that both know."""
        whole = {name: codes(values) for name, values in self.columns.items() if not np.isnan(values).any()}
        found = []
        for one, other in pairs:
            if one in whole and other in whole:
                found.append(kendall_of_codes(whole[one], whole[other]))
                continue
            both = ~(np.isnan(self.columns[one]) | np.isnan(self.columns[other]))
            found.append(kendall_of_codes(codes(self.columns[one][both]), codes(self.columns[other][both])))
        return found

    def best(self, name: str) -> int | None:
        """The cheapest within WITHIN points of the most accurate that runs on the device; None without accuracies."""
        if self.accuracy is None:
            return None
        cost = self.columns[name]
        allowed = np.where(np.isnan(cost), -np.inf, self.accuracy)
        near = allowed >= allowed.max() - WITHIN
        return int(np.where(near, cost, np.inf).argmin())


def costs_of(
    space: str = "tss", dataset: str | None = None, *, table: str | None = None, final: str | None = None
) -> Costs:
    """What is known of devices on a space. Raises UsageError for names that cannot be, or where nothing is known."""
    chosen = spaces.get(space)
    known = hardware.quantities(chosen)
    dataset = dataset or next(iter(dict.fromkeys(one.dataset for one in known)), None)
    quantities = {
        one.name: one for one in known if one.dataset == dataset and one.unit != UNITS["arithmetic_intensity"]
    }
    if dataset is None or not quantities:
        where = ", ".join(dict.fromkeys(one.dataset for one in known))
        raise UsageError(
            f"no device is known on {dataset or 'any data set'} of space {space}"
            + (f", only on {where}" if where else "") + f"; {_ways(chosen)}"
        )  # fmt: skip
    listed = "index" in chosen.offers
    if listed:
        ids: Any = np.arange(chosen.size, dtype=np.int32)
        classes: Any = chosen.canonical(ids, RULE)
    else:
        each = chosen.uniforms_per_sample
        ids = chosen.sample(np.random.default_rng(0).random((DRAWN, each)))
        classes = np.arange(DRAWN)
    columns = {name: np.asarray(hardware.reader(one)(ids), dtype=np.float64) for name, one in quantities.items()}
    if "macs" in chosen.closed_forms:
        columns["macs"] = np.asarray(chosen.closed_form("macs", ids, dataset), dtype=np.float64)
    accuracy, judge = None, ""
    try:
        if listed:
            problem = Problem.judging(space, dataset, table=table, final=final)
            accuracy, judge = problem.sign * problem.truth().values, f"{problem.table.name}, {problem.final}"
    except (UsageError, DataError):
        if table is not None or final is not None:
            raise
    return Costs(chosen, dataset, columns, quantities, accuracy, judge, classes)


def _ways(space: Space) -> str:
    """The commands that bring devices of a space."""
    known = dict.fromkeys(hardware.HOW_TO_GET.get(space.name, {}).values())
    return f"get them with: {' or '.join(known)}" if known else (
        f"nasharness data import FILE --space {space.name} --devices brings one's own"
    )  # fmt: skip


def claims(costs: Costs, progress: Progress | None = None) -> list[Claim]:
    """All claims, in the order of the paper: cost, devices, best networks, energy, noise."""
    made: list[Claim] = []
    for number, claim in enumerate((_theory, _devices, _best, _energy, _noise), 1):
        made.append(claim(costs))
        if progress is not None:
            progress(number, 5)
    return made


def failures(found: Sequence[Claim]) -> int:
    """How many numbers are not those of the published columns: damaged data, or others under a published name."""
    return sum(line.verdict == DISAGREES for claim in found for line in claim.lines)


def _latencies(costs: Costs) -> list[str]:
    return [name for name in costs.quantities if name.endswith("_latency")]


def _correlations(costs: Costs, pairs: Sequence[tuple[str, str]], named: Sequence[str]) -> list[Line]:
    """A line a pair, then those that are expected of published devices and cannot be computed here."""
    expected = EXPECTED.get((costs.space.name, costs.dataset), {})
    lines = []
    for pair, what, tau in zip(pairs, named, costs.taus(pairs), strict=True):
        wanted = expected.get(pair, float("nan"))
        verdict = "" if np.isnan(wanted) else (AGREES if abs(tau - wanted) <= TOLERANCE[costs.listed] else DISAGREES)
        both = sum(~np.isnan(costs.columns[pair[0]]) & ~np.isnan(costs.columns[pair[1]]))
        note = "" if both == len(costs.classes) else f"{both:,} architectures"
        lines.append(Line(what, tau, "", wanted, verdict, note))
    return lines


def _absent(costs: Costs, pairs: Sequence[tuple[str, str]], what: Callable[[str, str], str]) -> list[Line]:
    """What is expected of published devices that are not here, with the command that brings them."""
    lines = []
    ways = hardware.HOW_TO_GET.get(costs.space.name, {})
    for pair in pairs:
        missing = [name for name in pair if name not in costs.columns]
        if missing:
            how = next((how for device, how in ways.items() if missing[0].startswith(f"{device}_")), "")
            wanted = EXPECTED[costs.space.name, costs.dataset][pair]
            lines.append(Line(what(*pair), float("nan"), "", wanted, ABSENT, how))
    return lines


def _expected(costs: Costs, chosen: Callable[[str, str], bool]) -> list[tuple[str, str]]:
    return [pair for pair in EXPECTED.get((costs.space.name, costs.dataset), {}) if chosen(*pair)]


def _theory(costs: Costs) -> Claim:
    text = "MACs track the latency of devices poorly"
    if "macs" not in costs.columns:
        return Claim(text, ABSENT, f"space {costs.space.name} does not tell multiply-accumulates")
    devices = _latencies(costs)
    lines = _correlations(costs, [("macs", name) for name in devices], devices)
    low, least = [line for line in lines if line.value < POOR], min(line.value for line in lines)
    lines += _absent(costs, _expected(costs, lambda one, _: one == "macs"), lambda _, other: other)
    reason = f"Kendall's tau is {least:.2f} at the lowest, and below {POOR} on {len(low)} of {len(devices)} devices"
    return Claim(text, AGREES if low else DISAGREES, reason, tuple(lines))


def _devices(costs: Costs) -> Claim:
    text = "Devices order networks differently"
    wanted = _expected(costs, lambda one, other: one.endswith("_latency") and other.endswith("_latency"))
    here = [name for name in dict.fromkeys(name for pair in wanted for name in pair) if name in costs.columns]
    names = here if len(here) > 2 else _latencies(costs)[:8]
    pairs = [(other, one) if (other, one) in wanted else (one, other) for one, other in combinations(names, 2)]
    if not pairs:
        return Claim(text, ABSENT, "one device alone is known")
    lines = _correlations(costs, pairs, [f"{one} and {other}" for one, other in pairs])
    median = float(np.median([line.value for line in lines]))
    lines += _absent(costs, wanted, lambda one, other: f"{one} and {other}")
    reason = f"the median Kendall's tau of {len(pairs)} pairs is {median:.2f} (below {POOR}: they do)"
    return Claim(text, AGREES if median < POOR else DISAGREES, reason, tuple(lines))


def _best(costs: Costs) -> Claim:
    text = "The best network depends on the device"
    if costs.accuracy is None:
        how = (
            "no table of accuracies is here (nasharness list tables)" if costs.listed else "no accuracies are published"
        )
        return Claim(text, ABSENT, how)
    devices = _latencies(costs)
    picks = {name: costs.best(name) for name in devices}
    lines = []
    for name, arch in picks.items():
        assert arch is not None
        others = [other for other in picks.values() if other is not None]
        worst = np.nanmax(costs.columns[name][others]) / costs.columns[name][arch]
        note = f"index {arch}, {abs(costs.accuracy[arch]):.2f}; another device's takes up to {worst:.2f} times as long"
        lines.append(Line(name, float(costs.columns[name][arch]), costs.quantities[name].unit, note=note))
    networks = len({costs.classes[arch] for arch in picks.values()})
    reason = f"the cheapest within {WITHIN} points of the best is {networks} networks on {len(devices)} devices"
    reason += f" ({costs.judge})"
    return Claim(text, AGREES if networks > 1 else DISAGREES, reason, tuple(lines))


def _energy(costs: Costs) -> Claim:
    text = "Latency orders networks as energy does"
    names = [name.removesuffix("_energy") for name in costs.quantities if name.endswith("_energy")]
    pairs = [(f"{name}_latency", f"{name}_energy") for name in names if f"{name}_latency" in costs.columns]
    wanted = _expected(costs, lambda _, other: other.endswith("_energy"))
    absent = _absent(costs, wanted, lambda one, _: one.removesuffix("_latency"))
    if not pairs:
        return Claim(text, ABSENT, "no device is known with both", tuple(absent))
    lines = _correlations(costs, pairs, [one.removesuffix("_latency") for one, _ in pairs])
    low = min(line.value for line in lines)
    verdict = AGREES if low >= SAME else DISAGREES
    return Claim(text, verdict, f"the lowest Kendall's tau is {low:.2f} ({SAME} and above: it does)",
                 (*lines, *absent))  # fmt: skip


def _noise(costs: Costs) -> Claim:
    text = "Measurements of the same network differ"
    measured = [name for name, one in costs.quantities.items() if one.kind == MEASURED]
    if not measured or not costs.listed:
        return Claim(text, ABSENT, "nothing here was measured network by network")
    order = np.argsort(costs.classes, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(costs.classes[order]) != 0]))
    lines = []
    for name in measured:
        values = costs.columns[name][order]
        known = ~np.isnan(values)
        count = np.add.reduceat(known, starts)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.add.reduceat(np.where(known, values, 0), starts) / count
            away = np.where(known, values - np.repeat(mean, np.diff([*starts, len(values)])), 0)
            spread = 100 * np.sqrt(np.add.reduceat(away**2, starts) / (count - 1)) / mean
        lines.append(Line(name, float(np.median(spread[count > 1])), "%", note=f"{int((count > 1).sum()):,} networks"))
    low, high = min(line.value for line in lines), max(line.value for line in lines)
    reason = f"cells that are the same network differ by {low:.1f} to {high:.1f} % (median coefficient of variation)"
    return Claim(text, AGREES if high > 1 else DISAGREES, reason, tuple(lines))


def render(costs: Costs, found: Sequence[Claim]) -> str:
    """The claims as text."""
    size = f"{len(costs.classes):,}" if costs.listed else f"{len(costs.classes):,} drawn"
    parts = [f"space      {costs.space.name}, data set {costs.dataset}: {size} architectures, "
             f"{len(costs.quantities)} quantities of devices"]  # fmt: skip
    if costs.judge:
        parts.append(f"accuracy   {costs.judge}")
    parts.append("expected   recomputed from the published columns of HW-NAS-Bench, where a number stands in brackets")
    for claim in found:
        parts += ["", f"{claim.verdict:<11}{claim.text}: {claim.reason}"]
        width = max((len(line.what) for line in claim.lines), default=0)
        for line in claim.lines:
            value = "-" if np.isnan(line.value) else f"{line.value:.2f}"
            wanted = "" if np.isnan(line.expected) else f" [{line.expected:.2f}]"
            told = "; ".join(part for part in (line.verdict, line.note) if part)
            parts.append(f"  {line.what:<{width}}  {value:>7} {line.unit:<2}{wanted}  {told}".rstrip())
    return "\n".join(parts)
