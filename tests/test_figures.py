import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nasharness.analysis import figures
from nasharness.analysis.figures import curves, finals, landscape, pictures, shrinking
from nasharness.analysis.figures import style as style_of
from nasharness.analysis.figures.source import StudyView
from nasharness.analysis.figures.style import COLOURS, algorithm_looks, looks, themed_svg
from nasharness.cli import cli, main
from nasharness.errors import DataError, UsageError
from nasharness.search import Problem, run
from nasharness.search.testing import synthetic_table
from nasharness.spaces import get
from nasharness.studies import Plan, load, run_study
from tests.study_fixtures import cells as made_up_cells
from tests.study_fixtures import write_study

ROOT = Path(__file__).resolve().parents[1]
#: Figures of several objectives and of devices: see test_front_figures.py.
OF_FRONTS = ["device-agreement", "device-best", "fronts", "hypervolume", "under-limits"]
PLAIN = [name for name in figures.KINDS if name not in OF_FRONTS]
ALGORITHMS = ["random", "rea", "autoshrink", "autoshrink.set", "autoshrink.pooled"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "real"
    plan = Plan.create(
        algorithms=ALGORITHMS, space="tss", datasets="cifar10,cifar100", runs=6, evaluations=60, table="embedded"
    )
    return run_study(plan, out)


@pytest.fixture(scope="module")
def source(folder):
    return StudyView(load(folder))


@pytest.fixture(scope="module")
def drawn(source):
    """Every figure with its numbers, as `render` returns them."""
    with looks():
        return {name: figures.render(source, name) for name in PLAIN}


@pytest.fixture(scope="module")
def reference():
    """Every figure of the committed reference studies."""
    with looks():
        made = {}
        for study, names in (("tss-embedded", PLAIN), ("tss-fronts", OF_FRONTS)):
            source = StudyView(load(ROOT / "results" / study))
            made |= {name: figures.render(source, name) for name in names}
        source = StudyView(load(ROOT / "results" / "tss-topology"))
        return made | {"topology": figures.render(source, "incumbent-evaluations")}


@pytest.mark.parametrize("name", sorted(set(figures.KINDS) - {"shrinking"} | {"topology"}))
def test_committed_figures_are_those_of_the_reference_study(reference, name):
    committed = pd.read_csv(ROOT / "paper_figs" / "figures" / f"{name}.csv")
    again = pd.read_csv(io.StringIO(reference[name][1].to_csv(index=False)))
    pd.testing.assert_frame_equal(committed, again, check_dtype=False, rtol=1e-9)


def test_every_figure_has_a_script_and_the_study_is_small():
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "paper_figs").glob("*.py")} - {"common"}
    assert scripts == {*figures.KINDS, "topology"}
    for study in ("tss-embedded", "tss-fronts", "tss-topology"):
        assert sum(path.stat().st_size for path in (ROOT / "results" / study).rglob("*")) < 1_000_000


def panels(source, drawn, name):
    figure, data = drawn[name]
    for axes, panel in zip(figure.axes, source.panels, strict=False):
        yield axes, data[data["panel"] == panel.title]


@pytest.mark.parametrize("name", ["incumbent-time", "incumbent-evaluations", "rank", "final-ecdf"])
def test_curves_are_those_of_the_csv(source, drawn, name):
    column = {"rank": "rank", "final-ecdf": "share"}.get(name, "mean")
    for axes, rows in panels(source, drawn, name):
        for label in source.algorithms:
            own = rows[rows["algorithm"] == label]
            (line,) = [line for line in axes.lines if line.get_label() == label]
            y = np.asarray(line.get_ydata(), dtype=float)
            y = y[1:-1] if name == "final-ecdf" else y
            np.testing.assert_array_equal(y, own[column])
            assert line.get_color() == source.looks[label].colour


def test_pictures_of_points_are_those_of_the_csv(source, drawn):
    figure, data = drawn["landscape"]
    for axes, panel in zip(figure.axes[2:], source.panels, strict=True):
        rows = data[data["panel"] == panel.title]
        top = rows[rows["part"] == "top"]
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), top[["signal", "final"]].to_numpy(float))
        marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
        means = rows[rows["part"] == "algorithm"]
        assert marks == set(zip(means["signal"], means["final"], strict=True))
    for axes, rows in panels(source, drawn, "pareto"):
        front = rows[rows["part"] == "front"]
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), front["macs"])
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), front["final"])
    figure, data = drawn["shrinking"]
    bars = sum(len(collection.get_paths()) for axes in figure.axes for collection in axes.collections)
    assert bars == len(data)


def scores_along(truth, trajectories):
    """Score of each run's incumbent after each evaluation, by the trials that it had not been shown when it rose."""
    scores = np.full(trajectories.ids.shape, np.nan)
    improved, _ = trajectories.improvements()
    for row, step in zip(*np.nonzero(improved), strict=True):
        arch = trajectories.ids[row, [step]]
        shown = trajectories.shown(np.array([row]), arch, np.array([step + 1]))
        scores[row, step:] = truth.score(arch, shown)[0]
    for row, count in enumerate(trajectories.count):  # at its end a run is scored by what it was never shown
        arch = trajectories.ids[row, [np.flatnonzero(improved[row])[-1]]]
        scores[row, count - 1] = truth.score(arch, trajectories.shown(np.array([row]), arch))[0]
    return scores


def test_curves_are_means_of_the_incumbents_of_the_runs(source):
    panel = source.panels[0]
    data = curves.incumbent(source, "step")
    for runs in panel.runs:
        seeds = runs.last["seed"]
        result = run(runs.algorithm, panel.problem(), runs=len(seeds), seed=int(seeds.iloc[0]))
        truth = scores_along(panel.problem().truth(), result.trajectories)
        own = data[(data["panel"] == panel.title) & (data["algorithm"] == runs.algorithm)]
        for row in own.itertuples():
            at = np.minimum(row.step, result.trajectories.count).astype(int) - 1
            assert row.mean == pytest.approx(truth[np.arange(len(seeds)), at].mean(), abs=1e-9)


def test_medians_have_the_middle_half_as_band(source):
    data = curves.incumbent(StudyView(source.results, "median"), "step")
    values = source.panels[0].runs[0].at("step", data["step"].to_numpy()[:1])
    assert data["median"].iloc[0] == np.median(values)
    assert data["low"].iloc[0] == np.quantile(values, 0.25)


def test_final_runs_and_ecdf_describe_the_last_rows(source):
    last = source.results.last
    box = finals.final_runs(source)
    ecdf = finals.ecdf(source)
    for panel in source.panels:
        for label in source.algorithms:
            values = last[(last["dataset"] == panel.dataset) & (last["algorithm"] == label)]["final"]
            own = box[(box["panel"] == panel.title) & (box["algorithm"] == label)].set_index("part")["final"]
            assert own["50%"] == pytest.approx(values.median())
            assert own["mean"] == pytest.approx(values.mean())
            rows = ecdf[(ecdf["panel"] == panel.title) & (ecdf["algorithm"] == label)]
            for value, share in zip(rows["final"], rows["share"], strict=True):
                assert share == pytest.approx((values <= value).mean())


def test_ranks_sum_to_what_they_must(source):
    data = curves.ranks(source)
    count = len(source.algorithms)
    sums = data.groupby(["panel", "step"])["rank"].sum()
    np.testing.assert_allclose(sums, count * (count + 1) / 2)
    table = finals.critical_difference(source)
    assert table["mean_rank"].sum() == pytest.approx(count * (count + 1) / 2)
    assert table["mean_rank"].is_monotonic_increasing


def test_groups_join_what_is_closer_than_the_critical_difference():
    ranks = np.array([1.0, 1.4, 2.2, 4.0])
    assert finals._groups(ranks, 0.9) == [(0, 1), (1, 2)]
    assert finals._groups(ranks, 0.1) == []
    assert finals._groups(ranks, 5) == [(0, 3)]


def test_pareto_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    cost, value = rng.integers(0, 12, 200).astype(float), rng.integers(0, 40, 200).astype(float)
    front = landscape.front(cost, value)
    beaten = [
        ((cost <= cost[i]) & (value >= value[i]) & ((cost < cost[i]) | (value > value[i]))).any() for i in range(200)
    ]
    assert not any(beaten[i] for i in front)
    assert {(cost[i], value[i]) for i in front} == {(cost[i], value[i]) for i in range(200) if not beaten[i]}


def test_watching_an_algorithm_changes_nothing_and_shows_its_removals():
    problem = Problem.create("tss", "cifar10", table="embedded", evaluations=60)
    space = get("tss")
    seen = shrinking.watch("autoshrink", {}, problem, seed=3)
    assert seen[-1][0] == run("autoshrink", problem, runs=1, seed=3).trajectories.count[0]
    # a single cell is kept, the full one first
    assert all((alive.sum(axis=1) == 1).all() for _, alive in seen)
    assert space.index(seen[0][1].argmax(axis=1)) == space.index([space.options[0].index("nor_conv_3x3")] * 6)
    # sets only lose choices, one a step
    left = [alive for _, alive in shrinking.watch("autoshrink.set", {}, problem, seed=3)]
    assert left[0].all()
    assert all(
        (after <= before).all() and before.sum() - after.sum() == 1
        for before, after in zip(left, left[1:], strict=False)
    )
    with pytest.raises(UsageError, match="random does not shrink"):
        shrinking.watch("random", {}, problem, seed=0)


def test_spans_rebuild_what_was_held(source):
    data = shrinking.shrinking(source)
    panel = source.panels[1]
    cell = next(runs.cells[0] for runs in panel.runs if runs.algorithm == "autoshrink.set")
    own = data[(data["panel"] == panel.title) & (data["algorithm"] == "autoshrink.set")]
    for evaluations, alive in shrinking.watch("autoshrink.set", cell["settings"], panel.problem(), 0)[:-1]:
        inside = own[(own["held_from"] <= evaluations) & (own["held_until"] > evaluations)]
        held = {(panel.space.positions[i], panel.space.options[i][j]) for i, j in np.argwhere(alive)}
        assert set(zip(inside["position"], inside["option"], strict=True)) == held


@pytest.mark.parametrize("name", PLAIN)
def test_every_figure_names_table_protocol_and_runs(drawn, name):
    text = " ".join(words.get_text() for words in drawn[name][0].texts)
    assert "tss/embedded (9cb88bc5)" in text
    assert "val@200:others" in text
    assert "60 evaluations" in text
    if name != "shrinking":
        assert "6 runs per algorithm" in text
        labels = text + str([entry.get_text() for box in drawn[name][0].legends for entry in box.get_texts()])
        assert "random" in drawn[name][1].to_csv() + labels


@pytest.mark.parametrize("name", PLAIN)
def test_no_text_overlaps_another_or_leaves_the_figure(drawn, reference, name):
    for figure in (drawn[name][0], reference[name][0]):
        check_texts(figure)


def check_texts(figure):
    with looks():
        figure.set_dpi(300)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        texts = list(figure.texts)
        for axes in figure.axes:
            if axes.axison:
                for axis in (axes.xaxis, axes.yaxis):
                    low, high = sorted(axis.get_view_interval())
                    texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                    texts.append(axis.label)
                texts += [axes.title, axes._left_title]
            texts += axes.texts
        for legend in figure.legends:
            texts += legend.get_texts()
        boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text() and t.get_visible()]
        width, height = figure.bbox.width, figure.bbox.height
        for text, box in boxes:
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text
        for number, (first, a) in enumerate(boxes):
            for second, b in boxes[number + 1 :]:
                apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
                assert apart, f"{first!r} overlaps {second!r}"


def test_the_command_writes_png_pdf_and_csv(folder, tmp_path):
    result = CliRunner().invoke(
        cli, ["figures", str(folder), "--out", str(tmp_path), "--only", "rank,final-ecdf", "--format", "png,pdf,svg"]
    )
    assert result.exit_code == 0, result.output
    kinds = ("csv", "pdf", "png", "svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.{kind}" for name in ("final-ecdf", "rank") for kind in kinds
    ]
    for name in ("rank", "final-ecdf"):
        with looks():
            _, data = figures.render(StudyView(load(folder)), name)
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"{name}.csv"), data, check_dtype=False, rtol=1e-14)
    assert (tmp_path / "rank.pdf").read_bytes().startswith(b"%PDF")
    png = (tmp_path / "rank.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width = int.from_bytes(png[16:20], "big")
    assert width == 7.0 * 300


def test_figures_are_the_same_bytes_again_and_leave_no_trace(folder, tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    for name in ("a", "b"):
        figures.draw(load(folder), tmp_path / name, only=["critical-difference"], formats=figures.FORMATS)
    assert dict(mpl.rcParams) == before
    for kind in ("csv", *figures.FORMATS):
        first, second = ((tmp_path / name / f"critical-difference.{kind}").read_bytes() for name in ("a", "b"))
        assert first == second, kind


def test_figures_that_cannot_be_drawn_are_left_out_with_the_reason(tmp_path):
    results = load(write_study(tmp_path / "s", made_up_cells(("random", "rea"), runs=5)))
    drawn = figures.draw(results, tmp_path / "out", formats=("pdf",))
    assert set(drawn.left_out) == {"landscape", "pareto", "shrinking", "critical-difference"}
    assert "made-up" in drawn.left_out["landscape"]
    with pytest.raises(UsageError, match="shrinking: none of random, rea shrinks"):
        figures.draw(results, tmp_path / "out", only=["shrinking"])


def test_an_algorithm_that_removed_nothing_has_no_panel(tmp_path, monkeypatch):
    plan = Plan.create(
        algorithms=["autoshrink", "autoshrink.official"], space="tss", datasets="cifar10", runs=1, evaluations=30
    )
    source = StudyView(load(run_study(plan, tmp_path / "both")))
    watched = shrinking.watch

    def idle(algorithm, *given):
        seen = watched(algorithm, *given)
        return [(made, np.ones_like(held)) for made, held in seen] if algorithm in idlers else seen

    monkeypatch.setattr(shrinking, "watch", idle)
    idlers = []
    assert set(shrinking.shrinking(source)["algorithm"]) == {"autoshrink", "autoshrink.official"}
    idlers = ["autoshrink.official"]
    assert set(shrinking.shrinking(source)["algorithm"]) == {"autoshrink"}
    idlers = ["autoshrink", "autoshrink.official"]
    with pytest.raises(UsageError, match=r"autoshrink, autoshrink\.official removed nothing within this budget"):
        shrinking.shrinking(source)


def test_another_table_under_the_same_name_is_refused(folder):
    results = load(folder)
    for cell in results.cells:
        cell["table"] = cell["table"] | {"checksum": "f" * 64}
    with looks(), pytest.raises(DataError, match="is another one than the study's"):
        figures.render(StudyView(results), "pareto")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "rnak"], "unknown figure 'rnak'; nearest: rank"),
        (["--format", "gif"], "unknown format of figures 'gif'"),
        (["--average", "mode"], "unknown average 'mode'"),
        (["--out", "/dev/null/x"], "cannot write figures to /dev/null/x"),
    ],
)
def test_bad_requests_are_one_line(folder, tmp_path, arguments, message, capsys):
    with pytest.raises(SystemExit) as exited:
        main(["figures", str(folder), *(["--out", str(tmp_path)] if "--out" not in arguments else []), *arguments])
    said = capsys.readouterr().err
    assert exited.value.code == 2
    assert message in said
    assert said.count("\n") == 1


def test_looks_go_by_order_and_are_all_different():
    few = algorithm_looks(["random", "rea"], ["random"])
    many = algorithm_looks(["random", "rea", *map(str, range(100))], ["random"])
    assert {label: many[label] for label in few} == few
    assert len({(look.colour, str(look.dash), look.marker) for look in many.values()}) == len(many)
    grey = [label for label, look in many.items() if look.colour == COLOURS["grey"][0]]
    assert grey == ["random"]
    assert len({look.colour for look in list(many.values())[: len(COLOURS)]}) == len(COLOURS)


def test_long_labels_leave_room_for_the_picture(tmp_path):
    labels = ("random", "autoshrink(cost_weight=0.1, keep_path=False, restarts=False)", "rea(population=20, sample=5)")
    with looks():
        for name in ("final-runs", "critical-difference", "rank"):
            folder = tmp_path / name
            figure, data = figures.render(StudyView(load(write_study(folder, made_up_cells(labels, runs=4)))), name)
            assert figure.axes[0].get_position().width > 0.3
            assert set(data["algorithm"]) == set(labels)


@pytest.mark.parametrize(("space", "arch"), [("tss", 1462), ("tss", 13), ("sss", 12345)])
def test_architectures_are_drawn(tmp_path, space, arch):
    for kind in figures.FORMATS:
        path = pictures.write(space, arch, tmp_path / f"cell.{kind}")
        assert path.stat().st_size > 1000
    tree = ElementTree.fromstring(pictures.svg(space, arch, "x", 'a "title" & <more>'))
    assert tree.attrib["aria-label"] == 'a "title" & <more>'


def test_drawn_cells_show_what_is_live():
    with looks():
        figure = pictures.figure("tss", 13)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count("none") == 1
    assert "(skip)" in words  # it leaves node 1, which nothing reaches
    assert "conv 3x3" in words


def test_show_draws_to_a_file(tmp_path, capsys):
    result = CliRunner().invoke(cli, ["show", "9930", "--space", "tss", "--json", "--png", str(tmp_path / "c.png")])
    assert json.loads(result.output)["index"] == 9930
    assert (tmp_path / "c.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        main(["show", "9930", "--space", "tss", "--png", str(tmp_path / "c.gif")])
    assert "expected a name that ends in .png, .pdf, .svg" in capsys.readouterr().err


def test_svg_of_a_page_has_ids_of_its_own_and_no_fixed_colours(drawn):
    with looks():
        text = themed_svg(drawn["final-runs"][0], "one", "t")
    tree = ElementTree.fromstring(text)
    ids = [element.attrib["id"] for element in tree.iter() if "id" in element.attrib]
    assert ids
    assert all(name.startswith("one-") for name in ids)
    for element in tree.iter():
        target = element.attrib.get("{http://www.w3.org/1999/xlink}href")
        assert target is None or target[1:] in ids
    assert not {pair[0] for pair in COLOURS.values()} & set(text.lower().split('"'))
    assert "#0072b2" not in text.lower()
    assert "var(--c-blue)" in text


def test_studies_of_both_spaces_share_their_figures(folder, tmp_path, data_home):
    synthetic_table("sss", data_home / "tables" / "sss" / "official", name="official")
    plan = Plan.create(algorithms=ALGORITHMS, space="sss", datasets="cifar10", runs=3, seconds=2_000.0)
    results = load([folder, run_study(plan, tmp_path / "sss")])
    drawn = figures.draw(results, tmp_path / "out", formats=("png",))
    assert drawn.left_out == {}
    spans = pd.read_csv(tmp_path / "out" / "shrinking.csv")
    assert {"64", "8"} <= set(spans[spans["panel"] == "CIFAR-10 (sss)"]["option"].astype(str))
    with looks():
        source = StudyView(results)
        check_texts(figures.render(source, "shrinking")[0])


def test_studies_that_cannot_be_ranked_say_why(tmp_path):
    apart = [
        load(write_study(tmp_path / name, made_up_cells(algorithms=(algorithm,), seed=seed)))
        for name, algorithm, seed in (("a", "random", 0), ("b", "rea", 5_000))
    ]
    source = StudyView(load([tmp_path / "a", tmp_path / "b"]))
    assert len(apart) == 2
    with pytest.raises(DataError, match="no seed in common"), looks():
        figures.render(source, "rank")
    drawn = figures.draw(source, tmp_path / "out", formats=("svg",))
    assert "no seed in common" in drawn.left_out["rank"]
    assert "incumbent-evaluations" in {path.stem for path in drawn.written}


def test_runs_of_one_evaluation_are_drawn_or_left_out(tmp_path):
    plan = Plan.create(algorithms=["random", "rea", "bohb"], space="tss", runs=4, seconds=1.0, table="embedded")
    drawn = figures.draw(load(run_study(plan, tmp_path / "short")), tmp_path / "out", formats=("svg",))
    assert len(drawn.written) + 2 * len(drawn.left_out) == 2 * len(PLAIN)


def test_budgets_are_not_mixed(tmp_path):
    for name, evaluations in (("a", 50), ("b", 100)):
        write_study(tmp_path / name, made_up_cells(evaluations=evaluations))
    with pytest.raises(DataError, match="differ in evaluations"):
        StudyView(load([tmp_path / "a", tmp_path / "b"]))


@pytest.mark.parametrize("option", ["--only", "--format"])
def test_an_empty_list_of_names_is_refused(folder, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["figures", str(folder), option, ""])
    assert stopped.value.code == 2
    assert f"an empty value for {option}" in capsys.readouterr().err


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("style", ["paper", "talk"])
def test_figures_for_a_paper_have_its_width_legible_text_and_nothing_beyond_the_edge(tmp_path, width, style):
    """Of the committed reference studies, without captions, which lie beside them."""
    from matplotlib.text import Text

    inches = {"column": style_of.COLUMN, "page": style_of.PAGE}[width] * (1.5 if style == "talk" else 1.0)
    setting = figures.Setting(width, style, captions=False)
    studies = (("tss-embedded", ["rank", "critical-difference", "final-runs"]), ("tss-fronts", ["device-agreement"]))
    for study, names in studies:
        source = StudyView(load(ROOT / "results" / study))
        with looks(setting):
            for name in names:
                figure, _ = figures.render(source, name)
                assert figure.get_size_inches()[0] <= inches + 1e-9
                FigureCanvasAgg(figure).draw()
                edge = figure.bbox.padded(3)
                axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
                beyond = {  # matplotlib keeps ticks that it does not draw
                    tick.label1
                    for axis in axes
                    for tick in axis.get_major_ticks()
                    if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
                }
                texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
                texts = [text for text in texts if text not in beyond]
                assert min(text.get_fontsize() for text in texts) >= 6
                for text in texts:
                    box = text.get_window_extent()
                    inside = edge.x0 <= box.x0 and box.x1 <= edge.x1 and edge.y0 <= box.y0 and box.y1 <= edge.y1
                    assert inside, (name, text.get_text())
        drawn = figures.draw(source, tmp_path / study, only=names[:1], formats=("svg",), setting=setting)
        assert [path.name for path in drawn.written] == [f"{names[0]}.{kind}" for kind in ("csv", "svg", "txt")]
        assert "Table tss/embedded" in (tmp_path / study / f"{names[0]}.txt").read_text()


def test_another_width_is_refused_with_those_that_are_known():
    with pytest.raises(UsageError, match=r"width of figures 'colum'.*column"):
        figures.Setting("colum")
