"""Optimisers, schedules, moving average and recipes against their equations."""

from __future__ import annotations

import copy
import math
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nasharness.errors import UsageError  # noqa: E402
from nasharness.runs import signals  # noqa: E402
from nasharness.training import optimisers, schedules  # noqa: E402
from nasharness.training.imagenet import recipes  # noqa: E402
from nasharness.training.imagenet.ema import MovingAverage  # noqa: E402


def quadratic(size=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=size), rng.normal(size=(20, size))


@pytest.mark.parametrize("weight_decay", [0.0, 8e-5, 0.1])
def test_rmsprop_is_tensorflows(weight_decay):
    start, gradients = quadratic()
    weight = torch.nn.Parameter(torch.tensor(start))
    optimiser = optimisers.RMSpropTF([weight], lr=0.1, weight_decay=weight_decay)
    w, ms, mom = start.copy(), np.ones_like(start), np.zeros_like(start)
    for step, gradient in enumerate(gradients):
        lr = 0.1 / (1 + step)
        optimisers.set_lr(optimiser, lr)
        weight.grad = torch.tensor(gradient)
        optimiser.step()
        g = gradient + weight_decay * w
        ms = 0.9 * ms + 0.1 * g * g
        mom = 0.9 * mom + lr * g / np.sqrt(ms + 1.0)
        w = w - mom
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=0, atol=1e-14)


def test_rmsprop_is_not_torchs():
    """torch.optim.RMSprop with the same numbers is another optimiser (docs/reproduction/training.md#imagenet)."""
    start, gradients = quadratic()
    ours, theirs = (torch.nn.Parameter(torch.tensor(start)) for _ in range(2))
    a = optimisers.RMSpropTF([ours], lr=0.1)
    b = torch.optim.RMSprop([theirs], lr=0.1, alpha=0.9, momentum=0.9, eps=1.0)
    for weight, optimiser in ((ours, a), (theirs, b)):
        weight.grad = torch.tensor(gradients[0])
        optimiser.step()
    assert (ours - theirs).abs().max() > 1e-3


def test_rmsprop_state_comes_back():
    start, gradients = quadratic()
    once, twice = (torch.nn.Parameter(torch.tensor(start)) for _ in range(2))
    a, b = optimisers.RMSpropTF([once], lr=0.1), optimisers.RMSpropTF([twice], lr=0.1)
    for number, gradient in enumerate(gradients):
        if number == 10:
            state = b.state_dict()
            b = optimisers.RMSpropTF([twice], lr=0.5)
            b.load_state_dict(state)
        for weight, optimiser in ((once, a), (twice, b)):
            weight.grad = torch.tensor(gradient)
            optimiser.step()
    assert torch.equal(once, twice)


def test_nesterov_against_numpy():
    start, gradients = quadratic()
    net = torch.nn.Linear(7, 1, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor(start)[None])
    optimiser = optimisers.make("nesterov", net, 0.1, momentum=0.9, weight_decay=5e-4, decay_on="all")
    w, buffer = start.copy(), None
    for gradient in gradients:
        net.weight.grad = torch.tensor(gradient)[None]
        optimiser.step()
        g = gradient + 5e-4 * w
        buffer = g if buffer is None else 0.9 * buffer + g
        w = w - 0.1 * (g + 0.9 * buffer)
    np.testing.assert_allclose(net.weight.detach().numpy()[0], w, rtol=0, atol=1e-14)


def test_what_decays():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 8, 3, groups=8, bias=False),
        torch.nn.Conv2d(8, 4, 1, bias=False), torch.nn.Flatten(), torch.nn.Linear(4, 2),
    )  # fmt: skip
    decayed, free = optimisers.groups(net, 8e-5, decay_on="kernels")
    assert [tuple(weight.shape) for weight in decayed["params"]] == [(8, 3, 3, 3), (4, 8, 1, 1), (2, 4)]
    assert (decayed["weight_decay"], free["weight_decay"]) == (8e-5, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(list(net.parameters()))
    assert len(optimisers.groups(net, 3e-5, decay_on="all")) == 1
    decayed, free = optimisers.groups(net, 1e-5, decay_on="all-but-norms")
    assert [tuple(weight.shape) for weight in free["params"]] == [(8,), (8,)]
    assert len(decayed["params"]) == len(list(net.parameters())) - 2


def test_warmup_and_cosine_by_the_formula():
    rate = schedules.make("warmup-cosine", 0.1, 300, warmup=10)
    for e in range(1, 301):
        expected = 0.1 * e / 10 if e < 10 else 0.05 * (1 + math.cos(math.pi * (e - 10) / 290))
        assert rate(e) == pytest.approx(expected, abs=1e-16)
    assert rate(1) == pytest.approx(0.01)
    assert rate(10) == 0.1
    assert rate(300) == 0
    cosine = schedules.make("cosine", 0.1, 200)
    assert (cosine(1), cosine(101)) == (0.1, pytest.approx(0.05))
    assert schedules.make("exponential", 0.1, 250)(3) == pytest.approx(0.1 * 0.97**2)


def test_the_staircase_of_mnasnet():
    """Down by 3 % every 2.4 epochs, counted from the start of the run, its warm-up too."""
    rate = schedules.make("staircase", 0.064, 350, warmup=5)
    assert [rate(e) / 0.064 for e in (1, 4, 5)] == pytest.approx([0.2, 0.8, 1.0])
    assert [round(math.log(rate(e) / 0.064, 0.97)) for e in (6, 8, 9, 13, 350)] == [2, 2, 3, 5, 145]


@pytest.mark.parametrize("epochs", [1, 2, 3, 29, 30, 299, 300, 350])
@pytest.mark.parametrize("name", list(recipes.RECIPES))
def test_every_recipe_has_a_rate_for_every_epoch(name, epochs):
    recipe = recipes.get(name)
    rate = schedules.make(recipe.schedule, recipe.lr_for(512), epochs, warmup=recipe.warmup_for(epochs))
    rates = [rate(e) for e in range(1, epochs + 1)]
    assert all(0 <= value <= recipe.lr_for(512) for value in rates)
    assert max(rates) == pytest.approx(recipe.lr_for(512))


def test_recipes_refuse_nonsense():
    with pytest.raises(UsageError, match="unknown recipe 'shrink'; nearest: shrinkcnn"):
        recipes.get("shrink")
    for bad in ({"ema": 1.0}, {"erase": 1.5}, {"mixup": -1.0}, {"lr": 0.0}):
        with pytest.raises(UsageError, match="expected"):
            recipes.changed(recipes.get("darts"), **bad)
    assert recipes.changed(recipes.get("darts"), erase=1.0, ema=0.0).augment.erase == 1.0
    with pytest.raises(UsageError, match="--epochs 0"):
        schedules.make("cosine", 0.1, 0)


def test_moving_average_by_the_formula():
    net = torch.nn.Linear(3, 2).double()
    ema = MovingAverage(net, 0.999, unit=128)
    average = net.weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    for n in range(1, 30):
        with torch.no_grad():
            net.weight.add_(torch.randn(2, 3, generator=generator, dtype=torch.float64))
        ema.update(256)  # two units a step, as two GPUs of 128
        d = min(0.999, (1 + 2 * n) / (10 + 2 * n))
        average = d * average + (1 - d) * net.weight.detach()
    own = net.weight.detach().clone()
    with ema.applied():
        torch.testing.assert_close(net.weight.detach(), average, rtol=0, atol=1e-14)
    assert torch.equal(net.weight, own)
    ema.update(10**9)
    assert ema.rate() == 0.999
    again = MovingAverage(net)
    again.load_state_dict(ema.state_dict())
    with ema.applied():
        expected = net.weight.detach().clone()
    with again.applied():
        assert torch.equal(net.weight, expected)
    assert again.images == ema.images


def test_a_signal_is_noted_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with signals.Stop() as stop:
        assert stop.code == 0
        signal.raise_signal(signal.SIGTERM)
        assert stop.code == 75
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
    with signals.Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.code == 130


def test_statistics_without_their_beginning():
    """What is evaluated is the mean over the batches seen, without the mean and variance it began with."""
    from nasharness.training.imagenet.statistics import settled

    layer = torch.nn.BatchNorm1d(2, momentum=0.001).double()
    ema = MovingAverage(layer, 0.999)
    generator = torch.Generator().manual_seed(0)
    batches = [5 + 3 * torch.randn(64, 2, generator=generator, dtype=torch.float64) for _ in range(8)]
    for batch in batches:
        layer(batch)
        ema.update(128)
    before = layer.running_mean.clone()
    weights = torch.tensor([0.999 ** (7 - k) for k in range(8)], dtype=torch.float64)
    mean = (torch.stack([b.mean(0) for b in batches]) * weights[:, None]).sum(0) / weights.sum()
    variance = (torch.stack([b.var(0) for b in batches]) * weights[:, None]).sum(0) / weights.sum()
    with settled(layer):
        torch.testing.assert_close(layer.running_mean, mean)
        torch.testing.assert_close(layer.running_var, variance)
    with ema.applied():
        assert (layer.running_mean - 5).abs().max() < 1
        assert (layer.running_var - 9).abs().max() < 3
    assert torch.equal(layer.running_mean, before)
    with settled(torch.nn.BatchNorm1d(2)) as nothing:  # has seen nothing: stays as it is
        assert nothing is None


def test_parts_of_a_batch_are_what_as_many_devices_do():
    """Against two copies that see a part each: mean gradients, mean statistics, one step."""
    from nasharness.training.distributed import World
    from nasharness.training.imagenet.step import Batch, Trainer
    from tests.retrain_fixtures import tiny

    draw = torch.Generator().manual_seed(1)
    net = tiny(None, 4).double()
    copies = [copy.deepcopy(net) for _ in range(2)]
    rate = torch.optim.SGD(net.parameters(), lr=0.1)
    trainer = Trainer(net, rate, World(0, 1, torch.device("cpu")), classes=4, accumulate=2, precision="fp32")
    for _ in range(3):
        images = [torch.randn(5, 3, 12, 12, generator=draw, dtype=torch.float64) for _ in copies]
        labels = [torch.randint(4, (5,), generator=draw) for _ in copies]
        parts = [Batch(x, y, torch.ones(5, dtype=torch.float64)) for x, y in zip(images, labels, strict=True)]
        trainer.advance(iter(parts), 0.1)
        for one, x, y in zip(copies, images, labels, strict=True):
            one.zero_grad()
            torch.nn.functional.cross_entropy(one(x), y).backward()
        weights = [list(one.parameters()) for one in copies]
        buffers = [list(one.buffers()) for one in copies]
        with torch.no_grad():
            for a, b in zip(*weights, strict=True):
                mean = (a.grad + b.grad) / 2
                a -= 0.1 * mean
                b -= 0.1 * mean
            for a, b in zip(*buffers, strict=True):
                if a.is_floating_point():
                    mean = (a + b) / 2
                    a.copy_(mean)
                    b.copy_(mean)
    torch.testing.assert_close(net.state_dict(), copies[0].state_dict(), rtol=1e-9, atol=1e-12)
    assert int(net[1].num_batches_tracked) == 3


@pytest.mark.parametrize(
    ("name", "images", "parts"),
    [("shrinkcnn", 256, 2), ("shrinkcnn", 128, 1), ("shrinkcnn", 64, 1), ("shrinkcnn", 258, 3), ("shrinkcnn", 260, 4),
     ("nats", 256, 1), ("darts", 512, 4), ("single-path", 1024, 8)],
)  # fmt: skip
def test_statistics_are_of_as_many_images_as_published(name, images, parts):
    assert recipes.get(name).parts_for(images) == parts


def rand_augmented(name, pixels, v):
    """The operation in numpy, in the words of the papers."""
    grey = pixels @ [0.299, 0.587, 0.114]
    height, width = grey.shape
    ways = {
        "identity": lambda: pixels,
        "solarise": lambda: np.where(pixels < 256 - 256 * abs(v), pixels, 255 - pixels),
        "posterise": lambda: pixels // 2 ** round(4 * abs(v)) * 2 ** round(4 * abs(v)),
        "colour": lambda: grey[..., None] + (pixels - grey[..., None]) * (1 + 0.9 * v),
        "contrast": lambda: grey.mean() + (pixels - grey.mean()) * (1 + 0.9 * v),
        "brightness": lambda: pixels * (1 + 0.9 * v),
        "auto-contrast": lambda: (pixels - (low := pixels.min((0, 1)))) * 255.0 / (pixels.max((0, 1)) - low),
    }
    if name in ways:
        return np.clip(ways[name](), 0, 255)
    y, x = np.mgrid[:height, :width]
    at = {
        "translate-x": (y, x + round(150 / 331 * v * width)), "translate-y": (y + round(150 / 331 * v * height), x),
        "shear-x": (y, np.floor(x + 0.5 + 0.3 * v * (y + 0.5))),
        "shear-y": (np.floor(y + 0.5 + 0.3 * v * (x + 0.5)), x),
    }[name]  # fmt: skip
    row, column = (np.asarray(part, dtype=int) for part in at)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside[..., None], pixels[row.clip(0, height - 1), column.clip(0, width - 1)], 128)


def test_rand_augment_is_the_papers_operations():
    pytest.importorskip("PIL")
    from nasharness.training.imagenet import randaugment

    pixels = np.random.default_rng(0).integers(20, 230, (20, 24, 3)).astype(np.uint8)
    names = [name for name in randaugment.NAMES if name not in ("equalise", "rotate", "sharpness")]
    for name in names:
        for strength in (0.9, -0.5):
            made = randaugment.apply(pixels, [(name, strength)]).astype(int)
            expected = rand_augmented(name, pixels.astype(int), strength)
            assert np.abs(made - expected).max() <= 2, name  # whole numbers are rounded on the way
    turned = randaugment.apply(pixels, [("rotate", 3.0)])  # a quarter
    assert np.array_equal(turned[:, 2:22], np.rot90(pixels[:, 2:22]))
    narrow = np.random.default_rng(1).integers(100, 150, (120, 140, 3)).astype(np.uint8)
    wide = randaugment.apply(narrow, [("equalise", 1.0)])
    assert np.abs(np.quantile(wide, [0.0, 0.25, 0.5, 0.75, 1.0]) - [0, 64, 128, 191, 255]).max() < 8
    even = np.full_like(pixels, 77)
    assert np.array_equal(randaugment.apply(even, [("sharpness", 0.9)]), even)
    for name in set(randaugment.NAMES) - {"auto-contrast", "equalise"}:
        assert np.array_equal(randaugment.apply(pixels, [(name, 0.0)]), pixels), name


def test_rand_augment_is_drawn_uniformly_and_shifts_no_other_draw():
    from nasharness.training.imagenet import augment, randaugment

    plain = recipes.get("darts")
    recipe = recipes.changed(plain, rand_augment="2,9")
    drawn = [augment.draw(recipe.augment, 32, 1, 2, index) for index in range(1400)]
    for index in range(5):
        assert np.array_equal(drawn[index].numbers, augment.draw(plain.augment, 32, 1, 2, index).numbers)
    assert {abs(strength) for one in drawn for _, strength in one.operations} == {0.9}
    counts = [sum(name == seen for one in drawn for seen, _ in one.operations) for name in randaugment.NAMES]
    assert sum(counts) == 2800
    assert max(counts) < 260
    assert min(counts) > 145  # 200 each
    for bad in ("2,31", "x", "2,-1", ",9"):
        with pytest.raises(UsageError, match="--rand-augment"):
            recipes.changed(plain, rand_augment=bad)


def test_cutmix_by_its_definition():
    from nasharness.training.distributed import World
    from nasharness.training.imagenet.step import Batch, Trainer

    class Seen(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, images):
            self.images = images
            return self.scale * images.mean((2, 3))

    draw = torch.Generator().manual_seed(0)
    net, images = Seen(), torch.randn(4, 3, 10, 14, generator=draw)
    labels = torch.tensor([0, 1, 2, 0])
    rate = torch.optim.SGD(net.parameters(), lr=0.0)
    trainer = Trainer(net, rate, World(0, 1, torch.device("cpu")), classes=3, cutmix=1.0, precision="fp32")
    areas = []
    for _ in range(40):
        trainer.advance(iter([Batch(images, labels, torch.ones(4))]), 0.0)
        other = (net.images == images.flip(0)).all(1)[0] & (net.images != images).any(1)[0]
        rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
        assert int(other.sum()) == len(rows) * len(columns)  # a rectangle, whole
        assert torch.equal(torch.where(other, images.flip(0), images), net.images)
        area = int(other.sum()) / 140
        logits = net.images.mean((2, 3))
        losses = [torch.nn.functional.cross_entropy(logits, each) for each in (labels, labels.flip(0))]
        assert trainer.watch.look(1, 1, 0.0) == pytest.approx(float((1 - area) * losses[0] + area * losses[1]), 1e-5)
        trainer.watch.begin()
        areas.append(area)
    assert max(areas) > 0.5
    assert min(areas) < 0.1


def test_half_precision_scales_the_loss_and_leaves_out_what_overflows():
    """Small gradients survive in fp16 as in fp32; the scale halves where they overflow, and is in the checkpoint."""
    from nasharness.training.device import autocast
    from nasharness.training.distributed import World
    from nasharness.training.imagenet.step import Batch, Trainer

    cpu, draw = torch.device("cpu"), torch.Generator().manual_seed(0)
    images, labels = torch.randn(6, 3, 4, 4, generator=draw), torch.arange(6) % 4
    steps = {}
    for precision in ("fp32", "fp16"):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4))
        with torch.no_grad():
            net[1].weight.zero_()
            net[1].bias.zero_()
        rate = torch.optim.SGD(net.parameters(), lr=1.0)
        trainer = Trainer(net, rate, World(0, 1, cpu), classes=4, precision=precision, clip=1e9)
        trainer.advance(iter([Batch(images * 1e-4, labels, torch.full((6,), 1e-4))]), 1.0)
        steps[precision] = net[1].weight.detach().clone()
    largest = float(steps["fp32"].abs().max())
    assert 0 < largest < 6e-8 / 2  # less than what fp16 rounds up to its least number
    torch.testing.assert_close(steps["fp16"], steps["fp32"], rtol=0.05, atol=largest / 50)
    kept, scale = net[1].weight.detach().clone(), trainer.scaler.get_scale()
    trainer.advance(iter([Batch(images * 6e4, labels, torch.ones(6))]), 1.0)
    assert torch.equal(net[1].weight, kept)
    assert trainer.scaler.get_scale() == scale / 2
    again = Trainer(net, rate, World(0, 1, cpu), classes=4, precision="fp16")
    again.load_state_dict(trainer.state_dict())
    assert again.scaler.get_scale() == scale / 2
    with pytest.raises(UsageError, match="precision"):
        autocast(cpu, "fp16")  # by whoever does not scale
