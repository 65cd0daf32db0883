"""Settings of AutoShrink's own search, with the known defects of the official code fixed, or as it is (``.official``).

Links lead into docs/reproduction/autoshrink.md; each defect there is a setting that can be changed by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from nasharness.errors import UsageError, unknown
from nasharness.search import registry
from nasharness.search.algorithm import Algorithm
from nasharness.search.registry import Record
from nasharness.spaces.shrink import GraphSpace

CITATION = "Zhang et al., AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, AAAI 2020"
ALGORITHMS = ("autoshrink", "autoshrink.official")


@dataclass(frozen=True)
class ShrinkSettings:
    """How the graph is shrunk (docs/reproduction/autoshrink.md#shrink-loop); ``MEANINGS`` tells of each setting.

    As in the official code, and no setting: a removal is for good, without beam or undo (autoshrink.md#q8), and a node
    that loses its last out-edge becomes an output, so that a removal can raise the cost (autoshrink.md#q12); the score
    has that cost, and the answer is the best graph recorded, not the last.
    """

    k: int = 10
    keep_fraction: float = 0.01
    cost_weight: float = 0.1
    score_start: bool = True
    keep_path: bool = True
    patience: int = 8
    ties: str = "cheaper"
    nan: str = "worst"
    repeats: int = 1
    finalists: int = 0
    paired: bool = True
    operations: str = "drawn"
    average: int = 3
    stops: str = "hopeless"

    #: what the official code does instead
    OFFICIAL: ClassVar[Mapping[str, Any]] = {
        "score_start": False,
        "keep_path": False,
        "patience": 0,
        "ties": "last",
        "nan": "best",
        "paired": False,
        "operations": "official",
        "average": 0,
        "stops": "official",
    }
    #: setting -> least, most
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "k": (1, 1000),
        "keep_fraction": (0, 1),
        "cost_weight": (0, 1000),
        "patience": (0, 10_000),
        "repeats": (1, 100),
        "finalists": (0, 100),
        "average": (0, 10_000),
    }
    #: settings that the official code does not have
    OURS: ClassVar[frozenset[str]] = frozenset(("repeats", "finalists"))
    #: setting -> what it means
    MEANINGS: ClassVar[Mapping[str, str]] = {
        "k": "removals trained a step, drawn without replacement",
        "keep_fraction": "of the edges, at which shrinking ends",
        "cost_weight": "what a tenfold cost takes off the score (autoshrink.md#q18)",
        "score_start": "whether the complete graph is trained too, in place of one removal (autoshrink.md#q9)",
        "keep_path": "whether node 0 keeps an edge, so that the empty network is never paid for (autoshrink.md#q7)",
        "patience": "steps without a better score after which it ends, 0: never (autoshrink.md#q7)",
        "ties": "which of equal scores wins: the cheaper, or the last evaluated (autoshrink.md#q15)",
        "nan": "what a diverged training counts as (autoshrink.md#r2)",
        "repeats": "trainings averaged for a score (autoshrink.md#q1)",
        "finalists": "best candidates of a step that are trained twice, their values averaged (autoshrink.md#q1)",
        "paired": "whether all candidates have the same order of data and random numbers (autoshrink.md#q1)",
        "operations": "of the nodes: drawn by the seed, official, or names joined by commas (autoshrink.md#q13)",
        "average": "last epochs whose validation is averaged, 0: the best epoch (autoshrink.md#q2)",
        "stops": "which trainings end early: those that diverge or stay near chance, or by the official rules "
        "(autoshrink.md#q5)",
    }
    #: setting -> words it may be
    WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "ties": ("cheaper", "last"),
        "nan": ("worst", "best"),
        "stops": ("hopeless", "official", "none"),
    }

    @classmethod
    def make(cls, algorithm: str, space: GraphSpace, changed: Mapping[str, Any]) -> ShrinkSettings:
        """Return the settings of ``algorithm`` with ``changed`` applied; strings are read as the default's type.

        Raises UsageError for another algorithm, an unknown setting, a value outside its range.
        """
        if algorithm not in space.algorithms:
            raise UsageError(
                f"{algorithm} does not search space {space.name!r}, whose graphs are trained as the search goes; "
                f"use --algo {' or '.join(space.algorithms)} with {space.needs} --out DIR"
            )
        defaults = defaults_of(cls, algorithm)
        record = Record(f"{algorithm} on {space.name}", Algorithm, "proxy", (space.name,), (), CITATION, "", defaults)
        return cls(**record.settings(changed)).checked()

    def checked(self) -> ShrinkSettings:
        """Return these settings, or raise UsageError naming the one that cannot be."""
        for name, (least, most) in self.RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"autoshrink: {name} = {value}: expected {least:g} to {most:,g}")
        for name, words in self.WORDS.items():
            if getattr(self, name) not in words:
                raise unknown(f"value of autoshrink: {name}", getattr(self, name), words)
        return self

    def record(self) -> dict[str, Any]:
        """Setting -> value."""
        return asdict(self)


@dataclass(frozen=True)
class ImageSettings(ShrinkSettings):
    """Proxy training on images (docs/reproduction/autoshrink.md#proxy-training)."""

    epochs: int = 20
    batch: int = 128
    lr: float = 4e-3
    train_per_class: int = 500
    val_per_class: int = 100
    validation: str = "train"
    replacement: bool = False
    decay: float = 2e-5
    projection_decay: float = 2e-5

    OFFICIAL: ClassVar[Mapping[str, Any]] = {
        **ShrinkSettings.OFFICIAL,
        "validation": "test",
        "replacement": True,
        "projection_decay": 8e-5,
    }
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        **ShrinkSettings.RANGES,
        "epochs": (1, 100_000),
        "batch": (2, 1_000_000),
        "lr": (0, 100),
        "train_per_class": (1, 10_000_000),
        "val_per_class": (1, 10_000_000),
        "decay": (0, 1),
        "projection_decay": (0, 1),
    }
    WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {**ShrinkSettings.WORDS, "validation": ("train", "test")}
    MEANINGS: ClassVar[Mapping[str, str]] = {
        **ShrinkSettings.MEANINGS,
        "epochs": "of one training, at most",
        "batch": "images of a step",
        "lr": "of Adam, constant",
        "train_per_class": "images that train",
        "val_per_class": "images that judge",
        "validation": "which published images judge (autoshrink.md#q3)",
        "replacement": "whether images are drawn with replacement (autoshrink.md#q4)",
        "decay": "of weights, as PyTorch means it",
        "projection_decay": "of the residual projections (autoshrink.md#q20)",
    }


@dataclass(frozen=True)
class TextSettings(ShrinkSettings):
    """Proxy training on text; the value is a perplexity, the score 0.25 * (200 - perplexity) less the cost."""

    keep_fraction: float = 0.25
    cost_weight: float = 1.0
    patience: int = 0
    average: int = 1
    epochs: int = 10
    batch: int = 128
    bptt: int = 35
    lr: float = 20.0
    clip: float = 0.25
    hidden: int = 100
    embedding: float = 0.5
    corpus: str = ""
    train_lines: int = 4000
    eval_lines: int = 300
    val_streams: int = 32
    divisor: str = "targets"
    cost: str = "macs"

    OFFICIAL: ClassVar[Mapping[str, Any]] = {
        **ShrinkSettings.OFFICIAL,
        "val_streams": 256,
        "divisor": "rows",
        "cost": "edges",
    }
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        **ShrinkSettings.RANGES,
        "epochs": (1, 100_000),
        "batch": (1, 1_000_000),
        "bptt": (2, 10_000),
        "lr": (0, 10_000),
        "clip": (0, 1e9),
        "hidden": (1, 100_000),
        "embedding": (0, 100),
        "train_lines": (1, 10**9),
        "eval_lines": (1, 10**9),
        "val_streams": (1, 1_000_000),
    }
    WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **ShrinkSettings.WORDS,
        "divisor": ("targets", "rows"),
        "cost": ("macs", "edges"),
    }
    OURS: ClassVar[frozenset[str]] = ShrinkSettings.OURS | {"embedding", "corpus"}
    MEANINGS: ClassVar[Mapping[str, str]] = {
        **ShrinkSettings.MEANINGS,
        "epochs": "of one training",
        "batch": "streams of training text",
        "bptt": "words of most segments",
        "lr": "of SGD, a tenth after 70 % of the epochs and again after 90 %",
        "clip": "norm at which gradients are cut",
        "hidden": "width of words and state",
        "embedding": "bound of the initial words, which are uniform",
        "corpus": "NAME of the text where the folder holds several",
        "train_lines": "lines that train, from the start",
        "eval_lines": "lines that judge, and as many that test",
        "val_streams": "parallel streams of judging text; 256 leave 27 words each (autoshrink.md#r6)",
        "divisor": "of the summed loss (autoshrink.md#r5)",
        "cost": "MACs of a word, or edges * hidden^2 (autoshrink.md#r4)",
    }


#: space -> its settings
SETTINGS: dict[str, type[ShrinkSettings]] = {"shrink-cnn": ImageSettings, "shrink-rnn": TextSettings}


def defaults_of(cls: type[ShrinkSettings], algorithm: str) -> dict[str, Any]:
    """Setting -> default value under ``autoshrink`` or ``autoshrink.official``."""
    plain = {field.name: field.default for field in fields(cls)}
    return plain | dict(cls.OFFICIAL) if registry.get(algorithm).published else plain


def told(cls: type[ShrinkSettings]) -> dict[str, str]:
    """Setting -> "what it means; its range; its source"."""
    found = {}
    for name, meaning in cls.MEANINGS.items():
        if name in cls.RANGES:
            bounds = " to ".join(
                f"{bound:,}" if isinstance(bound, int) else f"{bound:,g}" for bound in cls.RANGES[name]
            )
        else:
            plain = getattr(cls, name)
            bounds = ", ".join(cls.WORDS.get(name, ("true", "false") if isinstance(plain, bool) else ("a word",)))
        official = f"ours (the official code: {cls.OFFICIAL[name]})" if name in cls.OFFICIAL else "the official code's"
        found[name] = f"{meaning}; {bounds}; {'ours' if name in cls.OURS else official}"
    return found
