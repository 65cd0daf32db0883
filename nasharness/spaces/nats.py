"""What the two spaces of NATS-Bench share: data sets, the paper's protocol, its budgets (arXiv 2009.00437)."""

from __future__ import annotations

from nasharness.errors import unknown
from nasharness.spaces.product import ProductSpace
from nasharness.spaces.protocol import Protocol

#: Classes and image side of each data set, the two numbers that params and FLOPs depend on.
DATASETS: dict[str, tuple[int, int]] = {
    "cifar10": (10, 32),
    "cifar10-valid": (10, 32),
    "cifar100": (100, 32),
    "ImageNet16-120": (120, 16),
}


def protocol(full: int, **budgets: dict[str, float]) -> Protocol:
    """NATS-Bench's protocol: search by 12-epoch validation, score by the test accuracy of a run of ``full`` epochs.

    CIFAR-10's validation accuracies are of networks trained on half of its training set, ``cifar10-valid``. Budgets are
    simulated seconds, as the scripts of the paper's authors use them.
    """
    return Protocol(
        datasets=("cifar10", "cifar100", "ImageNet16-120"),
        budgets=budgets,
        signal=("val@12", f"val@{full}"),
        final=(f"test@{full}:mean", f"val@{full}:others", f"val@{full}:mean"),
        trained_on={
            ("cifar10", metric): "cifar10-valid" for metric in ("val_acc", "val_loss", "train_acc", "train_loss")
        },
    )


class NatsSpace(ProductSpace):
    """A space of NATS-Bench."""

    closed_forms = ("params", "macs")

    def _classes_and_side(self, dataset: str) -> tuple[int, int]:
        try:
            return DATASETS[dataset]
        except (KeyError, TypeError):
            raise unknown("dataset", dataset, DATASETS, "nasharness list datasets") from None
