"""Published results of NATS-Bench (arXiv 2009.00437) and NAS-Bench-201 (arXiv 2001.00326), with what is known of each.

Status: S seen reprinted in another paper or repository; R recomputed from the full table; C not seen, but reproduced by
a combination of three cells; ns not seen, quoted from memory of the paper: an expectation, never a gate.
"""

from __future__ import annotations

from dataclasses import dataclass

STATUS = {
    "S": "seen reprinted",
    "R": "recomputed from the full table",
    "C": "reproduced by a combination of three cells",
    "ns": "not seen: an expectation, no gate",
}
DATASETS = ("cifar10", "cifar100", "ImageNet16-120")


@dataclass(frozen=True)
class Published:
    """One number: accuracy in percent, mean and population std over runs (None for a single architecture).

    ``algorithm``: the registered one, None for weight sharing, which no table can replay. ``cells``: architectures
    whose mean the number is, where they are known; ``best`` stands for the best of the column.
    """

    source: str
    space: str
    method: str
    dataset: str
    split: str
    mean: float
    std: float | None
    status: str
    algorithm: str | None = None
    cells: tuple[int | str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Protocol:
    """How a table was made. ``budget``: a preset of problems; ``searched``: the data set of every search, if it is one.

    ``gate``: its numbers come from the official data file, so that another number there is a failed check.
    """

    title: str
    space: str
    budget: str
    searched: str = ""
    gate: bool = True


PROTOCOLS = {
    "nats-tss": Protocol(
        "NATS-Bench, topology space: 20,000 / 40,000 / 120,000 simulated seconds, 500 runs", "tss", "nats"
    ),
    "nats-sss": Protocol(
        "NATS-Bench, size space: 20,000 / 40,000 / 60,000 simulated seconds, 500 runs", "sss", "nats"
    ),
    "nb201": Protocol(
        "NAS-Bench-201: 12,000 simulated seconds on CIFAR-10, the found cell scored on all three", "tss", "nb201",
        searched="cifar10", gate=False,
    ),
}  # fmt: skip
ALGORITHMS = {"REA": "rea", "REINFORCE": "reinforce", "RANDOM": "random", "BOHB": "bohb"}

# method; then CIFAR-10 val and test, CIFAR-100 val and test, ImageNet16-120 val and test as mean+-std; statuses
_TABLES = {
    "nats-tss": """
REA          | 91.25+-0.31 94.02+-0.31 72.28+-0.95 72.23+-0.84 45.71+-0.77 45.77+-0.80 | ns ns ns ns ns ns
REINFORCE    | 91.12+-0.25 93.90+-0.26 71.80+-0.94 71.86+-0.89 45.37+-0.74 45.64+-0.78 | ns ns ns ns ns ns
RANDOM       | 91.07+-0.26 93.86+-0.23 71.46+-0.97 71.55+-0.97 45.03+-0.91 45.28+-0.97 | ns ns ns ns ns ns
BOHB         | 91.17+-0.27 93.94+-0.28 72.04+-0.93 72.00+-0.86 45.55+-0.79 45.70+-0.86 | ns ns ns ns ns ns
RSPS         | 87.60+-0.61 91.05+-0.66 68.27+-0.72 68.26+-0.96 39.73+-0.34 40.69+-0.36 | ns ns ns ns ns ns
DARTS 1st    | 49.27+-13.44 59.84+-7.84 61.08+-4.37 61.26+-4.43 38.07+-2.90 37.88+-2.91 | ns C ns R ns R
DARTS 2nd    | 58.78+-13.44 65.38+-7.84 59.48+-5.13 60.49+-4.95 37.56+-7.10 36.79+-7.59 | ns C ns R ns C
GDAS         | 89.68+-0.72 93.23+-0.58 68.35+-2.71 68.17+-2.50 39.55+-0.00 39.40+-0.00 | ns R ns R ns R
SETN         | 90.00+-0.97 92.72+-0.73 69.19+-1.42 69.36+-1.72 39.77+-0.33 39.51+-0.33 | ns ns ns ns ns ns
ENAS         | 90.20+-0.00 93.76+-0.00 70.21+-0.71 70.67+-0.62 40.78+-0.00 41.44+-0.00 | S S S S S S
ResNet       | 90.83 93.91 70.50 70.89 44.10 44.23 | ns R ns R ns R
optimal      | 91.61 94.37 73.49 73.51 46.73 47.31 | ns R S R S R
""",
    "nats-sss": """
REA          | 90.37+-0.20 93.22+-0.16 70.23+-0.50 70.11+-0.61 45.30+-0.69 45.94+-0.92 | S S S S S S
REINFORCE    | 90.25+-0.23 93.16+-0.21 69.84+-0.59 69.96+-0.57 45.06+-0.77 45.71+-0.93 | S S S S S S
RANDOM       | 90.10+-0.26 93.03+-0.25 69.57+-0.57 69.72+-0.61 45.01+-0.74 45.42+-0.86 | S S S S S S
BOHB         | 90.07+-0.28 93.01+-0.24 69.75+-0.60 69.90+-0.60 45.11+-0.69 45.56+-0.81 | S S S S S S
channel-wise interpolation | 90.71+-0.00 93.40+-0.00 70.30+-0.00 70.72+-0.00 44.73+-0.00 47.17+-0.00 | S S S S S S
masking + Gumbel-softmax | 90.41+-0.10 93.14+-0.13 70.30+-0.00 70.72+-0.00 45.71+-0.39 46.38+-0.27 | S S S S S S
masking + sampling | 89.73+-0.37 92.78+-0.30 69.67+-0.22 70.11+-0.33 44.70+-0.60 45.11+-0.76 | S S S S S S
""",
    "nb201": """
RSPS (A)     | 80.42+-3.58 84.07+-3.61 52.12+-5.55 52.31+-5.77 27.22+-3.24 26.28+-3.09 | S S S S S S
RSPS (B)     | 84.16+-1.69 87.66+-1.69 - 58.33+-4.34 - 31.14+-3.88 | S S S S S S
DARTS V1, V2 | 39.77+-0.00 54.30+-0.00 15.03+-0.00 15.61+-0.00 16.43+-0.00 16.32+-0.00 | S S S S S S
GDAS         | 89.89+-0.08 93.61+-0.09 71.34+-0.04 70.70+-0.30 41.59+-1.33 41.71+-0.98 | S S S S S S
SETN         | 84.04+-0.28 87.64+-0.00 58.86+-0.06 59.05+-0.24 33.06+-0.02 32.52+-0.21 | S S S S S S
ENAS         | 37.51+-3.19 53.89+-0.58 13.37+-2.35 13.96+-2.33 15.06+-1.95 14.84+-2.10 | S S S S S S
REINFORCE    | 91.09+-0.37 93.85+-0.37 71.61+-1.12 71.71+-1.09 45.05+-1.02 45.24+-1.18 | S S ns S ns S
RANDOM       | 90.93+-0.36 93.70+-0.36 70.93+-1.09 71.04+-1.07 44.45+-1.10 44.57+-1.25 | ns S ns ns ns ns
REA          | 91.19+-0.31 93.92+-0.30 71.81+-1.12 71.84+-0.99 45.15+-0.89 45.54+-1.03 | ns ns ns ns ns ns
BOHB         | 90.82+-0.53 93.61+-0.52 70.74+-1.29 70.85+-1.28 44.26+-1.36 44.42+-1.49 | ns ns ns ns ns ns
ResNet       | 90.83 93.97 70.42 70.86 44.53 43.63 | S S S S S S
""",
}

ALL_SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
#: (source, method, data set, split) -> the cells it is the mean of; None stands for any
_CELLS: dict[tuple[str, str, str | None, str | None], tuple[int | str, ...]] = {
    ("nats-tss", "ResNet", None, None): (11472,),
    ("nats-tss", "optimal", None, None): ("best",),
    ("nats-tss", "DARTS 1st", "cifar10", None): (ALL_SKIP, ALL_SKIP, 2299),
    ("nats-tss", "DARTS 2nd", "cifar10", None): (ALL_SKIP, 2299, 2299),
    ("nats-tss", "ENAS", "cifar10", None): (1462,),
    ("nats-tss", "ENAS", "ImageNet16-120", None): (1462,),
    ("nb201", "DARTS V1, V2", None, None): (ALL_SKIP,),
}
_NOTES = {("nats-tss", "ENAS"): "printed there under another method's name"}


def published() -> list[Published]:
    """Every number, in the order of the papers' tables."""
    found = []
    for source, text in _TABLES.items():
        for line in text.strip().splitlines():
            method, numbers, statuses = (part.strip() for part in line.split("|"))
            places = [(dataset, split) for dataset in DATASETS for split in ("val", "test")]
            for (dataset, split), number, status in zip(places, numbers.split(), statuses.split(), strict=True):
                if number == "-":
                    continue
                mean, _, std = number.partition("+-")
                cells = next(
                    (
                        known
                        for (s, m, d, p), known in _CELLS.items()
                        if (s, m) == (source, method) and d in (None, dataset) and p in (None, split)
                    ),
                    (),
                )
                found.append(
                    Published(
                        source=source,
                        space=PROTOCOLS[source].space,
                        method=method,
                        dataset=dataset,
                        split=split,
                        mean=float(mean),
                        std=float(std) if std else None,
                        status=status,
                        algorithm=ALGORITHMS.get(method),
                        cells=cells,
                        note=_NOTES.get((source, method), ""),
                    )
                )
    return found
