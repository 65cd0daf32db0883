import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from nasharness.analysis import report
from nasharness.analysis.comparison import Row, Section
from nasharness.analysis.report.headline import headline
from nasharness.cli import main
from nasharness.studies import Plan, load, run_study
from tests.study_fixtures import cells as made_up_cells
from tests.study_fixtures import write_study

ALGORITHMS = ["random", "rea", "autoshrink"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "real"
    plan = Plan.create(
        algorithms=ALGORITHMS, space="tss", datasets="cifar10,cifar100", runs=8, evaluations=40, table="embedded"
    )
    return report.write(load(run_study(plan, folder)), folder / "report.html")


class Page(HTMLParser):
    """Tags with their attributes, ids, and text."""

    VOID = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_asks_for_nothing(page):
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)
    assert parsed.open == []
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in parsed.tags:
        assert tag not in {"link", "img", "iframe", "object", "base"}
        assert "src" not in attributes
        for key in ("href", "xlink:href"):
            assert key not in attributes or attributes[key][1:] in ids, attributes
    style = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert not re.search(r"https?:|@import|fetch\(", style)
    assert text.count("<svg") >= 9
    shown = " ".join(parsed.text)
    for part in ("Leaderboard", "Winners", "Provenance", "val@200:others", "embedded", "population=10", "8 runs"):
        assert part in shown
    for label in ALGORITHMS:
        assert label in shown


def test_names_from_outside_cannot_become_markup(tmp_path):
    label = "<script>alert(1)</script>"
    made = made_up_cells(("random", label, "rea"), runs=4)
    for cell in made:
        cell["settings"] = {"x": "<b>&"}
    results = load(write_study(tmp_path / "s", made))
    text = report.render(results, title="<i>title")
    assert text.count("<script>") == 1
    assert "<i>title" not in text
    assert "x=&lt;b&gt;&amp;" in text
    assert "Not drawn" in text  # the table is made up, so that its landscape cannot be read


def test_errors_are_one_line(page, tmp_path, capsys):
    for arguments, message in (
        ([str(tmp_path)], "study.json"),
        ([str(page.parent), "-o", str(tmp_path)], "is a folder; expected a file name"),
        ([str(page.parent), "-o", "/dev/null/x.html"], "cannot write /dev/null/x.html"),
    ):
        with pytest.raises(SystemExit) as exited:
            main(["report", *arguments])
        said = capsys.readouterr().err
        assert exited.value.code in (1, 2)
        assert message in said
        assert said.splitlines()[-1].startswith("nasharness: ")
        assert "Traceback" not in said


def test_the_page_begins_with_what_was_found(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    shown = " ".join(" ".join(parsed.text).split())
    lead = re.search(r'<p class="lead">(.*?)</p>', page.read_text(encoding="utf-8"))[1]
    assert lead.startswith("autoshrink is best on ")
    assert re.search(r"[a-z]\. ", lead) is None  # one sentence
    assert "<title>real</title>" in page.read_text(encoding="utf-8")
    assert "Over 8 cells of data set and budget (tss (embedded): cifar10, cifar100 at 5, 10, 20, 40)" in shown


def section(*rows, dataset="cifar10"):
    nan = float("nan")
    pair = (nan, nan)
    made = [
        Row(name, 5, 1.0, 1.0, mean, pair, mean, pair, mean, pair, 0.0, pair, 1.0, pair, nan, pair, p, p, 1.0, 1.0, 1.0)
        for name, mean, p in rows
    ]
    return Section("tss", dataset, "t", {}, 95.0, "final", "", rows[0][0], 90.0, tuple(made))


def test_the_headline_says_no_more_than_was_found():
    clear = section(("a", 91.0, float("nan")), ("b", 90.0, 0.001))
    close = section(("b", 71.0, float("nan")), ("a", 70.0, 0.4), ("c", 70.0, 0.001), dataset="cifar100")
    assert headline([clear], {}) == "a is best on cifar10 (91.00 %), and told apart from every other algorithm."
    assert headline([clear, close], {}) == (
        "a is best on cifar10 (91.00 %); b is best on cifar100 (71.00 %), but not told apart from a on cifar100."
    )
    alike = section(("a", 91.0, float("nan")), ("b", 91.0, 1.0), ("c", 91.0, 1.0))
    assert headline([alike], {}).endswith("but not told apart from any other.")
    assert headline([section(("a", 91.0, float("nan")))], {}) == "a reaches 91.00 % on cifar10."


def test_studies_of_other_budgets_are_ranked_together(page, tmp_path, cli):
    plan = Plan.create(algorithms=["random", "rea"], space="tss", datasets="cifar10", runs=8, evaluations=20)
    run_study(plan, tmp_path / "short")
    assert cli("report", page.parent, tmp_path / "short", "-o", tmp_path / "r.html")[0] == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert Page(text).open == []
    assert "cifar10, cifar100 at 40, 20" in text
    assert text.count('<table class="board">') == 3
    assert re.search(r'<p class="lead">autoshrink stands highest over 3 cells', text)
    code, said, _ = cli("leaderboard", page.parent, tmp_path / "short")
    assert code == 0
    assert "budgets of 20, 40 evaluations" in said
    assert said.index("| autoshrink |") < said.index("| random |")
    assert cli("leaderboard", page.parent, "--runs", 3)[0] == 2


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Chromium and its driver (Debian packages chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


def look(browser, page, width=1280, height=900, dark=False, mobile=False):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
    )
    browser.get(page.as_uri())


def column(browser, heading):
    """Values of a column of the first leaderboard as they are shown from above, and the algorithms beside them."""
    return browser.execute_script(
        """
        const table = document.querySelector('table.board');
        const heads = [...table.tHead.rows[0].cells].map(cell => cell.textContent);
        const rows = [...table.tBodies[0].rows].sort((a, b) =>
            a.getBoundingClientRect().top - b.getBoundingClientRect().top);
        const place = heads.indexOf(arguments[0]);
        return rows.map(row => [row.cells[place].dataset.value, row.cells[0].textContent]);
        """,
        heading,
    )


def test_clicking_a_heading_sorts(browser, page):
    look(browser, page)
    head = browser.find_element("xpath", "//table[@class='board'][1]//th[contains(., 'rank')]")
    before = column(browser, "rank")
    assert head.get_attribute("aria-sort") == "none"
    head.find_element("tag name", "button").click()
    ranks = [float(value) for value, _ in column(browser, "rank")]
    assert head.get_attribute("aria-sort") == "ascending"
    assert ranks == sorted(ranks)
    assert len(ranks) == 3
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    after = column(browser, "rank")
    assert [float(value) for value, _ in after] == ranks[::-1]
    assert sorted(after) == sorted(before)
    said = browser.find_element("css selector", "[aria-live]").get_attribute("textContent")
    assert said == "Sorted by rank, descending."


def test_headings_sort_from_the_keyboard(browser, page):
    from selenium.webdriver.common.keys import Keys

    look(browser, page)
    head = browser.find_element("xpath", "//table[@class='board'][1]//th[contains(., 'algorithm')]")
    button = head.find_element("tag name", "button")
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    assert [name for name, _ in column(browser, "algorithm")] == sorted(ALGORITHMS)
    assert head.get_attribute("aria-sort") == "ascending"
    browser.find_element("tag name", "body").send_keys(Keys.HOME)


WIDE = "return [...document.querySelectorAll('.scroll')].filter(e => e.querySelector('table.board'))"


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_is_readable(browser, page, width, dark):
    look(browser, page, width=width, dark=dark, mobile=width < 600)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    hidden = browser.execute_script(f"{WIDE}.map(e => e.scrollWidth - e.clientWidth)")
    assert len(hidden) == 2
    if width == 1280:
        assert hidden == [0, 0]  # every column is there
    contrast = browser.execute_script(
        """
        const light = colour => {
          const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
            .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        const ratio = colour => {
          const [a, b] = [light(colour), paper].sort((x, y) => y - x);
          return (a + 0.05) / (b + 0.05);
        };
        const all = selector => [...document.querySelectorAll(selector)];
        return {
          paper,
          text: Math.min(...all('p,td,th,dd,dt,small,a,figcaption').map(e => ratio(getComputedStyle(e).color))),
          swatch: Math.min(...all('.swatch').map(e => ratio(getComputedStyle(e).backgroundColor))),
          drawn: Math.min(...all('figure svg [id*=text_] > g').map(e => ratio(getComputedStyle(e).fill))),
        };
        """
    )
    assert (contrast["paper"] < 0.1) == dark
    assert contrast["text"] >= 4.5
    assert contrast["swatch"] >= 2
    assert contrast["drawn"] >= 4.5


def test_names_stay_in_sight_where_a_leaderboard_scrolls(browser, page):
    look(browser, page, width=390, mobile=True)
    places = browser.execute_script(
        """
        const box = document.querySelector('.scroll table.board').parentNode;
        box.scrollLeft = 300;
        const name = box.querySelector('tbody th').getBoundingClientRect();
        return [box.scrollLeft, name.left - box.getBoundingClientRect().left, name.width];
        """
    )
    assert places[0] > 100
    assert abs(places[1]) < 1
    assert places[2] < 390 / 2


def test_a_curve_tells_its_values(browser, page):
    from selenium.webdriver.common.keys import Keys

    look(browser, page)
    plot = browser.find_element("css selector", "#figure-incumbent-evaluations .plot")
    tip = browser.find_element("css selector", ".tip")
    assert not tip.is_displayed()
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", plot)
    told = json.loads(re.search(r'figure-incumbent-evaluations.*?application/json">(.*?)</script>',
                                page.read_text(encoding="utf-8"), re.DOTALL)[1])  # fmt: skip
    plot.send_keys(Keys.ARROW_DOWN, Keys.ARROW_UP)  # to the second data set and back
    first = told["panels"][0]
    assert tip.text.startswith(f"{first['title']}, 1 evaluations")
    plot.send_keys(*[Keys.ARROW_RIGHT] * 200)
    for one in first["series"]:
        value, low, high = (one[name][-1] for name in ("value", "low", "high"))
        assert f"{one['name']} {value:.2f} [{low:.2f}, {high:.2f}]" in re.sub(r"\s+", " ", tip.text)
    plot.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    box = browser.execute_script(
        "const r = arguments[0].firstChild.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]",
        plot,
    )
    left, top, right, bottom = told["panels"][1]["box"]
    at = {"x": box[0] + box[2] * (left + right) / 2, "y": box[1] + box[3] * (top + bottom) / 2}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", **at})
    assert tip.text.startswith(told["panels"][1]["title"])


def test_the_browser_finds_nothing_to_complain_about(browser, page):
    look(browser, page)
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert loaded == []
