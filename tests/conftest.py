"""Fixtures that every test file may use."""

import os
from pathlib import Path

# One thread each, in this process and in those that tests start, so that their bits can be compared: sums are split by
# thread. OPENBLAS as the command line does; before anything imports numpy or torch.
for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real measurements beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the measurements in {SHARED}, which are not part of the project")
    return SHARED


@pytest.fixture
def data_home(tmp_path, monkeypatch) -> Path:
    """An empty data folder, so that a test neither sees nor changes the user's own tables."""
    home = tmp_path / "nasharness-data"
    monkeypatch.setenv("NASHARNESS_DATA", str(home))
    return home


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that records golden trajectories which are missing."""
    parser.addoption("--bless", action="store_true", help="record golden trajectories that are missing")


@pytest.fixture
def cli(data_home, capsys):
    """Run the command line in this process: exit code, what it printed, what it said went wrong."""
    from nasharness.cli import main

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call


@pytest.fixture
def plug():
    """Register throw-away algorithms under ``plugged``."""
    from nasharness.search import register, registry

    def add(cls, **options):
        registry._records.pop("plugged", None)
        return register("plugged", citation="none", **options)(cls)

    yield add
    registry._records.pop("plugged", None)
