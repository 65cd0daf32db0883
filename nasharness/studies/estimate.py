"""What a study will take: measured with a probe for one that is about to run, reckoned for one on a large cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from nasharness.search import Problem, registry
from nasharness.search.loop import expected_steps
from nasharness.search.registry import foreign
from nasharness.studies.cells import Study
from nasharness.studies.local import in_processes
from nasharness.studies.shard import Shard

#: Runs of the two probes of an algorithm, and their budget at most.
PROBE_RUNS = (4, 32)
PROBE_EVALUATIONS = 200
#: A probe that takes longer is not followed by the larger one.
PROBE_SECONDS = 1.0
#: Seconds: to start a process, and to write a shard so that it survives power loss.
START, WRITE = 0.7, 0.005
#: Bytes of a shard that do not grow with its runs.
SHARD_OVERHEAD = 6_000


@dataclass(frozen=True)
class Estimate:
    """``seconds`` of wall-clock time, ``cpu_seconds`` over all processes, ``bytes`` on disk.

    ``each``: seconds of a run by label of the algorithm, within a shard of many.
    """

    seconds: float
    cpu_seconds: float
    bytes: int
    each: dict[str, float]


def estimate(study: Study, jobs: int = 1, done: Collection[str] = ()) -> Estimate:
    """Probe every algorithm of ``study`` on its first data set, and reckon what its shards but ``done`` will take.

    A shard of ``n`` runs takes a fixed time and ``n`` times another; both come from a probe of 4 and one of 32 runs, of
    200 evaluations at most, and grow in proportion to the evaluations expected.
    """
    steps = [expected_steps(problem, problem.evaluator()) for problem in study.problems]
    probes = {}
    cpu, size, longest = 0.0, 0.0, 0.0
    each_run: dict[str, float] = {}
    for shard in study.shards():
        if shard.labels[4] not in probes:
            if foreign(registry.get(shard.algorithm)):  # first where a crash can be told of
                list(in_processes([replace(shard, problem=0, runs=1)], study.problems[:1], 1))
            probes[shard.labels[4]] = _probe(replace(shard, problem=0), study.problems[0], steps[0])
        if shard.name in done:
            continue
        fixed, each, bytes_each = probes[shard.labels[4]]
        taken = (fixed + each * shard.runs) * steps[shard.problem]
        each_run[shard.labels[4]] = taken / shard.runs
        longest = max(longest, taken)
        cpu += taken
        size += SHARD_OVERHEAD + bytes_each * shard.runs
    count = sum(shard.name not in done for shard in study.shards())
    seconds = max(cpu / jobs, longest) + count * WRITE + (START if jobs > 1 and count else 0.0)
    return Estimate(seconds, cpu, int(size), each_run)


def _probe(shard: Shard, problem: Problem, steps: int) -> tuple[float, float, float]:
    """Seconds an evaluation step costs a shard, and each of its runs; bytes of a run."""
    steps = min(steps, PROBE_EVALUATIONS)
    problem = problem.loaded(evaluations=steps, seconds=None)
    few, many = PROBE_RUNS
    replace(shard, runs=1).compute(problem.loaded(evaluations=2))  # what happens once in a process is not counted
    short, _ = _time(replace(shard, runs=few), problem)
    if short > PROBE_SECONDS:
        return 0.0, short / few / steps, 150.0
    long, size = _time(replace(shard, runs=many), problem)
    each = max(long - short, 0.0) / (many - few)
    return max(short - few * each, 0.0) / steps, each / steps, max(size - SHARD_OVERHEAD, 0) / many


def _time(shard: Shard, problem: Problem) -> tuple[float, int]:
    started = time.perf_counter()
    size = len(shard.compute(problem))
    return time.perf_counter() - started, size


def cluster_estimate(
    evaluations: float = 1e9,
    *,
    nodes: int = 100,
    cpus_per_node: int = 16,
    evaluations_per_run: int = 200,
    cpu_seconds_per_evaluation: float = 2e-7,
    bytes_per_run: float = 150.0,
    shard_runs: int = 1_000,
    driver_seconds_per_shard: float = 0.003,
    seconds_per_write: float = WRITE,
    disk_bytes_per_second: float = 2e8,
    network_bytes_per_second: float = 1e9,
    start_seconds: float = 20.0,
) -> dict[str, float]:
    """Seconds that each part of a study on a Ray cluster would take, reckoned on paper.

    ``start``: workers, once. Then three parts overlap, and the longest binds. ``compute``: evaluations over all
    processors. ``network``: shards to the driver. ``driver``: the one process that hands shards out, takes them in and
    flushes each to its disk. ``cpu_seconds_per_evaluation`` (rea's), ``bytes_per_run`` and
    ``driver_seconds_per_shard`` were measured; disk, network and start are assumptions to replace with your own.
    """
    runs = evaluations / evaluations_per_run
    shards = math.ceil(runs / shard_runs)
    size = shards * SHARD_OVERHEAD + runs * bytes_per_run
    busy = min(nodes * cpus_per_node, shards)  # a shard is the smallest piece of work
    return {
        "start": start_seconds,
        "compute": evaluations * cpu_seconds_per_evaluation / busy,
        "network": size / network_bytes_per_second,
        "driver": shards * (driver_seconds_per_shard + seconds_per_write) + size / disk_bytes_per_second,
    }
