"""Executor on a Ray cluster: the same shards, their bytes sent back to the process that writes them.

Nodes need nasharness (and plug-ins) in the same versions, which is checked, and no tables: columns travel with the
shards. Lost workers and nodes are tried again.
"""

from __future__ import annotations

import functools
import re
import socket
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from nasharness.errors import NasharnessError, UsageError
from nasharness.extras import module
from nasharness.runs.pool import THREADS, WorkerError
from nasharness.search import Problem, registry
from nasharness.studies.cells import versions
from nasharness.studies.local import ATTEMPTS, lost
from nasharness.studies.shard import Shard

#: Shards in flight for each processor of the cluster: enough that none waits for this process.
PER_CPU = 2


def on_ray(
    shards: Sequence[Shard], problems: Sequence[Problem], address: str, expected: Mapping[str, str]
) -> Generator[tuple[Shard, bytes], None, None]:
    """Compute shards on the cluster at ``address``; ``""`` is ``$RAY_ADDRESS``, else a cluster of this machine alone.

    ``expected``: the study's versions. Raises UsageError where Ray is not installed or the cluster does not answer.
    """
    ray = module("ray", "--ray needs Ray", "ray")
    mine = not ray.is_initialized()
    if mine:
        try:
            _reach(address)
            ray.init(
                address=address or None,
                include_dashboard=False if not address else None,
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"env_vars": THREADS},
            )
        except Exception as error:  # Ray raises many kinds, of its own and of gRPC's
            raise UsageError(f"--ray {address or 'local'}: cannot connect ({error}); see `ray status`") from error
    try:
        yield from _run(ray, shards, problems, dict(expected))
    finally:
        if mine:
            ray.shutdown()


def _reach(address: str) -> None:
    """Fail at once where nobody listens; Ray would go on trying for minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", address)
    if match is not None:
        socket.create_connection((match[1], int(match[2])), timeout=10).close()


def _run(
    ray: Any, shards: Sequence[Shard], problems: Sequence[Problem], expected: dict[str, str]
) -> Generator[tuple[Shard, bytes], None, None]:
    task = ray.remote(num_cpus=1, max_retries=0)(_compute)
    payloads = [ray.put(problem) for problem in problems]
    waiting = deque(shards)
    flying: dict[Any, Shard] = {}
    attempts: dict[str, int] = {}
    try:
        while waiting or flying:
            room = max(2, PER_CPU * int(ray.cluster_resources().get("CPU", 1)))
            while waiting and len(flying) < room:
                shard = waiting.popleft()
                flying[task.remote(payloads[shard.problem], shard, expected)] = shard
            ready, _ = ray.wait(list(flying), num_returns=1, timeout=5.0)
            for reference in ready:
                shard = flying.pop(reference)
                try:
                    outcome = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise WorkerError(f"shard {shard}: {error.cause or error}") from error
                except ray.exceptions.RayError as error:  # worker, node or object lost
                    attempts[shard.name] = attempts.get(shard.name, 0) + 1
                    if attempts[shard.name] >= ATTEMPTS:
                        raise WorkerError(lost(shard, type(error).__name__)) from error
                    waiting.appendleft(shard)
                    continue
                if isinstance(outcome, NasharnessError):
                    raise outcome
                yield shard, outcome
    finally:
        for reference in flying:
            ray.cancel(reference, force=True)


def _compute(problem: Problem, shard: Shard, expected: dict[str, str]) -> bytes | NasharnessError:
    """What a worker does. Its versions must be the study's, or it would not make the study's bits."""
    try:
        names = [key.removeprefix("code of ") for key in expected if key.startswith("code of ")]
        here = _versions(tuple(name for name in names if name != "the search"))
        wrong = [f"{key} {expected[key]} here, {here[key]} there" for key in expected if here.get(key) != expected[key]]
        if wrong:
            return WorkerError(f"node {socket.gethostname()} has other versions: {'; '.join(wrong)}")
        return shard.compute(problem)
    except NasharnessError as error:
        return error


@functools.cache
def _versions(names: tuple[str, ...]) -> dict[str, str]:
    return versions([registry.get(name) for name in names])
