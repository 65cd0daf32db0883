"""Run a study: plan, folder, executor, and resuming."""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasharness import storage
from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.runs.job import Progress
from nasharness.search import registry
from nasharness.search.registry import foreign
from nasharness.storage import reason, writing
from nasharness.studies.cells import Study, differences
from nasharness.studies.folder import Folder, is_whole, read_meta, refuse_others
from nasharness.studies.forecast import Forecast, Written
from nasharness.studies.local import in_processes
from nasharness.studies.plan import Plan, share
from nasharness.studies.shard import Shard


class StudyStoppedError(NasharnessError):
    """The study cannot go on now; what is finished is kept."""

    exit_code = 1


def run_study(
    study: Study | Plan,
    out: str | os.PathLike[str],
    *,
    jobs: int = 1,
    ray: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    expected: Mapping[str, float] | None = None,
) -> Path:
    """Compute what is missing of a study in the folder ``out``; return the folder.

    ``jobs``: processes; 1 computes in this one. ``ray``: address of a Ray cluster, ``""`` for a local one. ``resume``:
    go on with a study that is there. ``progress(done, total)`` counts the runs of this call. ``expected``: seconds of a
    run by algorithm, as `estimate` measures them, for the forecast in ``progress.json``. The other files do not depend
    on executor, interruptions or order.

    Raises UsageError where ``out`` holds a study and ``resume`` was not asked for, or holds another one (it says what
    differs); StudyStoppedError when the disk is full; KeyboardInterrupt as it comes. Finished shards are kept.
    """
    if isinstance(study, Plan):
        study = Study.of(study, tables_there(Path(out)) if resume else None)
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected a whole number of at least 1")
    shards = study.shards()
    with Folder(out) as folder:
        begin(folder, study, resume)
        done = folder.finished((shard.name for shard in shards), study.identity)
        missing = [shard for shard in shards if shard.name not in done]
        total = sum(shard.runs for shard in missing)
        made = 0
        told = Written(folder.path, Forecast(missing, jobs, expected))
        results = _executor(study, missing, jobs, ray)
        try:
            for shard, data in results:
                folder.write(shard.name, data)
                made += shard.runs
                done.add(shard.name)
                told.finished(shard)
                if progress is not None:
                    progress(made, total)
            told.complete()
        except OSError as error:
            raise StudyStoppedError(
                f"cannot write to {folder.path}: {reason(error)}; {share(len(done), len(shards), 'shard')} "
                f"complete. Make room, then: {resume_command(folder.path)}"
            ) from error
        finally:
            results.close()
    return folder.path


def begin(folder: Folder, study: Study, resume: bool) -> None:
    """Write study.json, or check that the one there is of this study."""
    check(folder.path, study, resume)
    if not (folder.path / "study.json").exists() or _known(folder.path, study) is None:
        with writing(f"a study to {folder.path}"):
            folder.write_meta(study.meta() | {"provenance": provenance(study)})


def tables_there(path: Path) -> dict[str, str]:
    """Names of the tables by data set of the study in ``path``; empty where there is none."""
    try:
        return {cell["dataset"]: cell["table"]["source"] for cell in read_meta(path)["cells"]}
    except DataError:  # said by ``check``, or mended by ``begin``
        return {}


def _known(path: Path, study: Study) -> dict[str, Any] | None:
    """What study.json holds; None where it is damaged, and shards of ``study`` beside it say that it is this one's.

    Raises DataError where it is damaged and nothing says whose it is.
    """
    try:
        return read_meta(path)
    except DataError:
        if any(is_whole(file, study.identity) for file in sorted((path / "shards").glob("*.parquet"))):
            return None
        raise


def check(path: Path, study: Study, resume: bool) -> None:
    """Whether ``study`` may go into the folder ``path``; changes nothing. Raises UsageError as ``run_study`` does."""
    if not (path / "study.json").exists():
        refuse_others(path)
        shards = path / "shards"
        if shards.is_dir() and any(shards.iterdir()):
            raise UsageError(f"{shards} holds files but there is no study.json; choose another --out")
        return
    there = _known(path, study) if resume else read_meta(path)
    found = [] if there is None else differences(there, study.meta())
    if found:
        raise UsageError(
            f"{path} holds another study, and mixing is refused. What differs: {'; '.join(found)}. "
            "Choose another --out, or go back to what it was"
        )
    if not resume:
        raise UsageError(f"{path} holds this study already; go on with it: {resume_command(path)}")


def _executor(
    study: Study, shards: Sequence[Shard], jobs: int, ray: str | None
) -> Generator[tuple[Shard, bytes], None, None]:
    if not shards:
        return (_ for _ in ())
    if ray is not None:
        from nasharness.studies.on_ray import on_ray

        return on_ray(shards, study.problems, ray, study.versions)
    alone = jobs == 1 and not any(foreign(registry.get(choice.name)) for choice in study.plan.algorithms)
    return in_processes(shards, study.problems, jobs, here=alone)


def resume_command(path: Path) -> str:
    """The command that goes on with a study."""
    return f"nasharness study --resume --out {shlex.quote(str(path))}"


def provenance(study: Study) -> dict[str, Any]:
    """Where the study was begun, and with which command; nothing in it decides results."""
    tables = {problem.table.name: problem.table.meta for problem in study.problems}
    judges = {name: {"source": meta["source"], "licence": meta["licence"]} for name, meta in tables.items()}
    begun = storage.provenance(**study.versions, tables=judges)
    return begun | {"command": [word for word in begun["command"] if word != "--resume"]}
