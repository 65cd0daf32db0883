"""Starts: what they draw, that every algorithm begins there, and that results say so."""

import json

import numpy as np
import pytest

import nasharness
from nasharness import spaces
from nasharness.errors import AlgorithmFailedError, DataError, UsageError
from nasharness.search import Algorithm, Problem, ScalarAlgorithm, registry
from nasharness.search.backend import Backend
from nasharness.search.start import KINDS, Start, dense
from nasharness.search.testing import synthetic_problem
from nasharness.studies import load

TSS = spaces.get("tss")
SEEDS = np.arange(40)


def free(ids):
    return np.zeros(np.shape(ids)[:2])


def drawn(text, space=TSS, seeds=SEEDS, count=0, excess=free):
    return Start.parse(text, space).draw(space, seeds, count, excess)


@pytest.mark.parametrize("text", ["random:12", "space-filling:6", "dense"])
def test_a_start_is_the_same_alone_and_differs_between_seeds(text):
    many = drawn(text)
    assert all(len(set(row)) == len(row) for row in many.tolist())
    assert np.array_equal(drawn(text, seeds=SEEDS[7:8]), many[7:8])
    assert len({tuple(row) for row in many.tolist()}) > 30


def test_random_is_uniform_and_distinct_where_the_space_is_nearly_used_up():
    small = spaces.get("tss")
    counts = np.bincount(drawn("random:20", seeds=np.arange(2_000)).ravel() % 5, minlength=5)
    assert (np.abs(counts / counts.sum() - 0.2) < 0.01).all()
    excess = np.ones(small.size)
    excess[:9] = 0
    found = drawn("random:9", excess=lambda ids: excess[ids])
    assert (np.sort(found, axis=1) == np.arange(9)).all()
    assert drawn("random:12", excess=lambda ids: excess[ids]).shape == (40, 9)  # there are no more


def test_dense_is_the_full_network_and_its_removals():
    full = dense(TSS)
    assert full[0] == TSS.parse(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )
    assert set(full[1:]) <= set(TSS.neighbours(full[0]).tolist())
    assert len(full) == 19
    begun = nasharness.run("dense-then-random", synthetic_problem(evaluations=19)).trajectories.ids
    assert set(begun[0].tolist()) == set(full.tolist())
    every = drawn("dense")
    assert (every[:, 0] == full[0]).all()
    assert all(set(row) == set(full.tolist()) for row in every.tolist())


def test_space_filling_is_farther_apart_than_random():
    def apart(ids):
        choices = TSS.choices(ids)
        distance = (choices[:, :, None] != choices[:, None]).sum(axis=3) + 9 * np.eye(ids.shape[1], dtype=int)
        return distance.min(axis=(1, 2)).mean()

    assert apart(drawn("space-filling:10")) > apart(drawn("random:10")) + 1


def test_all_algorithms_of_one_seed_begin_alike():
    begun = {
        name: nasharness.run(name, synthetic_problem(evaluations=12, start="random:6"), runs=3, seed=4)
        for name in ("rea", "local-search", "autoshrink.pooled", "random", "dense-then-random")
    }
    first = [result.trajectories.ids[:, :6].tolist() for result in begun.values()]
    assert all(ids == first[0] for ids in first)


def test_what_an_algorithm_draws_itself_stays():
    ours = nasharness.run("rea", synthetic_problem(evaluations=40), runs=2).trajectories.ids
    assert np.array_equal(
        nasharness.run("rea", synthetic_problem(evaluations=40, start="own"), runs=2).trajectories.ids, ours
    )


@pytest.mark.parametrize("start", ["dense", "random:3", "random:25"])
def test_evolution_goes_on_from_starts_of_any_size(start):
    problem = synthetic_problem(evaluations=80, start=start)
    count = drawn(start).shape[1]
    for name in ("rea", "nsga2", "rea.paper"):
        result = nasharness.run(name, problem, runs=5)
        ids = result.trajectories.ids
        assert (result.evaluations == 80).all()
        parents = ids[0, :count].tolist()
        assert ids[0, count] in set(TSS.neighbours(np.array(parents)).ravel().tolist()) or name == "nsga2"
    several = synthetic_problem(evaluations=60, start=start, objectives=["params"])
    assert (nasharness.run("rea", several, runs=3).evaluations == 60).all()


def test_a_large_start_leaves_its_best_as_the_population():
    problem = synthetic_problem(evaluations=26, start="random:25")
    result = nasharness.run("rea", problem, runs=20)
    for ids, signal in zip(result.trajectories.ids, result.trajectories.signal, strict=True):
        best = ids[np.argsort(-signal[:25])[:10]]
        assert ids[25] in TSS.neighbours(best)


def test_dense_then_random_is_the_start_and_then_random():
    ours = nasharness.run("dense-then-random", synthetic_problem(evaluations=60), runs=4).trajectories.ids
    theirs = nasharness.run("random", synthetic_problem(evaluations=60, start="dense"), runs=4).trajectories.ids
    assert np.array_equal(ours, theirs)
    assert registry.get("dense-then-random").control
    plain = nasharness.run("random", synthetic_problem(evaluations=60), runs=4).trajectories.ids
    assert np.array_equal(ours[:, 19:], plain[:, :41])


def test_a_file_of_indices_and_strings(tmp_path):
    file = tmp_path / "first.txt"
    file.write_text(f"# begin with these\n17\n{TSS.string(3)}   # a string\n\n99\n")
    problem = synthetic_problem(evaluations=20, start=str(file))
    assert nasharness.run("local-search", problem, runs=2).trajectories.ids[:, :3].tolist() == [[17, 3, 99]] * 2
    assert problem.describe()["start"].startswith("first.txt (3 architectures, SHA-256 ")
    file.write_text("17\n17\n")
    with pytest.raises(UsageError, match="twice"):
        synthetic_problem(start=str(file))
    file.write_text("17\n99999\n")
    with pytest.raises(UsageError, match=r"line 2: index 99999"):
        synthetic_problem(start=str(file))
    file.write_text("\n")
    with pytest.raises(UsageError, match="no architecture"):
        synthetic_problem(start=str(file))
    with pytest.raises(DataError, match="absent"):
        synthetic_problem(start=str(tmp_path / "absent.txt"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("randm:10", "nearest: random"),
        ("random:0", "at least 1"),
        ("random:x", "at least 1"),
        ("dense:4", "write dense"),
        ("random:20000", "15,625"),
        (3, "expected a text"),
    ],
)
def test_what_is_no_start_is_refused(text, says):
    with pytest.raises(UsageError, match=says):
        synthetic_problem(start=text)
    assert "own" in KINDS


def test_a_space_that_cannot_be_enumerated(tmp_path):
    space = spaces.get("fbnet")
    backend = Backend("sum", lambda ids: np.asarray(ids).sum(axis=-1).astype(float))
    for start, count in (("random:7", 7), ("space-filling:4", 4)):
        result = nasharness.run("rea", Problem.create(space, table=backend, evaluations=20, start=start), runs=3)
        given = drawn(start, space, result.seeds)
        assert given.shape == (3, count, 22)
        assert np.array_equal(result.trajectories.ids[:, :count], given)
    (tmp_path / "net.txt").write_text("_".join(["0"] * 22) + "\n")
    problem = Problem.create(space, table=backend, evaluations=5, start=str(tmp_path / "net.txt"))
    assert (nasharness.run("nsga2", problem).trajectories.ids[0, 0] == 0).all()
    with pytest.raises(UsageError, match="start dense: space 'fbnet'"):
        Problem.create(space, table=backend, start="dense")


def test_who_cannot_begin_there_is_refused_with_the_reason(plug, cli):
    with pytest.raises(UsageError, match="reinforce cannot begin with start random:4: it learns from what its own"):
        nasharness.run("reinforce", synthetic_problem(start="random:4"))
    code, _, error = cli("run", "--algo", "reinforce", "--space", "tss", "--start", "dense")
    assert code == 2
    assert "cannot begin with start dense" in error

    class Deaf(Algorithm):
        def ask(self):
            return self.space.sample_index(self.streams.uniform(1))

    plug(Deaf)
    with pytest.raises(AlgorithmFailedError, match="without asking Task.start"):
        nasharness.run("plugged", synthetic_problem(start="random:4"))
    assert nasharness.run("plugged", synthetic_problem(evaluations=3)).runs == 1


def test_a_search_of_one_run_is_told_the_start(plug):
    told = []

    class Scalar(ScalarAlgorithm):
        def ask(self):
            return self.random()

        def tell(self, arch, value):
            told.append(arch)

    plug(Scalar)
    result = nasharness.run("plugged", synthetic_problem(evaluations=9, start="random:4"))
    assert told[:4] == drawn("random:4", seeds=[0])[0].tolist()
    assert told == result.trajectories.ids[0].tolist()


def test_limits_are_kept_by_a_start():
    problem = synthetic_problem(evaluations=15, start="random:8", limits=["params <= 0.3"])
    result = nasharness.run("rea", problem, runs=6)
    assert (TSS.params(result.trajectories.ids[:, :8], "cifar10") <= 0.3).all()
    assert (result.evaluations == 15).all()
    with pytest.raises(UsageError, match="all its removals break the limits"):
        nasharness.run("rea", synthetic_problem(start="dense", limits=["params <= 0.3"]))


def test_study_resume_and_compare_tell_starts_apart(cli, tmp_path):
    common = ("--algo", "random,rea", "--space", "tss", "--runs", 20, "--evaluations", 30)
    for name, start in (("own", "own"), ("ten", "random:10")):
        assert cli("study", *common, "--start", start, "--out", tmp_path / name)[0] == 0
    meta = json.loads((tmp_path / "ten" / "study.json").read_text())
    assert meta["plan"]["start"] == "random:10"
    assert all(cell["protocol"]["start"] == "random:10" for cell in meta["cells"])
    assert cli("study", "--resume", "--out", tmp_path / "ten")[0] == 0
    code, _, error = cli("study", *common, "--start", "random:5", "--out", tmp_path / "ten", "--resume")
    assert code == 2
    assert "start: random:10 there, random:5 here" in error
    labels = [cell["algorithm"] for cell in load([tmp_path / "own", tmp_path / "ten"]).cells]
    assert labels == ["random", "rea", "random [random:10]", "rea [random:10]"]
    code, text, _ = cli("compare", tmp_path / "own", tmp_path / "ten")
    assert code == 0
    assert "rea [random:10]" in text


def test_validate_at_equal_starts(cli, tmp_path):
    words = ("validate", "--algo", "rea", "--against", "random", "--evaluations", 25, "--runs", 40)
    code, text, _ = cli(*words, "--start", "random:10")
    assert code in (0, 1)
    assert "start random:10" in text
    file = tmp_path / "base.json"
    assert (
        cli("validate", "--algo", "rea", "--record", file, "--evaluations", 25, "--runs", 20, "--start", "dense")[0]
        == 0
    )
    code, text, _ = cli("validate", "--algo", "rea", "--against", file)
    assert code == 0
    assert "every run is equal" in text
    assert "start dense" in text
    code, _, error = cli("validate", "--algo", "rea", "--against", file, "--start", "own")
    assert code == 2 or "protocol.start was dense, is own" in error
