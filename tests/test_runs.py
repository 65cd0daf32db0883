"""The driver of long jobs and the registry of tasks, with jobs that train nothing."""

import os
import signal

import pytest

from nasharness import tasks
from nasharness.cli import main
from nasharness.errors import DataError, UsageError
from nasharness.plugins import Registry
from nasharness.runs import log
from nasharness.runs.driver import Driver
from nasharness.runs.job import Mark
from nasharness.runs.pool import LostError, Pool, WorkerError
from nasharness.runs.signals import Stop, Stopped

torch = pytest.importorskip("torch")

from nasharness.runs.checkpoint import Keeper, same_form  # noqa: E402
from nasharness.training.distributed import World  # noqa: E402
from nasharness.training.evaluate import evaluate, evaluate_each  # noqa: E402


class Sum:
    """Adds up numbers, five an epoch."""

    kind = "sum"
    world = World(0, 1, torch.device("cpu"))

    def __init__(self, epochs=3, plan="a", disturb=lambda job: None):
        self.epochs, self.identity, self.disturb = epochs, {"plan": plan}, disturb
        self.value = self.step = self.evaluated = 0

    @property
    def logged(self):
        return self.evaluated

    def state(self):
        return {"value": self.value, "step": self.step, "evaluated": self.evaluated}

    def load_state(self, state):
        same_form(state, self.state())
        self.value, self.step, self.evaluated = state["value"], state["step"], state["evaluated"]

    def steps(self):
        while self.evaluated < self.epochs:
            while self.step < 5 * (self.evaluated + 1):
                self.value = self.value * 3 % 1009 + self.step
                self.step += 1
                self.disturb(self)
                yield Mark(self.step, 5 * self.epochs, where=f"at step {self.step}", step=self.step)
            kept, self.value = self.value, -1
            try:  # an evaluation that borrows the state, and gives it back
                yield Mark(aside=True, where="aside", step=self.step)
            finally:
                self.value = kept
            self.evaluated += 1
            yield Mark(line=f"epoch {self.evaluated}", where="after it", step=self.step, due=True,
                       row={"epoch": self.evaluated, "value": self.value})  # fmt: skip


def drive(out, job, **options):
    with Stop() as stop:
        record = ("sum.json", lambda: {"value": job.value})
        driver = Driver(job, out, Keeper(out / "kept", 2), record=record, stop=stop, **options)
        return driver.complete()


def stop_at(step):
    def disturb(job):
        if job.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return disturb


@pytest.mark.parametrize("step", [1, 5, 7, 15])
def test_a_job_that_is_stopped_anywhere_goes_on_as_if_nothing_had_been(tmp_path, step):
    whole = drive(tmp_path / "whole", Sum())
    with pytest.raises(Stopped, match=rf"stopped at step {step}; everything is kept in .*--resume") as stopped:
        drive(tmp_path / "cut", Sum(disturb=stop_at(step)))
    assert stopped.value.exit_code == 75
    assert drive(tmp_path / "cut", Sum(), resume=True) == whole
    assert log.read(tmp_path / "cut") == log.read(tmp_path / "whole")
    assert len(Keeper(tmp_path / "cut" / "kept").steps()) == 2


def test_a_stop_at_an_evaluation_keeps_the_state_and_not_what_it_borrowed(tmp_path):
    seen = []

    def progress(done, total, label, detail, line):
        seen.append(line)
        if len(seen) == 6:  # after five steps
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match="stopped aside; everything is kept") as stopped:
        drive(tmp_path / "cut", Sum(), progress=progress)
    assert stopped.value.exit_code == 130
    assert drive(tmp_path / "cut", Sum(), resume=True) == drive(tmp_path / "whole", Sum())


def test_checkpoints_come_by_time_too_and_never_in_an_evaluation(tmp_path):
    keeper, now = Keeper(tmp_path / "kept", 100), iter(range(1000))
    Driver(Sum(1), tmp_path, keeper, minutes=2 / 60, clock=lambda: next(now)).complete()
    states = [keeper.last(kind="sum")[1]["value"], *(int(path.stem[5:]) for path in keeper.steps())]
    assert states[0] >= 0
    assert len(states) > 3


def test_another_plan_another_run_and_an_interrupted_library_call_are_refused(tmp_path):
    drive(tmp_path, Sum())
    with pytest.raises(UsageError, match="holds a run: add --resume"):
        drive(tmp_path, Sum())
    with pytest.raises(UsageError, match=r"different: plan \(checkpoint: 'a', now: 'b'\)"):
        drive(tmp_path, Sum(plan="b"), resume=True)

    def interrupt(job):
        raise KeyboardInterrupt

    with pytest.raises(Stopped, match="interrupted; no epoch was complete, so nothing is kept"):
        drive(tmp_path / "new", Sum(disturb=interrupt))


def _work(given, number, item):
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "fail":
        raise ValueError("wrong")
    if item == "data":
        raise DataError("gone")
    yield from (given, item)


@pytest.mark.parametrize("here", [True, False])
def test_a_pool_yields_what_is_made_and_raises_what_goes_wrong(here):
    with Pool(_work, "g", 2, "item", here=here) as pool:
        assert sorted(pool.run("ab")) == [("a", "a"), ("a", "g"), ("b", "b"), ("b", "g")]
        with pytest.raises(DataError, match="gone"):
            list(pool.run(["data"]))
        with pytest.raises(ValueError if here else WorkerError, match="wrong"):
            list(pool.run(["fail"]))
        if not here:
            with pytest.raises(LostError, match="exit code -9"):
                list(pool.run(["die"]))
        assert len(list(pool.run("abc"))) == 6


def test_versions_of_a_network_are_evaluated_on_batches_made_once():
    net = torch.nn.Linear(3, 4)
    made = []

    def batches():
        draw = torch.Generator().manual_seed(0)
        for _ in range(3):
            made.append(1)
            yield torch.randn(5, 3, generator=draw), torch.randint(4, (5,), generator=draw), torch.ones(5)

    class Doubled:
        def __enter__(self):
            net.weight.data *= 2

        def __exit__(self, *_):
            net.weight.data /= 2

    plain = evaluate(net, batches(), Sum.world)
    with Doubled():
        doubled = evaluate(net, batches(), Sum.world)
    made.clear()
    import contextlib

    assert evaluate_each(net, batches(), Sum.world, [contextlib.nullcontext, Doubled]) == [plain, doubled]
    assert len(made) == 3
    assert plain != doubled


def test_tasks_register_and_a_name_is_taken_once(monkeypatch, capsys):
    assert {"imagenet", "ptb"} <= set(tasks.names())
    for name in ("imagenet", "ptb"):
        for what in ("train", "export", "predict"):
            assert callable(tasks.get(name).function(what))
    with pytest.raises(UsageError, match="unknown task 'imagnet'; nearest: imagenet"):
        tasks.get("imagnet")
    fresh: Registry[tasks.Task] = Registry("task", "no.group", "", lambda task: (task.train, task.name))
    monkeypatch.setattr(tasks, "_registry", fresh)
    given = {"unit": "x", "reads": "images", "options": frozenset(), "export": "", "predict": ""}
    first, second = (
        tasks.Task("mine", train=where, finished=len, unfinished=len, **given) for where in ("one:f", "two:f")
    )
    tasks.register(first)
    tasks.register(first)
    with pytest.raises(UsageError, match="two tasks are called 'mine'"):
        tasks.register(second)


def test_options_of_another_task_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["retrain", "--network", "lstm", "--task", "ptb", "--size", "32", "--data", str(tmp_path), "--out", "x"])
    assert ended.value.code == 2
    assert "--size is for --task imagenet, not ptb" in capsys.readouterr().err
