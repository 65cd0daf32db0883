"""Published recipes for full training on ImageNet-like data, as frozen records: what decides a result is here, once."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from nasharness.errors import UsageError, unknown


@dataclass(frozen=True)
class Augment:
    """How a training image is made.

    Attributes:
        area, aspect: range of the crop's share of the image, and of its width over height.
        log_aspect: whether aspect is uniform in its logarithm.
        resizers: methods, one drawn per image: ``bilinear``, ``nearest``, ``bicubic``, ``area`` (all with antialiasing
            but ``nearest``).
        flip: probability of a mirror image.
        jitter: ``"none"``; ``"inception"``: brightness is added, saturation and hue in HSV, contrast about the mean of
            each channel; ``"blend"``: brightness, contrast and saturation blend with black, mean grey and grey. One of
            four orders per image; values are clipped to [0, 1] after the last.
        brightness, contrast, saturation, hue: half-widths of the ranges.
        erase: probability of a rectangle of uniform noise, its height and width drawn independently.
        erase_from: shortest side of it, as a share of the image's.
        layers, magnitude: operations of RandAugment an image, 0 for none, and how strong they are, see
            :mod:`nasharness.training.imagenet.randaugment`.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    log_aspect: bool = True
    resizers: tuple[str, ...] = ("bilinear",)
    flip: float = 0.5
    jitter: str = "none"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erase: float = 0.0
    erase_from: float = 17 / 224
    layers: int = 0
    magnitude: float = 0.0


@dataclass(frozen=True)
class ImageRecipe:
    """A full training run.

    Attributes:
        epochs, batch: published; ``lr`` is for that batch and scales with the batch in use.
        norm_images: images that batch norm's statistics are of, where they are a device's own: what one device had.
        schedule, warmup: see :mod:`nasharness.training.schedules`.
        optimiser, momentum, weight_decay, decay_on, eps: see :mod:`nasharness.training.optimisers`.
        smoothing: share of a label spread over all classes.
        clip: largest norm of the gradient, 0 for no limit.
        ema: decay of the weights' moving average, 0 for none; ``ema_unit`` see :mod:`nasharness.training.imagenet.ema`.
        mixup, cutmix: parameters of the Beta distribution, 0 for none; of both, one is drawn for each part of a batch.
        mean, std: pixels in [0, 1] are normalised with.
        eval_crop: share of the image that evaluation sees; ``eval_square``: of its shorter side, cut as a square, or of
            both sides, so that the aspect changes; ``eval_resizer``: how that becomes the network's size.
        source: where every value above comes from, and what is ours.
    """

    name: str
    source: str
    epochs: int
    batch: int
    lr: float
    schedule: str
    optimiser: str
    weight_decay: float
    warmup: int = 0
    momentum: float = 0.9
    decay_on: str = "all"
    eps: float = 1.0
    smoothing: float = 0.0
    clip: float = 0.0
    ema: float = 0.0
    ema_unit: int = 128
    mixup: float = 0.0
    cutmix: float = 0.0
    norm_images: int = 128
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    eval_crop: float = 0.875
    eval_square: bool = True
    eval_resizer: str = "bilinear"
    augment: Augment = dataclasses.field(default_factory=Augment)

    def lr_for(self, batch: int) -> float:
        """Return the base learning rate for this many images a step."""
        return self.lr * batch / self.batch

    def parts_for(self, images: int) -> int:
        """Return in how many equal parts a device computes its share of a batch, so that none exceeds norm_images."""
        least = -(-images // self.norm_images)
        return next((parts for parts in range(least, 2 * least) if images % parts == 0), least)

    def warmup_for(self, epochs: int) -> int:
        """Return the epochs of warm-up in a run of ``epochs``: in proportion when it is shorter than published."""
        if epochs >= self.epochs or not self.warmup:
            return self.warmup
        return min(epochs, max(1, round(self.warmup * epochs / self.epochs)))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ImageRecipe(
            name="shrinkcnn",
            source="AutoShrink's training code as released (docs/reproduction/training.md#imagenet). Ours: a "
            "crop's area and aspect are uniform, drawn a hundred times at most until it fits; the place of the erased "
            "rectangle is uniform; resizing is antialiased; batch norm's statistics are averaged like the weights; "
            "published with 1,001 classes, class 0 for background (give --classes one above the data's).",
            epochs=300, batch=256, lr=0.1, schedule="warmup-cosine", warmup=10,
            optimiser="rmsprop-tf", momentum=0.9, eps=1.0, weight_decay=8e-5, decay_on="kernels",
            smoothing=0.1, ema=0.999, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
            eval_crop=0.875, eval_square=False, eval_resizer="bicubic",
            augment=Augment(
                area=(0.75, 1.0), aspect=(0.75, 1.33), log_aspect=False,
                resizers=("bilinear", "nearest", "bicubic", "area"),
                jitter="inception", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, erase=0.5,
            ),
        ),
        ImageRecipe(
            name="darts",
            source="Liu et al., DARTS, ICLR 2019, section 3.3 and its released ImageNet training code: SGD 0.1 x 0.97 "
            "an epoch, batch 128, weight decay 3e-5, clip 5. Left out: the auxiliary head (weight 0.4), which needs a "
            "network that has one. Ours: four orders of colour jitter of the twenty-four.",
            epochs=250, batch=128, lr=0.1, schedule="exponential", optimiser="sgd", weight_decay=3e-5,
            smoothing=0.1, clip=5.0,
            augment=Augment(jitter="blend", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
        ),
        ImageRecipe(
            name="nats",
            source="NATS-Bench's recipe on small images (docs/reproduction/nats-bench.md#splits-and-recipe): Nesterov "
            "SGD 0.1, cosine over the whole run, batch 256, weight decay 5e-4 on every weight. Ours, for photographs: "
            "crops of 8 to 100 % of the image in place of shifted crops, evaluation on the central 87.5 %.",
            epochs=200, batch=256, norm_images=256, lr=0.1, schedule="cosine", optimiser="nesterov", weight_decay=5e-4,
        ),
        ImageRecipe(
            name="single-path",
            source="Stamoulis et al., Single-Path NAS, arXiv 1904.02877, as its released code trains the network it "
            "found, with MnasNet's recipe: RMSProp 0.016 for 256 images, decay and momentum 0.9, epsilon 1e-3, x 0.97 "
            "every 2.4 epochs, 5 epochs of warm-up, weight decay 1e-5 on all but batch norm, label smoothing 0.1, "
            "moving average 0.9999 by steps of 1,024 images; dropout 0.2 and batch norm's momentum are the network's. "
            "Ours: the rate is constant within an epoch; crops of 8 to 100 % of the image, evaluation on the central "
            "87.5 %.",
            epochs=350, batch=1024, lr=0.064, schedule="staircase", warmup=5,
            optimiser="rmsprop-tf", momentum=0.9, eps=1e-3, weight_decay=1e-5, decay_on="all-but-norms",
            smoothing=0.1, ema=0.9999, ema_unit=1024,
        ),
    )
}  # fmt: skip


def get(name: str) -> ImageRecipe:
    """Return the recipe of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def changed(
    recipe: ImageRecipe, *, ema: float | None = None, mixup: float | None = None, cutmix: float | None = None,
    erase: float | None = None, rand_augment: str | None = None, lr: float | None = None,
) -> ImageRecipe:  # fmt: skip
    """Return the recipe with some values replaced; None leaves one as it is.

    Raises:
        UsageError: a value is out of range.
    """
    tops = (("--ema", ema, 0.999999), ("--erase", erase, 1.0), ("--mixup", mixup, 100.0), ("--cutmix", cutmix, 100.0))
    for flag, value, top in tops:
        if value is not None and not 0 <= value <= top:
            raise UsageError(f"{flag} {value}: expected a number between 0 and {top:g}")
    if ema is not None:
        recipe = dataclasses.replace(recipe, ema=ema)
    if mixup is not None:
        recipe = dataclasses.replace(recipe, mixup=mixup)
    if cutmix is not None:
        recipe = dataclasses.replace(recipe, cutmix=cutmix)
    if rand_augment is not None:
        match = re.fullmatch(r"(\d)(?:,(\d+(?:\.\d+)?))?", rand_augment)
        layers, magnitude = (int(match[1]), float(match[2] or 0)) if match else (0, 99.0)
        if magnitude > 30:
            raise UsageError(f"--rand-augment {rand_augment}: expected operations and magnitude (to 30), 2,9 say")
        augment = dataclasses.replace(recipe.augment, layers=layers, magnitude=magnitude)
        recipe = dataclasses.replace(recipe, augment=augment)
    if erase is not None:
        recipe = dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, erase=erase))
    if lr is not None:
        if not lr > 0:
            raise UsageError(f"--lr {lr}: expected a number above 0")
        recipe = dataclasses.replace(recipe, lr=lr)
    return recipe
