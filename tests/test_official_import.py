"""Import of NATS-Bench's archives: equal to what ``nats_bench`` answers, by any route, and when resumed."""

import bz2
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.tables.importers.nats_official import table as official
from nasharness.tables.importers.nats_official.anchors import ANCHORS
from nasharness.tables.importers.nats_official.table import import_archive
from nasharness.tables.table import Table
from nasharness.tables.unpickle import UnsafePickle
from tests.nats_fixtures import (
    DATASETS,
    FOLDER,
    make_record,
    write_folder,
    write_pickle,
    write_pth,
    write_single,
    write_tar,
)

PREFIX = {"valid": "val", "test": "test", "valtest": "valtest", "train": "train"}
CHOSEN = [0, 3, 11, 47, 98, 99, 284, 15624]


@pytest.fixture(scope="session")
def samples(shared_data, tmp_path_factory):
    """The real sample records, imported: space -> table."""
    home = tmp_path_factory.mktemp("samples")
    return {
        space: import_archive(
            shared_data / "nats_samples" / FOLDER[space], partial=True, destination=home / space, jobs=1
        )
        for space in FOLDER
    }


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """A folder of a few made-up tss records with short curves."""
    return write_folder(tmp_path_factory.mktemp("small"), "tss", CHOSEN, full=14)


@pytest.fixture(scope="session")
def imported(small, tmp_path_factory) -> Table:
    return import_archive(small, partial=True, destination=tmp_path_factory.mktemp("table") / "t", jobs=1)


@pytest.fixture
def copy(small, tmp_path) -> Path:
    """A copy of ``small`` that a test may spoil."""
    return Path(shutil.copytree(small, tmp_path / "archive" / small.name))


# ---- agreement with the published package


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_agrees_with_nats_bench_on_every_metric(samples, shared_data, space):
    nats_bench = pytest.importorskip("nats_bench")
    api = nats_bench.create(str(shared_data / "nats_samples" / FOLDER[space]), space, fast_mode=True, verbose=False)
    table = samples[space]
    compared = 0
    for index in (0, 11, 284):
        for hp in ("12", "200") if space == "tss" else ("01", "12", "90"):
            for dataset in DATASETS:
                arch = api.query_meta_info_by_index(index, hp)
                for seed in (*arch.get_dataset_seeds(dataset), False):
                    for epoch in range(int(hp)):
                        info = api.get_more_info(index, dataset, iepoch=epoch, hp=hp, is_random=seed)
                        compared += _same_metrics(table, info, index, dataset, int(hp), epoch + 1, seed)
    assert compared > 9000


def _same_metrics(table, info, index, dataset, schedule, epoch, seed) -> int:
    compared = 0
    for theirs, ours in PREFIX.items():
        for word, metric in (("accuracy", "acc"), ("loss", "loss")):
            name = f"{ours}_{metric}"
            if f"{theirs}-{word}" not in info:
                known = table.has(dataset, name, schedule) and epoch in table.column(dataset, name, schedule).epochs
                assert not known or np.isnan(_at(table, dataset, name, schedule, epoch, index, seed))
                continue
            value = _at(table, dataset, name, schedule, epoch, index, seed)
            known = info[f"{theirs}-{word}"]
            assert value == (pytest.approx(known, rel=1e-14) if seed is False else known)
            compared += 1
        if f"{theirs}-per-time" in info:
            seconds = table.array(dataset, f"{ours}_s")[index]
            assert seconds == pytest.approx(info[f"{theirs}-per-time"], rel=1e-12)
            assert seconds * epoch == pytest.approx(info[f"{theirs}-all-time"], rel=1e-12)
    return compared


def _at(table, dataset, name, schedule, epoch, index, seed) -> float:
    column = table.column(dataset, name, schedule)
    plane = table.array(dataset, name, schedule)[column.epochs.index(epoch), :, index]
    return float(np.nanmean(plane)) if seed is False else float(plane[column.seeds.index(str(seed))])


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_agrees_with_nats_bench_on_costs(samples, shared_data, space):
    nats_bench = pytest.importorskip("nats_bench")
    api = nats_bench.create(str(shared_data / "nats_samples" / FOLDER[space]), space, fast_mode=True, verbose=False)
    table, own = samples[space], spaces.get(space)
    names = {"train": "train", "x-valid": "val", "x-test": "test"}
    for index in (0, 11, 284):
        for hp in ("12", "200") if space == "tss" else ("01", "12", "90"):
            for dataset in DATASETS:
                cost = api.get_cost_info(index, dataset, hp)
                assert table.array(dataset, "latency_s")[index] == pytest.approx(cost["latency"], rel=1e-12)
                assert own.params([index], dataset)[0] == pytest.approx(cost["params"], rel=1e-6)
                for key, seconds in cost.items():
                    if key.startswith("T-") and key.endswith("@epoch"):
                        name = key[2:-6]
                        ori = "valtest" if dataset in ("cifar100", "ImageNet16-120") else "test"
                        ours = table.array(dataset, f"{names.get(name, ori)}_s")[index]
                        assert ours == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_agrees_with_nats_bench_on_simulated_evaluations(samples, shared_data, space):
    nats_bench = pytest.importorskip("nats_bench")
    api = nats_bench.create(str(shared_data / "nats_samples" / FOLDER[space]), space, fast_mode=True, verbose=False)
    table = samples[space]
    for index in (0, 11, 284):
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            trained = "cifar10-valid" if dataset == "cifar10" else dataset
            for epoch in (0, 3, 11):
                accuracy, latency, seconds, _ = api.simulate_train_eval(index, dataset, iepoch=epoch, hp="12")
                cost = (epoch + 1) * table.array(trained, "train_s")[index] + table.array(trained, "val_s")[index]
                assert cost == pytest.approx(seconds, rel=1e-12)
                assert table.array(dataset, "latency_s")[index] == pytest.approx(latency, rel=1e-12)
                assert accuracy in table.array(trained, "val_acc", 12)[epoch, :, index]


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_published_anchors(samples, space):
    table = samples[space]
    full = 200 if space == "tss" else 90
    for index, (val12, test12, val, test, seconds, latency) in ANCHORS[space].items():
        for at, (trained, tested) in enumerate(
            (("cifar10-valid", "cifar10"), ("cifar100", "cifar100"), ("ImageNet16-120", "ImageNet16-120"))
        ):
            assert table.values(trained, "val_acc", 12)[index] == pytest.approx(val12[at], abs=6e-5)
            assert table.values(tested, "test_acc", 12)[index] == pytest.approx(test12[at], abs=6e-5)
            assert table.values(trained, "val_acc", full)[index] == pytest.approx(val[at], abs=6e-5)
            assert table.values(tested, "test_acc", full)[index] == pytest.approx(test[at], abs=6e-5)
            cost = 12 * table.values(trained, "train_s") + table.values(trained, "val_s")
            assert cost[index] == pytest.approx(seconds[at], abs=1e-4)
            assert table.values(tested, "latency_s")[index] * 1000 == pytest.approx(latency[at], abs=1e-4)
    if space == "tss":  # seeds apart, and both as published
        both = table.array("cifar10-valid", "val_acc", 12)[-1][:, [0, 11, 284]]
        assert np.round(both, 3).tolist() == [[64.016, 62.58, 71.708], [62.712, 63.976, 74.044]]


def test_the_table_says_what_it_is(samples):
    table = samples["tss"]
    assert table.version == "NATS-tss-v1_0-3ffb9+partial.3"
    assert table.meta["licence"] == "MIT"
    assert "2009.00437" in table.meta["citation"]
    provenance = table.meta["provenance"]
    assert provenance["archive"] == FOLDER["tss"]
    assert provenance["records"] == 3
    assert not provenance["complete"]
    assert provenance["not_constant"] == {}
    assert len(provenance["content_sha256"]) == 64
    assert table.verify() == []
    assert np.isnan(table.values("cifar10", "test_acc", 200)).sum() == table.size - 3
    assert not any("params" in name or "flop" in name for name in table.columns)


# ---- one archive by every route


def test_folder_tar_single_file_and_pth_give_the_same_table(small, imported, tmp_path):
    parts = {"tar": write_tar(Path(shutil.copytree(small, tmp_path / small.name)))}
    parts["single"] = write_single(tmp_path, "tss", CHOSEN, full=14)
    for kind, path in parts.items():
        table = import_archive(path, partial=True, destination=tmp_path / f"table-{kind}", jobs=2)
        assert table.checksum == imported.checksum, kind
        assert table.version == imported.version
        assert table.meta["provenance"]["kind"] == kind
    tar = Table.open(tmp_path / "table-tar").meta["provenance"]
    assert tar["content_sha256"] == imported.meta["provenance"]["content_sha256"]
    for zipped in (False, True):
        path = write_pth(tmp_path, CHOSEN, full=14, zipped=zipped)
        table = import_archive(path, partial=True, destination=tmp_path / "table-pth", jobs=1)
        assert table.checksum == imported.checksum, f"pth, zipped: {zipped}"
        assert table.version == f"NAS-Bench-201-v1_1-096897+partial.{len(CHOSEN)}"


def test_jobs_and_repetition_change_nothing(small, imported, tmp_path, monkeypatch):
    monkeypatch.setattr(official, "BLOCK", 3)
    seen = []
    table = import_archive(small, partial=True, destination=tmp_path / "t", jobs=2, progress=lambda *x: seen.append(x))
    assert table.checksum == imported.checksum
    assert seen[0] == (0, len(CHOSEN))
    assert seen[-1] == (len(CHOSEN), len(CHOSEN))
    assert sorted(os.listdir(tmp_path)) == ["t"]


def test_absent_seeds_and_epochs_stay_absent(imported):
    seeds = imported.array("cifar10", "test_acc", 200)[-1]
    assert np.isnan(seeds[2, 98])
    assert not np.isnan(seeds[:, 3]).any()
    assert np.isnan(seeds[1:, 99]).all()
    assert not np.isnan(seeds[0, 99])
    assert imported.column("cifar100", "val_acc", 200).epochs == (14,)
    assert imported.column("cifar100", "valtest_acc", 200).epochs == tuple(range(1, 15))
    assert not imported.has("cifar100", "train_top5", 200)
    for index in CHOSEN:
        record = make_record("tss", index, spaces.get("tss").strings()[index], full=14)["200"]
        trial = record["all_results"]["ImageNet16-120", 777]
        assert imported.array("ImageNet16-120", "test_loss", 200)[0, 0, index] == trial["eval_losses"]["x-test@13"]
        train = imported.array("ImageNet16-120", "train_acc", 200)[:, 0, index]
        assert train.tolist() == list(trial["train_acc1es"].values())


@pytest.mark.slow
def test_sss_records(tmp_path):
    folder = write_folder(tmp_path, "sss", [0, 284, 32767], full=13)
    table = import_archive(folder, partial=True, destination=tmp_path / "t", jobs=1, space="sss")
    assert table.schedules("cifar10-valid", "val_acc") == [1, 12, 90]
    assert table.column("cifar100", "test_acc", 12).seeds == ("777", "888", "999")
    assert table.column("cifar100", "test_acc", 90).epochs == tuple(range(1, 14))
    assert not np.isnan(table.values("ImageNet16-120", "val_acc", 12)[32767])
    single = write_single(tmp_path, "sss", [0, 284, 32767], full=13)
    assert import_archive(single, partial=True, destination=tmp_path / "t2", jobs=1).checksum == table.checksum


def test_default_destination_is_where_look_up_finds_it(small, data_home):
    import_archive(small, partial=True, jobs=1)
    assert Table.open(data_home / "tables" / "tss" / "official").space == "tss"


# ---- stopping and going on


@pytest.mark.parametrize("kind", ["folder", "single"])
def test_a_killed_import_goes_on_and_ends_the_same(small, imported, tmp_path, monkeypatch, kind):
    source = small if kind == "folder" else write_single(tmp_path, "tss", CHOSEN, full=14)
    code = (
        "import sys, os, signal\n"
        "from nasharness.tables.importers.nats_official import table as official\n"
        "official.BLOCK = 1\n"
        "def stop(done, total):\n"
        "    if done >= 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "official.import_archive(sys.argv[1], partial=True, destination=sys.argv[2], jobs=1, progress=stop)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(source), str(tmp_path / "t")], check=False)
    assert process.returncode == -signal.SIGKILL
    shards = sorted((tmp_path / ".import-t").glob("block-*"))
    assert 4 <= len(shards) < len(CHOSEN)
    assert not (tmp_path / "t").exists()
    before = [shard.stat().st_mtime_ns for shard in shards]
    monkeypatch.setattr(official, "BLOCK", 1)
    kept = []
    monkeypatch.setattr(official, "assemble", lambda *given: kept.append([s.stat().st_mtime_ns for s in shards]))
    import_archive(source, partial=True, destination=tmp_path / "t", jobs=1)
    assert kept == [before], "finished blocks were read again"
    monkeypatch.undo()
    monkeypatch.setattr(official, "BLOCK", 1)
    assert import_archive(source, partial=True, destination=tmp_path / "t", jobs=1).checksum == imported.checksum
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_damaged_shard_is_read_again(small, imported, tmp_path):
    target = tmp_path / "t"
    for content in (b"", b"\xff\xfe\n\n"):
        (tmp_path / ".import-t").mkdir()
        (tmp_path / ".import-t" / "block-00000").write_bytes(content)
        assert import_archive(small, partial=True, destination=target, jobs=1).checksum == imported.checksum


def test_a_changed_record_is_read_again(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(official, "BLOCK", 4)
    bad = copy / "015624.pickle.pbz2"
    good = bad.read_bytes()
    bad.write_bytes(good[:-100])
    with pytest.raises(DataError, match="015624.pickle.pbz2: truncated"):
        import_archive(copy, partial=True, destination=tmp_path / "t", jobs=1)
    assert [path.name for path in (tmp_path / ".import-t").iterdir()] == ["block-00000"]
    bad.write_bytes(good)
    import_archive(copy, partial=True, destination=tmp_path / "t", jobs=1)


def test_ctrl_c_leaves_no_process_and_no_table(small, tmp_path):
    code = (
        "import sys, time\n"
        "from nasharness.tables.importers.nats_official import table as official\n"
        "official.BLOCK = 1\n"
        "def show(done, total):\n"
        "    print(done, flush=True)\n"
        "    if done == 2: time.sleep(60)\n"
        "try:\n"
        "    official.import_archive(sys.argv[1], partial=True, destination=sys.argv[2], jobs=2, progress=show)\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(small), str(tmp_path / "t")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.strip() == "2":
            break
    children = _children(process.pid)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=20)
    assert "stopped" in rest
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert not (tmp_path / "t").exists()


def _children(pid: int) -> list[int]:
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc to see processes")
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


# ---- archives that are refused


def refused(path, tmp_path, match, kind=DataError, **options):
    """Import must fail with one clear line, and leave the table that was there as it was."""
    target = tmp_path / "tables" / "kept"
    target.mkdir(parents=True, exist_ok=True)
    (target / "table.json").write_text("{}")
    with pytest.raises(kind, match=match) as caught:
        import_archive(path, destination=target, jobs=1, **({"partial": True} | options))
    assert "\n" not in str(caught.value)
    assert (target / "table.json").read_text() == "{}"
    assert {name for name in os.listdir(target.parent) if not name.startswith(".import-")} == {"kept"}
    return str(caught.value)


def test_missing_records_need_the_flag(small, tmp_path):
    message = refused(small, tmp_path, "15,617 of 15,625 records are missing", partial=False)
    assert "architecture 1;" in message
    assert "--partial" in message


def test_wrong_folders_say_what_was_expected(small, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path, "holds no meta.pickle.pbz2; expected the folder NATS-tss")
    refused(small.parent, tmp_path, f"did you mean .*{small.name}")
    refused(tmp_path / "absent", tmp_path, "no such archive", UsageError)
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", tmp_path, "is no NATS-Bench archive", UsageError)
    refused(small, tmp_path, "archive of space 'tss', not of 'sss'", UsageError, space="sss")
    with pytest.raises(UsageError, match="jobs is 0"):
        import_archive(small, partial=True, jobs=0, destination=tmp_path / "t")
    refused(
        small / "000003.pickle.pbz2", tmp_path, f"one file of an archive; import the folder .*{small.name}", UsageError
    )
    (tmp_path / "x.tar.gz").write_bytes(b"")
    refused(tmp_path / "x.tar.gz", tmp_path, "decompress", UsageError)


def test_wrong_order_and_wrong_meta(copy, tmp_path):
    strings = list(spaces.get("tss").strings())
    strings[5], strings[6] = strings[6], strings[5]
    write_pickle(copy / "meta.pickle.pbz2", {"meta_archs": strings})
    refused(copy, tmp_path, "architecture 5 is .* the order is another")
    write_pickle(copy / "meta.pickle.pbz2", {"meta_archs": strings[:100]})
    refused(copy, tmp_path, "lists 100 architectures")
    write_pickle(copy / "meta.pickle.pbz2", [1, 2])
    refused(copy, tmp_path, "no list meta_archs")
    (copy / "meta.pickle.pbz2").write_bytes(b"BZh9 nonsense")
    refused(copy, tmp_path, "meta.pickle.pbz2: not bz2")


def test_a_record_under_another_name(copy, tmp_path):
    (copy / "000003.pickle.pbz2").rename(copy / "000004.pickle.pbz2")
    refused(copy, tmp_path, "000004.*arch_index is 3, but the name of the file says 4")
    (copy / "000004.pickle.pbz2").rename(copy / "015625.pickle.pbz2")
    refused(copy, tmp_path, "a record of architecture 15625")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_poisoned_record_is_named_and_does_not_run(copy, tmp_path):
    record = make_record("tss", 11, spaces.get("tss").strings()[11], full=14)
    record["12"]["all_results"]["cifar10", 111]["net_state_dict"] = Evil(tmp_path / "ran")
    write_pickle(copy / "000011.pickle.pbz2", record)
    refused(copy, tmp_path, r"000011.pickle.pbz2: refused: .*posix\.system", UnsafePickle)
    assert not (tmp_path / "ran").exists()


def spoil_text(trial):
    trial["train_acc1es"][3] = "50.0"


def spoil_range(trial):
    trial["eval_acc1es"]["ori-test@3"] = 150.0


def spoil_epoch(trial):
    trial["train_losses"][500] = 1.0


def spoil_set(trial):
    trial["eval_losses"]["y-valid@1"] = 1.0


def spoil_field(trial):
    del trial["train_losses"]


def spoil_epochs(trial):
    trial["epochs"] = "12"


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (spoil_text, "damaged"),
        (spoil_range, r"test_acc of cifar10 is .*150.*expected 0 to 100"),
        (spoil_epoch, "train_losses has epoch 501 of 12"),
        (spoil_set, "evaluation set 'y-valid', expected ori-test"),
        (spoil_field, "damaged .*train_losses"),
        (spoil_epochs, "field epochs is '12'"),
    ],
)
def test_spoilt_values_are_refused(copy, tmp_path, spoil, match):
    record = make_record("tss", 3, spaces.get("tss").strings()[3], full=14)
    spoil(record["12"]["all_results"]["cifar10", 111])
    write_pickle(copy / "000003.pickle.pbz2", record)
    refused(copy, tmp_path, match)


def test_values_other_than_published_are_refused_unless_asked_for(copy, tmp_path):
    record = make_record("tss", 11, spaces.get("tss").strings()[11], full=14)
    record["12"]["all_results"]["cifar100", 111]["eval_acc1es"]["x-valid@11"] += 0.02
    write_pickle(copy / "000011.pickle.pbz2", record)
    match = "architecture 11, cifar100 val_acc after 12 epochs: 33.66 in the archive, 33.64 as published"
    refused(copy, tmp_path, match)
    table = import_archive(copy, partial=True, destination=tmp_path / "t", jobs=1, anchors=False)
    assert not table.meta["provenance"]["anchors_checked"]


def test_times_may_be_absent_or_vary(copy, tmp_path):
    """NATS-Bench issue 44: older files hold None for times. Where they vary, the table says so."""
    record = make_record("tss", 3, spaces.get("tss").strings()[3], full=14)
    for trial in (t for results in record.values() for t in results["all_results"].values()):
        trial["train_times"], trial["eval_times"], trial["latency"] = None, {}, None
    write_pickle(copy / "000003.pickle.pbz2", record)
    record = make_record("tss", 47, spaces.get("tss").strings()[47], full=14)
    record["12"]["all_results"]["cifar10-valid", 777]["train_times"][0] *= 2
    write_pickle(copy / "000047.pickle.pbz2", record)
    table = import_archive(copy, partial=True, destination=tmp_path / "t", jobs=1)
    assert np.isnan(table.values("cifar10-valid", "train_s")[3])
    assert np.isnan(table.values("cifar100", "latency_s")[3])
    assert not np.isnan(table.values("cifar100", "val_acc", 12)[3])
    assert table.meta["provenance"]["not_constant"]["cifar10-valid.train_s"]["architectures"] == 1
    assert "not constant over trials for 1 architectures" in table.column("cifar10-valid", "train_s").note


def test_hanging_and_dying_readers_are_reported(copy, tmp_path, monkeypatch):
    from nasharness.tables.importers.nats_official import workers as official_workers

    deep = b"\x80\x04})" + b"\x85" * 2_000_000 + b"Ns."
    (copy / "000047.pickle.pbz2").write_bytes(bz2.compress(deep, 1))
    refused(copy, tmp_path, "000047.pickle.pbz2: reading it ended the reading process .signal")
    wide = b"\x80\x04})" + b"2\x86" * 60 + b"Ns."  # takes 2^60 steps to hash
    (copy / "000047.pickle.pbz2").write_bytes(bz2.compress(wide))
    monkeypatch.setattr(official_workers, "STALL", 1.0)
    refused(copy, tmp_path, "000047.pickle.pbz2: not read after 1 s")
    bomb = b"\x80\x02]r\xff\xff\xff\x7f."
    (copy / "000047.pickle.pbz2").write_bytes(bz2.compress(bomb))
    refused(copy, tmp_path, "000047.pickle.pbz2: .*memory")


def test_tar_members_that_climb_out_are_left_alone(small, tmp_path, imported):
    path = tmp_path / "NATS-tss-v1_0-3ffb9-simple.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(small, arcname=small.name)
        for name in ("../../000001.pickle.pbz2", "/tmp/000002.pickle.pbz2"):
            tar.add(small / "000003.pickle.pbz2", arcname=name, filter=lambda info, n=name: _named(info, n))
        link = tarfile.TarInfo(f"{small.name}/000005.pickle.pbz2")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    table = import_archive(path, partial=True, destination=tmp_path / "t", jobs=1)
    assert table.checksum == imported.checksum
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(path, tmp_path, "truncated|damaged tar|holds no")


def _named(info, name):
    info.name = name
    return info


def test_damaged_single_files_and_pth(tmp_path):
    single = write_single(tmp_path, "tss", [0, 3], full=13)
    data = single.read_bytes()
    single.write_bytes(data[:-50])
    refused(single, tmp_path, "truncated|damaged")
    single.write_bytes(b"")
    refused(single, tmp_path, "truncated|damaged|empty")
    write_pickle(single, {"meta_archs": [], "x": Evil(tmp_path / "ran")})
    refused(single, tmp_path, r"posix\.system", UnsafePickle)
    single = write_single(tmp_path, "tss", [0, 3], full=13)
    refused(single, tmp_path, "15,623 of 15,625", partial=False)
    refused(single.rename(tmp_path / "mine.pickle.pbz2"), tmp_path, "of which space it is; add --space", UsageError)
    pth = write_pth(tmp_path, [3], full=13)
    data = pth.read_bytes()
    pth.write_bytes(data[:-2000])
    refused(pth, tmp_path, "truncated|damaged")
    pth.write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    refused(pth, tmp_path, r"posix\.system|no file of torch", DataError)
    assert not (tmp_path / "ran").exists()


def test_unwritable_destination(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write a table under"):
        import_archive(small, partial=True, jobs=1, destination=tmp_path / "file" / "t")


def test_header_of_a_table_is_plain_json(imported):
    meta = json.loads((imported.path / "table.json").read_text())
    assert meta["provenance"]["kind"] == "folder"
