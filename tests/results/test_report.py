"""The report is one page that loads nothing, escapes everything, and works on a phone and on a desk."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import Browser, find_chromium
from PIL import Image

from atlas_core.errors import AtlasError
from atlas_core.results.database import connect, query
from atlas_core.results.report import PlanRow, ReportFigure, write_report
from atlas_core.results.schemas import rows_to_table, write_tables

EVIL = '</script><script>document.title="stolen"</script><img src=x onerror=alert(1)> & "$\\alpha$'
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def report(con, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    runs = query(con, "SELECT DISTINCT run_name FROM runs").to_pylist()
    plan = [
        PlanRow("csl", "csl/things/base", "cached", 0.05, 12_000, "2025-11-23 11:00"),
        *(PlanRow("tune", f"tune/run{k}", "made" if k else "missing", 1.5 if k else None) for k in range(30)),
    ]
    return write_report(
        con,
        plan,
        {"base-to-new-demo": "name: base-to-new-demo\nseeds: [1, 2, 3]"},
        {"python": "3.11", "torch": "2.5"},
        {row["run_name"]: f"made for {row['run_name']}\nno other version" for row in runs},
        folder / "report.html",
        title="Demo study",
        subtitle="all protocols",
    )


class Texts(HTMLParser):
    """Addresses in attributes, and tags in order."""

    def __init__(self):
        super().__init__()
        self.addresses, self.tags, self.ids = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "action", "data", "poster"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)


def parsed(path):
    parser = Texts()
    parser.feed(path.read_text())
    return parser


def test_nothing_is_loaded_from_anywhere(report):
    page = parsed(report)
    assert {each[0] for each in page.addresses} == {"#"}
    assert {each[1:] for each in page.addresses} <= set(page.ids)
    assert not re.search(r"@import|url\((?!#)", report.read_text())
    assert "default-src 'none'" in report.read_text()
    assert len(page.ids) == len(set(page.ids))


def test_everything_that_was_asked_for_is_in_the_page(report, con):
    html = report.read_text()
    for section in ("overview", "tables", "verdicts", "figures", "runs", "plan", "configuration"):
        assert f'id="{section}"' in html
    for name in ("base-to-new", "few-shot", "statistics", "published"):
        assert f'id="table-{name}"' in html
    assert html.count("<svg") == 6
    for run in query(con, "SELECT run_id, run_name FROM runs").to_pylist():
        assert run["run_id"] in html
        assert f"made for {run['run_name']}" in html
    assert "seeds: [1, 2, 3]" in html
    assert "prefers-color-scheme: dark" in html


def coop_alone(tables):
    """Runs of one method under one protocol: figures of few panels."""
    return [
        row
        for row in tables["runs"].to_pylist()
        if row["protocol"] == "base_to_new" and row["method"] != "kgcoop"
    ]


def test_every_text_is_escaped(tables, tmp_path):
    runs = [
        {**row, "dataset": EVIL, "run_name": EVIL, "study": EVIL, "backbone": EVIL}
        if row["dataset"] == "digits"
        else row
        for row in coop_alone(tables)
    ]
    metrics = [
        {**row, "target": EVIL} if row["target"] == "digits" else row for row in tables["metrics"].to_pylist()
    ]
    whole = {**tables, "runs": rows_to_table("runs", runs), "metrics": rows_to_table("metrics", metrics)}
    write_tables(tmp_path / "results", whole)
    path = write_report(
        connect(tmp_path / "results"),
        [PlanRow(EVIL, EVIL, EVIL, created=EVIL)],
        {EVIL: EVIL},
        {EVIL: EVIL},
        {EVIL: EVIL},
        tmp_path / "report.html",
        title=EVIL,
        subtitle=EVIL,
    )
    page = parsed(path)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "&lt;/script&gt;&lt;script&gt;" in path.read_text()


def test_a_study_without_results_has_a_report(tmp_path):
    (tmp_path / "empty").mkdir()
    path = write_report(connect(tmp_path / "empty"), [], {}, {}, {}, tmp_path / "deep" / "report.html")
    assert "Published numbers" in path.read_text()
    assert 'href="#figures"' not in path.read_text()


def test_figures_from_elsewhere_are_shown(con, tmp_path):
    (tmp_path / "empty").mkdir()
    extra = ReportFigure("figure-case", '<svg width="10pt"></svg>', "Soft <labels>")
    path = write_report(
        connect(tmp_path / "empty"), [], {}, {}, {}, tmp_path / "report.html", extra_figures=[extra]
    )
    assert '<svg width="10pt"></svg>' in path.read_text()
    assert "Soft &lt;labels&gt;" in path.read_text()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(AtlasError, match="file cannot be written to"):
        write_report(connect(tmp_path / "empty"), [], {}, {}, {}, tmp_path / "file" / "report.html")


def test_a_collapsed_run_is_announced(tables, tmp_path):
    runs = coop_alone(tables)
    next(row for row in runs if row["supervision"] == "ls")["final_loss"] = float("nan")
    write_tables(tmp_path / "results", {**tables, "runs": rows_to_table("runs", runs)})
    html = write_report(connect(tmp_path / "results"), [], {}, {}, {}, tmp_path / "report.html").read_text()
    assert "1 run collapsed" in html
    assert "collapsed: final loss is not finite" in html


@pytest.fixture(scope="module")
def browser():
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    browser = Browser(executable)
    yield browser
    browser.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_fits_the_window_and_says_nothing_on_the_console(browser, report, tmp_path, window, dark):
    browser.open(report, **window, dark=dark)
    assert browser.requests() == [report.as_uri()]
    assert browser.complaints() == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (
        browser.evaluate(
            "[...document.querySelectorAll('main *')]"
            ".filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).length"
        )
        == 0
    )
    sizes = "[...document.querySelectorAll('td, p, li')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert browser.evaluate(f"Math.min(...{sizes})") >= 12
    browser.screenshot(tmp_path / "page.png")
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("L"), dtype=float)
    assert picture.shape == (window["height"], window["width"])
    assert (np.median(picture) < 60) == dark
    assert picture.std() > 8, "the page is blank"


def test_figures_take_the_colour_of_the_pages_text(browser, report):
    colours = set()
    for dark in (False, True):
        browser.open(report, **DESKTOP, dark=dark)
        colours.add(browser.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill"))
    assert colours == {"rgb(26, 26, 26)", "rgb(232, 232, 232)"}


def column(browser, place, head):
    """Values of a column, as they are sorted."""
    return browser.evaluate(
        f"[...document.querySelectorAll('#{place} tbody tr')].filter(r => !r.hidden)"
        f".map(r => r.cells[{head}].dataset.value ?? r.cells[{head}].textContent)"
    )


def test_a_click_on_a_head_sorts_and_the_third_click_restores(browser, report):
    browser.open(report, **DESKTOP)
    browser.evaluate("document.querySelector('#table-runtime table').id = 'shown'")
    click = "document.querySelectorAll('#shown thead button')[1].click()"
    before = column(browser, "shown", 1)
    browser.evaluate(click)
    first = [float(value) for value in column(browser, "shown", 1)]
    assert len(first) == 4
    assert first == sorted(first, reverse=True)
    assert browser.evaluate("document.querySelector('#shown th[aria-sort]').ariaSort") == "descending"
    browser.evaluate(click)
    assert [float(value) for value in column(browser, "shown", 1)] == sorted(first)
    browser.evaluate(click)
    assert column(browser, "shown", 1) == before
    assert browser.evaluate("document.querySelector('#shown th[aria-sort]')") is None
    browser.evaluate("document.querySelectorAll('#shown thead button')[0].click()")
    assert column(browser, "shown", 0) == sorted(column(browser, "shown", 0))


def test_the_filter_keeps_rows_that_hold_every_word(browser, report):
    browser.open(report, **PHONE)
    browser.evaluate(
        "(() => { const box = document.querySelector('#runs input'); box.value = 'kgcoop digits atlas_isl';"
        "box.dispatchEvent(new Event('input')); })()"
    )
    shown = browser.evaluate(
        "[...document.querySelectorAll('#runs tbody tr')].filter(r => !r.hidden).map(r => r.textContent)"
    )
    assert len(shown) == 3
    assert all("kgcoop" in row and "atlas_isl" in row for row in shown)
    assert browser.evaluate("document.querySelector('#runs [role=status]').textContent").startswith("3 of ")


def test_a_runs_why_opens(browser, report):
    browser.open(report, **PHONE)
    browser.evaluate("document.querySelector('#runs summary').click()")
    assert browser.evaluate("document.querySelector('#runs details').open")
    assert browser.evaluate("document.querySelector('#runs details pre').getBoundingClientRect().height") > 10
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_dark_and_light_text_has_enough_contrast(browser, report):
    """WCAG AA: 4.5 to 1 for the colours of text on the paper and on raised ground."""
    for dark in (False, True):
        browser.open(report, **DESKTOP, dark=dark)
        names = ["ink", "soft", "accent", "up", "down", "paper", "raised", "warn", "warn-ink", "best"]
        read = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
        colour = {name: luminance(browser.evaluate(read.format(name))) for name in names}
        for ground in ("paper", "raised"):
            for text in ("ink", "soft", "accent", "up", "down"):
                assert contrast(colour[text], colour[ground]) >= 4.5, (dark, text, ground)
        assert contrast(colour["warn-ink"], colour["warn"]) >= 4.5
        assert contrast(colour["ink"], colour["best"]) >= 4.5


def luminance(text):
    channels = np.array([int(text[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    high, low = max(one, other), min(one, other)
    return (high + 0.05) / (low + 0.05)
