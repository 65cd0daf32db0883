"""Single-Path NAS on images: every layer is one kernel, and thresholds on the norms of its parts choose (one-shot).

Its tabular forms, which share no weights, are in ``single_path_table.py`` and ``single_path_surrogate.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nasharness.errors import DegenerateError, UsageError, unknown
from nasharness.search import register
from nasharness.search.one_shot import OneShot, OneShotTask, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from nasharness.spaces.base import Choices
    from nasharness.supernets.base import Gates
    from nasharness.supernets.mobile import MobileSupernet


@register(
    "single-path",
    citation="Stamoulis et al., Single-Path NAS, ECML-PKDD 2019, arXiv 1904.02877",
    kind="one-shot",
    spaces=("mobile",),
    variants={
        "paper": (
            "Single-Path NAS with the weight of the cost of its code, 1000 times 0.02, and all channels.",
            {"cost_weight": 20.0, "keep": 0.6},
        )
    },
    published=("paper",),
    meanings={
        "cost_weight": "what ln(latency in ms) counts beside the cross-entropy, after the warm-up; at least 0; ours "
        "(the code: 1000 times 0.02 to 0.1)",
        "device_cost": "device whose latency counts; one of list devices, with a price a layer; the code's",
        "warmup": "share of the epochs in which the cost does not count and decisions are dropped out, one at least "
        "unless it is 0; 0 to less than 1; the code's",
        "keep": "probability that a decision passes in the warm-up; more than 0 to 1; ours (single-path.paper: 0.6, "
        "the code's, too few for narrow networks)",
        "lr": "how many times the norm that it is compared with a threshold can rise while the cost counts; by so many "
        "steps divided it is Adam's rate; more than 0; ours",
    },
)
class SinglePathImages(OneShot):
    """Single-Path NAS: kernels in kernels, chosen by trained thresholds on their norms, on one loss.

    The parts of a layer's 5x5 kernel (ring, second half of the channels, all of it) are kept where their norms reach
    thresholds; gradients pass through as through sigmoids. Weights and thresholds are trained in the same steps, on the
    same images, on cross-entropy plus ``cost_weight`` times the logarithm of the relaxed latency, which does not count
    in the first ``warmup`` of the epochs: there decisions pass through dropout instead. What the thresholds keep at the
    end is the answer. Differences from the released code: the harness's SGD trains the weights, and Adam the
    thresholds, since at the norms of the first weights a sigmoid has a slope below 1e-3; no label smoothing, no moving
    average of weights (docs/reproduction/single-path-nas.md#on-images).
    """

    _shown: list[int] | None = None

    def __init__(
        self,
        task: OneShotTask,
        *,
        cost_weight: float = 1.0,
        device_cost: str = "pixel1",
        warmup: float = 0.625,
        keep: float = 0.9,
        lr: float = 3.0,
    ) -> None:
        super().__init__(task)
        for name, value, met, expected in (
            ("cost_weight", cost_weight, 0 <= cost_weight < float("inf"), "a number of at least 0"),
            ("warmup", warmup, 0 <= warmup < 1, "at least 0 and less than 1"),
            ("keep", keep, 0 < keep <= 1, "more than 0 and at most 1"),
            ("lr", lr, 0 < lr < float("inf"), "a number above 0"),
        ):
            if not met:
                raise UsageError(f"single-path: {name} = {value}: expected {expected}")
        import torch

        self._cost_weight, self._keep = cost_weight, keep
        self._warm = max(int(warmup * task.epochs), int(warmup > 0))
        self._latency = _prices(task, device_cost)
        # slopes at great norms are tiny: as much precision as there is, and an epsilon that they do not vanish beside
        dtype = torch.float32 if task.device.type == "mps" else torch.float64
        self._norms = self.supernet.norms().to(dtype)
        self._relative = torch.zeros_like(self._norms).requires_grad_()
        eps, self._lr = torch.finfo(dtype).tiny ** 0.5, lr
        self._adam = torch.optim.Adam([self._relative], lr=lr, betas=(0.9, 0.99), eps=eps, foreach=False)
        self._now: Any = None
        self._said = ""

    @property
    def supernet(self) -> MobileSupernet:
        """The supernet as what it is."""
        return cast("MobileSupernet", self.net)

    @property
    def _thresholds(self) -> torch.Tensor:
        """``[layers, 3]``; what is trained is how many times the first weights' norms they are."""
        return self._relative * self._norms

    def gates(self, step: Step) -> Gates:
        import torch

        from nasharness.supernets.mobile import Relaxed

        def passing(shape: tuple[int, ...], share: float) -> torch.Tensor:
            drawn = torch.rand(shape, generator=self.task.generator, device=self.task.device)
            return (drawn < share).float() / share

        rate, head = self.supernet.macro.dropout, self.supernet.macro.head
        features = passing((len(step.weight_images), head), 1 - rate)
        factors = passing(tuple(self._thresholds.shape), self._keep) if step.epoch < self._warm else None
        self._now = Relaxed(self._thresholds, factors, features)
        return cast("Gates", self._now)

    def penalty(self, step: Step) -> torch.Tensor | None:
        if step.epoch < self._warm or not self._cost_weight:
            return None
        return self._cost_weight * self._relaxed(self._now).log()

    def search_step(self, step: Step) -> dict[str, float]:
        for group in self._adam.param_groups:  # however long a run is, what its cost is worth decides
            group["lr"] = self._lr / (step.steps * max(1, self.task.epochs - self._warm))
        self._adam.step()
        self._adam.zero_grad(set_to_none=False)
        return {}

    def end_epoch(self, epoch: int) -> dict[str, float]:
        import torch

        from nasharness.supernets.mobile import Relaxed

        with torch.no_grad():
            relaxed = float(self._relaxed(Relaxed(self._thresholds)))
        row = self.derive()
        latency = float(self._latency(row))
        if self._smallest(row):
            raise DegenerateError(
                f"single-path: all is left out that can be, {latency:.2f} ms, after epoch {epoch + 1} of "
                f"{self.task.epochs}; lower cost_weight ({self._cost_weight:g})"
            )
        self._said = self.told(row, latency)
        self._shown = row.tolist()
        return {"latency_ms": latency, "relaxed_latency_ms": relaxed}

    def remark(self) -> str:
        return self._said

    def derive(self) -> Choices:
        import torch

        from nasharness.supernets.mobile import Relaxed

        with torch.no_grad():
            decisions = self.supernet.decisions(Relaxed(self._thresholds)).cpu().numpy()
        return self._decoded(decisions)

    def state(self) -> dict[str, Any]:
        from nasharness.supernets.policy import copied

        relative = self._relative.detach().clone()
        return {"thresholds": relative, "adam": copied(self._adam.state_dict()), "shown": self._shown}

    def load_state(self, state: dict[str, Any]) -> None:
        import torch

        from nasharness.supernets.policy import copied

        with torch.no_grad():
            self._relative.copy_(state["thresholds"])
        self._adam.load_state_dict(copied(state["adam"]))
        self._shown = state["shown"]

    def trained_parameters(self) -> Iterable[torch.Tensor]:
        return (self._relative,)

    def _decoded(self, decisions: Any) -> Choices:
        row: Choices = self.space.decoded(decisions)  # type: ignore[attr-defined]
        return row

    def _relaxed(self, gates: Any) -> torch.Tensor:
        from nasharness.supernets.mobile import relaxed_cost

        return relaxed_cost(self.supernet.decisions(gates), self._latency.layers, self._latency.fixed)

    def told(self, row: Choices, latency: float) -> str:
        """The latency, and what is decided otherwise than an epoch ago, where at first everything is kept."""
        space: Any = self.space
        before = self._shown or [options.index("5x5-e6") for options in space.options]
        layers = zip(space.positions, space.options, before, row.tolist(), strict=True)
        flips = [f"{name} {options[old]} > {options[new]}" for name, options, old, new in layers if old != new]
        return ", ".join([f"latency {latency:.2f} ms", *flips])

    def _smallest(self, row: Choices) -> bool:
        """Whether every layer is left out that can be."""
        options: Any = self.space.options  # type: ignore[attr-defined]
        return all("skip" not in names or names[one] == "skip" for names, one in zip(options, row, strict=True))


def _prices(task: OneShotTask, device: str) -> Any:
    """What sums the prices of layers on ``device``. Raises UsageError for one whose latency is not known by layers."""
    from nasharness import hardware

    dataset = task.dataset
    names = [one.name for one in hardware.quantities(task.space, dataset)]
    devices = [name.removesuffix("_latency") for name in names if name.endswith("_latency") and "relaxed" not in name]
    found = hardware.find(task.space, dataset, f"{device}_latency") if device in devices else None
    if found is None:
        raise unknown("device of space 'mobile'", device, devices, "nasharness list devices")
    read: Any = hardware.reader(found)
    if not hasattr(read, "layers"):
        raise UsageError(f"device_cost = {device}: its latency is not a sum over layers, so no decision has a price")
    return read
