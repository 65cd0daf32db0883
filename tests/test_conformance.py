"""The conformance kit over everything registered, and the kit itself against algorithms that cheat."""

import numpy as np
import pytest
from click.testing import CliRunner

from nasharness.cli import cli
from nasharness.errors import UsageError
from nasharness.search import Algorithm, ScalarAlgorithm, register, registry
from nasharness.search.testing import (
    CHECKS,
    assert_out_of_reach,
    check_batch,
    check_reach,
    check_record,
    check_seeds,
    synthetic_problem,
)

#: Descents on a whole signal, which take seconds a run: where the kit runs many they are slow tests.
DESCENTS = ("darts.exact", "single-path.surrogate")


def slow(name, check):
    """Searches of other packages take seconds where ours take milliseconds, too."""
    return "outside" in registry.get(name).needs or (check is check_batch and name in DESCENTS)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{check.__name__}-{name}", marks=[pytest.mark.slow] if slow(name, check) else [])
        for check in CHECKS
        for name in registry.names(kind="multi-trial")
    ],
)
def test_everything_registered_conforms(name, check):
    check(name)


def test_nothing_of_ours_is_broken():
    assert registry.broken() == {}


@pytest.fixture
def plug():
    def add(cls):
        registry._records.pop("cheat", None)
        return register("cheat", citation="none")(cls)

    yield add
    registry._records.pop("cheat", None)


def test_the_kit_catches_a_batch_that_leaks(plug):
    class Leaky(Algorithm):
        """Draw as often as the batch has runs."""

        def ask(self):
            return self.space.sample_index(self.streams.uniform(self.runs))[:, -1:]

    plug(Leaky)
    with pytest.raises(AssertionError, match="differs"):
        check_batch("cheat")


def test_the_kit_catches_a_global_generator(plug):
    class Global(ScalarAlgorithm):
        """Draw from numpy's global generator."""

        def ask(self):
            return int(np.random.randint(15625))  # noqa: NPY002 - this is the crime

    plug(Global)
    with pytest.raises(AssertionError, match="global random generator"):
        check_seeds("cheat")


@pytest.mark.parametrize("hide", ["attribute", "closure", "view", "generator", "default", "nested"])
def test_the_kit_finds_the_final_metric_wherever_it_hides(hide):
    problem = synthetic_problem(evaluations=1)
    truth = problem.truth()
    values = truth.values

    class Holder:
        pass

    holder = Holder()
    if hide == "attribute":
        holder.problem = problem
    elif hide == "closure":
        holder.peek = lambda: values[0]
    elif hide == "view":
        holder.part = values[:3]
    elif hide == "generator":

        def peek():
            mine = values
            yield mine[0]

        holder.peek = peek()
        next(holder.peek)
    elif hide == "default":
        holder.peek = lambda index, table=values: table[index]
    else:
        holder.stuff = {"a": [({"b": np.stack([values, values])},)]}
    with pytest.raises(AssertionError, match="final metric"):
        assert_out_of_reach(holder, truth)


def test_the_kit_finds_a_problem_that_was_handed_over(plug):
    class Handed(ScalarAlgorithm):
        """Keep the truth."""

        def __init__(self, *, dataset: str = "cifar10"):
            self.truth = synthetic_problem(dataset=dataset, evaluations=1).truth()

        def ask(self):
            return int(self.truth.values.argmax())

    plug(Handed)
    with pytest.raises(AssertionError, match="leads to the final metric"):
        check_reach("cheat")


@pytest.mark.parametrize("name", registry.names())
def test_every_setting_says_what_it_means_its_range_and_its_source(name):
    record = registry.get(name)
    assert set(record.meanings) == set(record.defaults)
    for key, meaning in record.meanings.items():
        parts = 1 if isinstance(record.defaults[key], bool | str) else 2  # what a word may be is in its meaning
        assert meaning.count("; ") >= parts, f"{name}: {key}: {meaning}"


def test_the_kit_asks_for_meanings(plug):
    class Dark(ScalarAlgorithm):
        """Have a setting of which nothing is said."""

        def __init__(self, *, size: int = 3):
            self.size = size

    plug(Dark)
    with pytest.raises(AssertionError, match="setting size has no meaning"):
        check_record("cheat")
    with pytest.raises(UsageError, match="meaning is told 'sise'; nearest: size"):
        register("dark", citation="none", meanings={"sise": "how large; 1 to 9; ours"})(Dark)


def test_list_algos_prints_meanings():
    listed = CliRunner().invoke(cli, ["list", "algos", "rea"]).output
    assert "population = 10  members kept" in listed
    assert "1 to 100,000; NATS-Bench's" in listed
