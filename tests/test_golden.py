"""Golden trajectories: what each algorithm does with seed 0 on the embedded table, pinned.

A change shows up as a diff in review. To change one on purpose, delete its line in golden/trajectories.json and run
``pytest tests/test_golden.py --bless``.
"""

import json
from pathlib import Path

import pytest

import nasharness
from nasharness.search import Problem, registry
from nasharness.search.testing import asked_of

GOLDEN = Path(__file__).parent / "golden" / "trajectories.json"


def outcome(name):
    problem = Problem.create(table="embedded", evaluations=40, **asked_of(name, 200))
    result = nasharness.run(name, problem)
    ids = result.trajectories.ids[0].tolist()
    return {
        "first": ids[:8],
        "last": ids[-4:],
        "incumbent": int(result.incumbent[0]),
        "answer": int(result.recommended[0]),
    }


@pytest.mark.parametrize("name", registry.names(kind="multi-trial"))
def test_trajectory_is_as_recorded(name, request):
    recorded = json.loads(GOLDEN.read_text())
    if request.config.getoption("--bless") and name not in recorded:
        recorded[name] = outcome(name)
        lines = [f"{json.dumps(key)}: {json.dumps(recorded[key])}" for key in sorted(recorded)]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    assert name in recorded, f"no golden trajectory of {name}; record one: pytest tests/test_golden.py --bless"
    assert outcome(name) == recorded[name]
