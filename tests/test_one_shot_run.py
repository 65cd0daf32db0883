"""One-shot runs end to end: what they leave, that they resume exactly, and what they say to bad input."""

import dataclasses
import io
import json
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nasharness.analysis import figures, report
from nasharness.analysis.comparison import compare
from nasharness.analysis.figures.source import StudyView
from nasharness.cli.run import command
from nasharness.cli.terminal import Progress
from nasharness.errors import DataError, UsageError
from nasharness.extras import pip_install
from nasharness.runs import pool
from nasharness.runs.signals import Stopped
from nasharness.search import Problem, registry
from nasharness.search import run as search
from nasharness.search.one_shot import OneShot
from nasharness.search.testing import assert_out_of_reach, synthetic_problem
from nasharness.search.winner import read_winner
from nasharness.spaces import get
from nasharness.studies import Plan, load, run_study, write

torch = pytest.importorskip("torch")

from nasharness.runs import checkpoint  # noqa: E402
from nasharness.supernets.build import STEMS, stems_lr  # noqa: E402
from nasharness.supernets.judge import Judge  # noqa: E402
from nasharness.supernets.recipe import FAST, SupernetRecipe  # noqa: E402
from nasharness.supernets.request import OneShotRequest  # noqa: E402
from nasharness.supernets.run import execute  # noqa: E402
from nasharness.supernets.session import CHECKPOINT, KIND, entropy  # noqa: E402
from nasharness.supernets.tss import EdgeGates  # noqa: E402
from tests.one_shot_fixtures import TINY, few_digits, made_up, run  # noqa: E402

#: what is real time in a checkpoint, and so is never the same twice
CLOCK = ("seconds", "images_per_second")


class Watch:
    """Remembers what it is told, and presses Ctrl-C when so many steps are done."""

    def __init__(self, stop=None):
        self.stop, self.lines, self.steps = stop, [], []

    def __call__(self, done, total, label, detail, line):
        if line:
            self.lines.append(line)
        else:
            self.steps.append((label, done, total))
        if self.stop == done:
            signal.raise_signal(signal.SIGINT)


def kept(out, seed=0):
    """A run's checkpoint without its clock."""
    state = checkpoint.load(Path(out) / f"seed-{seed}" / CHECKPOINT, kind=KIND)
    for row in state["rows"]:
        for key in CLOCK:
            row.pop(key)
    return state


def assert_equal(one, other, where="state"):
    """Bit for bit, through dictionaries and lists."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            assert_equal(first, second, f"{where}[{number}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other or (one != one and other != other), where


def test_a_run_leaves_what_a_multi_trial_run_leaves(tmp_path):
    watch = Watch()
    result = run("gdas", out=tmp_path / "out", progress=watch)
    folder = result.write()
    problem = Problem.create()
    final = float(problem.truth().score(np.int32(result.winner)))
    winner = json.loads((folder / "winner.json").read_text())
    summary = result.summary()
    best = winner["candidates"][0]
    assert (best["label"], best["index"], best["final"]) == ("best-signal", result.winner, final)
    assert best["arch"] == get("tss").string(result.winner)
    assert winner["table"]["checksum"] == problem.table.checksum
    assert winner["images"]["checksum"] == few_digits().checksum
    assert summary["regret"]["mean"] == pytest.approx(problem.truth().optimum - final)
    assert summary["beats"]["values"] == [float((problem.truth().values < final).mean())]
    assert summary["median"] == float(np.median(problem.truth().values))
    loaded = load(folder)
    (cell,) = loaded.cells
    assert (cell["kind"], cell["clock"], cell["optimum"]) == ("one-shot", "real", problem.truth().optimum)
    assert cell["recipe"]["epochs"] == 2
    assert cell["images"]["name"] == "digits"
    assert loaded.metas[0]["provenance"]["torch"] == torch.__version__
    rows = loaded.frame
    assert rows["step"].tolist() == [1, 2, 2]
    assert rows["last"].tolist() == [False, False, True]
    epochs = result.runs[0].epochs
    assert rows["incumbent"].tolist()[:2] == [epoch.arch for epoch in epochs]
    assert rows["final"].tolist()[:2] == [problem.truth().score(np.int32(epoch.arch)) for epoch in epochs]
    assert rows["simulated_seconds"].tolist()[:2] == [epoch.seconds for epoch in epochs]
    assert rows["signal"].tolist()[:2] == [epoch.signal for epoch in epochs]
    assert all(f"cifar10 {final:.2f} %" in line for final, line in zip(rows["final"], watch.lines, strict=False))
    assert [line.split()[1] for line in watch.lines] == ["1/2", "2/2"]
    assert rows["recommended"].tolist() == [-1, -1, result.winner]
    assert loaded.strings("recommended") == ["", "", best["arch"]]
    log = [json.loads(line) for line in (folder / "seed-0" / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2]
    assert all(0 < row["entropy"] <= np.log(5) + 1e-9 for row in log)
    steps = len(few_digits().train_y) * 4 // 5 // TINY["batch"]
    assert watch.steps == [("seed 0", step + 1, 2 * steps) for step in range(2 * steps)]


def test_real_weights_meet_the_table(tmp_path):
    """A study, a run and one-shot runs, read and drawn together."""
    pytest.importorskip("matplotlib")
    trained = run("random.supernet", out=tmp_path / "net", epochs=2, runs=2).write()
    options = {"runs": 4, "evaluations": 20}
    searched = write(search("rea", **options), tmp_path / "rea")
    study = run_study(Plan.create(algorithms=["random", "bohb"], **options), tmp_path / "study")
    results = load([trained, searched, study])
    labels = ["random.supernet", "rea", "random", "bohb"]
    assert [cell["algorithm"] for cell in results.cells] == labels
    compared = compare(results.frame, results.cells)
    assert sorted(row.algorithm for row in compared.sections[0].rows) == sorted(labels)
    assert any("random.supernet: a supernet was trained" in note for note in compared.sections[0].notes)
    assert compared.sections[0].protocol["signal"] == "val@200:random"
    source = StudyView(results)
    assert "random.supernet: supernets; evaluations are epochs, seconds real ones." in source.note
    drawn = figures.draw(source, tmp_path / "figures", formats=["svg"])
    assert {"incumbent-time", "incumbent-evaluations", "final-runs", "landscape", "pareto"} <= {
        path.stem for path in drawn.written
    }
    assert "random.supernet" in (tmp_path / "figures" / "incumbent-time.csv").read_text()
    page = report.write(results, tmp_path / "report.html").read_text()
    assert "random.supernet" in page
    winner = read_winner(tmp_path / "winners" / "tss-cifar10-random.supernet.json")
    known = json.loads((trained / "winner.json").read_text())["candidates"]
    assert winner["winner"] == known[0]
    assert read_winner(trained, "first-run")["winner"] == known[2]
    with pytest.raises(UsageError, match="unknown candidate 'frst-run'; nearest: first-run"):
        read_winner(trained, "frst-run")


@pytest.mark.parametrize("name", registry.names(kind="one-shot"))
def test_every_one_shot_algorithm_runs_end_to_end(name):
    """On digits: the supernet's own loss falls, the answer is an architecture, and the table knows it."""
    record = registry.get(name)
    learns = not registry.get(name).published  # at its rate, that takes tens of epochs
    where = record.spaces if record.spaces != ("*",) else ("tss", "sss")
    for space in [one for one in where if not get(one).arch_shape] or where:  # chains are slow, and have tests
        result = run(name, space, **{"epochs": 5, "batch": 32} if learns else {"epochs": 1})
        assert get(space).parse(get(space).string(result.winner)) is not None  # or it is no architecture, and raises
        epochs = result.runs[0].epochs
        losses = [epoch.loss for epoch in epochs if epoch.numbers.get("classes") == epochs[0].numbers.get("classes")]
        assert np.isfinite([epoch.loss for epoch in epochs]).all()
        assert not learns or np.mean(losses[-2:]) < losses[0] - 0.02
        if space == "tss":
            assert result.final[0] == Problem.create().truth().values[result.winner]
        text = str(result)
        assert get(space).string(result.winner) in text


def test_every_variant_of_the_paper_is_trained_as_in_the_paper():
    """The macro skeleton too: five cells a stage on tss, one on sss (docs/reproduction/nats-bench.md#networks)."""
    for name in registry.names(kind="one-shot"):
        record = registry.get(name)
        for space in record.spaces if record.spaces != ("*",) else ("tss", "sss"):
            recipe = SupernetRecipe.of(record, space)
            paper = (5 if space == "tss" else 1, 100, 0.025, 0.001)
            fast = 1, FAST["epochs"], stems_lr(space, 64) if space in STEMS else FAST["lr"], FAST["lr_end"]
            assert (recipe.cells, recipe.epochs, recipe.lr, recipe.lr_end) == (paper if record.published else fast)
            assert recipe.published == record.published == (name.endswith(".paper") or name == "gdas.drawn")


@pytest.mark.parametrize(
    ("name", "space"), [("gdas", "tss"), ("rsps", "tss"), ("darts.second", "tss"), ("enas", "tss"), ("tas", "sss")]
)
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, name, space):
    options = {"epochs": 3, "keep_every": 2, "batch": 128}
    whole = run(name, space, out=tmp_path / "whole", **options)
    steps = len(few_digits().train_y) * 4 // 5 // options["batch"]
    with pytest.raises(Stopped, match="stopped in epoch 3; epoch 2 is kept") as stopped:
        run(name, space, out=tmp_path / "parts", progress=Watch(stop=2 * steps + 1), **options)
    assert stopped.value.exit_code == 130
    assert len(kept(tmp_path / "parts")["rows"]) == 2
    disturbed = random.random(), np.random.random(), torch.rand(3)  # noqa: NPY002 - global generators do not matter
    resumed = run(name, space, out=tmp_path / "parts", resume=True, **options)
    assert disturbed
    assert_equal(kept(tmp_path / "whole"), kept(tmp_path / "parts"))
    assert resumed.winner == whole.winner
    assert len(resumed.runs[0].epochs) == 3
    for folder in ("whole", "parts"):
        there = sorted(path.name for path in (tmp_path / folder / "seed-0").glob("*.pt"))
        assert there == [CHECKPOINT, "epoch-00002.pt", "epoch-00003.pt"]
        log = (tmp_path / folder / "seed-0" / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in log] == [1, 2, 3]
    again = run(name, space, out=tmp_path / "parts", resume=True, **options)  # nothing left to do
    assert again.winner == whole.winner


def test_ctrl_c_while_an_epoch_is_shown_says_what_is_kept(tmp_path):
    def slow(done, total, label, detail, line):
        if line:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match=r"stopped in epoch 2; epoch 1 is kept in .*seed-0.*--resume goes on from it"):
        run(out=tmp_path, progress=slow)
    assert len(kept(tmp_path)["rows"]) == 1


KILLED = """
    import sys
    from tests.one_shot_fixtures import run

    def watch(done, total, label, detail, line):
        print(1 + (done - 1) // (total // 3), 1 + (done - 1) % (total // 3), flush=True)

    run(*sys.argv[2:], out=sys.argv[1], progress=watch, epochs=3)
"""


def test_a_search_that_has_not_decided_says_so(tmp_path):
    result = run("gdas", out=tmp_path, epochs=2)
    assert sum("the search has hardly decided" in note for note in result.notes) == 1
    last = result.runs[0].epochs[-1]
    decided = dataclasses.replace(last, entropy=1.0)
    result.runs[0] = dataclasses.replace(result.runs[0], epochs=[*result.runs[0].epochs[:-1], decided])
    assert not any("decided" in note for note in result.notes)


def test_preempted_it_says_what_is_kept_and_asks_to_be_started_again(tmp_path):
    command = [sys.executable, "-c", "from nasharness.cli import main; main()"]
    asked = "run --algo gdas --space tss --dataset cifar10 --images digits --channels 2 --epochs 500 --device cpu --out"
    process = subprocess.Popen([*command, *asked.split(), str(tmp_path / "run")], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "2/500" in line:
            process.send_signal(signal.SIGTERM)
            break
    assert "--resume goes on from it" in process.communicate()[1].splitlines()[-1]
    assert process.returncode == 75


@pytest.mark.parametrize(
    "asked",
    [
        ("gdas", "tss"),
        pytest.param(("single-path", "mobile"), marks=pytest.mark.slow),
        pytest.param(("nas-ood", "tss"), marks=pytest.mark.slow),
    ],
)
def test_killed_in_mid_epoch_and_resumed_is_uninterrupted(tmp_path, asked):
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed"), *asked],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.split() == ["2", "2"]:
            process.kill()
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert len(kept(tmp_path / "killed")["rows"]) == 1
    run(*asked, out=tmp_path / "killed", resume=True, epochs=3)
    run(*asked, out=tmp_path / "whole", epochs=3)
    assert_equal(kept(tmp_path / "killed"), kept(tmp_path / "whole"))


def test_equal_seeds_equal_bits_and_other_seeds_others(tmp_path):
    torch.manual_seed(1)
    first = run("gdas", runs=2, out=tmp_path / "a")
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002
    before = torch.random.get_rng_state()
    run("gdas", seed=1, out=tmp_path / "b")
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator was drawn from"
    assert_equal(kept(tmp_path / "a", 1), kept(tmp_path / "b", 1))
    one, other = (kept(tmp_path / "a", seed)["net"] for seed in (0, 1))
    assert not all(torch.equal(one[key], other[key]) for key in one)
    summary = first.summary()
    assert (summary["runs"], len(summary["final"]["values"])) == (2, 2)
    assert summary["final"]["ci95"] is not None
    assert "seeds 0 to 1" in str(first)


@pytest.mark.slow
def test_runs_on_several_devices_are_the_runs_in_turn(tmp_path):
    """Two processes, as for two GPUs."""
    watch = Watch()
    run("gdas", runs=2, out=tmp_path / "apart", device="cpu,cpu", progress=watch)
    run("gdas", runs=2, out=tmp_path / "turn")
    assert sorted(" ".join(line.split()[:4]) for line in watch.lines) == [
        f"seed {seed} epoch {epoch}/2" for seed in (0, 1) for epoch in (1, 2)
    ]
    for seed in (0, 1):
        one, other = kept(tmp_path / "apart", seed), kept(tmp_path / "turn", seed)
        for key in one["net"]:
            assert torch.allclose(one["net"][key], other["net"][key], atol=1e-4), key


def _killed(worker, place, work):
    worker.at = place
    worker.process.kill()


def test_a_process_that_dies_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(pool._Worker, "give", _killed)
    with pytest.raises(DataError, match=r"process of a run died \(killed, or out of memory\); --resume goes on with"):
        run("gdas", runs=2, out=tmp_path, device="cpu,cpu")


def test_a_loss_that_is_no_number_stops_the_run_and_names_step_and_rate():
    with pytest.raises(DataError, match=r"loss is (nan|inf).*epoch 1, step \d+ of \d+, at learning rate \d"):
        run("rsps", lr=1e12)


@pytest.fixture
def plug():
    def add(cls, **options):
        registry._records.pop("plugged.shot", None)
        return registry.register("plugged.shot", citation="none", kind="one-shot", spaces=("tss",), **options)(cls)

    yield add
    registry._records.pop("plugged.shot", None)


class Fixed(OneShot):
    """Train one cell, answer with it."""

    def gates(self, step):
        return self.net.gates_of(8181)

    def derive(self):
        return 8181


def test_the_last_good_checkpoint_outlives_a_loss_that_is_no_number(tmp_path, plug):
    class Poisoned(Fixed):
        """Spoil a weight in the third epoch."""

        def end_epoch(self, epoch):
            if epoch == 2:
                with torch.no_grad():
                    next(iter(self.net.parameters())).fill_(float("nan"))
            return {}

    plug(Poisoned)
    with pytest.raises(DataError, match=r"no finite number in epoch 3.*epoch 2 is kept in .*checkpoint.pt, .*--resume"):
        run("plugged.shot", epochs=4, out=tmp_path)
    state = kept(tmp_path)
    assert len(state["rows"]) == 2
    assert all(torch.isfinite(tensor.float()).all() for tensor in state["net"].values())


def test_an_error_of_a_plug_in_is_one_line_that_says_where(plug):
    class Broken(Fixed):
        """Divide by zero."""

        def search_step(self, step):
            return {"x": 1 / 0}

    plug(Broken)
    with pytest.raises(Exception, match=r"plugged.shot failed in .*test_one_shot_run.py.*search_step.*ZeroDivision"):
        run("plugged.shot")


def test_a_gpu_without_memory_says_what_to_lower(plug, tmp_path):
    class Large(Fixed):
        """Need more than there is, in the second epoch."""

        def search_step(self, step):
            if step.epoch == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return {}

    plug(Large)
    with pytest.raises(DataError, match=r"too little memory.*lower --batch, --channels or --cells; epoch 1 is kept in"):
        run("plugged.shot", out=tmp_path)
    assert len(kept(tmp_path)["rows"]) == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["piped", "terminal"])
def test_an_epoch_stays_as_a_line_and_steps_are_shown_on_a_terminal(stream):
    now = [0.0]
    shown = Progress("steps", clock=lambda: now[0], stream=stream)

    def progress(*told, **more):
        now[0] += 1.0
        shown(*told, **more)

    result = run(epochs=1, runs=2, progress=progress)
    shown.close()
    lines = [line.rpartition("\x1b[K")[2] for line in stream.getvalue().splitlines() if " loss " in line]
    for line, seed, one in zip(lines, (0, 1), result.runs, strict=True):
        assert line.startswith(f"seed {seed}  epoch 1/1  loss {one.epochs[0].loss:.3f}")
        assert line.endswith(get("tss").string(one.arch))
    assert ("\r\x1b[Kseed 1: 2 of 4 steps" in stream.getvalue()) == stream.isatty()


def test_an_algorithm_that_derives_nonsense_is_told_so(plug):
    class Nonsense(Fixed):
        """Answer with an index that does not exist."""

        def derive(self):
            return 15625

    plug(Nonsense)
    with pytest.raises(UsageError, match="derived architecture 15625; expected an index, 0 to 15624"):
        run("plugged.shot")


@pytest.mark.parametrize("name", ["rsps", "gdas"])
def test_the_table_is_out_of_reach_of_an_algorithm(name):
    judge = Judge(synthetic_problem())
    request = OneShotRequest.create(name, images=few_digits(), device="cpu", **TINY)
    session = request.session(0, "cpu")
    for epoch in session.train():
        assert judge.final(epoch.arch) is not None
        assert_out_of_reach(session.algorithm, judge.truth)
    assert_out_of_reach(request, judge.truth)


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        ({"algorithm": "gdas"}, r"algorithm \("),
        ({"space": "sss"}, r"space \("),
        ({"dataset": "cifar100"}, r"dataset \("),
        ({"settings": {"candidates": 7}}, "--set candidates"),
        ({"epochs": 5}, r"epochs \(checkpoint: 1, now: 5\)"),
        ({"lr": 0.01}, r"lr \(checkpoint: 0.1, now: 0.01\)"),
        ({"images": made_up("digits", 10, images=400)}, r"images \("),
        ({"validation": 0.5}, r"split \("),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(tmp_path, changes, different):
    run("rsps", out=tmp_path, epochs=1)
    if changes.get("space") == "sss":
        changes = changes | {"algorithm": "random.supernet"}
    before = (tmp_path / "seed-0" / CHECKPOINT).read_bytes()
    asked = {"algorithm": "rsps", "out": tmp_path, "resume": True, "epochs": 1} | changes
    with pytest.raises(UsageError, match=rf"belongs to another run; different: .*{different}"):
        run(**asked)
    assert (tmp_path / "seed-0" / CHECKPOINT).read_bytes() == before


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    run(out=tmp_path, epochs=1)
    path = tmp_path / "seed-0" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="is damaged"):
        run(out=tmp_path, epochs=1, resume=True)
    with pytest.raises(UsageError, match="--resume goes on with it, or choose another --out"):
        run(out=tmp_path, epochs=1)


@pytest.mark.parametrize(
    ("images", "dataset", "message"),
    [
        (made_up("cifar100", 100, images=200), "cifar10", "100 classes, cifar10 has 10: they are of another data set"),
        (made_up("mine", 7), "cifar10", "7 classes, cifar10 has 10"),
        (made_up("cifar10", 10), "cifar100", "10 classes, cifar100 has 100"),
        ("cifr10", "cifar10", "unknown set of images 'cifr10'; nearest: cifar10"),
    ],
)
def test_images_of_another_data_set_are_refused(images, dataset, message):
    with pytest.raises(UsageError, match=message):
        run(images=images, dataset=dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 100_000}, "--batch 100000: larger than the images that train"),
        ({"epochs": 0}, "--epochs 0: expected a whole number of at least 1"),
        ({"lr": -1.0}, "--lr -1.0: expected a number above 0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"validation": 1.5}, "--validation 1.5: expected a share between 0 and 1"),
        ({"device": "cud"}, "unknown device 'cud'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"resume": True}, "--resume needs --out"),
        ({"runs": 0}, "--runs 0"),
        ({"settings": {"tua": 1}}, "unknown setting of gdas 'tua'|nearest"),
        ({"space": "sss"}, "gdas works on tss, not on space 'sss'"),
        ({"algorithm": "tas", "space": "sss", "settings": {}, "channels": 8}, "--channels 8: sss has none, widths are"),
        ({"dataset": "cifar"}, "unknown data set of space 'tss' 'cifar'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_trained(options, message):
    watch = Watch()
    with pytest.raises(UsageError, match=message):
        run(**{"algorithm": "gdas", "progress": watch} | options)
    assert watch.steps == []


def test_without_a_table_the_search_is_done_and_says_that_nobody_can_judge(tmp_path, data_home):
    result = run(space="sss", out=tmp_path)
    result.write()
    winner = read_winner(tmp_path)
    assert winner["winner"]["index"] == result.winner
    assert winner["winner"]["final"] is None
    loaded = load(tmp_path)
    assert loaded.cells[0]["optimum"] is None
    assert loaded.frame["final"].isna().all()
    with pytest.raises(DataError, match="random.supernet on sss/cifar10: no final metric"):
        StudyView(loaded)
    assert result.summary()["final"] is None
    assert "no table can judge" in str(result)
    json.dumps(result.summary(), allow_nan=False)


def test_digits_say_that_they_only_stand_in():
    assert "the images are digits, the table is of cifar100" in str(run(dataset="cifar100", epochs=1))


def test_entropy_is_the_mean_over_positions():
    p = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert entropy(p) == pytest.approx(np.log(2) / 2)
    assert entropy(None) is None


def test_the_rate_falls_along_a_cosine():
    recipe = SupernetRecipe.of(registry.get("rsps"), "tss", lr=0.2)
    assert (recipe.rate(0), recipe.rate(0.5), recipe.rate(1)) == pytest.approx((0.2, 0.1, 0.0))


def test_the_published_rate_stays_the_same_within_an_epoch():
    recipe = SupernetRecipe.of(registry.get("rsps.paper"), "tss", epochs=7)
    for epoch in range(7):
        there = 0.001 + 0.024 * (1 + np.cos(np.pi * epoch / 7)) / 2
        for step in range(13):
            assert recipe.rate((epoch + step / 13) / 7) == pytest.approx(there, rel=1e-12)


def invoke(*arguments):
    """Run the command; return its exit: None, or the error."""
    made = CliRunner().invoke(command, [str(argument) for argument in arguments])
    return made.stdout, made.exception


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algo", "rsps", "--space", "tss"], "it trains a supernet on images.*--images"),
        (["--algo", "rea", "--space", "tss", "--images", "digits"], "rea is a multi-trial algorithm.*without --images"),
        (["--algo", "rea", "--space", "tss", "--epochs", "3"], "--epochs: rea asks a table and trains nothing"),
        (
            ["--algo", "rsps", "--space", "tss", "--images", "digits", "--evaluations", "3"],
            "--evaluations: rsps trains",
        ),
        (["--algo", "gdas", "--space", "tss", "--images", "nowhere/x.parquet"], "nothing there"),
        (["--algo", "gdas", "--space", "tss", "--images", "cifar10", "--data", "/nowhere"], "--data /nowhere: nothing"),
    ],
)
def test_the_command_refuses_what_does_not_go_together(arguments, message):
    with pytest.raises((UsageError, DataError), match=message):
        raise invoke(*arguments)[1]


def test_the_command_prints_one_object_or_a_text(tmp_path):
    arguments = ["--algo", "random.supernet", "--space", "tss", "--images", "digits", "--epochs", 1, "--batch", 512,
                 "--channels", 4, "--device", "cpu"]  # fmt: skip
    text, error = invoke(*arguments, "--json", "--out", tmp_path)
    assert error is None
    summary = json.loads(text)
    assert summary["kind"] == "one-shot"
    assert summary["images"]["name"] == "digits"
    text, error = invoke(*arguments, "--out", tmp_path, "--resume")
    assert error is None
    assert summary["winner"]["arch"] in text
    assert "beats" in text
    assert "validate --supernet" in text


def test_a_study_of_a_one_shot_algorithm_is_refused():
    with pytest.raises(UsageError, match="rsps is a one-shot algorithm"):
        Plan.create(algorithms=["rsps"])


def test_results_of_a_request_sent_elsewhere_are_the_same():
    """A request is all that a run needs, and travels."""
    import pickle

    request = OneShotRequest.create("rsps", images=few_digits(), device="cpu", **TINY)
    judge = Judge.find("tss", "cifar10")
    sent = pickle.loads(pickle.dumps(request))  # noqa: S301 - our own
    assert execute(request, judge).winner == execute(sent, judge).winner


def test_without_torch_every_command_that_trains_says_what_to_install():
    code = """
        import sys
        sys.modules["torch"] = None
        from nasharness.cli import cli
        for arguments in (
            ["run", "--algo", "gdas", "--space", "tss", "--images", "digits"],
            ["validate", "--supernet", "nowhere"],
            ["train", "--space", "tss", "--arch", "3", "--images", "digits", "--epochs", "1"],
        ):
            try:
                cli.main(arguments, standalone_mode=False)
            except Exception as error:
                print(type(error).__name__, error)
    """
    made = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    told = f"UsageError this needs PyTorch; install it with: {pip_install('train')}"
    assert made.stdout.splitlines() == [told] * 3


def test_a_folder_with_another_result_is_left_alone(tmp_path):
    run("random.supernet", out=tmp_path, epochs=1).write()
    before = (tmp_path / "study.json").read_bytes()
    for resume in (False, True):
        with pytest.raises(UsageError, match="holds the result of other runs, which would be lost"):
            run("random.supernet", out=tmp_path, epochs=1, seed=7, resume=resume)
    with pytest.raises(UsageError, match="holds another study.*algorithms: random.supernet there, random here"):
        write(search("random", evaluations=2), tmp_path)
    assert (tmp_path / "study.json").read_bytes() == before
    more = run("random.supernet", out=tmp_path, epochs=1, runs=2, resume=True)  # the first is done already
    assert [trained.seed for trained in more.runs] == [0, 1]
    assert load(more.write()).last["seed"].tolist() == [0, 1]
    searched = write(search("random", evaluations=2), tmp_path / "searched")
    with pytest.raises(UsageError, match="which would be lost: random on tss/cifar10, seeds 0 to 0; choose another"):
        run("random.supernet", out=searched, epochs=1, resume=True)


def test_resuming_what_is_not_there_says_that_it_begins_anew(tmp_path):
    result = run("random.supernet", out=tmp_path / "mistyped", epochs=1, resume=True)
    assert "mistyped holds no epoch of these runs, so they begin at the beginning" in str(result)


def test_every_weight_is_treated_alike_whichever_were_sampled(plug):
    """Weights of one parameter or of another: those that no step uses decay, and their momentum runs out."""

    class Once(Fixed):
        """Train every operation in the first step, and none in the second."""

        def gates(self, step):
            if step.step == 0:
                return EdgeGates.mixture(torch.ones(6, 5))
            self.before = [(weight.detach().clone(), self.momentum(step, weight)) for weight in self.cell()]
            return EdgeGates.single([1] * 6)

        def momentum(self, step, weight):
            return step.optimiser.state[weight]["momentum_buffer"].clone()

        def cell(self):
            return list(self.net.stages[0].parameters())

        def search_step(self, step):
            if step.step == 1:
                group = step.optimiser.param_groups[0]
                for weight, (before, buffer) in zip(self.cell(), self.before, strict=True):
                    decay = group["weight_decay"] * before
                    buffer = group["momentum"] * buffer + decay
                    expected = before - group["lr"] * (decay + group["momentum"] * buffer)
                    assert torch.allclose(weight, expected, atol=1e-7)
                    assert not torch.equal(weight, before)
                self.checked = True
            return {}

    plug(Once)
    request = OneShotRequest.create(
        "plugged.shot", images=few_digits(), device="cpu", **TINY | {"epochs": 1, "batch": 128}
    )
    session = request.session(0, "cpu")
    for _ in session.train():
        pass
    assert session.algorithm.checked
