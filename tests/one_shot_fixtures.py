"""Small one-shot runs for tests: a quarter of the digits, tiny supernets."""

import functools

import numpy as np

from nasharness.images import DomainSet, load
from nasharness.images.base import build
from nasharness.images.rotated import turned
from nasharness.search import registry
from nasharness.spaces import get
from nasharness.supernets.run import run_one_shot
from nasharness.supernets.testing import SMALL

#: an epoch of these is four steps on 8x8 images
TINY = {"epochs": 2, "batch": 64, "channels": 4, "cells": 1, "validation_batch": 32}


@functools.cache
def few_digits():
    """One digit in four, with the name of the whole set: it may stand in for any data set."""
    whole = load("digits")
    train, test = slice(None, None, 4), slice(None, None, 4)
    return build(
        whole.name,
        (whole.train_x[train], whole.train_y[train]),
        (whole.test_x[test], whole.test_y[test]),
        source="a quarter of scikit-learn's digits",
        classes=10,
        mirrored=False,
    )


@functools.cache
def few_turned(side=8):
    """One digit in eight, in three domains: as it is, and turned by 40 degrees either way."""
    few = load("digits")
    grey, labels = few.train_x[::8, 0], few.train_y[::8]
    count, names = len(labels), ("-40", "0", "40")
    turned_ = np.concatenate([turned(grey, float(name), side) for name in names])
    return DomainSet(
        "digits", np.repeat(turned_[:, None], 3, axis=1), np.tile(labels, 3), np.repeat(np.arange(3), count), names,
        few.class_names, np.tile(np.arange(count), 3), np.zeros(3 * count, dtype=bool),
        "an eighth of the digits, turned", default="40", mirrored=False,
    )  # fmt: skip


def made_up(name, classes, side=8, images=40):
    """Noise in a given number of classes."""
    rng = np.random.default_rng(0)
    part = (
        rng.integers(0, 256, (images, 3, side, side), dtype=np.uint8),
        np.arange(images, dtype=np.int64) % classes,
    )
    return build(name, part, part, source="noise", classes=classes)


def run(algorithm="random.supernet", space="tss", dataset=None, **options):
    """``run_one_shot`` with TINY settings on few digits."""
    defaults = registry.get(algorithm).defaults
    settings = {key: value for key, value in SMALL.items() if key in defaults}
    without = {"sss": ("channels",), "mobile": ("cells",)}.get(space, ())
    tiny = {key: value for key, value in TINY.items() if key not in without}
    images = few_turned() if "domains" in registry.get(algorithm).needs else few_digits()
    given = {"images": images, "device": "cpu", "settings": settings} | tiny | options
    return run_one_shot(algorithm, space, dataset or get(space).datasets[0], **given)
