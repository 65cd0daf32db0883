"""Studies on a Ray cluster of this machine: several processes, some of which are killed in the middle."""

import os
import signal
import time
from pathlib import Path

import pytest

from nasharness.errors import NasharnessError, UsageError
from nasharness.studies import Plan, cells, load, run_study
from tests.study_fixtures import same

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head and two nodes with a processor each, every one with processes of its own."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'nasharness[ray]'")
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("NASHARNESS_DATA", str(tmp_path_factory.mktemp("no-tables")))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()
    patch.undo()


@pytest.fixture
def plan():
    return Plan.create(algorithms=["bohb", "rea"], datasets=["cifar10"], runs=2_500, evaluations=60)


def workers() -> list[int]:
    """Processes of Ray that are computing a shard."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"ray::_compute" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds Ray's workers in /proc")
def test_same_bits_though_workers_and_a_node_are_killed(cluster, plan, tmp_path):
    whole = run_study(plan, tmp_path / "whole")
    killed = []

    def kill(done, total):
        deadline = time.monotonic() + 10
        while len(killed) < 2 and time.monotonic() < deadline:
            running = [pid for pid in workers() if pid not in killed]
            if running:
                os.kill(running[0], signal.SIGKILL)
                killed.append(running[0])
                return
            time.sleep(0.005)
        if done >= total // 2 and len(cluster.worker_nodes) == 2:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    out = run_study(plan, tmp_path / "ray", ray=cluster.address, progress=kill)
    assert len(killed) == 2
    assert len(cluster.worker_nodes) == 1
    assert same(whole, out)
    assert len(load(out).last) == 5_000


def test_resume_on_the_cluster(cluster, plan, tmp_path):
    whole = run_study(plan, tmp_path / "whole")
    out = tmp_path / "moved"

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan, out, jobs=2, progress=stop)
    run_study(plan, out, ray=cluster.address, resume=True)
    assert same(whole, out)


def test_node_with_other_versions_is_refused(cluster, plan, tmp_path, monkeypatch):
    real = cells.versions
    monkeypatch.setattr(cells, "versions", lambda records: real(records) | {"numpy": "9.9"})
    with pytest.raises(NasharnessError, match=r"has other versions: numpy 9\.9 here, .* there"):
        run_study(plan, tmp_path / "study", ray=cluster.address)


def test_no_cluster_there(tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install 'nasharness[ray]'")
    with pytest.raises(UsageError, match="--ray 127.0.0.1:1: cannot connect"):
        run_study(Plan.create(algorithms=["random"]), tmp_path / "study", ray="127.0.0.1:1")
