"""Executor on this machine: in this process, or in several.

An executor takes shards and yields each with its bytes, in any order. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from nasharness.runs.pool import LostError, Pool, WorkerError
from nasharness.search import Problem
from nasharness.studies.shard import Shard

#: How often a shard may lose its worker before the study gives up.
ATTEMPTS = 3


def in_processes(
    shards: Sequence[Shard], problems: Sequence[Problem], jobs: int, *, here: bool = False
) -> Generator[tuple[Shard, bytes], None, None]:
    """Compute shards in ``jobs`` processes, or in this one where ``here``. A process that is lost is replaced."""
    with Pool(_compute, list(problems), jobs, "shard", attempts=ATTEMPTS, here=here) as pool:
        try:
            yield from pool.run(shards)
        except LostError as error:
            raise WorkerError(lost(error.item, str(error))) from None


def _compute(problems: Sequence[Problem], _: int, shard: Shard) -> Iterator[bytes]:
    yield shard.compute(problems[shard.problem])


def lost(shard: Shard, reason: str) -> str:
    """Say that a shard lost its worker too often."""
    return (
        f"shard {shard} lost its process {ATTEMPTS} times ({reason}); if memory ran out, ask for fewer --jobs; "
        "a script that calls run_study needs `if __name__ == '__main__':` around it. What is finished is kept"
    )
