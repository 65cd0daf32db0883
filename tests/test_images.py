"""Images: published archives written here in miniature, hostile and damaged ones, JPEG parquet, splits, fetching."""

import gzip
import hashlib
import io
import json
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from pyarrow import parquet

from nasharness.cli.data import command as data_command
from nasharness.errors import DataError, UsageError
from nasharness.images import archive as archives
from nasharness.images import load, names, split
from nasharness.images.archive import md5_of_file
from nasharness.images.base import build
from nasharness.images.cifar import CIFAR, CIFAR10_CLASSES
from nasharness.images.fetch import fetch_images
from nasharness.images.stratified import stratified
from tests.test_fetch import Server

PER_BATCH = 12


def python2(value):
    """Pickle as Python 2 did at protocol 2: plain strings as BINSTRING, arrays of a string's bytes."""
    out = io.BytesIO()

    def text(data):
        out.write(b"T" + len(data).to_bytes(4, "little") + data)

    def write(thing):
        if isinstance(thing, dict):
            out.write(b"}(")
            for key, item in thing.items():
                text(key.encode())
                write(item)
            out.write(b"u")
        elif isinstance(thing, list):
            out.write(b"](")
            for item in thing:
                write(item)
            out.write(b"e")
        elif isinstance(thing, int):
            out.write(b"J" + thing.to_bytes(4, "little", signed=True))
        elif isinstance(thing, str):
            text(thing.encode())
        else:  # an array
            out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01")
            out.write(b"J" + thing.shape[0].to_bytes(4, "little") + b"J" + thing.shape[1].to_bytes(4, "little"))
            out.write(
                b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            )
            text(thing.tobytes())
            out.write(b"tb")

    out.write(b"\x80\x02")
    write(value)
    out.write(b".")
    return out.getvalue()


def pixels(count, seed=0, side=32):
    return np.random.default_rng(seed).integers(0, 256, (count, 3 * side * side), dtype=np.uint8)


def cifar10_files(seed=0, dump=python2):
    files = {}
    for number, name in enumerate(("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")):
        labels = [(number + k) % 10 for k in range(PER_BATCH)]
        files[name] = dump({"batch_label": name, "labels": labels, "data": pixels(PER_BATCH, seed + number)})
    files["test_batch"] = dump({"labels": [k % 10 for k in range(PER_BATCH)], "data": pixels(PER_BATCH, seed + 9)})
    files["batches.meta"] = dump({"num_cases_per_batch": PER_BATCH, "label_names": list(CIFAR10_CLASSES)})
    return files


def pack(path, files, folder="cifar-10-batches-py"):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def unpack(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("dump", [python2, pickle.dumps, lambda value: pickle.dumps(value, protocol=2)])
def test_an_archive_and_its_folder_hold_the_same_images(tmp_path, dump):
    files = cifar10_files(dump=dump)
    pack(tmp_path / "cifar-10-python.tar.gz", files)
    packed = load("cifar10", tmp_path)
    assert packed.train_x.shape == (5 * PER_BATCH, 3, 32, 32)
    np.testing.assert_array_equal(packed.train_x[PER_BATCH:][0].reshape(-1), pixels(PER_BATCH, 1)[0])
    assert packed.train_y[:3].tolist() == [0, 1, 2]
    assert packed.test_y.tolist() == [k % 10 for k in range(PER_BATCH)]
    assert packed.class_names == CIFAR10_CLASSES
    assert packed.mean == pytest.approx((125.3 / 255, 123 / 255, 113.9 / 255))
    assert not packed.published  # in miniature, and it says so
    assert "not the published archive" in packed.source
    unpack(tmp_path / "other" / "cifar-10-batches-py", files)
    for place in (tmp_path / "other", tmp_path / "other" / "cifar-10-batches-py", tmp_path / "cifar-10-python.tar.gz"):
        assert load("cifar10", place).checksum == packed.checksum
    assert "MD5 of data_batch_1" in load("cifar10", tmp_path / "other").source


def test_cifar100_has_fine_labels(tmp_path):
    names = [f"class {k}" for k in range(100)]
    files = {
        part: python2({"fine_labels": [99 - k % 100 for k in range(n)], "coarse_labels": [0] * n, "data": pixels(n, n)})
        for part, n in (("train", 200), ("test", 100))
    }
    files["meta"] = python2({"fine_label_names": names, "coarse_label_names": ["x"]})
    pack(tmp_path / "cifar-100-python.tar.gz", files, "cifar-100-python")
    images = load("cifar100", tmp_path)
    assert (images.classes, images.class_names[7], images.train_y[0]) == (100, "class 7", 99)
    with pytest.raises(DataError, match="no images of cifar10 .*data fetch cifar10"):
        load("cifar10", tmp_path)


def test_imagenet16_keeps_the_first_120_classes(tmp_path):
    for number in range(1, 11):
        labels = [1, 120, 121, 1000, number]
        batch = {"data": pixels(5, number, 16), "labels": labels, "mean": np.zeros(768)}
        (tmp_path / f"train_data_batch_{number}").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match="val_data"):
        load("ImageNet16-120", tmp_path)
    (tmp_path / "val_data").write_bytes(pickle.dumps({"data": pixels(3, 0, 16), "labels": [120, 500, 2]}))
    images = load("ImageNet16-120", tmp_path)
    assert images.train_x.shape == (30, 3, 16, 16)
    assert images.train_y[:3].tolist() == [0, 119, 0]
    assert images.test_y.tolist() == [119, 1]
    assert images.classes == 120
    (tmp_path / "val_data").write_bytes(pickle.dumps({"data": pixels(2, 0, 16), "labels": [0, 5]}))
    with pytest.raises(DataError, match=r"val_data: labels from 0 to 5, expected 1\.\.1000"):
        load("ImageNet16-120", tmp_path)


class Hostile:
    """Runs a command when unpickled by the standard reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_hostile_batch_is_refused_and_nothing_of_it_runs(tmp_path):
    files = cifar10_files()
    files["data_batch_3"] = pickle.dumps({"data": Hostile(tmp_path / "ran"), "labels": []})
    unpack(tmp_path / "a" / "cifar-10-batches-py", files)
    (tmp_path / "b").mkdir()
    pack(tmp_path / "b" / "cifar-10-python.tar.gz", files)
    for place in ("a", "b"):
        with pytest.raises(DataError, match=r"data_batch_3: refused: the pickle asks for .*open"):
            load("cifar10", tmp_path / place)
    assert not (tmp_path / "ran").exists()
    files["data_batch_3"] = pickle.dumps({"data": np.array([{}], dtype=object), "labels": [1]})
    unpack(tmp_path / "a" / "cifar-10-batches-py", files)
    with pytest.raises(DataError, match="data_batch_3: refused"):
        load("cifar10", tmp_path / "a")


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "cifar-10-batches-py/../../outside"])
def test_names_that_lead_outside_an_archive_are_refused(tmp_path, name):
    path = pack(tmp_path / "cifar-10-python.tar.gz", {name: b"x"} | cifar10_files(), folder="")
    with pytest.raises(DataError, match="refused.*outside"):
        load("cifar10", path)


def test_links_bombs_and_what_is_no_archive_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match="link or a device"):
        load("cifar10", tmp_path)
    files = cifar10_files()
    del files["data_batch_4"]
    pack(path, files)
    with pytest.raises(DataError, match="has no cifar-10-batches-py/data_batch_4.*data fetch cifar10"):
        load("cifar10", tmp_path)
    pack(path, cifar10_files())
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    for data in (whole[: len(whole) // 2], whole[:-9], bytes(damaged), b"", b"<html>", gzip.compress(b"no tar" * 99)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: .*nasharness data fetch cifar10"):
            load("cifar10", tmp_path)
    path.write_bytes(whole)
    monkeypatch.setattr(archives, "LIMIT", 50_000)
    with pytest.raises(DataError, match="50,000 bytes"):
        load("cifar10", tmp_path)


def test_batches_that_do_not_fit_are_named(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    good = cifar10_files()
    wrong = {
        "data_batch_2: 12 images but 11 labels": {"data": pixels(12), "labels": [0] * 11},
        "data_batch_2: 11 images, but data_batch_1 has 12": {"data": pixels(11), "labels": [0] * 11},
        "data_batch_2: 'data' has 768 values an image": {"data": pixels(12, side=16), "labels": [0] * 12},
        "data_batch_2: 'data' is float64": {"data": np.zeros((12, 3072)), "labels": [0] * 12},
        "data_batch_2: 'labels' is NoneType": {"data": pixels(12)},
        "training image 12 has label 10, expected 0..9": {"data": pixels(12), "labels": [10] + [0] * 11},
    }
    for message, batch in wrong.items():
        unpack(folder, good | {"data_batch_2": pickle.dumps(batch)})
        with pytest.raises(DataError, match=message):
            load("cifar10", tmp_path)
    unpack(folder, good | {"data_batch_2": good["data_batch_2"][:-500]})
    with pytest.raises(DataError, match="data_batch_2: damaged.*data fetch cifar10"):
        load("cifar10", tmp_path)
    unpack(folder, good)
    (folder / "data_batch_5").unlink()
    with pytest.raises(DataError, match="data_batch_5.*data fetch cifar10"):
        load("cifar10", tmp_path)


def test_digits():
    digits = load("digits")
    assert digits.train_x.shape == (1437, 3, 8, 8)
    assert digits.test_x.shape == (360, 3, 8, 8)
    assert digits.train_x.max() == 255
    assert not digits.mirrored
    assert digits.mean == pytest.approx(digits.train_x.mean(axis=(0, 2, 3)) / 255)
    assert digits.std == pytest.approx(digits.train_x.std(axis=(0, 2, 3)) / 255)
    assert np.bincount(digits.test_y).min() >= 34
    assert load("digits").checksum == digits.checksum


def encode(array, kind="JPEG", mode="RGB"):
    out = io.BytesIO()
    Image.fromarray(array).convert(mode).save(out, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return out.getvalue()


def flat(value, side=8):
    return np.full((side, side, 3), value, dtype=np.uint8)


def write_parquet(path, images, labels):
    parquet.write_table(pa.table({"jpeg": pa.array(images, pa.binary()), "label": pa.array(labels, pa.int8())}), path)
    return path


def test_parquet_of_jpegs_by_name_folder_and_file(tmp_path):
    train = [encode(flat(20 * k)) for k in range(10)]
    write_parquet(tmp_path / "cifar10_jpeg_train0.parquet", train[:4], [0, 1, 2, 3])
    write_parquet(tmp_path / "cifar10_jpeg_train1.parquet", train[4:], [4, 5, 6, 7, 8, 9])
    write_parquet(tmp_path / "cifar10_jpeg_test.parquet", train[:2], [1, 0])
    parquet.write_table(pa.table({"index": [1]}), tmp_path / "no_images_train.parquet")
    images = load("cifar10", tmp_path)
    assert (len(images.train_x), len(images.test_x), images.classes) == (10, 2, 10)
    assert abs(images.train_x[7].astype(int) - 140).max() <= 2
    assert images.test_y.tolist() == [1, 0]
    assert "not comparable" in images.source
    assert not images.published
    assert load(tmp_path).checksum == images.checksum
    write_parquet(tmp_path / "cifar100_train.parquet", train, list(range(10)))
    assert load("cifar10", tmp_path).checksum == images.checksum  # the other set is not mixed in
    with pytest.raises(UsageError, match="several sets"):
        load(tmp_path)


def test_one_parquet_file_is_split_by_class_even_when_unbalanced(tmp_path):
    labels = [0] * 40 + [1] * 8 + [2] * 2 + [3]
    path = write_parquet(tmp_path / "mine.parquet", [encode(flat(k)) for k in range(51)], labels)
    images = load(path)
    assert len(images.test_y) == 10
    assert np.bincount(images.test_y, minlength=4).tolist() == [8, 2, 0, 0]
    assert np.bincount(images.train_y).tolist() == [32, 6, 2, 1]
    assert images.classes == 4
    assert "10 held back" in images.source
    assert load(path).checksum == images.checksum


def test_grey_png_palette_and_cmyk_images_become_rgb(tmp_path):
    made = [encode(flat(100), mode="L"), encode(flat(100), "PNG"), encode(flat(100), mode="CMYK")]
    made += [encode(flat(100), "PNG", "P"), encode(flat(100), "PNG", "RGBA")]
    write_parquet(tmp_path / "x_train.parquet", made, [0, 1, 0, 1, 0])
    write_parquet(tmp_path / "x_test.parquet", made[:2], [0, 1])
    images = load(tmp_path)
    assert abs(images.train_x.astype(int) - 100).max() <= 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"not an image", "row 2 cannot be decoded"),
        (b"", "row 2 cannot be decoded"),
        (encode(flat(3))[:-40], "row 2 cannot be decoded"),
        (None, "row 2 has no image"),
        (encode(flat(3, 16)), "row 2 is 16 x 16 pixels, expected 8 x 8"),
        (encode(flat(3), "BMP"), "row 2 cannot be decoded"),
    ],
)
def test_images_that_cannot_be_read_are_named(tmp_path, bad, message):
    path = write_parquet(tmp_path / "x.parquet", [encode(flat(1)), encode(flat(2)), bad, encode(flat(4))], [0, 1, 0, 1])
    with pytest.raises(DataError, match=rf"x\.parquet: {message}"):
        load(path)


def test_parquet_that_is_no_set_of_images(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        load(path)
    for table, message in [
        ({"jpeg": [b"a"]}, "cannot be read|no column 'label'"),
        ({"jpeg": [b"a"], "label": ["cat"]}, "'label' is string"),
        ({"jpeg": ["text"], "label": [1]}, "'jpeg' is string"),
        ({"jpeg": [encode(flat(1))] * 5, "label": [0, 1, 0, 1, -1]}, "label -1"),
        ({"jpeg": [encode(flat(1))] * 5, "label": [0, 1, 0, 1, 1 << 40]}, "label 1099511627776"),
        ({"jpeg": [encode(np.zeros((8, 9, 3), np.uint8))] * 2, "label": [0, 1]}, "9 x 8 pixels; expected square"),
    ]:
        parquet.write_table(pa.table(table), path)
        with pytest.raises(DataError, match=message):
            load(path)


def test_unknown_names_and_empty_places(tmp_path, data_home):
    with pytest.raises(UsageError, match="nearest: cifar10"):
        load("cifar1")
    with pytest.raises(DataError, match="nothing there"):
        load("cifar10", tmp_path / "none")
    with pytest.raises(DataError, match="nothing there"):
        load("some/where.parquet")
    with pytest.raises(DataError, match="no parquet file"):
        load(tmp_path)
    for name in names():
        if name != "digits":
            with pytest.raises(DataError, match=f"no images of {name}"):
                load(name)


# ---- splits


def made_up(name, count=40, test=20, published=True):
    x = np.arange((count + test) * 192, dtype=np.uint32).astype(np.uint8).reshape(-1, 3, 8, 8)
    x[:, 0, 0, 0] = np.arange(count + test)  # so that every image can be told
    y = np.arange(count + test) % 4
    return build(name, (x[:count], y[:count]), (x[count:], y[count:]), source="", published=published)


def tags(part):
    return set(part[0][:, 0, 0, 0].tolist())


def test_splits_cover_their_images_once_and_test_never_overlaps():
    for name, published, scheme, sizes in [
        ("cifar10", True, "auto", (20, 20, 20)),
        ("cifar100", True, "auto", (40, 10, 10)),
        ("ImageNet16-120", True, "auto", (40, 10, 10)),
        ("cifar10", False, "auto", (32, 8, 20)),
        ("mine", False, "halves", (20, 20, 20)),
        ("mine", False, "full", (40, 0, 20)),
    ]:
        images = made_up(name, published=published)
        made = split(images, scheme=scheme, seed=3)
        parts = [tags(made.weights), tags(made.arch), tags(made.test)]
        assert tuple(len(part) for part in parts) == sizes, name
        assert len(set().union(*parts)) == sum(sizes)
        whole_test = set(range(40, 60))
        assert parts[2] <= whole_test
        assert not parts[0] & whole_test
        assert np.bincount(made.weights[1]).max() - np.bincount(made.weights[1]).min() <= 1
        again = split(images, scheme=scheme, seed=3)
        np.testing.assert_array_equal(again.weights[0], made.weights[0])
        if len(parts[1]):
            assert tags(split(images, scheme=scheme, seed=4).arch) != parts[1]
    assert "not the published split" in split(made_up("cifar10")).note


def test_published_split_files_are_imported(tmp_path):
    file = tmp_path / "cifar-split.txt"
    content = {"train": ["int", [str(k) for k in range(0, 40, 2)]], "valid": ["int", [str(k) for k in range(1, 40, 2)]]}
    file.write_text(json.dumps(content))
    made = split(made_up("cifar10"), file=file)
    assert tags(made.weights) == set(range(0, 40, 2))
    assert tags(made.arch) == set(range(1, 40, 2))
    assert "as published in cifar-split.txt" in made.note
    with pytest.raises(DataError, match="not a split file.*'xtest'"):
        split(made_up("cifar100"), file=file)
    with pytest.raises(DataError, match="another set of images"):
        split(made_up("cifar10", count=50), file=file)
    file.write_text(json.dumps(content | {"valid": ["int", ["0"] * 20]}))
    with pytest.raises(DataError, match="another set of images"):
        split(made_up("cifar10"), file=file)
    file.write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        split(made_up("cifar10"), file=file)
    with pytest.raises(DataError, match="cannot read the split file"):
        split(made_up("cifar10"), file=tmp_path / "none")
    file.write_text(json.dumps({"xvalid": ["int", list(range(10))], "xtest": ["int", list(range(10, 20))]}))
    made = split(made_up("cifar100"), file=file)
    assert tags(made.arch) == set(range(40, 50))
    assert tags(made.test) == set(range(50, 60))


def test_bad_splits():
    with pytest.raises(UsageError, match="nearest: halves"):
        split(made_up("cifar10"), scheme="halfs")
    for fraction in (0.0, 1.0, -1, 1e-9, float("nan")):
        with pytest.raises(UsageError, match="fraction"):
            split(made_up("x", published=False), fraction=fraction)


def test_stratified_draws_the_exact_total():
    rng = np.random.default_rng(1)
    for fraction in (0.1, 0.2, 0.5, 0.77):
        labels = rng.integers(0, 7, 501)
        rest, chosen = stratified(labels, fraction, np.random.default_rng(2))
        assert len(chosen) == round(501 * fraction)
        np.testing.assert_array_equal(np.sort(np.concatenate([rest, chosen])), np.arange(501))
        share = np.bincount(labels[chosen]) - fraction * np.bincount(labels)
        assert abs(share).max() < 1


# ---- fetching


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def miniature(tmp_path):
    path = pack(tmp_path / "cifar-10-python.tar.gz", cifar10_files())
    return path, {"cifar10": replace(CIFAR["cifar10"], md5=md5_of_file(path), sha256="")}


def test_images_are_fetched_resumed_checked_and_found(miniature, server, data_home):
    path, layouts = miniature
    server.files, server.cuts = {path.name: path.read_bytes()}, 2
    options = {"mirror": server.url, "layouts": layouts, "pause": 0.01, "timeout": 5}
    here = fetch_images("cifar10", **options)
    assert here == data_home / "images" / path.name
    assert any(wanted for _, wanted in server.asked)  # it resumed
    assert load("cifar10").checksum == load("cifar10", path.parent).checksum
    server.asked = []
    fetch_images("cifar10", **options)
    assert not server.asked  # it is here
    fetch_images("cifar10", force=True, **options)
    assert server.asked
    report = json.loads(CliRunner().invoke(data_command, ["status", "--json"]).output)
    rows = {row["name"]: row for row in report["images"]}
    assert rows["cifar10"]["path"] == str(here)
    assert rows["cifar100"]["command"] == "nasharness data fetch cifar100"
    assert "images/cifar10" in CliRunner().invoke(data_command, ["status"]).output


def test_addresses_are_tried_in_turn(miniature, server, data_home):
    path, layouts = miniature
    server.files = {path.name: path.read_bytes()}
    layout = replace(layouts["cifar10"], urls=(f"{server.url}/gone", f"{server.url}/{path.name}"))
    assert fetch_images("cifar10", layouts={"cifar10": layout}, pause=0.01).is_file()


def test_another_archive_than_the_published_is_not_kept(miniature, server, data_home):
    path, layouts = miniature
    server.files = {path.name: path.read_bytes()[:-1] + b"x"}
    for mirror in (server.url, path.parent):
        with pytest.raises(DataError, match="(MD5|SHA-256) is .*, expected"):
            fetch_images("cifar10", mirror=mirror, pause=0.01)
    with pytest.raises(DataError, match="(MD5|SHA-256) is .*, expected"):
        fetch_images("cifar10", mirror=server.url, layouts=layouts, pause=0.01)
    with pytest.raises(DataError, match="404"):
        fetch_images("cifar100", mirror=server.url, pause=0.01)
    assert not [file for file in data_home.rglob("*") if file.is_file()]
    assert path.is_file()
    assert fetch_images("cifar10", mirror=path.parent, layouts=layouts).read_bytes() == path.read_bytes()


def test_fetch_from_the_command_line(miniature, data_home):
    path, _ = miniature

    def run(*arguments):
        return CliRunner().invoke(data_command, ["fetch", *map(str, arguments)])

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    result = run("cifar10", "--mirror", path.parent, "--sha256", f"{path.name}={digest}")
    assert result.exception is None
    assert "--images cifar10" in result.output
    for arguments, message in [
        (("cifar1",), "nearest: cifar10"),
        (("digits",), "ship with scikit-learn"),
        (("ImageNet16-120",), "image-net.org"),
        (("cifar10", "--name", "x"), "leave it out"),
        (("cifar10", "--sha256", f"x={digest}"), "unknown file"),
        (("cifar100", "--mirror", path.parent), "no cifar-100-python.tar.gz"),
    ]:
        assert message in str(run(*arguments).exception)
