"""The conformance kit of one-shot algorithms: what every one must pass, ours and anybody's.

In a plug-in's tests::

    import pytest
    from nasharness.supernets.testing import CHECKS

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_search(check):
        check("my-search")

A check takes a registered name and raises AssertionError saying what is wrong. The checks run a few epochs of the real
harness on a tiny supernet and 96 made-up images, in seconds and without data.
"""

from __future__ import annotations

import functools
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from nasharness import spaces
from nasharness.errors import AlgorithmFailedError, UsageError
from nasharness.images import ImageSet, Split, split
from nasharness.images.base import build
from nasharness.images.splits import Domains
from nasharness.runs import checkpoint
from nasharness.search import registry
from nasharness.search.one_shot import OneShot, Step
from nasharness.search.testing import assert_out_of_reach, check_record, synthetic_problem
from nasharness.spaces.base import Floats
from nasharness.supernets.base import Gates
from nasharness.supernets.build import SPACES
from nasharness.supernets.lessons import parted
from nasharness.supernets.recipe import SupernetRecipe
from nasharness.supernets.session import KIND, Epoch, Session

#: of every run; long enough for a warm-up and for something after it
EPOCHS = 4
#: epochs between derivations, which are what takes time where architectures are scored
DERIVE_EVERY = 2
#: settings that cost time, made small wherever an algorithm has them
SMALL = {"candidates": 10, "updates": 1, "samples": 10, "finalists": 3, "batches": 1}


def synthetic_images(side: int = 8, classes: int = 4) -> ImageSet:
    """Made-up images, 96 to train and 16 to test: each class its own pattern of brightness, plus noise."""
    rng = np.random.default_rng(0)
    pattern = rng.uniform(40, 215, (classes, 3, 1, 1)) + rng.uniform(-40, 40, (classes, 3, side, side))

    def part(count: int) -> tuple[Any, Any]:
        labels = np.arange(count) % classes
        pixels = pattern[labels] + rng.normal(0, 20, (count, 3, side, side))
        return pixels.clip(0, 255).astype(np.uint8), labels

    return build("synthetic", part(96), part(16), source="nasharness.supernets.testing", classes=classes)


@functools.cache
def _images(domains: bool) -> tuple[ImageSet, Split]:
    """The images and their split; with ``domains`` those that train and judge are of two, one every second of four."""
    images = synthetic_images()
    parts = split(images, scheme="validation", fraction=1 / 3)
    if not domains:
        return images, parts
    weights, arch = (np.arange(len(y)) // 4 % 2 for _, y in (parts.weights, parts.arch))
    return images, replace(parts, domains=Domains(("one", "two"), "three", weights, arch))


def session(name: str, space: str, *, seed: int = 3, epochs: int = EPOCHS, derive_every: int = DERIVE_EVERY) -> Session:
    """A run of the algorithm's default settings, but for SMALL, that has not begun: 4 channels, 1 cell, 8x8 images."""
    record = registry.get(name)
    images, parts = _images("domains" in record.needs)
    settings = record.settings({}) | {key: value for key, value in SMALL.items() if key in record.defaults}
    changes: dict[str, Any] = {"channels": 4, "cells": 1, "epochs": epochs, "batch": 8, "validation_batch": 32}
    return Session(
        record, settings, space=space, dataset=spaces.get(space).datasets[0], images=images, split=parts,
        recipe=SupernetRecipe.of(record, space, **changes), seed=seed, device=torch.device("cpu"),
        derive_every=derive_every,
    )  # fmt: skip


def _spaces(name: str) -> list[str]:
    record = registry.get(name)
    return [space for space in SPACES if not record.unfit(spaces.get(space))]


@dataclass(frozen=True)
class _Reference:
    """A finished run, what others are compared with: its end, its state half-way, and what it said every epoch."""

    end: dict[str, Any]
    half: dict[str, Any]
    seen: list[tuple[Epoch, Floats | None, NDArray[np.bool_] | None]]


@functools.cache
def _reference(name: str, space: str) -> _Reference:
    run = session(name, space)
    half: dict[str, Any] = {}
    seen = []
    for row in run.train():
        alive = run.algorithm.surviving()
        seen.append((row, run.algorithm.probabilities(), None if alive is None else np.array(alive)))
        if row.epoch == EPOCHS // 2:
            half = _copy(run.state())
    return _Reference(_copy(run.state()), half, seen)


def _result(state: dict[str, Any]) -> dict[str, Any]:
    """What must not differ between two runs that are the same, of their states."""
    rows = [(row["loss"], row["arch"], row["signal"]) for row in state["rows"]]
    return {"net": state["net"], "optimiser": state["optimiser"], "algorithm": state["algorithm"], "rows": rows}


def difference(one: object, other: object, path: str = "state") -> str | None:
    """Return where two states first differ, bit for bit, or None."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return None if one.dtype == other.dtype and torch.equal(one, other) else path
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return None if np.array_equal(one, other) else path  # type: ignore[arg-type]
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"the keys of {path}"
        found = [difference(one[key], other[key], f"{path}[{key!r}]") for key in one]
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return f"the length of {path}"
        found = [difference(a, b, f"{path}[{index}]") for index, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else path
    return next((place for place in found if place is not None), None)


def check_settings(name: str) -> None:
    """Unknown settings are refused with the nearest right ones."""
    try:
        registry.get(name).settings({"no_such_setting": 1})
    except UsageError:
        return
    raise AssertionError(f"{name} accepts a setting that does not exist")


def check_answers(name: str) -> None:
    """Answers are architectures; probabilities and surviving options have the shape of the space and make sense."""
    for where in _spaces(name):
        space = spaces.get(where)
        shape = (len(space.sizes), max(space.sizes))
        before = None
        for row, p, alive in _reference(name, where).seen:
            if row.arch is not None:
                space.string(row.arch)  # raises for what is none
            assert row.arch is not None or row.epoch % DERIVE_EVERY
            if p is not None:
                assert np.shape(p) == shape, f"{name} on {where}: probabilities {np.shape(p)}, expected {shape}"
                assert np.allclose(np.sum(p, axis=1), 1), f"{name} on {where}: probabilities that do not sum to 1"
                assert np.min(p) >= 0, f"{name} on {where}: a negative probability"
            if alive is not None:
                assert np.shape(alive) == shape, f"{name} on {where}: survivors {np.shape(alive)}, expected {shape}"
                assert np.any(alive, axis=1).all(), f"{name} on {where}: a position has no option left"
                assert before is None or not (alive & ~before).any(), f"{name} on {where}: an option came back"
                before = alive
                if row.arch is None:
                    continue
                chosen = space.choices(row.arch)
                assert alive[np.arange(len(chosen)), chosen].all(), f"{name} on {where}: the answer did not survive"


def check_seeds(name: str) -> None:
    """The same seed gives the same bits, whatever happens to the global generators, which are left alone."""
    for where in _spaces(name):
        torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        try:
            torch.manual_seed(1)
            np.random.seed(1)  # noqa: NPY002 - disturbing them is the point
            random.seed(1)
            before = torch.get_rng_state(), list(np.random.get_state()), random.getstate()  # noqa: NPY002
            run = session(name, where)
            for _ in run.train():
                pass
            after = torch.get_rng_state(), list(np.random.get_state()), random.getstate()  # noqa: NPY002
        finally:
            torch.set_rng_state(torch_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
        place = difference(before, after, "generators")
        assert place is None, f"{name} on {where} draws from a global random generator"
        place = difference(_result(_reference(name, where).end), _result(run.state()))
        assert place is None, f"{name} on {where}: {place} differs between two runs of the same seed"


def check_resume(name: str) -> None:
    """A run that is stopped half-way, saved as data, loaded and continued ends like one that was not."""
    for where in _spaces(name):
        reference = _reference(name, where)
        run = session(name, where)
        run.load_state(_copy(reference.half))
        for _ in run.train():
            pass
        place = difference(_result(reference.end), _result(run.state()))
        assert place is None, f"{name} on {where}: {place} differs after a resume"


def check_derive(name: str) -> None:
    """``derive`` changes nothing, and says the same twice."""
    for where in _spaces(name):
        run = session(name, where, derive_every=EPOCHS)
        for row in run.train():
            if row.epoch == EPOCHS // 2:
                break
        streams = run.task.rng.bit_generator.state, run.task.generator.get_state(), run._score_generator.get_state()
        answers = []
        for _ in range(2):  # once more than the reference by then
            run.task.rng.bit_generator.state = streams[0]
            run.task.generator.set_state(streams[1])
            run._score_generator.set_state(streams[2])
            answers.append(str(np.ravel(run.algorithm.derive()).tolist()))
        assert len(set(answers)) == 1, f"{name} on {where}: derive says {answers} one after another"
        after, reference = run.state(), _reference(name, where).half
        for part in ("algorithm", "net", "optimiser"):  # there derive was asked once
            place = difference(reference[part], after[part], part)
            assert place is None, f"{name} on {where}: derive changes {place}"


def _copy(state: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return checkpoint.load(checkpoint.save(Path(folder) / "state.pt", state, kind=KIND, identity={}), kind=KIND)


class _Watched(OneShot):
    """An algorithm whose every call is checked for what it does to its arguments."""

    def __init__(self, inner: OneShot, run: Session, what: str) -> None:
        super().__init__(inner.task)
        self._inner, self._run, self._what = inner, run, what

    def _watch(self, call: Callable[[], Any], step: Step | None, method: str) -> Any:
        def snapshot() -> dict[str, Any]:
            held: dict[str, Any] = {"weights": dict(self._run.net.named_parameters())}
            held["optimiser"] = self._run.optimiser.state_dict()
            if step is not None:
                held["step"] = [value for value in vars(step).values() if isinstance(value, torch.Tensor)]
            return held

        before = _copy(_plain(snapshot()))
        result = call()
        place = difference(before, _plain(snapshot()), "")
        assert place is None, f"{self._what}: {method} changes {place}, which is the harness's"
        assert self._run.net.training, f"{self._what}: {method} leaves the network in evaluation mode"
        return result

    def taught(self, epoch: int) -> NDArray[np.bool_] | None:
        taught = self._watch(lambda: self._inner.taught(epoch), None, "taught")
        if taught is None:
            return None
        shape = (len(self.task.classes),)
        good = taught.dtype == np.bool_ and taught.shape == shape and taught.sum() > 1
        assert good, f"{self._what}: taught in epoch {epoch + 1}: {taught}, expected bool {list(shape)}, two or more"
        again: Any = self._inner.taught(epoch)
        assert np.array_equal(taught, again), f"{self._what}: taught differs when asked again"
        return taught  # type: ignore[no-any-return]

    def falling(self, epoch: int) -> tuple[int, int]:
        first, end = self._watch(lambda: self._inner.falling(epoch), None, "falling")
        assert 0 <= first <= epoch < end, f"{self._what}: epoch {epoch} is none of {first} to {end - 1}"
        return first, end

    def passes(self, epoch: int) -> int:
        passes = self._watch(lambda: self._inner.passes(epoch), None, "passes")
        assert passes >= 1, f"{self._what}: {passes} passes in epoch {epoch + 1}"
        return passes  # type: ignore[no-any-return]

    def gates(self, step: Step) -> Gates:
        gates = self._watch(lambda: self._inner.gates(step), step, "gates")
        assert isinstance(gates, Gates), f"{self._what}: gates returns {type(gates).__name__}, expected Gates"
        return gates

    def images(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self._watch(lambda: self._inner.images(step), step, "images")
        given = step.weight_images
        assert images.shape[1:] == given.shape[1:], f"{self._what}: images of shape {list(images.shape)}"
        assert images.dtype == given.dtype, f"{self._what}: images are {images.dtype}, expected {given.dtype}"
        assert len(labels) == len(images), f"{self._what}: {len(images)} images come with {len(labels)} labels"
        assert bool(torch.isfinite(images).all()), f"{self._what}: images hold what is no finite number"
        return images, labels

    def search_step(self, step: Step) -> dict[str, float]:
        return _numbers(self._watch(lambda: self._inner.search_step(step), step, "search_step"), self._what)

    def penalty(self, step: Step) -> torch.Tensor | None:
        return self._watch(lambda: self._inner.penalty(step), step, "penalty")  # type: ignore[no-any-return]

    def remark(self) -> str:
        return self._inner.remark()

    def end_epoch(self, epoch: int) -> dict[str, float]:
        return _numbers(self._watch(lambda: self._inner.end_epoch(epoch), None, "end_epoch"), self._what)

    def derive(self) -> Any:
        return self._watch(self._inner.derive, None, "derive")

    def probabilities(self) -> Floats | None:
        return self._inner.probabilities()


def _plain(state: Any) -> Any:
    """Parameters as tensors, so that they can be saved as data."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return [_plain(value) for value in state] if isinstance(state, (list, tuple)) else state


def _numbers(found: Any, what: str) -> dict[str, float]:
    assert isinstance(found, dict), f"{what}: expected a dictionary of numbers to log, got {type(found).__name__}"
    bad = [key for key, value in found.items() if not isinstance(value, float) or not np.isfinite(value)]
    assert not bad, f"{what}: {bad[0]} = {found[bad[0]]!r} is no finite float to log"
    return found


def check_arguments(name: str) -> None:
    """Gates fit the space; images, their classes, shared weights and their optimiser are left as they are."""
    for where in _spaces(name):
        run = session(name, where, epochs=2)
        run.algorithm = _Watched(run.algorithm, run, f"{name} on {where}")
        try:
            for row in run.train():
                assert np.isfinite(row.loss)
        except AlgorithmFailedError as error:
            if isinstance(error.__cause__, AssertionError):
                raise error.__cause__ from None
            raise


def check_reach(name: str) -> None:
    """Nothing that the algorithm holds leads to a table or to the final metric, before or after a search."""
    for where in _spaces(name):
        tabular = "tss" if spaces.get(where).arch_shape else where  # without indices there is no table of its own
        truth = synthetic_problem(tabular, evaluations=1).truth()
        run = session(name, where, epochs=1)
        assert_out_of_reach(run.algorithm, truth)
        for _ in run.train():
            pass
        assert_out_of_reach(run.algorithm, truth)


def check_learning(name: str) -> None:
    """Training lowers the supernet's own loss: through the same gates, that the algorithm gives, on the same images."""
    for where in _spaces(name):
        trained, untrained = session(name, where), session(name, where)
        trained.load_state(_copy(_reference(name, where).end))
        images, joined = next(trained._weights.batches(64, trained.task.generator, augment=False))
        labels = parted(joined)[0]
        losses = []
        for step in range(12):
            now = Step(images, labels, images, labels, EPOCHS - 1, step, 12, trained.optimiser)
            gates = trained.algorithm.gates(now)
            with torch.no_grad():
                losses.append(
                    [
                        float(functional.cross_entropy(run.net.train()(images, gates), labels))
                        for run in (untrained, trained)
                    ]
                )
        before, after = np.mean(losses, axis=0)
        assert after < before, f"{name} on {where}: the supernet's loss does not fall in training: {before} to {after}"


#: Every check; run each with the name of a registered algorithm.
CHECKS: tuple[Callable[[str], None], ...] = (
    check_record,
    check_settings,
    check_answers,
    check_seeds,
    check_resume,
    check_derive,
    check_arguments,
    check_reach,
    check_learning,
)
