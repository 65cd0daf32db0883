"""The stand-ins for nats_bench and nas_201_api: equal to the package on its own records; scripts run on them."""

import contextlib
import io
import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nasharness import compat, spaces
from nasharness.compat import api_utils, nas_201_api, nats_bench
from nasharness.compat import source as sources
from nasharness.errors import DataError, UsageError
from nasharness.tables import from_nats_bench, open_table, table_path
from nasharness.tables.importers.nats_light.table import write_table
from nasharness.tables.importers.nats_official.table import import_archive
from tests.nats_fixtures import DATASETS, FOLDER, write_folder

SAMPLES = (0, 11, 284)
HPS = {"tss": ("12", "200"), "sss": ("01", "12", "90")}
SETS = {
    "cifar10-valid": ("train", "x-valid", "ori-test"),
    "cifar10": ("train", "ori-test"),
    "cifar100": ("train", "x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("train", "x-valid", "x-test", "ori-test"),
}


@pytest.fixture(autouse=True)
def best_table():
    """Whatever a test chose, the next one starts from the best table here."""
    yield
    sources.choose(None)


@pytest.fixture(scope="module")
def sample_home(shared_data, tmp_path_factory) -> Path:
    """A data folder whose official tables hold the six sample records."""
    home = tmp_path_factory.mktemp("home")
    for space, folder in FOLDER.items():
        target = home / "tables" / space / "official"
        import_archive(shared_data / "nats_samples" / folder, partial=True, destination=target, jobs=1)
    return home


def theirs(shared_data: Path, space: str):
    package = pytest.importorskip("nats_bench")
    with contextlib.redirect_stdout(io.StringIO()):
        return package.create(str(shared_data / "nats_samples" / FOLDER[space]), space, fast_mode=True, verbose=False)


@pytest.fixture
def both(sample_home, shared_data, monkeypatch):
    """space -> the package's API and ours, on the same records."""
    monkeypatch.setenv("NASHARNESS_DATA", str(sample_home))
    return lambda space: (theirs(shared_data, space), nats_bench.create(None, space, fast_mode=True, verbose=False))


@pytest.fixture(scope="module")
def light_home(tmp_path_factory) -> Path:
    """A data folder with a light table made up from the embedded one: what the public files hold, by their names."""
    home = tmp_path_factory.mktemp("light")
    embedded = open_table("tss", "embedded")
    columns = {}
    for short, dataset in {"cifar10": "cifar10-valid", "cifar100": "cifar100", "in16": "ImageNet16-120"}.items():
        final = embedded.values(dataset, "val_acc", 200)
        columns |= {f"{short}_val_12": 0.8 * final, f"{short}_test_12": 0.8 * final + 1}
        columns |= {f"{short}_test_200": np.minimum(final + 2, 100)}
    columns["cifar10_val_200"] = embedded.values("cifar10-valid", "val_acc", 200)
    target = home / "tables" / "tss" / "light"
    write_table(columns, name="light", version="made up", source="", licence="", destination=target)
    return home


# ---- the same answers as the package


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_get_more_info_equals_nats_bench_key_by_key(both, space):
    """To the last bit, for every data set, length, epoch, and way to treat trials; the draws are the same draws."""
    package, ours = both(space)
    compared = 0
    for index in SAMPLES:
        for hp in HPS[space]:
            arch = package.query_meta_info_by_index(index, hp)
            for dataset in DATASETS:
                seeds = arch.get_dataset_seeds(dataset)
                for iepoch in (None, *range(int(hp))):
                    for is_random in (True, False, *seeds):
                        random.seed(compared)
                        expected = package.get_more_info(index, dataset, iepoch, hp, is_random)
                        state = random.getstate()
                        random.seed(compared)
                        found = ours.get_more_info(index, dataset, iepoch, hp, is_random)
                        assert random.getstate() == state
                        assert list(found) == list(expected)
                        expected.pop("comment", None)
                        assert {key: found[key] for key in expected} == expected
                        compared += 1
    assert compared > 4000


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_trials_and_costs_equal_nats_bench(both, space):
    package, ours = both(space)
    for index in SAMPLES:
        for hp in HPS[space]:
            expected, found = package.query_by_index(index, hp=hp), ours.query_by_index(index, hp=hp)
            assert found.dataset_seed == expected.dataset_seed
            assert set(found.all_results) == set(expected.all_results)
            assert (found.arch_index, found.arch_str) == (expected.arch_index, expected.arch_str)
            assert repr(found) == repr(expected)
            for dataset in DATASETS:
                for setname in SETS[dataset]:
                    assert found.get_metrics(dataset, setname) == expected.get_metrics(dataset, setname)
                    random.seed(index)
                    drawn = expected.get_metrics(dataset, setname, is_random=True)
                    random.seed(index)
                    assert found.get_metrics(dataset, setname, is_random=True) == drawn
                ours_by_seed = ours.query_by_index(index, dataset, hp)
                for seed, trial in package.query_by_index(index, dataset, hp).items():
                    own = ours_by_seed[seed]
                    assert own.get_train() == trial.get_train()
                    assert own.get_train(0) == trial.get_train(0)
                    for name in trial.get_eval_set():
                        assert own.get_eval(name) == trial.get_eval(name)
                    assert (own.seed, own.name, own.epochs) == (trial.seed, trial.name, trial.epochs)
                    assert own.get_times() == trial.get_times()
                    assert own.get_config(None) == trial.get_config(None)
                    assert own.get_latency() == trial.get_latency()
                _same_costs(ours.get_cost_info(index, dataset, hp), package.get_cost_info(index, dataset, hp))
                assert ours.get_latency(index, dataset, hp) == package.get_latency(index, dataset, hp)
                assert ours.get_net_config(index, dataset) == package.get_net_config(index, dataset)


def _same_costs(found, expected):
    """Params and MACs are computed, on purpose: at 200 epochs some records carry wrong ones (NATS-Bench issue 36)."""
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value, rel=1e-6) if key in ("params", "flops") else value), key


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_simulated_evaluations_replay_bit_for_bit(both, space):
    """Values, draws and the clock; in the middle of a 200-epoch run too, where nats_bench draws twice."""
    package, ours = both(space)
    random.seed(3)
    asked = [
        (random.choice(SAMPLES), random.choice(DATASETS[1:]), hp, random.choice((None, random.randrange(int(hp)))))
        for hp in random.choices(HPS[space], k=300)
    ]

    def replay(api):
        random.seed(7)
        api.reset_time()
        answers = []
        for index, dataset, hp, iepoch in asked:
            arch = api.meta_archs[index]
            answers.append(api.simulate_train_eval(arch, dataset, iepoch=iepoch, hp=hp))
        return answers, api.used_time, api.random(), api.random()

    assert replay(ours) == replay(package)


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_the_space_is_that_of_nats_bench(both, space):
    package, ours = both(space)
    assert ours.meta_archs == package.meta_archs
    assert len(ours) == len(package)
    assert ours[7] == package[7] == ours.arch(7)
    assert ours.query_index_by_arch(ours[99]) == 99 == ours.query_index_by_arch(99)
    assert ours.query_index_by_arch("no architecture") == package.query_index_by_arch("no architecture") == -1
    for name in ("full_train_epochs", "full_epochs_in_paper", "is_size", "is_topology", "search_space_name"):
        assert getattr(ours, name) == getattr(package, name)
    import nats_bench as real

    assert nats_bench.search_space_info("nats-bench", space) == real.search_space_info("nats-bench", space)
    assert nats_bench.search_space_info("nas-bench-201", None) == real.search_space_info("nas-bench-201", None)
    assert nats_bench.version() == real.version()
    if space == "tss":
        assert ours.str2lists(ours[5]) == package.str2lists(ours[5])
    assert (
        ours.query_info_str_by_arch(11, HPS[space][-1]).splitlines()[:3]
        == (package.query_info_str_by_arch(11, HPS[space][-1]).splitlines()[:3])
    )


def test_find_best_is_the_best_of_what_was_measured(both):
    package, ours = both("tss")
    for dataset, setname in (("cifar10", "valid"), ("cifar10", "test"), ("cifar100", "test"), ("cifar100", "ori-test")):
        for hp in ("12", "200"):
            for index in SAMPLES:
                package.reload(package.archive_dir, index)
            assert ours.find_best(dataset, setname, hp=hp) == package.find_best(
                dataset, setname, hp=hp, enforce_all=False
            )
    assert ours.find_best("cifar10", "valid", param_max=0.2)[0] != 11


def test_numpy_integers_are_indices(both):
    _, ours = both("tss")
    assert ours.query_index_by_arch(np.int64(11)) == 11
    info = ours.get_more_info(np.int32(11), "cifar10", hp=np.int64(200), is_random=np.int64(777))
    assert info == ours.get_more_info(11, "cifar10", hp="200", is_random=777)


# ---- what cannot be answered


def test_wrong_questions(both):
    _, ours = both("tss")
    for ask in (
        lambda: ours.get_more_info("no architecture", "cifar10"),
        lambda: ours.simulate_train_eval("no architecture", "cifar10"),
        lambda: ours.simulate_train_eval(15625, "cifar10"),
        lambda: ours.simulate_train_eval(0, "cifar10-valid"),
        lambda: ours.get_more_info(0, "imagenet"),
        lambda: ours.get_more_info(0, "cifar10", iepoch=12),
        lambda: ours.get_more_info(0, "cifar10", hp="90"),
        lambda: ours.get_more_info(0, "cifar10", is_random=5),
        lambda: nats_bench.create(None, "darts"),
        lambda: nats_bench.search_space_info("nats-bench", "darts"),
    ):
        with pytest.raises(ValueError):  # what nats_bench raises, so scripts that catch it go on
            ask()
    with pytest.raises(KeyError, match="x-valid"):
        ours.query_by_index(0).get_metrics("cifar10", "x-valid")
    with pytest.raises(KeyError):  # evaluated after the last epoch alone
        ours.get_more_info(0, "cifar100", 50, "200")["valid-accuracy"]
    with pytest.raises(DataError, match="weights"):
        ours.get_net_param(0, "cifar10", None)
    with pytest.raises(DataError, match=r"no 12-epoch run on cifar10-valid of architecture 1; .*partial"):
        ours.simulate_train_eval(1, "cifar10")


def test_the_embedded_table_answers_validation_after_200_epochs(data_home, capsys):
    api = nats_bench.create("anything.pickle.pbz2", "tss", verbose=False)
    table = open_table("tss", "embedded")
    stored = table.array("cifar100", "val_acc", 200)[0, :, 9930].astype(float)
    assert api.get_more_info(9930, "cifar100", hp=200, is_random=888)["valid-accuracy"] == stored[1]
    info = api.get_more_info(9930, "cifar100", hp=200, is_random=False)
    assert info["valid-accuracy"] == pytest.approx(np.nanmean(stored), rel=1e-12)
    seconds = table.values("cifar100", "train_s")[9930]
    assert info["train-all-time"] == pytest.approx(200 * seconds, rel=1e-12)
    two = int(np.flatnonzero(np.isnan(table.array("cifar100", "val_acc", 200)[0, 2]))[0])
    assert list(api.query_by_index(two, "cifar100", hp="200")) == [777, 888]
    random.seed(1)
    accuracy, latency, cost, clock = api.simulate_train_eval(9930, "cifar100", hp=200)
    assert accuracy in stored
    assert cost == clock == info["train-all-time"]
    assert latency == pytest.approx(table.values("cifar100", "latency_s")[9930])
    with pytest.raises(compat.NotInTableError, match=r"table 'light' has, get it with: nasharness data fetch"):
        api.simulate_train_eval(9930, "cifar10", hp="12")
    with pytest.raises(compat.NotInTableError, match=r"'official' has, get it with: nasharness data import NATS-tss"):
        info["valid-loss"]
    assert "valid-loss" not in info
    assert len(pickle.dumps(info)) < 1000
    said = capsys.readouterr().err
    assert said.count("tss/embedded answers") == 1
    assert "test columns" in said
    assert "validation is not charged" in said


def test_a_light_table_answers_with_means(light_home, monkeypatch):
    monkeypatch.setenv("NASHARNESS_DATA", str(light_home))
    api = nats_bench.create(None, "tss")
    table = open_table("tss", "light")
    value, latency, cost, _ = api.simulate_train_eval(9930, "cifar10")
    assert value == table.values("cifar10-valid", "val_acc", 12)[9930]
    expected = 12 * table.values("cifar10-valid", "train_s") + table.values("cifar10-valid", "val_s")
    assert cost == pytest.approx(expected[9930], rel=1e-12)
    assert latency == open_table("tss", "embedded").values("cifar10-valid", "latency_s")[9930]
    assert list(api.query_by_index(9930, "cifar10", hp="200")) == ["mean"]
    with pytest.raises(UsageError, match="no trial of seed 777; there are mean"):
        api.get_more_info(9930, "cifar10", hp="200", is_random=777)
    assert api.get_more_info(9930, "cifar100", hp="200", is_random=False)["valid-accuracy"] == pytest.approx(
        open_table("tss", "embedded").values("cifar100", "val_acc", 200)[9930], abs=1e-4
    )
    with pytest.raises(compat.NotInTableError, match="light has no train_loss .*'official' has"):
        api.get_more_info(9930, "cifar100", hp="200")["train-loss"]


def test_no_table_of_sss(data_home):
    with pytest.raises(DataError, match="nasharness data import NATS-sss"):
        nats_bench.create(None, "sss")


# ---- nas_201_api


def test_version_1_calls_of_nas_201_api(both):
    both("tss")
    api = nas_201_api.NASBench201API("NAS-Bench-201-v1_1-096897.pth", verbose=False)
    full = api.get_more_info(11, "cifar10", None, False, False)
    assert full == api.get_more_info(11, "cifar10", use_12epochs_result=False, is_random=False)
    assert full == api.get_more_info(11, "cifar10", hp="200", is_random=False)
    assert api.get_more_info(11, "cifar10", None, True, False) == api.get_more_info(11, "cifar10", is_random=False)
    assert set(api.query_by_index(11, "cifar10-valid")) == {777, 888, 999} == set(api.query_by_index(11, "cifar10"))
    assert set(api.query_by_index(11, "cifar10-valid", True)) == {111, 777}
    assert "comment" not in full
    assert api.query_by_arch(11, False).startswith(api[11])
    assert api_utils.ArchResults is nas_201_api.ArchResults


# ---- from_nats_bench


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_a_live_api_gives_the_table_of_its_archive(both, sample_home, shared_data, tmp_path, space):
    api = theirs(shared_data, space)
    both(space)
    with pytest.raises(DataError, match="incomplete"):
        from_nats_bench(api, destination=tmp_path / "table")
    assert not list(tmp_path.iterdir())
    api.get_more_info(11, "cifar10")
    table = from_nats_bench(api, partial=True, destination=tmp_path / "table")
    assert list(api.arch2infos_dict) == [11]  # read before; the rest is dropped again
    assert table.checksum == open_table(space, "official").checksum
    assert not table.verify()
    with pytest.raises(UsageError, match="force=True"):
        from_nats_bench(api, partial=True, destination=tmp_path / "table")
    with pytest.raises(UsageError, match="no API object"):
        from_nats_bench(nats_bench.create(None, space), partial=True, destination=tmp_path / "other")


def test_a_live_api_that_was_read_at_once(tmp_path, data_home):
    package = pytest.importorskip("nats_bench")
    folder = write_folder(tmp_path, "tss", [3, 47, 99], full=14)
    with contextlib.redirect_stdout(io.StringIO()):
        lazy = package.create(str(folder), "tss", fast_mode=True, verbose=False)
        for index in (3, 47, 99):
            lazy.reload(str(folder), index)
        record = {i: {hp: r.state_dict() for hp, r in rs.items()} for i, rs in lazy.arch2infos_dict.items()}
        api = package.create(
            {"meta_archs": lazy.meta_archs, "arch2infos": record, "evaluated_indexes": set(record)},
            "tss",
            verbose=False,
        )
    table = from_nats_bench(api, partial=True)
    assert table.path == table_path("tss", "official")
    archive = import_archive(folder, partial=True, destination=tmp_path / "archive", jobs=1)
    assert table.checksum == archive.checksum


# ---- nasharness exec


def execute(folder: Path, text: str, *arguments: str, options=(), home: Path | None = None, name="script.py"):
    """Write a script into ``folder`` and run it through ``nasharness exec``."""
    (folder / name).write_text(text)
    environment = os.environ | {"NASHARNESS_DATA": str(home or folder / "no-data")}
    return subprocess.run(
        [sys.executable, "-m", "nasharness", "exec", *options, str(folder / name), *arguments],
        capture_output=True, text=True, env=environment, timeout=240, check=False,
    )  # fmt: skip


def test_a_script_sees_what_python_shows_it(tmp_path):
    text = """
import json, os, sys
import nats_bench, nats_bench.api_utils, nas_201_api
from nats_bench.api_utils import ArchResults
print(json.dumps([sys.argv, sys.path[0], __name__, __file__, nats_bench.__name__, "numpy" in sys.modules,
                  "torch" in sys.modules, os.environ.get("MKL_NUM_THREADS")]))
"""
    environment = {key: value for key, value in os.environ.items() if key != "MKL_NUM_THREADS"}
    (tmp_path / "script.py").write_text(text)
    command = [sys.executable, "-m", "nasharness", "exec", str(tmp_path / "script.py"), "--table", "x", "-h", "--", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    argv, first, name, file, module, numpy, torch, threads = json.loads(done.stdout)
    assert argv == [str(tmp_path / "script.py"), "--table", "x", "-h", "--", "1"]
    assert first == str(tmp_path.resolve())
    assert (name, file) == ("__main__", str(tmp_path / "script.py"))
    assert module == "nasharness.compat.nats_bench"
    assert numpy
    assert not torch
    assert threads is None
    assert done.stderr == ""  # no table was opened, so none is named


def test_a_vendored_copy_does_not_win(tmp_path):
    for package in ("nas_201_api", "nats_bench"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the copy beside the script')")
    (tmp_path / "beside.py").write_text("VALUE = 5")
    text = "import beside\nfrom nas_201_api import NASBench201API as API\nprint(len(API('x.pth')), beside.VALUE)"
    done = execute(tmp_path, text)
    assert (done.returncode, done.stdout) == (0, "15625 5\n"), done.stderr
    assert done.stderr.startswith("nasharness: table tss/embedded answers")


def test_how_scripts_end(tmp_path):
    done = execute(tmp_path, "def f():\n    raise OSError('full')\n\nf()")
    assert done.returncode == 1
    script = tmp_path / "script.py"
    expected = ["Traceback (most recent call last):", f'  File "{script}", line 4, in <module>']
    assert done.stderr.splitlines()[:2] == expected
    assert "runpy" not in done.stderr
    assert done.stderr.splitlines()[-1] == "OSError: full"
    assert execute(tmp_path, "raise SystemExit(7)").returncode == 7
    done = execute(tmp_path, "import sys\nsys.exit('no luck')")
    assert (done.returncode, done.stderr) == (1, "no luck\n")
    done = execute(tmp_path, "x = (")
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
    assert "runpy" not in done.stderr
    done = execute(tmp_path, "import sys\nsys.excepthook = lambda *what: print('mine', what[0].__name__)\n1 / 0")
    assert (done.returncode, done.stdout) == (1, "mine ZeroDivisionError\n")


def test_a_refusal_points_at_the_line_of_the_script(tmp_path):
    done = execute(
        tmp_path, "import nats_bench\napi = nats_bench.create(None, 'tss')\napi.simulate_train_eval(5, 'cifar10')"
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[-3].endswith('script.py", line 3, in <module>')
    assert "table 'light' has, get it with: nasharness data fetch" in lines[-1]


def test_requests_that_cannot_be_met(tmp_path):
    done = execute(tmp_path, "print(1)", options=["--table", "oficial"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown table" in done.stderr
    assert execute(tmp_path, "", options=["--table", "official"]).returncode == 1
    assert execute(tmp_path, "", options=["--tabel", "light"]).returncode == 2
    missing = subprocess.run(
        [sys.executable, "-m", "nasharness", "exec", str(tmp_path / "absent.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert missing.returncode == 2
    assert missing.stderr == f"nasharness: no script at {tmp_path / 'absent.py'}; expected a Python file\n"


# ---- scripts like those that people have (the calls of five public ones, in our words)

AGING_EVOLUTION = """
# as AutoDL-Projects' regularized_ea: cells are objects with tostr(), the budget is the API's clock
import random, sys
from nats_bench import create, search_space_info

class Cell:
    def __init__(self, nodes): self.nodes = nodes
    def tostr(self):
        return "+".join("|" + "|".join(f"{op}~{i}" for i, op in enumerate(node)) + "|" for node in self.nodes)

random.seed(int(sys.argv[1]))
ops = search_space_info("nats-bench", "tss")["op_names"]
api = create(None, "tss", fast_mode=True, verbose=False)
api.reset_time()
population, history, clock = [], [], 0

def evaluate(cell):
    global clock
    accuracy, _, _, clock = api.simulate_train_eval(cell, "cifar10", hp="12")
    population.append((accuracy, cell))
    history.append((accuracy, api.query_index_by_arch(cell)))

while len(population) < 10:
    evaluate(Cell([[random.choice(ops) for _ in range(i + 1)] for i in range(3)]))
while clock < 20000:
    parent = max((random.choice(population) for _ in range(3)), key=lambda one: one[0])[1]
    child = Cell([list(node) for node in parent.nodes])
    node = random.choice(child.nodes)
    at = random.randrange(len(node))
    node[at] = random.choice([op for op in ops if op != node[at]])
    evaluate(child)
    population.pop(0)
best = max(history)
assert clock == api.used_time
print(len(history), best[1], api.query_info_str_by_arch(best[1], "200").splitlines()[0])
"""

PER_TRIAL = """
# as naszilla and NPENAS: the old package, a dict of trials by seed; the seeds of one data set index another
import numpy as np
from nas_201_api import NASBench201API as API
api = API("~/NAS-Bench-201-v1_0-e61699.pth")
for index in (11, api.query_index_by_arch(api[284])):
    losses, times = [], []
    trials, tests = api.query_by_index(index, "cifar10-valid"), api.query_by_index(index, "cifar10")
    for seed in trials:
        losses.append(100 - trials[seed].get_eval("x-valid")["accuracy"])
        tests[seed].get_eval("ori-test")["accuracy"]
        times.append(trials[seed].get_train()["all_time"])
    print(index, round(float(np.mean(losses)), 4), len(times))
"""

TRAINING_FREE = """
# as naswot's nasspace: configurations for networks, results by get_metrics, the seconds of an evaluation
from nas_201_api import NASBench201API as API
api = API("x.pth", verbose=False)
config = api.get_net_config(11, "cifar10-valid")
assert api.str2lists(config["arch_str"])[2][1] == ("nor_conv_3x3", 1)
results = api.query_meta_info_by_index(11, hp="200")
info = api.get_more_info(11, "cifar10-valid", iepoch=None, hp="12", is_random=True)
seconds = info["train-all-time"] + info["valid-per-time"]
print(sorted(config), results.get_metrics("cifar10", "ori-test")["accuracy"], seconds > 100)
"""

GENETIC = """
# as FreeREA's nats space
from nats_bench import create
api = create("/no/such/folder", "tss", fast_mode=True, verbose=False)
cost = api.get_cost_info(11, "cifar10")
accuracy = api.get_more_info(11, "cifar10", hp=200, is_random=False)["test-accuracy"]
value, latency, seconds, total = api.simulate_train_eval(11, dataset="cifar10", hp=12)
print(api.get_net_config(11, "cifar10")["arch_str"] == api[11], len(list(iter(api))), cost["params"], accuracy)
assert cost["latency"] > 0 and cost["flops"] > 100 and total == seconds > 0
"""


def test_aging_evolution_spends_its_budget(tmp_path, light_home):
    first, again, other = (execute(tmp_path, AGING_EVOLUTION, seed, home=light_home) for seed in "112")
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout != other.stdout
    evaluations, best, arch = first.stdout.split()
    assert 90 < int(evaluations) < 300
    assert spaces.get("tss").parse(arch) == int(best)


def test_scripts_of_single_trials(tmp_path, sample_home, light_home):
    done = execute(tmp_path, PER_TRIAL, home=sample_home)
    assert done.stdout == "11 12.06 3\n284 13.9533 3\n", done.stderr
    done = execute(tmp_path, PER_TRIAL, home=light_home)
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["1", "1"], done.stderr


@pytest.mark.parametrize(("script", "said"), [(TRAINING_FREE, "True"), (GENETIC, "0.802426")])
def test_scripts_of_networks_and_costs(tmp_path, sample_home, light_home, script, said):
    for home in (sample_home, light_home):
        done = execute(tmp_path, script, home=home)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


PYGLOVE = """
# the calls of pyglove's NATS-Bench example: a space from search_space_info, evolution, the API's clock, test accuracy
import argparse, random
import nats_bench
import pyglove as pg

parser = argparse.ArgumentParser()
parser.add_argument("--dataset", default="cifar10")
parser.add_argument("--seconds", type=float, default=20000)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

@pg.functor([("ops", pg.typing.List(pg.typing.Str())), ("num_nodes", pg.typing.Int())])
def cell(ops, num_nodes):
    names, nodes = iter(ops), []
    for node in range(1, num_nodes):
        nodes.append("|" + "|".join(f"{next(names)}~{source}" for source in range(node)) + "|")
    return "+".join(nodes)

random.seed(options.seed)
nats_bench.api_utils.reset_file_system("default")
api = nats_bench.create(None, "tss", fast_mode=False, verbose=False)
info = nats_bench.search_space_info("nats-bench", "tss")
edges = info["num_nodes"] * (info["num_nodes"] - 1) // 2
space = cell(pg.sublist_of(edges, info["op_names"], choices_distinct=False), info["num_nodes"])
search = pg.evolution.regularized_evolution(
    mutator=pg.evolution.mutators.Uniform(), population_size=50, tournament_size=10
)
api.reset_time()
best, test, trials = 0.0, 0.0, 0
for model, feedback in pg.sample(space, search):
    spec = model()
    accuracy, _, _, _ = api.simulate_train_eval(spec, dataset=options.dataset, hp=12)
    more = api.get_more_info(spec, options.dataset, hp=200)
    feedback(accuracy)
    trials += 1
    if accuracy > best:
        best, test = accuracy, more["test-accuracy"]
    if api.used_time > options.seconds:
        break
print(trials, best, test, api.used_time)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cifar10", "ImageNet16-120"])
def test_pyglove_searches(tmp_path, light_home, dataset):
    """pyglove's example, on a made-up light table: seeded runs repeat, budgets are spent, cells are good."""
    pytest.importorskip("pyglove")
    runs = [
        execute(tmp_path, PYGLOVE, "--dataset", dataset, "--seconds", "40000", "--seed", seed, home=light_home)
        for seed in "001"
    ]
    for run in runs:
        assert run.returncode == 0, run.stderr
    assert runs[0].stdout == runs[1].stdout != runs[2].stdout
    trials, best, test, clock = map(float, runs[0].stdout.split())
    assert 40000 < clock < 42000
    assert trials > 30
    table = sources.Table.open(light_home / "tables" / "tss" / "light")
    trained = "cifar10-valid" if dataset == "cifar10" else dataset
    everyone = table.values(trained, "val_acc", 12)
    assert best in everyone
    assert np.mean(everyone < best) > 0.9
    assert test in table.values(dataset, "test_acc", 200)
