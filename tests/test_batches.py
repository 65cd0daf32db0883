"""Batches made on the device: against one image at a time in numpy, and the same bits from the same generator."""

import numpy as np
import pytest
import torch

from nasharness.errors import UsageError
from nasharness.training.batches import DeviceImages

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def pictures(count=23, side=16, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8), rng.integers(0, 5, count)


def device_images(side=16, **options):
    x, y = pictures(side=side)
    return x, y, DeviceImages(x, y, MEAN, STD, **options)


def normalised(x):
    return (x / 255.0 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels_last", [True, False])
def test_plain_batches_are_the_images_in_order(channels_last):
    x, y, images = device_images(channels_last=channels_last)
    batches = list(images.batches(10, shuffle=False, augment=False))
    assert [len(labels) for _, labels in batches] == [10, 10, 3]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert all(batch.is_contiguous(memory_format=layout) for batch, _ in batches)
    got = torch.cat([batch for batch, _ in batches])
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), normalised(x), atol=2e-6)
    assert torch.cat([labels for _, labels in batches]).tolist() == y.tolist()


@pytest.mark.parametrize(("side", "pad"), [(32, 4), (16, 2), (8, 1)])
def test_every_augmented_image_is_a_flip_and_a_crop_of_its_padded_self(side, pad):
    x, y = pictures(2, side)
    images = DeviceImages(np.repeat(x, 400, axis=0), np.repeat([0, 1], 400), MEAN, STD)
    batch, labels = next(images.batches(800, generator()))
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    expected = {}
    for which in range(2):
        for flip in (False, True):
            for dy in range(2 * pad + 1):
                for dx in range(2 * pad + 1):
                    crop = padded[which, :, dy : dy + side, dx : dx + side]
                    crop = crop[:, :, ::-1] if flip else crop
                    expected[normalised(crop).astype(np.float32).round(3).tobytes()] = (which, flip, dy, dx)
    seen = [expected[image.contiguous().numpy().round(3).tobytes()] for image in batch]
    assert [which for which, *_ in seen] == labels.tolist()
    for position, values in enumerate(([False, True], range(2 * pad + 1), range(2 * pad + 1)), start=1):
        counts = np.array([sum(one[position] == value for one in seen) for value in values])
        assert (abs(counts - 800 / len(values)) < 5 * np.sqrt(800 / len(values))).all()


def test_digits_are_not_mirrored():
    x = np.zeros((1, 3, 8, 8), np.uint8)
    x[..., 1] = 255  # a stroke on the left stays on the left
    images = DeviceImages(np.repeat(x, 200, axis=0), np.zeros(200, np.int64), MEAN, STD, flip=False)
    batch, _ = next(images.batches(200, generator()))
    assert set(batch[:, 0].sum(1).argmax(1).tolist()) == {0, 1, 2}


def test_the_same_state_gives_the_same_bits_and_nothing_else_is_drawn_from():
    _, _, images = device_images()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for options in ({}, {"shuffle": "replacement"}, {"shuffle": False}, {"augment": False}, {"drop_last": True}):
        one, two = generator(), generator()
        for (a, la), (b, lb) in zip(images.batches(7, one, **options), images.batches(7, two, **options), strict=True):
            assert torch.equal(a, b)
            assert torch.equal(la, lb)
        assert torch.equal(one.get_state(), two.get_state())
        other = next(images.batches(7, generator(2), **options))[0]
        assert not torch.equal(other, next(images.batches(7, generator(), **options))[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_sees_every_image_once_or_draws_with_replacement():
    x, _ = pictures(40)
    x[:, :, 0, 0] = np.arange(40)[:, None]
    images = DeviceImages(x, np.arange(40), MEAN, STD)
    seen = torch.cat([labels for _, labels in images.batches(16, generator())])
    assert sorted(seen.tolist()) == list(range(40))
    assert seen.tolist() != list(range(40))
    assert sum(len(labels) for _, labels in images.batches(16, generator(), drop_last=True)) == 32
    drawn = torch.cat([labels for _, labels in images.batches(16, generator(), shuffle="replacement", steps=500)])
    assert len(drawn) == 8000
    counts = np.bincount(drawn.numpy(), minlength=40)
    assert (abs(counts - 200) < 5 * np.sqrt(200)).all()
    batch, labels = next(images.batches(16, generator(), augment=False))
    np.testing.assert_allclose(batch.numpy(), normalised(x[labels.numpy()]), atol=2e-6)
    assert images.steps(16) == 3
    assert images.steps(16, drop_last=True) == 2


def test_bad_requests():
    x, y, images = device_images()
    for options, message in [
        ({"size": 0}, "batch 0"),
        ({"size": 24, "drop_last": True}, "larger than the 23 images"),
        ({"size": 4, "shuffle": "random"}, "expected True, False or 'replacement'"),
        ({"size": 4, "steps": 3}, "with replacement"),
    ]:
        with pytest.raises(UsageError, match=message):
            images.batches(generator=generator(), **options)
    with pytest.raises(UsageError, match=r"need a torch\.Generator"):
        images.batches(4)
    with pytest.raises(UsageError, match="no images"):
        DeviceImages(x[:0], y[:0], MEAN, STD).batches(4, generator())
    with pytest.raises(UsageError, match="expected uint8"):
        DeviceImages(x.astype(float), y, MEAN, STD)
    with pytest.raises(UsageError, match="expected uint8"):
        DeviceImages(x, y[1:], MEAN, STD)
