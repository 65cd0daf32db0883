"""Importers of published tables: anchors on the real files, made-up files for what may be wrong with one."""

import base64
import csv
import hashlib
import itertools
import json
import struct

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

import nasharness
from nasharness import spaces
from nasharness.cli import cli
from nasharness.errors import DataError, UsageError
from nasharness.search import Problem
from nasharness.spaces.cell_moves import canonical, near_cells
from nasharness.spaces.cells import OPERATIONS, OPTIONS, POSITIONS, CellSpace, features_of, parsed, strings_of
from nasharness.spaces.part import PartSpace
from nasharness.tables import catalogue
from nasharness.tables.importers import nb101, published
from nasharness.tables.importers.tfrecord import fields, records
from nasharness.tables.inventory import import_any


def write_csv(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_parquet(path, columns):
    parquet.write_table(pa.table(columns), path)
    return path


def command(*words):
    return CliRunner().invoke(cli, list(map(str, words)), catch_exceptions=True)


def refused(path, match, home, **options):
    """The import fails with one clear line and leaves nothing."""
    with pytest.raises((DataError, UsageError), match=match) as caught:
        import_any(path if isinstance(path, list) else [path], **options)
    assert "\n" not in str(caught.value)
    assert not [file for file in home.rglob("*") if file.is_file() and file.suffix != ".lock"]


# ---- NAS-Bench-Macro and Channel-Bench


def entries(space, key, seed=0):
    """A made-up file of trials in the published form, with the true counts."""
    chosen, rng = spaces.get(space), np.random.default_rng(seed)
    ids = np.arange(chosen.size)
    trials = np.round(rng.uniform(80, 95, (chosen.size, 3)), 2).tolist()
    params, macs = (np.round(1e6 * count(ids)).astype(int).tolist() for count in (chosen.params, chosen.flops))
    rest = {"mean_acc": 0.0, "mean": 0.0, "std": 0.0}
    return {
        text: {key: trials[row], "params": params[row], "flops": macs[row]} | rest
        for row, text in enumerate(chosen.strings())
    }


FORMS = {"nbmacro": ("macro", "test_acc"), "channel": ("channel-resnet", "acc")}


@pytest.mark.parametrize("name", FORMS)
def test_trials_are_searched_by_one_and_scored_by_the_others(name, tmp_path, data_home):
    space, key = FORMS[name]
    made = entries(space, key)
    path = tmp_path / "made.json"
    path.write_text(json.dumps(dict(reversed(made.items()))))
    table = import_any([path])
    assert (table.space, table.name) == (space, name)
    chosen = spaces.get(space)
    values = table.array("cifar10", "test_acc")
    assert values[0, :, 7].tolist() == made[chosen.string(7)][key]
    problem = Problem.create(space)
    assert (str(problem.signal), str(problem.final)) == ("test:random", "test:others")
    assert nasharness.run("rea", problem, runs=3).runs == 3
    assert import_any([path]).checksum == table.checksum  # the same files again are no error
    made[chosen.string(7)][key][0] = 50.0
    path.write_text(json.dumps(made))
    with pytest.raises(UsageError, match="--force"):
        import_any([path])
    assert import_any([path], force=True).array("cifar10", "test_acc")[0, 0, 7] == 50.0
    with pytest.raises(UsageError, match="never a search signal; leave --signal out"):
        Problem.create(space, signal="test:0")


BAD_ENTRIES = {
    "6,560 of 6,561 architectures.*missing is 00000011": lambda made: made.pop("00000011"),
    "test_acc0 in row 4 is nan": lambda made: made["00000011"].update(test_acc=[float("nan"), 90.0, 90.0]),
    "is not 3 numbers 'test_acc'": lambda made: made["00000011"].update(test_acc=[90.0, 90.0]),
    "params in row 4 is 1, expected": lambda made: made["00000011"].update(params=1),
    "it has 3 character": lambda made: made.update({"000": made.pop("00000011")}),
    "fractions": lambda made: [entry.update(test_acc=[0.9, 0.8, 0.7]) for entry in made.values()],
}


@pytest.mark.parametrize("match", BAD_ENTRIES)
def test_bad_entries_are_refused(match, tmp_path, data_home):
    made = entries("macro", "test_acc")
    BAD_ENTRIES[match](made)
    path = tmp_path / "made.json"
    path.write_text(json.dumps(made))
    refused(path, match, data_home)


def test_bad_json_is_refused(tmp_path, data_home):
    path = tmp_path / "x.json"
    texts = {
        "'0' occurs more than once": '{"0": {"test_acc": 1}, "0": {}}', "damaged": '{"0":', "a list": "[1]",
        "is no NATS-Bench archive": '{"0": {"a": 1}}',
    }  # fmt: skip
    for match, text in texts.items():
        path.write_text(text)
        refused(path, match, data_home)


def test_files_of_trials_with_their_published_values(shared_data, data_home):
    for file, space in (("nbmacro.parquet", "macro"), ("channelbench_resnet.parquet", "channel-resnet")):
        table = import_any([shared_data / file])
        chosen = spaces.get(space)
        rows = parquet.read_table(shared_data / file)
        # counts were compared with the closed forms by the importer, all rows
        text = rows.column("arch" if space == "macro" else "code").to_pylist()[5]
        accuracies = [name for name in rows.column_names if name.startswith("test_acc")]
        stored = table.array("cifar10", "test_acc")[0, :, chosen.parse(text)]
        np.testing.assert_array_equal(stored, [rows.column(name).to_pylist()[5] for name in accuracies])


# ---- TransNAS-Bench-101


def test_micro_strings_mean_the_same_cell():
    space = spaces.get("tnb101-micro")
    assert space.size == 4096
    for text in ("(2, 3, 2, 3, 2, 3)", "64-41414-2_32_323", "[2,3,2,3,2,3]", "2, 3, 2, 3, 2, 3"):
        assert space.parse(text) == space.index([2, 3, 2, 3, 2, 3])
    for wrong in ("(2, 3, 2, 3, 2)", "(2, 3, 2, 3, 2, 4)", "64-41414-2_32_324", "64-1221-basic"):
        with pytest.raises(UsageError, match="not an architecture of space tnb101-micro"):
            space.parse(wrong)
    graph = space.graph("64-41414-1_23_010")
    assert graph.edges[3] == (0, 3, "none")
    assert graph.edges[4] == (1, 3, "skip_connect")
    assert int(space.is_constant(np.arange(space.size)).sum()) == 169


def test_cells_without_a_path_are_those_at_the_bottom(shared_data, data_home):
    """That is what settles the order of operations and edges."""
    table = import_any([shared_data / "tnb101_micro.parquet"])
    space = spaces.get("tnb101-micro")
    dead = space.is_constant(np.arange(space.size))
    scene = table.values("class_scene", "val")
    assert len(set(scene[dead])) == 1
    assert scene[dead].max() < scene[~dead].min()
    assert table.column("normal", "val").unit == "SSIM"
    result = nasharness.run("autoshrink.set", Problem.create("tnb101-micro", "normal"), runs=3)
    assert result.summary()["space"] == "tnb101-micro"
    with pytest.raises(UsageError, match="say which: --dataset class_scene"):
        Problem.create("tnb101-micro")


def skeletons():
    return ["64-" + "".join(code) + "-basic" for n in (4, 5) for code in itertools.product("1234", repeat=n)][:300]


def test_skeletons_become_a_listed_space(tmp_path, data_home):
    texts = skeletons()
    values = {"class_scene_val": np.linspace(30, 60, 300), "room_layout_val": np.linspace(-0.9, -0.4, 300)}
    path = write_csv(tmp_path / "macro.csv", {"arch": texts} | values)
    table = import_any([path])
    assert (table.space, table.size, table.datasets) == ("tnb101-macro", 300, ["class_scene", "room_layout"])
    problem = Problem.create("tnb101-macro", "class_scene")
    for algorithm in ("rea", "random", "local-search"):
        assert nasharness.run(algorithm, problem, runs=3).runs == 3
    with pytest.raises(UsageError, match="bohb"):
        nasharness.run("bohb", problem)
    assert spaces.get("tnb101-macro").parse(texts[7]) == 7


def test_bad_tasks_are_refused(tmp_path, data_home):
    texts, values = skeletons(), np.linspace(30, 60, 300)
    cases = {
        "occurs more than once": {"arch": [*texts[:-1], texts[0]], "class_scene_val": values},
        "row 9 is 'x', expected a skeleton": {"arch": [*texts[:9], "x", *texts[10:]], "class_scene_val": values},
        "class_scene_val in row 3 is nan": {
            "arch": texts,
            "class_scene_val": np.where(np.arange(300) == 3, np.nan, values),
        },
        "loss with a minus": {"arch": texts, "class_scene_val": values, "room_layout_val": values},
        "occurs 75 times": {"arch": [str((0, 0, 0, 0, 0, n % 4)) for n in range(300)], "jigsaw_val": values},
    }
    for match, columns in cases.items():
        refused(write_csv(tmp_path / "macro.csv", columns), match, data_home)


# ---- the size space


@pytest.fixture
def sizes(tmp_path):
    """Files of the repository's form with made-up accuracies, but for the three official records."""
    sss = spaces.get("sss")
    ids, rng = np.arange(sss.size), np.random.default_rng(1)
    records = {
        "cifar10": (79.79, 85.77, 89.51), "cifar100": (32.30, 53.68, 62.70),
        "ImageNet16-120": (15.5333, 25.4667, 32.7667),
    }  # fmt: skip
    files = {}
    for name, (dataset, known) in zip(("Cifar10", "Cifar100", "ImageNet"), records.items(), strict=True):
        accuracy = np.round(rng.uniform(30, 90, sss.size), 4)
        accuracy[[0, 11, 284]] = known
        counts = np.round(1e6 * sss.params(ids, dataset)).astype(int)
        columns = {"": ids, "index": ids, "num_param": counts, "score": ids, "accuracy": np.round(accuracy / 100, 6)}
        files[dataset] = (write_csv(tmp_path / f"{name}-NATS.csv", columns), accuracy)
    return files


def test_the_files_of_the_size_space(sizes, data_home, tmp_path):
    paths = [path for path, _ in sizes.values()]
    table = import_any(paths[::-1])
    assert (table.space, table.name, table.datasets) == ("sss", "light", ["cifar10", "cifar100", "ImageNet16-120"])
    for dataset, (_, accuracy) in sizes.items():
        np.testing.assert_allclose(table.values(dataset, "test_acc", 90), accuracy, atol=1e-4)
    assert table.column("cifar100", "test_acc", 90).seeds == ("777",)
    problem = Problem.create("sss", "cifar100", signal="cifar10:test@90", table="light")
    assert str(problem.final) == "test@90:mean"
    for signal in (None, "test@90", "cifar100:test@90", "cifar100/test@90"):
        with pytest.raises(UsageError, match="--signal cifar10:test@90"):
            Problem.create("sss", "cifar100", signal=signal, table="light")
    ran = command("run", "--algo", "rea", "--space", "sss", "--dataset", "cifar100", "--signal", "cifar10:test@90",
                  "--table", "light", "--runs", 3, "--json")  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.output)["table"]["source"] == "light"


def test_bad_files_of_the_size_space(sizes, data_home, tmp_path):
    sss = spaces.get("sss")
    ids = np.arange(sss.size)
    counts, (_, accuracy) = np.round(1e6 * sss.params(ids, "cifar10")).astype(int), sizes["cifar10"]
    good = {"index": ids, "num_param": counts, "accuracy": accuracy}
    cases = {
        "num_param is not what networks of sss have": good | {"num_param": counts + (ids == 9)},
        "in row 5 is nan": good | {"accuracy": np.where(ids == 5, np.nan, accuracy)},
        "its official record has 85.77": good | {"accuracy": accuracy + (ids == 11)},
        "32,767 of 32,768": {name: values[1:] for name, values in good.items()},
        "occurs 2 times": good | {"index": np.where(ids == 1, 0, ids)},
        "whole numbers from 0": good | {"index": ids + 0.5},
    }
    for match, columns in cases.items():
        refused(write_csv(tmp_path / "bad.csv", columns), match, data_home)


def test_the_size_space_s_measurements(shared_data, data_home):
    table = import_any([shared_data / "sss_test_90.parquet"])
    test = table.values("cifar10", "test_acc", 90)
    assert (round(test.min(), 2), round(test.max(), 2), round(test.mean(), 2)) == (79.79, 93.65, 91.09)
    assert np.round([test[1000], test[8192], test[16383], test[32767]], 2).tolist() == [90.14, 82.18, 93.34, 93.4]
    assert round(table.values("cifar100", "test_acc", 90)[32767], 2) == 70.72


def test_one_shot_winners_are_judged_by_the_test_accuracy(sizes, data_home):
    pytest.importorskip("torch")
    from nasharness.supernets.judge import Judge

    import_any([sizes["cifar10"][0]])
    judge = Judge.find("sss", "cifar10")
    assert judge.final(32767) == pytest.approx(sizes["cifar10"][1][32767], abs=1e-4)
    assert str(judge.problem.final) == "test@90:mean"
    assert "can judge cifar100" in Judge.find("sss", "cifar100").why  # nothing of it is here, and nothing is made up
    assert judge.standing(0).regret > 0


# ---- learning curves


def curves(cells=(3, 40, 7, 1462)):
    rng = np.random.default_rng(2)
    return {index: {m: np.round(rng.uniform(20, 90, 200), 3).tolist() for m in ("val", "train")} for index in cells}


def test_both_forms_of_curves_are_one_table_of_true_fidelities(tmp_path, data_home):
    tss, made = spaces.get("tss"), curves()
    wide = write_csv(tmp_path / "wide.csv", {
        "arch_i": list(made), "arch_str": [tss.string(index) for index in made],
        "val_accs": [json.dumps(one["val"]) for one in made.values()],
        "train_accs": [json.dumps(one["train"]) for one in made.values()],
    })  # fmt: skip
    rows = [(i, e + 1, one["val"][e], one["train"][e]) for i, one in made.items() for e in range(200)]
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    names = ("index", "epoch", "val", "train")
    long = write_parquet(tmp_path / "long.parquet", dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    table = import_any([long])
    assert import_any([wide], name="wide").checksum == table.checksum
    space = spaces.get("tss-curves")
    assert isinstance(space, PartSpace)
    assert space.strings() == [tss.string(index) for index in (3, 7, 40, 1462)]
    assert space.params(3, "cifar10") == tss.params(1462)
    assert space.graph(3) == tss.graph(1462)
    assert space.draw(3) == tss.draw(1462)
    column = table.column("cifar10-valid", "val_acc", 200)
    assert column.epochs == tuple(range(1, 201))
    assert table.array("cifar10-valid", "val_acc", 200)[11, 0, 3] == made[1462]["val"][11]
    problem = Problem.create("tss-curves", table="curves", evaluations=9)
    assert problem.evaluator().epochs[-1] == 200
    assert len(problem.evaluator().epochs) == 200
    seconds = catalogue.open_table("tss", "embedded").values("cifar10-valid", "train_s")[1462]
    assert problem.evaluator().cost(np.int32(3), 11) == pytest.approx(12 * seconds)
    assert nasharness.run("successive-halving", problem, runs=2).runs == 2


def test_bad_curves_are_refused(tmp_path, data_home):
    tss, made = spaces.get("tss"), curves((3, 7))
    rows = {name: [] for name in ("index", "epoch", "val", "train")}
    for index, one in made.items():
        for epoch in range(200):
            for name, value in zip(rows, (index, epoch + 1, one["val"][epoch], one["train"][epoch]), strict=True):
                rows[name].append(value)
    cases = {
        "epoch 200 of index 7 occurs 0 times": {name: values[:-1] for name, values in rows.items()},
        "epoch 1 of index 3 occurs 2 times": {name: [values[0], *values] for name, values in rows.items()},
        "index in row 0 is 20000": rows | {"index": [20_000, *rows["index"][1:]]},
        "epoch 0 in row 0": rows | {"epoch": [0, *rows["epoch"][1:]]},
        "val in row 1 is nan": rows | {"val": [1.0, float("nan"), *rows["val"][2:]]},
    }
    for match, columns in cases.items():
        refused(write_csv(tmp_path / "long.csv", columns), match, data_home)
    text = json.dumps(made[3]["val"])
    wide = {"arch_i": [3], "arch_str": [tss.string(3)], "val_accs": [text], "train_accs": [text]}
    cases = {
        "expected '.avg_pool": wide | {"arch_str": ["x"]}, "not a list of 200 numbers": wide | {"val_accs": ["[1, 2]"]},
    }  # fmt: skip
    for match, columns in cases.items():
        refused(write_csv(tmp_path / "wide.csv", columns), match, data_home)


def test_the_published_curves(shared_data, data_home):
    table = import_any([shared_data / "tss_curves_cifar10_first200.parquet"])
    assert table.size == 200
    assert spaces.get("tss-curves").strings() == spaces.get("tss").strings()[:200]
    # the mean over seeds of the official records of cells 0 and 11
    validation = table.values("cifar10-valid", "val_acc", 200)
    assert validation[[0, 11]].round(3).tolist() == pytest.approx([81.983, 87.940], abs=2e-3)


# ---- NAS-Bench-101


def every_cell(most=4):
    """All cells of up to ``most`` nodes as (nodes, adj, ops), by brute force: one of each class, pruned."""
    seen, found = set(), []
    for nodes in range(2, most + 1):
        pairs = list(itertools.combinations(range(nodes), 2))
        for adj in range(1 << len(pairs)):
            edges = {pair for bit, pair in enumerate(pairs) if adj >> bit & 1}
            for ops in itertools.product(range(3), repeat=nodes - 2):
                key = brute(nodes, edges, ops)
                if key is not None and key[0] == nodes and key not in seen:
                    seen.add(key)
                    found.append((nodes, adj, sum(3**place * op for place, op in enumerate(ops))))
    return found


def brute(nodes, edges, ops):
    """(nodes, edges, operations) of the pruned graph, least over all orders of its nodes; None without a path."""
    last = nodes - 1
    fed, read = {0}, {last}
    for one, two in sorted(edges):
        if one in fed:
            fed.add(two)
    for one, two in sorted(edges, reverse=True):
        if two in read:
            read.add(one)
    if last not in fed:
        return None
    kept = sorted(fed & read)
    inner = kept[1:-1]
    keys = []
    for order in itertools.permutations(inner):
        place = {0: 0, last: len(kept) - 1} | {node: at + 1 for at, node in enumerate(order)}
        moved = sorted((place[one], place[two]) for one, two in edges if one in place and two in place)
        if all(one < two for one, two in moved):
            keys.append((tuple(moved), tuple(ops[node - 1] for node in order)))
    return (len(kept), *min(keys))


def cells_of(found):
    nodes, adj, ops = np.array(found).T
    return features_of(nodes, adj, ops)


def key_of(text):
    matrix, letters = parsed(text)
    edges = {(int(one), int(two)) for one, two in np.argwhere(matrix)}
    return brute(len(matrix), edges, tuple("31m".index(letter) for letter in letters))


def test_neighbours_of_cells_are_those_of_brute_force():
    features = canonical(cells_of(every_cell()))
    texts = [bytes(text).decode() for text in strings_of(features)]
    row_of = {key_of(text): row for row, text in enumerate(texts)}
    assert len(row_of) == len(texts)  # all are of different classes
    pairs = set()
    for row, text in enumerate(texts):
        matrix, letters = parsed(text)
        nodes, ops = len(matrix), tuple("31m".index(letter) for letter in letters)
        edges = {(int(one), int(two)) for one, two in np.argwhere(matrix)}
        changed = [(edges ^ {pair}, ops) for pair in itertools.combinations(range(nodes), 2)]
        for place in range(nodes - 2):
            changed += [(edges, (*ops[:place], op, *ops[place + 1 :])) for op in range(3)]
        for other_edges, other_ops in changed:
            key = brute(nodes, other_edges, other_ops)
            other = row if key is None else row_of[key]
            if other != row:
                pairs |= {(row, other), (other, row)}
    starts, rows = near_cells(features)
    found = {(row, int(other)) for row in range(len(texts)) for other in rows[starts[row] : starts[row + 1]]}
    assert found == pairs


def test_a_cell_is_found_in_any_order_of_its_nodes_and_with_loose_ones():
    features = canonical(cells_of(every_cell()))
    space = CellSpace("small", strings_of(features), features=features, options=OPTIONS, positions=POSITIONS)
    side_by_side = space.parse("110.01.1:31")
    assert space.parse("110.01.1:13") == side_by_side == space.parse(space.string(side_by_side))
    assert space.parse("100.10.1:31") != space.parse("100.10.1:13")  # one after the other
    assert space.parse("101.01.0:3m") == space.parse("11.1:3")  # the second leads nowhere
    graph = space.graph(side_by_side)
    assert (graph.nodes[0], graph.nodes[-1]) == ("input", "output")
    assert set(graph.nodes[1:-1]) == {OPERATIONS[0], OPERATIONS[1]}
    assert [edge[:2] for edge in graph.edges] == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert "out" in space.draw(side_by_side)
    for wrong in ("1.", "x:", "11.1:", "000.00.0:31", "1000.100.10.1:333"):
        with pytest.raises(UsageError, match="not an architecture of space small"):
            space.parse(wrong)


def columns_of(found, seed=0):
    rng = np.random.default_rng(seed)
    nodes, adj, ops = np.array(found).T
    return {
        "index": np.arange(len(found)), "nodes": nodes, "adj": adj, "ops": ops.astype(np.int8).astype(int),
        "test_acc_108": np.round(rng.uniform(80, 95, len(found)), 3), "params": 1000 + np.arange(len(found)),
    }  # fmt: skip


def test_columns_of_cells_in_two_files_and_their_fidelities(tmp_path, data_home, monkeypatch):
    found = every_cell()
    monkeypatch.setattr(nb101, "CELLS", len(found))
    columns, part = columns_of(found), 30
    first = write_parquet(tmp_path / "a.parquet", {name: values[:40] for name, values in columns.items()})
    second = write_parquet(tmp_path / "b.parquet", {name: values[40:] for name, values in columns.items()})
    rng = np.random.default_rng(3)
    fidelity = {"index": np.arange(part)[::-1], "train_time_108_s": np.linspace(900, 1000, part)}
    fidelity |= {f"val_acc_{epochs}": np.round(rng.uniform(50, 90, part), 3) for epochs in nb101.SCHEDULES}
    more = write_parquet(tmp_path / "c.parquet", fidelity)
    table = import_any([more, second, first])
    assert (table.space, table.name, table.size) == ("nb101", "light", len(found))
    np.testing.assert_array_equal(table.values("cifar10", "test_acc", 108), columns["test_acc_108"])
    problem = Problem.create("nb101")
    assert problem.dataset == "cifar10"
    assert nasharness.run("rea", problem, runs=3).runs == 3
    beside = catalogue.open_table("nb101-part", "light")
    assert beside.column("cifar10", "val_acc", 108).epochs == nb101.SCHEDULES
    assert beside.array("cifar10", "val_acc", 108)[1, 0, 29] == fidelity["val_acc_12"][0]
    problem = Problem.create("nb101-part", evaluations=20)
    assert problem.evaluator().epochs == nb101.SCHEDULES
    assert problem.evaluator().cost(np.int32(29), 1) == pytest.approx(900 * 12 / 108)
    assert nasharness.run("successive-halving", problem, runs=2).runs == 2


def test_bad_columns_of_cells_are_refused(tmp_path, data_home, monkeypatch):
    found = every_cell()
    monkeypatch.setattr(nb101, "CELLS", len(found))
    good = columns_of(found)
    rows = np.arange(len(found))
    cases = {
        "cells; NAS-Bench-101 has": {name: values[:-1] for name, values in good.items()},
        "beside 1 stands 0": good | {"index": np.where(rows == 1, 0, rows)},
        "test_acc_108 in row 2 is nan": good | {"test_acc_108": np.where(rows == 2, np.nan, 90.0)},
        "9 nodes, expected 2 to 7": good | {"nodes": np.where(rows == 3, 9, good["nodes"])},
        "adj is 1048576, expected": good | {"adj": np.where(rows == 3, 1 << 20, good["adj"])},
        "no path": good | {"adj": np.where(rows == 5, 0, good["adj"])},
        "are the same cell": {name: np.where(rows == 6, v[5], v) if name in ("nodes", "adj", "ops") else v
                              for name, v in good.items()},
    }  # fmt: skip
    for match, columns in cases.items():
        refused(write_parquet(tmp_path / "bad.parquet", columns), match, data_home)
    fidelity = {"index": rows, **{f"val_acc_{epochs}": rows + 10.0 for epochs in nb101.SCHEDULES}}
    refused(write_parquet(tmp_path / "f.parquet", fidelity), "with nodes, adj and ops too", data_home)


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def message(params, evaluations):
    """ModelMetrics as protocol buffers write it; an evaluation is (epochs, seconds, train, validation, test)."""
    out = b""
    for values in evaluations:
        inner = b"".join(varint(at << 3 | 1) + struct.pack("<d", value) for at, value in enumerate(values, 1))
        inner += varint(6 << 3 | 2) + varint(3) + b"a/b"
        out += varint(1 << 3 | 2) + varint(len(inner)) + inner
    return out + varint(2 << 3) + varint(params) + varint(3 << 3 | 1) + struct.pack("<d", 1.0)


def tfrecord(path, rows):
    body = b""
    for row in rows:
        content = row if isinstance(row, bytes) else json.dumps(row).encode()
        body += struct.pack("<Q", len(content)) + b"\0" * 4 + content + b"\0" * 4
    path.write_bytes(body)
    return path


def official(found, epochs=(4, 108), trials=3):
    """Records as in the official file; the hash of a cell is that of its position, so that ranks are another order."""
    rows, expected = [], {}
    for number, (nodes, adj, ops) in enumerate(found):
        key = hashlib.md5(str(number).encode()).hexdigest()  # noqa: S324 - names only
        matrix = np.zeros((nodes, nodes), dtype=int)
        for bit, pair in enumerate(itertools.combinations(range(nodes), 2)):
            matrix[pair] = adj >> bit & 1
        names = ["input", *(OPERATIONS[ops // 3**place % 3] for place in range(nodes - 2)), "output"]
        for schedule in epochs:
            for trial in range(trials):
                final = 0.5 + number / 1000 + trial / 100 + schedule / 1000
                expected[key, schedule, trial] = final
                evaluations = [(0.0, 0.0, 0.1, 0.1, 0.1), (schedule, 10.0 * schedule, 0.9, final, final - 0.1)]
                packed = base64.b64encode(message(1000 + number, evaluations)).decode()
                rows.append([key, schedule, "".join(map(str, matrix.ravel())), ",".join(names), packed])
    return rows, expected


def test_the_official_file_and_the_columns_make_one_space(tmp_path, data_home, monkeypatch):
    found = every_cell()
    monkeypatch.setattr(nb101, "CELLS", len(found))
    rows, expected = official(found)
    rows = [rows[place] for place in np.random.default_rng(1).permutation(len(rows))]
    rows.sort(key=lambda row: json.dumps(row[4]) < "m")  # cells interleave
    table = import_any([tfrecord(tmp_path / "nasbench.tfrecord", rows)])
    assert (table.space, table.name) == ("nb101", "official")
    keys = sorted({key for key, _, _ in expected})
    values = table.array("cifar10", "val_acc", 108)  # [epochs, trials, n]
    for at, schedule in enumerate((4, 108)):
        told = [sorted(100 * expected[key, schedule, trial] for trial in range(3)) for key in keys]
        np.testing.assert_allclose(np.sort(values[at], axis=0).T, told)
    np.testing.assert_allclose(table.array("cifar10", "test_acc", 108), values - 10)
    assert table.values("cifar10", "cost_s")[0] == 1080.0
    problem = Problem.create("nb101")
    assert (str(problem.signal), str(problem.final)) == ("val@108:random", "test@108:mean")
    ranked = [found[int(n)] for n in np.argsort([hashlib.md5(str(n).encode()).hexdigest() for n in range(len(found))])]  # noqa: S324
    columns = write_parquet(tmp_path / "a.parquet", columns_of(ranked))
    assert import_any([columns]).meta["space_checksum"] == table.meta["space_checksum"]


def test_damaged_records_are_refused(tmp_path, data_home, monkeypatch):
    found = every_cell(3)
    monkeypatch.setattr(nb101, "CELLS", len(found))
    rows, _ = official(found)
    path = tmp_path / "x.tfrecord"
    cases = {
        "no records": [],
        "expected 3": rows[1:],
        "record 1 is none": [rows[0], b"[1, 2]"],
        "record 0 is none": [[*rows[0][:4], "AAAA"]],
        "a matrix of": [[*rows[0][:2], "0", *rows[0][3:]]],
        "cells; NAS-Bench-101 has": rows[:-6],
    }
    for match, records_ in cases.items():
        refused(tfrecord(path, records_), match, data_home)
    whole = tfrecord(path, rows).read_bytes()
    path.write_bytes(whole[:-10])
    refused(path, "cut off", data_home)
    path.write_bytes(b"index,nodes\n1,2\n3,4\n5,6\n")
    refused(path, "no file of records", data_home)


def test_fields_of_a_message():
    assert list(fields(message(300, []))) == [(2, 300), (3, 1.0)]
    for damaged in (b"\x0a\x7fx", b"\x09\0\0", b"\xff" * 12, b"\x0b", b"\x08"):
        with pytest.raises(ValueError, match="cut off|too long|kind"):
            list(fields(damaged))


def test_records_are_bounded(tmp_path):
    path = tmp_path / "huge.tfrecord"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"\0" * 4)
    with pytest.raises(DataError, match="damaged"):
        list(records(path))


def test_all_cells(shared_data, data_home):
    parts = [shared_data / f"nb101_{name}.parquet" for name in ("part0", "part1", "fidelity")]
    table = import_any(parts)
    assert table.size == nb101.CELLS
    space = spaces.get("nb101")
    test = table.values("cifar10", "test_acc", 108)
    assert round(test.max(), 2) == 94.32
    starts, rows = space._near
    degree = np.diff(starts)
    assert degree.min() >= 1
    left = np.repeat(np.arange(space.size), degree)
    pairs, back = left * space.size + rows, rows.astype(np.int64) * space.size + left
    np.testing.assert_array_equal(np.sort(back), pairs)  # symmetric
    for row in (0, 1234, 423_623):
        one = int(space.neighbours(row)[0])
        assert row in space.neighbours(one)
        assert space.parse(space.string(row)) == row
    u = np.random.default_rng(0).random((4000, 1))
    sampled = space.sample(u)
    mutants = space.mutate(sampled, np.random.default_rng(1).random((4000, 1)))
    assert (mutants != sampled).all()
    part = catalogue.open_table("nb101-part", "light")
    assert part.size == 20_001
    assert spaces.get("nb101-part").strings()[:3] == space.strings()[:3]
    # the two files are of the same cells: parameters were counted by two people
    again = parquet.read_table(shared_data / "nb101_fidelity.parquet").column("params").to_numpy()
    np.testing.assert_array_equal(table.values("cifar10", "params")[:20_001], again)


# ---- fetching


def test_fetch_from_a_mirror(tmp_path, data_home):
    file = tmp_path / "nas-bench-macro_cifar10.json"
    file.write_text(json.dumps(entries("macro", "test_acc")))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"SHA-256 is {digest}, expected 686dee83"):
        published.fetch("nbmacro", mirror=tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  {file.name}\n")
    with pytest.raises(DataError, match="expected 686dee83"):  # a mirror cannot vouch for itself
        published.fetch("nbmacro", mirror=tmp_path)
    assert not (data_home / "tables").exists()
    table = published.fetch("nbmacro", mirror=tmp_path, sha256={file.name: digest})
    assert (table.space, table.name) == ("macro", "nbmacro")
    assert table.meta["licence"] == "Apache-2.0"
    assert published.fetch("nbmacro", mirror=tmp_path, sha256={file.name: digest}).checksum == table.checksum
    with pytest.raises(UsageError, match="unknown file"):
        published.fetch("nbmacro", mirror=tmp_path, sha256={"x": digest})
    with pytest.raises(UsageError, match="no Cifar10-NATS.csv"):
        published.fetch("sss", mirror=tmp_path)
    with pytest.raises(UsageError, match="nasbench_only108.tfrecord"):
        published.fetch("nb101")


def test_fetch_by_command(tmp_path, data_home):
    said = command("data", "fetch", "nbmcro")
    assert isinstance(said.exception, UsageError)
    assert "nearest: nbmacro" in str(said.exception)
    said = command("data", "fetch", "channel", "--mirror", tmp_path)
    assert "no Results_ResNet.json" in str(said.exception)


def test_every_published_table_says_where_it_is_from():
    records = published.every()
    assert len({one.name for one in records}) == len(records)
    for one in records:
        assert one.citation
        assert one.licence
        assert all(len(digest) == 64 for digest in one.files.values())
        assert catalogue.commands(one.space) != [catalogue.OWN]
        assert not one.files or one.commit


# ---- spaces without data


def test_spaces_that_come_with_a_table_say_so(data_home):
    assert {"macro", "channel-resnet", "tnb101-micro"} <= set(spaces.names())
    assert "nb101" not in spaces.names()
    with pytest.raises(UsageError, match="get it with: nasharness data import nasbench_only108.tfrecord"):
        spaces.get("nb101")
    shown = {"macro": "01201201", "channel-resnet": "1234321", "tnb101-micro": "5"}
    asked = [("show", arch, "--space", space) for space, arch in shown.items()]
    for words in [*(("list", what) for what in ("spaces", "tables", "datasets")), *asked]:
        said = command(*words)
        assert said.exit_code == 0, said.output
    with pytest.raises(DataError, match="nasharness data fetch nbmacro"):
        Problem.create("macro")


def test_a_table_of_one_s_own_cannot_take_a_registered_name(data_home):
    with pytest.raises(UsageError, match="--space macro"):
        nasharness.tables.from_frame({"a": ["x", "y"], "v": [1.0, 2.0]}, name="macro", arch="a", metrics={"v": "acc"})


@pytest.mark.parametrize("name", ["macro", "channel-resnet", "tnb101-micro"])
def test_registered_spaces_keep_the_promises_of_a_product(name):
    space = spaces.get(name)
    ids = np.arange(space.size)
    np.testing.assert_array_equal(space.index(space.choices(ids)), ids)
    for index in (0, 1, space.size // 3, space.size - 1):
        assert space.parse(space.string(index)) == index
        graph = space.graph(index)
        assert graph.nodes
        assert space.draw(index)
    near = space.neighbours(ids[:50])
    assert all(row in space.neighbours(one) for row, others in enumerate(near) for one in others)
    strongest = space.index(space.fullest())
    if space.closed_forms:
        assert space.params(strongest) == space.params(ids).max()
