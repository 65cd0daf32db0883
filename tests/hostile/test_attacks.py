"""Attacks from seeded generators: none runs code, none ends in a traceback, none takes 2 GB or a minute."""

import os
import random
import resource
import time

import pytest

from nasharness.errors import NasharnessError, printable
from tests.hostile.attacks import FAMILIES, HARMLESS, REFUSED

#: in the default suite, one attack in so many
SAMPLE = 12
LONGEST, LARGEST = 60.0, 2 << 30
SEED = int(os.environ.get("HOSTILE_SEED", "2020"))


def _attacked(family: str, tmp_path, share: int) -> dict[str, int]:
    pytest.importorskip("torch" if family == "checkpoints" else "pandas")
    generator, count = FAMILIES[family]
    ended = {HARMLESS: 0, REFUSED: 0}
    for number, attack in enumerate(generator(random.Random(SEED), tmp_path, count)):
        if number % share:
            continue
        began = time.monotonic()
        try:
            how = attack()
        except NasharnessError as error:
            how = REFUSED if printable(str(error)) else "without a word"
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{family}, attack {number}: {type(error).__name__}: {error!s:.300}") from error
        assert time.monotonic() - began < LONGEST, f"{family}, attack {number}: too long"
        ended[how] += 1
    return ended


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sample(family, tmp_path, data_home):
    assert sum(_attacked(family, tmp_path, SAMPLE).values()) > 0


@pytest.mark.hostile
@pytest.mark.timeout(900)
def test_all(tmp_path, data_home, capsys):
    lines = [f"{'family':<14}  {'attacks':>7}  {REFUSED:>8}  {HARMLESS:>14}  {'seconds':>7}"]
    total = 0
    for family in FAMILIES:
        (tmp_path / family).mkdir()
        began = time.monotonic()
        ended = _attacked(family, tmp_path / family, 1)
        seconds = time.monotonic() - began
        count = sum(ended.values())
        total += count
        lines.append(f"{family:<14}  {count:>7}  {ended[REFUSED]:>8}  {ended[HARMLESS]:>14}  {seconds:>7.1f}")
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) << 10
    with capsys.disabled():
        print("\n" + "\n".join([*lines, f"{'all':<14}  {total:>7}  largest process {peak / 2**20:,.0f} MiB"]))
    assert total >= 1_000
    assert peak < LARGEST
