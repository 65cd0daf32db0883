"""The one-shot conformance kit over everything registered, and the kit itself against algorithms that cheat."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import torch  # noqa: E402

from nasharness.search import register, registry  # noqa: E402
from nasharness.search.one_shot import OneShot  # noqa: E402
from nasharness.search.testing import synthetic_problem  # noqa: E402
from nasharness.supernets import testing  # noqa: E402
from nasharness.supernets.testing import CHECKS  # noqa: E402

#: variants with the paper's settings take the same paths as their families
NAMES = (
    "darts", "darts.second", "gdas", "setn", "rsps", "enas",
    "tas", "fbnet-v2", "tunas",
    "random.supernet", "autoshrink.supernet", "single-path", "nas-ood",
)  # fmt: skip
#: on chains of twenty layers, of which every candidate is trained, the kit takes minutes: there it is slow
STAGED = ("da-nas",)
#: checks that look at a training; of searches that train as another one here does they are slow tests
TRAINS = (
    testing.check_answers, testing.check_seeds, testing.check_resume, testing.check_derive, testing.check_learning,
)  # fmt: skip
RELATED = ("darts.second", "setn", "tas", "fbnet-v2", "random.supernet", "autoshrink.supernet", "single-path")


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(
            name, check, id=f"{check.__name__}-{name}",
            marks=[pytest.mark.slow] if check in TRAINS and name in RELATED else [],
        )
        for check in CHECKS
        for name in NAMES
    ],
)  # fmt: skip
def test_everything_registered_conforms(name, check):
    check(name)


@pytest.mark.parametrize("where", ["tss", *(pytest.param(one, marks=pytest.mark.slow) for one in ("mobile", "fbnet"))])
@pytest.mark.parametrize("name", STAGED)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_searches_in_stages_conform(name, check, where, monkeypatch):
    monkeypatch.setattr(testing, "SPACES", (where,))
    check(name)


def test_nothing_registered_escapes_the_kit():
    assert {name for name in registry.names(kind="one-shot") if not registry.get(name).published} == {*NAMES, *STAGED}


def test_algorithms_are_listed_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from nasharness.search import registry\n"
        "assert registry.get('darts.second.paper').defaults['order'] == 2\n"
        "assert registry.get('darts.table').kind == 'multi-trial'\n"
        "assert {'darts', 'darts.paper'} <= set(registry.names(kind='one-shot')), registry.broken()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def plug():
    def add(cls):
        registry._records.pop("cheat", None)
        testing._reference.cache_clear()
        return register("cheat", citation="none", kind="one-shot", spaces=("tss",))(cls)

    yield add
    registry._records.pop("cheat", None)
    testing._reference.cache_clear()


class Uniform(OneShot):
    """Honest: uniform gates, one answer."""

    def gates(self, step):
        return self.net.uniform_gates(self.task.rng)

    def derive(self):
        return 5


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_kit_admits_the_smallest_algorithm(plug, check):
    plug(Uniform)
    check("cheat")


def test_the_kit_catches_a_global_generator(plug):
    class Global(Uniform):
        """Draw from torch's global generator."""

        def gates(self, step):
            return self.net.gates_of(int(torch.randint(15625, ())))

    plug(Global)
    with pytest.raises(AssertionError, match="global random generator"):
        testing.check_seeds("cheat")


def test_the_kit_catches_a_forgotten_state(plug):
    class Forgets(Uniform):
        """Count epochs, and save no count."""

        epochs = 0

        def end_epoch(self, epoch):
            self.epochs += 1
            return {}

        def derive(self):
            return self.epochs

    plug(Forgets)
    with pytest.raises(AssertionError, match="differs after a resume"):
        testing.check_resume("cheat")


def test_the_kit_catches_a_derivation_that_changes_the_search(plug):
    class Changes(Uniform):
        """Count derivations."""

        asked = 0

        def derive(self):
            self.asked += 1
            return 5

        def state(self):
            return {"asked": self.asked}

        def load_state(self, state):
            self.asked = state["asked"]

    plug(Changes)
    with pytest.raises(AssertionError, match="derive changes"):
        testing.check_derive("cheat")


def test_the_kit_catches_a_search_that_trains_the_weights(plug):
    class Trains(Uniform):
        """Change shared weights in a step of its own."""

        def search_step(self, step):
            with torch.no_grad():
                next(self.net.parameters()).mul_(1.01)
            return {}

    plug(Trains)
    with pytest.raises(AssertionError, match="search_step changes .*weights"):
        testing.check_arguments("cheat")


def test_the_kit_catches_an_option_that_comes_back(plug):
    class Revives(Uniform):
        """Drop an option in even epochs only."""

        epochs = 0

        def end_epoch(self, epoch):
            self.epochs = epoch
            return {}

        def surviving(self):
            alive = np.ones((6, 5), dtype=bool)
            alive[0, 4] = self.epochs % 2 == 1
            return alive

        def derive(self):
            return int(self.space.index(np.zeros(6, dtype=np.int8)))

    plug(Revives)
    with pytest.raises(AssertionError, match="came back"):
        testing.check_answers("cheat")


def test_the_kit_finds_a_table_that_was_handed_over(plug):
    class Handed(Uniform):
        """Keep the truth."""

        def __init__(self, task):
            super().__init__(task)
            self.truth = synthetic_problem(evaluations=1).truth()

    plug(Handed)
    with pytest.raises(AssertionError, match="leads to the final metric"):
        testing.check_reach("cheat")
