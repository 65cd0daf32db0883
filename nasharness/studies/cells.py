"""From a plan to cells (algorithm x data set), shards and the study's identity."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import nasharness
from nasharness.errors import NasharnessError, UsageError
from nasharness.search import Problem, caveats, registry
from nasharness.search.loop import expected_steps
from nasharness.search.registry import Record
from nasharness.search.result import number
from nasharness.search.run import check_fit, unfit
from nasharness.storage.toml import Lines
from nasharness.studies.plan import Plan
from nasharness.studies.shard import Shard
from nasharness.version import __version__

#: Runs of a shard, least and most: enough to advance together cheaply, few enough to lose little with a killed process
#: and to occupy all processors. Between the two, an eighth of a cell.
SHARD_RUNS = (250, 1_000)
#: Bytes that the search of a shard may take; long searches get smaller shards.
SHARD_BYTES = 128 << 20
_BYTES_PER_EVALUATION = 64  # trajectory, and what finds its improvements
FORMAT = "nasharness-study/2"
#: Shards of a study at most; each is a file, and a name in the memory of the driver.
MOST_SHARDS = 100_000
#: Folders of installed packages, which are no modules of a plug-in that lies beside them.
_INSTALLED = ("site-packages", "dist-packages")
_OPTIONS = (
    "table", "signal", "final", "evaluations", "seconds", "budget", "repeats", "objectives", "limits", "start",
    "stages", "environments", "target",
)  # fmt: skip
#: What of a plan its cells follow from; the rest is compared as the cells have it, worked out.
_SHAPE = ("algorithms", "space", "datasets", "runs", "seed")
#: Files of the search that only show or check results.
_NO_MATTER = ("__init__.py", "caveats.py", "front.py", "interval.py", "result.py", "testing.py", "text.py", "winner.py")


def described(problem: Problem) -> dict[str, Any]:
    """What must be equal for results to be compared: space, data set, table, protocol."""
    table = problem.table
    return {
        "space": problem.space.name,
        "dataset": problem.dataset,
        "table": {"source": table.name, "version": table.version, "checksum": table.checksum},
        "protocol": problem.describe(),
    }


def front_of(problem: Problem) -> dict[str, Any]:
    """What there is to find of several objectives, under ``front``: see `Exact.describe`. Empty of one."""
    exact = problem.exact_front()
    return {} if exact is None else {"front": exact.describe(problem)}


@dataclass(frozen=True)
class Study:
    """A plan worked out: ``problems`` one a data set, ``cells`` as in study.json, ``identity`` of all that counts."""

    plan: Plan
    problems: tuple[Problem, ...]
    cells: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    identity: str

    @classmethod
    def of(cls, plan: Plan, tables: Mapping[str, str] | None = None, problems: Sequence[Problem] = ()) -> Study:
        """Find the tables, check every algorithm, cut the runs into shards. Raises as Problem.create does.

        ``tables``: names of tables by data set, for a plan that names none and is not to look for one again. How a
        table was chosen is no part of the identity: the cells hold its checksum. ``problems``: those of the plan, one a
        data set, where they are made already.
        """
        tables = tables or {}
        if not problems:
            bare = [_problem(plan, dataset, tables.get(dataset)) for dataset in plan.datasets]
            problems = [one for problem in bare for one in _realised(plan, problem)]
        each = len(problems) // len(plan.datasets)
        problems = [problem.loaded() for problem in problems]
        if plan.all_that_fit:
            fitting = (
                choice
                for choice in plan.algorithms
                if not any(unfit(registry.get(choice.name), each, each.evaluator()) for each in problems)
            )
            plan = replace(plan, algorithms=tuple(fitting))
        records = [registry.get(choice.name) for choice in plan.algorithms]
        for record in records:
            record.check_space(problems[0].space)
            for problem in problems:
                check_fit(record, problem, problem.evaluator())
        cells: list[dict[str, Any]] = []
        for place, problem in enumerate(problems):
            for record, choice in zip(records, plan.algorithms, strict=True):
                shard_runs = _shard_runs(plan.runs, problem)
                cell = {
                    "id": f"c{len(cells):03d}",
                    "algorithm": str(choice),
                    "name": record.name,
                    "kind": record.kind,
                    "clock": "simulated" if problem.evaluator().clocked else None,
                    "settings": record.settings(choice.changed),
                    "changed": dict(choice.changed),
                    "needs": list(record.needs),
                    "control": record.control,
                    **described(problem),
                    **({} if plan.realisations is None else {"realisation": place % each}),
                    "optimum": number(problem.truth().optimum),
                    **front_of(problem),
                    "caveats": [
                        each.as_dict() for each in caveats.before(problem, record, record.settings(choice.changed))
                    ],
                    "runs": plan.runs,
                    "seed": plan.seed,
                    "shard_runs": shard_runs,
                    "shards": -(-plan.runs // shard_runs),
                }
                cells.append(json.loads(json.dumps(cell)))
        made = versions(records)
        _check_count(plan, cells)
        return cls(plan, tuple(problems), tuple(cells), made, identity_of(made, cells))

    def shards(self) -> list[Shard]:
        """Every shard, in the order of cells and seeds."""
        return [shard for number, cell in enumerate(self.cells) for shard in self._of_cell(number, cell)]

    def _of_cell(self, number: int, cell: Mapping[str, Any]) -> list[Shard]:
        labels = (cell["id"], cell["space"], cell["dataset"], table_label(cell), cell["algorithm"])
        size = cell["shard_runs"]
        choice = self.plan.algorithms[number % len(self.plan.algorithms)]
        settings = registry.get(cell["name"]).settings(choice.changed)
        return [
            Shard(
                self.identity,
                f"{cell['id']}-{part:05d}",
                labels,
                cell["name"],
                settings,
                cell["seed"] + part * size,
                min(size, cell["runs"] - part * size),
                number // len(self.plan.algorithms),
            )
            for part in range(cell["shards"])
        ]

    def meta(self) -> dict[str, Any]:
        """The content of study.json, less its provenance."""
        return {
            "format": FORMAT,
            "identity": self.identity,
            "plan": self.plan.as_dict(),
            "versions": self.versions,
            "cells": list(self.cells),
        }


def identity_of(versions: Mapping[str, str], cells: Sequence[Mapping[str, Any]]) -> str:
    """What makes two studies one: their cells and the code behind them, however the plan was worded."""
    nothing = ("caveats", "front")  # they decide nothing
    bare = [{key: value for key, value in cell.items() if key not in nothing} for cell in cells]
    content = json.dumps({"versions": versions, "cells": bare}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def table_label(cell: Mapping[str, Any]) -> str:
    """What the column ``table`` says: source and the first twelve digits of the checksum."""
    return f"{cell['table']['source']}:{cell['table']['checksum'][:12]}"


def shard_names(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of all shards of a study, from the cells of its study.json."""
    return [f"{cell['id']}-{part:05d}" for cell in cells for part in range(cell["shards"])]


def versions(records: Sequence[Record]) -> dict[str, str]:
    """What results depend on beyond plan and table: versions, and a fingerprint of the code that makes them."""
    root = Path(nasharness.__file__).parent
    files = [path for room in ("search", "spaces") for path in sorted((root / room).glob("*.py"))]
    files = [path for path in files if path.name not in _NO_MATTER]
    files += [root / "tables" / "table.py", root / "studies" / "shard.py"]
    made = {
        "nasharness": __version__,
        "code of the search": _fingerprint(files),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "machine": platform.machine(),
    }
    for record in records:
        try:
            made[f"code of {record.name}"] = _fingerprint(_sources(record.cls))
        except (TypeError, OSError):  # typed in, not imported
            made[f"code of {record.name}"] = "in no file"
    return made


def _sources(cls: type) -> list[Path]:
    """The file of an algorithm and those of its own package that it imports, directly or through others of them.

    Modules are found by name among the files; nothing is imported for it. A module in no package has those beside it.
    Not seen: imports by a name that is computed, data files, compiled modules, and other installed packages.
    """
    path, module = Path(inspect.getfile(cls)), cls.__module__
    if path.stem not in (module.rpartition(".")[2], "__init__"):
        module = path.stem  # run as a script
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    folder, own = path.parent, package
    while "." in own and own != "nasharness.algorithms" and folder.name == own.rpartition(".")[2]:
        folder, own = folder.parent, own.rpartition(".")[0]
    found, queue = {path}, [(path, package)]
    while queue:
        file, inside = queue.pop()
        for name in _imported(file, inside):
            for hit, its in _resolve(name, own, folder):
                if hit not in found:
                    found.add(hit)
                    queue.append((hit, its))
    return sorted(found)


def _imported(file: Path, package: str) -> Iterator[str]:
    """Absolute names that a file of ``package`` imports; for ``from a import b`` that is ``a.b``."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # a module that is there and cannot be the one imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, (*above, node.module)))
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _resolve(name: str, own: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Files of the module ``name`` and of the packages above it, with the package each is in.

    ``own``: the package that lies in ``folder``; empty for a folder of modules.
    """
    if own and name != own and not name.startswith(f"{own}."):
        return
    rest = name.removeprefix(own).lstrip(".").split(".") if name != own else []
    if not own and rest[0] == "nasharness":  # a plug-in at the root of a checkout
        return
    at, package = folder, own
    if own and (at / "__init__.py").is_file():
        yield at / "__init__.py", package
    for depth, part in enumerate(rest):
        if (at / part / "__init__.py").is_file() and (own or depth or at.name not in _INSTALLED):
            at, package = at / part, f"{package}.{part}".lstrip(".")
            yield at / "__init__.py", package
        elif own and (at / part).is_dir():  # a namespace
            at, package = at / part, f"{package}.{part}"
        else:
            if (at / f"{part}.py").is_file():
                yield at / f"{part}.py", package
            return


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between two study.json, a line each; empty where they are one study."""
    if there["identity"] == here["identity"]:
        return []
    found = _differ({key: there["plan"].get(key) for key in _SHAPE}, {key: here["plan"].get(key) for key in _SHAPE})
    found += _differ(there["versions"], here["versions"])
    ours = {(cell["space"], cell["dataset"]): cell for cell in here["cells"]}
    for old in there["cells"]:
        new = ours.get((old["space"], old["dataset"]))
        if new is None:
            continue
        protocols = [dict(cell["protocol"]) for cell in (old, new)]
        if old["table"] != new["table"]:
            was, now = (
                f"{table['source']} ({table['version']}, checksum {table['checksum'][:12]})"
                for table in (old["table"], new["table"])
            )
            found.append(f"table of {new['dataset']}: {was} there, {now} here")
            for protocol in protocols:
                protocol.pop("cost", None)  # follows from the table, and says no more
        found += [f"{line} ({new['dataset']})" for line in _differ(*protocols)]
    counts = (len(there["cells"]), len(here["cells"]))
    return list(dict.fromkeys(found)) or [f"cells: {counts[0]} there, {counts[1]} here; study.json is damaged"]


def _differ(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {_short(there.get(key))} there, {_short(here.get(key))} here"
        for key in dict.fromkeys((*here, *there))
        if there.get(key) != here.get(key)
    ]


def _check_count(plan: Plan, cells: Sequence[Mapping[str, Any]]) -> None:
    shards = sum(cell["shards"] for cell in cells)
    if shards <= MOST_SHARDS:
        return
    fits = MOST_SHARDS // len(cells) * min(cell["shard_runs"] for cell in cells)
    with (plan.lines or Lines(None, "")).at("runs"):
        raise UsageError(
            f"runs = {plan.runs:,}: that is {shards:,} shards, and a study has at most {MOST_SHARDS:,}; ask for "
            f"at most {fits:,} runs, and cut the rest by seed into other folders"
        )


def _short(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _problem(plan: Plan, dataset: str, table: str | None = None) -> Problem:
    options = {key: getattr(plan, key) for key in _OPTIONS}
    options["table"] = options["table"] or table
    try:
        return Problem.create(plan.space, dataset, **options)
    except NasharnessError:
        for key in ("table", "signal", "final", "budget"):  # the one without which it would do is to blame
            if options[key] is None or plan.lines is None:
                continue
            try:
                Problem.create(plan.space, dataset, **(options | {key: None}))
            except NasharnessError:
                continue
            with plan.lines.at(key):
                raise
        raise


def _realised(plan: Plan, problem: Problem) -> tuple[Problem, ...]:
    """The problem, or its realisations where the plan asks for some."""
    if plan.realisations is None:
        return (problem,)
    with (plan.lines or Lines(None, "")).at("realisations"):
        return problem.realised(plan.realisations)


def _shard_runs(runs: int, problem: Problem) -> int:
    steps = expected_steps(problem, problem.evaluator())
    seen = problem.space.size if problem.repeats == "free" else 0
    least, most = SHARD_RUNS
    return max(1, min(runs, max(least, min(most, runs // 8)), SHARD_BYTES // (steps * _BYTES_PER_EVALUATION + seen)))


def _fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:12]
