"""What a plug-in may ask, and what it may not: each refused in one line that names the class, its file and its line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nasharness.errors import AlgorithmFailedError, UsageError
from nasharness.search import NOTHING, PAUSE, Algorithm, ScalarAlgorithm, run
from nasharness.search.testing import CHECKS, check_seeds, synthetic_problem
from nasharness.spaces import get

STRING = get("tss").string(11472)
HERE = str(Path(__file__))


def scalar(answer, verb="ask"):
    """A plug-in whose ``verb`` returns ``answer``."""

    class Plugged(ScalarAlgorithm):
        """Ask for what it was told to."""

        def ask(self):
            return answer if verb == "ask" else 3

        def recommend(self):
            return answer if verb == "recommend" else None

    return Plugged


def batch(answer):
    """The same for all runs at once."""

    class Plugged(Algorithm):
        """Ask for what it was told to."""

        def ask(self):
            return answer

    return Plugged


def line_of(cls, verb="ask"):
    return getattr(cls, verb).__code__.co_firstlineno


GOOD = [
    7,
    np.int8(7),
    np.int64(7),
    np.uint16(7),
    np.array(7),
    "7",
    STRING,
    f" {STRING} ",
    (7, 3),
    (STRING, np.int32(3)),
]


@pytest.mark.parametrize("answer", GOOD, ids=repr)
def test_an_index_a_numpy_integer_and_a_published_string_are_architectures(plug, answer):
    plug(scalar(answer))
    found = run("plugged", synthetic_problem(evaluations=2))
    wanted = answer[0] if isinstance(answer, tuple) else answer
    assert found.incumbent[0] == (11472 if isinstance(wanted, str) and STRING in wanted else 7)


BAD = [
    None, True, np.bool_(True), 7.0, 7.5, np.float64(7), float("nan"), -1, -2, 15_625, 2**80, "15625", "7.0", "",
    "|nonsense|", STRING[:-1], b"7", [7], [[7], [1, 2]], np.array([7]), np.array([7, 8]), np.array(7.0), {"arch": 7},
    {7}, object(), (7,), (7, 8, 9), (7, 13), (7, 3.5), (7, "3"), (7, None), (7, np.array([3, 4])),
]  # fmt: skip


@pytest.mark.parametrize("verb", ["ask", "recommend"])
@pytest.mark.parametrize("answer", BAD, ids=lambda answer: repr(answer)[:20])
def test_anything_else_is_refused_with_file_and_line(plug, answer, verb):
    if answer is None and verb == "recommend":
        return  # the incumbent
    cls = plug(scalar(answer, verb))
    with pytest.raises(AlgorithmFailedError) as refused:
        run("plugged", synthetic_problem(evaluations=2))
    text = str(refused.value)
    assert text.startswith(f"Plugged.{verb} ({HERE}, line {line_of(cls, verb)}) ")
    assert "\n" not in text
    assert refused.value.exit_code == 1


def test_none_later_on_is_the_end(plug):
    class Ends(ScalarAlgorithm):
        """Ask three times."""

        asked = 0

        def ask(self):
            self.asked += 1
            return 7 if self.asked <= 3 else None

    plug(Ends)
    assert run("plugged", synthetic_problem(evaluations=9), runs=2).evaluations.tolist() == [3, 3]


BAD_BATCHES = [
    None, 7, "7", 7.0, [7], [7, 8], [[7.0], [8.0]], [[7], [8, 9]], [["7"], ["8"]], [[True], [False]], [[15_625], [0]],
    [[-3], [0]], [[7], [8], [9]], np.empty((2, 0), dtype=int), [[NOTHING], [0]], [[PAUSE], [0]], [[7], [None]],
    ([[7], [8]],), ([[7], [8]], 13), ([[7], [8]], 3.5), ([[7], [8]], "3"), ([[7], [8]], [[3], [99]]),
    ([[7], [8]], [[3.0], [3.0]]), ([[7], [8]], [3, 3, 3]), ([[7], [8]], None),
]  # fmt: skip


@pytest.mark.parametrize("answer", BAD_BATCHES, ids=lambda answer: repr(answer)[:20])
def test_a_batch_that_cannot_be_is_refused_with_file_and_line(plug, answer):
    cls = plug(batch(answer))
    with pytest.raises(AlgorithmFailedError) as refused:
        run("plugged", synthetic_problem(evaluations=2), runs=2)
    assert str(refused.value).startswith(f"Plugged.ask ({HERE}, line {line_of(cls)}) ")


def test_a_recommendation_of_a_batch_that_cannot_be_is_refused(plug):
    class Plugged(Algorithm):
        """Answer with numbers that are no indices."""

        def ask(self):
            return np.full((self.runs, 1), 3)

        def recommend(self, rows):
            return np.full(len(rows), 3.5)

    cls = plug(Plugged)
    with pytest.raises(AlgorithmFailedError) as refused:
        run("plugged", synthetic_problem(evaluations=2))
    assert f"Plugged.recommend ({HERE}, line {line_of(cls, 'recommend')}) " in str(refused.value)


RAISED = {
    "exception": ("1 // 0", "ZeroDivisionError: "),
    "several lines": ("raise ValueError('one\\n\\ntwo')", "ValueError: one two"),
    "sys.exit": ("sys.exit(0)", "SystemExit: 0"),
    "exit": ("raise SystemExit('bye')", "SystemExit: bye"),
    "any other": ("raise type('Odd', (BaseException,), {})('x')", "Odd: x"),
    "assertion": ("assert False, 'no'", "AssertionError: no"),
    "ours": ("self.space.parse('nonsense')", "UsageError: 'nonsense' is not an architecture"),
}
MODULE = """
import sys
from nasharness.search import ScalarAlgorithm, register
@register('clumsy', citation='none')
class Clumsy(ScalarAlgorithm):
    '''It does.'''
    def ask(self):
        return self.help()
    def help(self):
        {code}
"""


def install(folder, code):
    info = folder / "clumsy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clumsy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nasharness.algorithms]\nclumsy = clumsy\n")
    (folder / "clumsy.py").write_text(code)


def nasharness(folder, *words, **environment):
    environment = os.environ | {"PYTHONPATH": str(folder), "NASHARNESS_DATA": str(folder / "none")} | environment
    words = [sys.executable, "-m", "nasharness", *words]
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


RUN = ("run", "--algo", "clumsy", "--space", "tss", "--json")


@pytest.mark.parametrize("code", RAISED)
def test_what_a_plug_in_raises_is_one_line_with_its_file_and_line(tmp_path, code):
    raises, says = RAISED[code]
    install(tmp_path, MODULE.format(code=raises))
    done = nasharness(tmp_path, *RUN)
    assert done.returncode == 1
    assert f"clumsy failed in {tmp_path / 'clumsy.py'}, line 10 (help): {says}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("code", ["__import__('ctypes').string_at(0)", "__import__('os').abort()"])
def test_a_plug_in_that_crashes_python_is_named(tmp_path, code):
    install(tmp_path, MODULE.format(code=code))
    done = nasharness(tmp_path, *RUN, "--out", str(tmp_path / "out"))
    assert done.returncode < 0
    assert done.stderr.startswith("Fatal Python error: ")
    assert f'File "{tmp_path / "clumsy.py"}", line 10 in help' in done.stderr
    again = nasharness(tmp_path, *RUN[:2], "random", *RUN[3:], "--out", str(tmp_path / "out"))
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("how", ["before", "after", "environment"])
def test_traceback_shows_all(tmp_path, how):
    install(tmp_path, MODULE.format(code="1 // 0"))
    words = {"before": ("--traceback", *RUN), "after": (*RUN, "--traceback"), "environment": RUN}[how]
    done = nasharness(tmp_path, *words, **({"NASHARNESS_TRACEBACK": "1"} if how == "environment" else {}))
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "in help\n    1 // 0" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("nasharness: clumsy failed in ")


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "1 // 0", "def broken(:"])
def test_what_an_import_raises_is_one_line_too(tmp_path, code):
    install(tmp_path, code)
    done = nasharness(tmp_path, *RUN)
    assert done.returncode == 2
    assert "algorithm 'clumsy' cannot be imported from clumsy (clumsy): " in done.stderr
    assert "clumsy.py, line 1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_settings_that_a_plug_in_refuses_stay_a_matter_of_usage(plug):
    class Plugged(ScalarAlgorithm):
        """Refuse its settings."""

        def __init__(self, *, size: int = 3):
            if size > 3:
                raise UsageError(f"plugged: size = {size}: expected at most 3")

        def ask(self):
            return 3

    plug(Plugged)
    with pytest.raises(UsageError, match="size = 4"):
        run("plugged", synthetic_problem(evaluations=2), settings={"size": 4})


DRAWS = {"numpy": "np.random.randint(15625)", "Python's random": "random.randrange(15625)"}


@pytest.mark.parametrize("whose", DRAWS)
@pytest.mark.parametrize("verb", ["__init__", "ask", "tell"])
def test_draws_from_a_global_generator_are_refused(plug, whose, verb):
    import random

    def draw(self, *told):
        arch = eval(DRAWS[whose], {"np": np, "random": random})
        return arch if verb == "ask" else None

    cls = type("Plugged", (ScalarAlgorithm,), {"__doc__": "Draw.", "ask": lambda self: 3, verb: draw})
    cls.__module__ = __name__
    plug(cls)
    with pytest.raises(AlgorithmFailedError, match=f"global random generator of {whose}: "):
        run("plugged", synthetic_problem(evaluations=2))
    with pytest.raises(AssertionError, match="global random generator"):
        check_seeds("plugged")


def test_the_kit_catches_a_generator_that_nothing_seeds(plug):
    class Plugged(ScalarAlgorithm):
        """Draw from a generator of its own, another one every time."""

        def __init__(self):
            self.own = np.random.default_rng()

        def ask(self):
            return int(self.own.integers(15_625))

    plug(Plugged)
    with pytest.raises(AssertionError, match="the same seeds again: .* differs"):
        check_seeds("plugged")


def test_check_runs_the_kit_from_the_command_line(tmp_path):
    install(tmp_path, MODULE.format(code="return self.random()"))
    done = nasharness(tmp_path, "check", "clumsy", "rea")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("  ok      ") == 2 * len(CHECKS)
    assert done.stdout.count(f"all {len(CHECKS)} checks passed") == 2


def test_check_names_what_fails_and_exits_with_1(tmp_path):
    install(tmp_path, MODULE.format(code="import random; return random.randrange(15625)"))
    done = nasharness(tmp_path, "check", "clumsy")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("  FAILED  seeds") and "global random generator" in line]
    assert [line for line in lines if line.startswith("  ok      record")]
    assert lines[-1].endswith(f"of {len(CHECKS)} checks failed")
    assert done.stderr == ""
    unknown = nasharness(tmp_path, "check", "clumsi")
    assert unknown.returncode == 2
    assert "nearest: clumsy" in unknown.stderr


def test_a_class_that_was_typed_in_can_be_registered_twice():
    code = """
import nasharness
from nasharness.search import ScalarAlgorithm, register
for turn in range(2):
    @register('typed', citation='none')
    class Typed(ScalarAlgorithm):
        '''As a notebook's cell does when it is run again.'''
        def ask(self):
            return 3.5 if turn else 3
    try:
        print(nasharness.run('typed', space='tss').incumbent)
    except Exception as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "[3]"
    assert done.stdout.splitlines()[1].startswith("Typed.ask (<string>, line 8) returned 3.5: ")
