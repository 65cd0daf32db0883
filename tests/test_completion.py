"""Completion by click's protocol, as the scripts for bash and zsh ask for it."""

import os
import subprocess
import sys

import pytest


def ask(line, shell="bash"):
    """What the shell is told for the last word of ``line``."""
    asked = line.split(" ")
    environment = os.environ | {
        "_NASHARNESS_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(asked) - 1),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "nasharness"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    if shell == "bash":
        return [entry.partition(",")[2] for entry in done.stdout.splitlines()]
    return done.stdout.splitlines()[1::3]  # zsh: type, value, help


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("nasharness run --algo autoshrink.p", ["autoshrink.pareto", "autoshrink.pooled"]),
        ("nasharness study --algo rea,setn", ["rea,setn", "rea,setn.paper"]),
        ("nasharness list devices raspi", ["raspi4_latency"]),
        ("nasharness validat", ["validate"]),
    ],
)
def test_names_are_completed(line, found, shell):
    assert ask(line, shell) == found


def test_spaces_devices_data_sets_and_options_too():
    assert "tss" in ask("nasharness run --space t")
    assert ask("nasharness run --objective eyeriss_e") == ["eyeriss_energy"]
    assert ask("nasharness compare --dataset cifar10,cifar100") == ["cifar10,cifar100"]
    assert ask("nasharness list dat") == ["datasets"]
    assert "--evaluations" in ask("nasharness run --ev")


def test_what_cannot_be_completed_gets_no_answer():
    assert ask("nasharness bananas --al") == []


def test_the_scripts_for_the_shells_are_made():
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run(
            [sys.executable, "-m", "nasharness"], capture_output=True, text=True, check=True,
            env=os.environ | {"_NASHARNESS_COMPLETE": f"{shell}_source", "PATH": os.environ["PATH"]},
        )  # fmt: skip
        assert "_NASHARNESS_COMPLETE" in done.stdout
