"""Images in domains: digits that are turned, folders and parquet, and the split that holds one domain out."""

import io

import numpy as np
import pytest

from nasharness.errors import DataError, UsageError
from nasharness.images import leave_out, load_domains
from nasharness.images.rotated import turned
from tests.one_shot_fixtures import few_turned

image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return load_domains("digits")


def test_no_digit_is_on_both_sides_of_a_split(digits):
    images, split = leave_out(digits, "-40")
    count = len(digits.y) // 5
    assert (images.side, images.classes, images.mean) == (16, 10, (0.5, 0.5, 0.5))
    assert split.domains.sources == ("-20", "0", "20", "40")
    kept = digits.y[:count][digits.kept[:count]]
    assert split.test[1].tolist() == kept.tolist()  # the test digits alone, at the target's angle
    assert (split.test[0] == digits.x[:count][digits.kept[:count]]).all()
    rows = {}
    for number, picture in enumerate(digits.x):
        rows.setdefault(picture.tobytes(), digits.things[number])
    shown = [{rows[picture.tobytes()] for picture in part} for part, _ in (split.weights, split.arch)]
    assert not shown[0] & shown[1]
    assert len(shown[0]) + len(shown[1]) == count - 360
    assert np.bincount(split.domains.weights).tolist() == [len(shown[0])] * 4


def test_turning_is_anticlockwise_and_by_nothing_changes_nothing():
    grey = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    assert (turned(grey, 0, side=8) == grey).all()
    assert (turned(grey, 90, side=8)[0] == np.rot90(grey[0])).all()
    assert turned(grey, 20).shape == (1, 16, 16)


def test_targets_and_sources_must_be_what_they_are_said_to_be():
    few = few_turned()
    _, split = leave_out(few)
    assert (split.domains.target, split.domains.sources) == ("40", ("-40", "0"))
    with pytest.raises(UsageError, match=r"unknown domain of digits '41'; nearest: 40"):
        leave_out(few, "41")
    with pytest.raises(UsageError, match=r"--target-domain 0: is among the sources \(0, 40\)"):
        leave_out(few, "0", sources=["0", "40"])
    with pytest.raises(UsageError, match=r"one source domain \(40\) beside the target 0"):
        leave_out(few, "0", sources=["40"])
    with pytest.raises(UsageError, match="have no domains; expected digits, DIR/DOMAIN/CLASS"):
        load_domains("cifar10")


def picture(shade, size=(12, 12)):
    made = io.BytesIO()
    image.new("RGB", size, (shade, 0, 0)).save(made, "PNG")
    return made.getvalue()


def folder(root, domains=("photo", "sketch", "cartoon"), size=(12, 12)):
    for number, domain in enumerate(domains):
        for kind in ("cat", "dog"):
            (root / domain / kind).mkdir(parents=True)
            for place in range(5):
                (root / domain / kind / f"{place}.png").write_bytes(picture(40 * number + place, size))
    return root


def test_folders_of_domains_and_classes_are_read(tmp_path):
    found = load_domains(folder(tmp_path / "set"))
    assert (found.names, found.class_names) == (("cartoon", "photo", "sketch"), ("cat", "dog"))
    assert found.x.shape == (30, 3, 12, 12)
    assert sorted(set(found.x[found.domain == 1][:, 0, 0, 0])) == [0, 1, 2, 3, 4]
    with pytest.raises(UsageError, match="which domain is held out.*cartoon, photo, sketch"):
        leave_out(found)
    images, split = leave_out(found, "sketch")
    assert len(split.test[1]) == 10
    assert len(split.arch[1]) == 4
    assert images.class_names == ("cat", "dog")


def test_inner_folders_are_domains_where_the_target_is_one_of_them(tmp_path):
    """NICO has DIR/CLASS/CONTEXT, where classes may lack contexts; what it says is what DIR/DOMAIN/CLASS says."""
    root = folder(tmp_path / "nico", domains=("cat", "dog", "cow"))
    for inner in root.iterdir():
        (inner / "cat").rename(inner / "grass")
        (inner / "dog").rename(inner / "snow")
        if inner.name != "cow":
            (inner / "beach").mkdir()
            (inner / "beach" / "0.png").write_bytes(picture(7))
    found = load_domains(root, target="snow")
    assert (found.names, found.class_names) == (("beach", "grass", "snow"), ("cat", "cow", "dog"))
    images, split = leave_out(found, "snow")
    assert (len(split.test[1]), split.domains.sources) == (15, ("beach", "grass"))
    assert found.y[found.domain == 0].tolist() == [0, 2]  # no cow on a beach
    assert load_domains(root).names == load_domains(root, target="cow").names == ("cat", "cow", "dog")


def test_folders_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(DataError, match="no images there; expected DIR/DOMAIN/CLASS"):
        load_domains(tmp_path)
    one = load_domains(folder(tmp_path / "one", domains=("photo",)))
    with pytest.raises(DataError, match=r"all images are of one domain \(photo\)"):
        leave_out(one, "photo")
    odd = folder(tmp_path / "odd")
    (odd / "photo" / "dog" / "2.png").write_bytes(picture(0, (14, 12)))
    with pytest.raises(DataError, match=r"photo/dog/2.png: is 14 x 12 pixels, expected 12 x 12.*--side N"):
        load_domains(odd)
    assert load_domains(odd, side=8).x.shape == (30, 3, 8, 8)
    (odd / "photo" / "dog" / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2.png: cannot be decoded"):
        load_domains(odd, side=8)


def test_parquet_with_a_column_of_domains_is_read(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"jpeg": [picture(n) for n in range(12)], "label": [n % 2 for n in range(12)]}
    path = tmp_path / "set.parquet"
    parquet.write_table(pa.table(columns | {"domain": ["a", "b", "c"] * 4}), path)
    found = load_domains(path)
    assert found.names == ("a", "b", "c")
    assert found.x[found.domain == 1][:, 0, 0, 0].tolist() == [1, 4, 7, 10]
    parquet.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match="no column 'domain'"):
        load_domains(path)
    parquet.write_table(pa.table(columns | {"domain": [0.5] * 12}), path)
    with pytest.raises(DataError, match="column 'domain' is double"):
        load_domains(path)
