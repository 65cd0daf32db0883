"""The conformance kit over everything registered, and the kit itself against algorithms that cheat."""

import numpy as np
import pytest

from nasharness.search import Algorithm, ScalarAlgorithm, register, registry
from nasharness.search.testing import (
    CHECKS,
    assert_out_of_reach,
    check_batch,
    check_reach,
    check_seeds,
    synthetic_problem,
)


@pytest.mark.parametrize("name", registry.names(kind="multi-trial"))
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
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
