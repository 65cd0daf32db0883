"""What a study will take: measured with a probe for one that is about to run, reckoned for one on a large cluster."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from nasharness.search.loop import expected_steps
from nasharness.studies.cells import Study
from nasharness.studies.shard import Question, Shard

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
    """``seconds`` of wall-clock time, ``cpu_seconds`` over all processes, ``bytes`` on disk."""

    seconds: float
    cpu_seconds: float
    bytes: int


def estimate(study: Study, jobs: int = 1, done: Collection[str] = ()) -> Estimate:
    """Probe every algorithm of ``study`` on its first data set, and reckon what its shards but ``done`` will take.

    A shard of ``n`` runs takes a fixed time and ``n`` times another; both come from a probe of 4 and one of 32 runs, of
    200 evaluations at most, and grow in proportion to the evaluations expected.
    """
    steps = [
        expected_steps(problem, question.evaluator)
        for problem, question in zip(study.problems, study.questions, strict=True)
    ]
    probes = {}
    cpu, size, longest = 0.0, 0.0, 0.0
    for shard in study.shards():
        if shard.labels[4] not in probes:
            probes[shard.labels[4]] = _probe(replace(shard, question=0), study.questions[0], steps[0])
        if shard.name in done:
            continue
        fixed, each, bytes_each = probes[shard.labels[4]]
        taken = (fixed + each * shard.runs) * steps[shard.question]
        longest = max(longest, taken)
        cpu += taken
        size += SHARD_OVERHEAD + bytes_each * shard.runs
    count = sum(shard.name not in done for shard in study.shards())
    seconds = max(cpu / jobs, longest) + count * WRITE + (START if jobs > 1 and count else 0.0)
    return Estimate(seconds, cpu, int(size))


def _probe(shard: Shard, question: Question, steps: int) -> tuple[float, float, float]:
    """Seconds an evaluation step costs a shard, and each of its runs; bytes of a run."""
    steps = min(steps, PROBE_EVALUATIONS)
    question = replace(question, evaluations=steps, seconds=None)
    few, many = PROBE_RUNS
    replace(shard, runs=1).compute(replace(question, evaluations=2))  # what happens once in a process is not counted
    short, _ = _time(replace(shard, runs=few), question)
    if short > PROBE_SECONDS:
        return 0.0, short / few / steps, 150.0
    long, size = _time(replace(shard, runs=many), question)
    each = max(long - short, 0.0) / (many - few)
    return max(short - few * each, 0.0) / steps, each / steps, max(size - SHARD_OVERHEAD, 0) / many


def _time(shard: Shard, question: Question) -> tuple[float, int]:
    started = time.perf_counter()
    size = len(shard.compute(question))
    return time.perf_counter() - started, size


def cluster_estimate(
    evaluations: float = 1e9,
    *,
    nodes: int = 100,
    cpus_per_node: int = 16,
    evaluations_per_run: int = 200,
    cpu_seconds_per_evaluation: float = 5e-7,
    bytes_per_run: float = 150.0,
    shard_runs: int = 1_000,
    network_bytes_per_second: float = 1e9,
    disk_bytes_per_second: float = 2e8,
    seconds_per_write: float = WRITE,
    seconds_per_task: float = 1e-3,
    start_seconds: float = 20.0,
) -> dict[str, float]:
    """Seconds that each part of a study on a Ray cluster takes, reckoned on paper; parts overlap, the largest binds.

    ``compute``: evaluations over all processors. ``schedule``: tasks through one driver. ``network``: shards to the
    driver. ``write``: shards to its disk, each flushed. ``start``: workers, once. The defaults are measured on one node
    (see "Large studies" in the documentation of ``nasharness.studies``), but for network, disk and Ray's own.
    """
    runs = evaluations / evaluations_per_run
    shards = -(-runs // shard_runs)
    size = shards * SHARD_OVERHEAD + runs * bytes_per_run
    processors = nodes * cpus_per_node
    busy = min(processors, shards)  # a shard is the smallest piece of work
    return {
        "compute": evaluations * cpu_seconds_per_evaluation / busy,
        "schedule": shards * seconds_per_task,
        "network": size / network_bytes_per_second,
        "write": size / disk_bytes_per_second + shards * seconds_per_write,
        "start": start_seconds,
    }
