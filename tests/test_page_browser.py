"""The report in a real browser, opened from disk: nothing is loaded, nothing is wrong, everything works by keyboard.

Needs Playwright (PyPI), a Chromium (Debian's chromium; or its path in XENT_CHROMIUM), and for the accessibility checks
axe-core (npm; or the path of axe.min.js in XENT_AXE). Skipped where they are not there.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pages import NASTY, binary, several
from test_page import model_of
from xent.evaluate import evaluate
from xent.evaluate.page import render

api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
ROOT = Path(__file__).parent.parent


def chromium():
    found = os.environ.get("XENT_CHROMIUM")
    return found or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def axe():
    found = os.environ.get("XENT_AXE")
    path = Path(found) if found else ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        pytest.skip("needs axe-core: npm install axe-core, or its axe.min.js in XENT_AXE")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser():
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium: apt install chromium, or its path in XENT_CHROMIUM")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


Y, P, EVALUATION = binary(500, by={"third": np.arange(500) % 3}, carried={"id": np.arange(500) + 7000})
DOCUMENTS = {
    "binary": lambda: render(EVALUATION.to_dict(), model=model_of(["age", "height"])),
    "nasty": lambda: render(several(NASTY, 300).to_dict(), title=NASTY[2], model=model_of(NASTY)),
    "weighted": lambda: evaluate(
        Y, P, sample_weight=np.arange(500) % 4, by={"seventh": np.arange(500) % 7, "part": np.arange(500) // 99}
    ).to_html(),
    "many": lambda: several([f"class {k}" for k in range(60)], 600).to_html(),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, make in DOCUMENTS.items():
        (folder / f"{name}.html").write_text(make(), encoding="utf-8")
    return folder


@pytest.fixture
def open_page(browser, files):
    """Open a page from disk; at the end nothing may have been asked of a network or said to the console."""
    contexts, said = [], []

    def go(name, *, width=1280, scheme="light", **more):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda m: said.append(m.text))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("dialog", lambda d: (said.append(f"dialog {d.message}"), d.dismiss()))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or said.append(r.url))
        page.goto((files / f"{name}.html").as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert said == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_axe_finds_nothing(open_page, name, width, scheme):
    page = open_page(name, width=width, scheme=scheme)
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    page.evaluate(axe())
    found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))")
    assert [v for v in found if v[0] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_fits_its_window_and_no_chart_writes_over_its_edge_or_too_small(open_page, name, width):
    page = open_page(name, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    texts = page.evaluate(
        """Array.from(document.querySelectorAll("figure svg text"), (t) => {
             const box = t.getBoundingClientRect(), all = document.documentElement.clientWidth;
             const size = 12 * t.ownerSVGElement.getBoundingClientRect().width / 360;
             return [t.textContent, box.left, all - box.right, size];
           })"""
    )
    assert len(texts) > 40
    assert [t for t in texts if t[1] < 0 or t[2] < 0 or t[3] < 9.5] == []


def test_letters_of_one_chart_do_not_lie_on_each_other(open_page):
    page = open_page("binary", width=375)
    over = page.evaluate(
        """Array.from(document.querySelectorAll("figure svg")).flatMap((svg) => {
             const all = Array.from(svg.querySelectorAll("text"), (t) => [t.textContent, t.getBoundingClientRect()]);
             return all.flatMap(([a, p], i) => all.slice(i + 1).filter(([, q]) =>
               p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3)
               .map(([b]) => [svg.querySelector("title").textContent, a, b]));
           })"""
    )
    assert over == []


def at(threshold):
    called = threshold <= P
    return {
        "tp": int(np.sum(called & (Y == 1))),
        "fp": int(np.sum(called & (Y == 0))),
        "fn": int(np.sum(~called & (Y == 1))),
        "tn": int(np.sum(~called & (Y == 0))),
    }


def outcomes(page):
    return {k: int(page.locator(f"[data-live={k}]").inner_text().replace(",", "")) for k in ("tp", "fp", "fn", "tn")}


def test_the_slider_moves_the_figures_and_both_marks(open_page):
    page = open_page("binary")
    slider = page.get_by_label("Threshold", exact=True)
    assert page.locator("#chosen").inner_text() == "0.5"
    assert outcomes(page) == at(0.5)
    slider.focus()
    for key, times in (("ArrowRight", 7), ("Home", 1), ("End", 1), ("ArrowLeft", 20), ("PageDown", 3)):
        for _ in range(times):
            page.keyboard.press(key)
        found = outcomes(page)
        threshold = page.evaluate("JSON.parse(document.getElementById('stops').textContent).t[+threshold.value]")
        close = [at(t) for t in (threshold, threshold * (1 - 1e-5), threshold * (1 + 1e-5))]  # it is told to 6 digits
        assert found in close
        assert slider.get_attribute("aria-valuetext").startswith(page.locator("#chosen").inner_text())
        tpr, fpr = found["tp"] / Y.sum(), found["fp"] / (1 - Y).sum()
        for mark, x, y in (("roc-mark", fpr, tpr), ("pr-mark", tpr, found["tp"] / max(found["tp"] + found["fp"], 1))):
            circle = page.locator(f"#{mark}")
            if circle.get_attribute("visibility") == "hidden":
                assert mark == "pr-mark"
                assert found["tp"] + found["fp"] == 0
                continue
            left, top, right, bottom = map(float, circle.locator("..").get_attribute("data-box").split(","))
            assert float(circle.get_attribute("cx")) == pytest.approx(left + x * (right - left))
            assert float(circle.get_attribute("cy")) == pytest.approx(bottom - y * (bottom - top))


def test_the_buttons_of_the_table_move_the_slider(open_page):
    page = open_page("binary")
    button = page.locator("button.stop", has_text="0.3").first
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("button.stop[aria-pressed=true]").count() == 1
    assert page.locator("#chosen").inner_text() == "0.3"
    assert outcomes(page) == at(0.3)
    shown = page.locator("tr.here").locator("td").all_inner_texts()
    live = {
        k: page.locator(f"[data-live={k}]").inner_text() for k in ("precision", "recall", "specificity", "accuracy")
    }
    assert shown[1:5] == list(live.values())
    assert shown[5] == page.locator("[data-live=F1]").inner_text()


def test_headings_sort_by_mouse_and_keyboard(open_page):
    page = open_page("binary")
    table = page.locator("table", has=page.locator("caption", has_text="The most surprising rows"))

    def column(k):
        return table.locator(f"tbody tr > :nth-child({k})").all_inner_texts()

    before = sorted(column(8))
    table.get_by_role("button", name="row").click()
    rows = [int(v.replace(",", "")) for v in column(1)]
    assert rows == sorted(rows, reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1
    page.keyboard.press("Enter")
    rows = [int(v.replace(",", "")) for v in column(1)]
    assert rows == sorted(rows)
    assert [int(v) - 6999 for v in column(8)] == rows  # a row moves as a whole
    assert sorted(column(8)) == before
    table.get_by_role("button", name="its probability").click()
    p = [float(v) for v in column(3)]
    assert p == sorted(p, reverse=True)
    assert table.locator("th[aria-sort=none]").count() == 7
    table.get_by_role("button", name="label").click()
    assert column(2) == sorted(column(2))


def test_numbers_with_signs_sort_as_numbers(open_page):
    page = open_page("nasty")
    table = page.locator("table", has=page.locator("caption", has_text="Coefficients"))
    table.evaluate("t => t.closest('details').open = true")
    table.get_by_role("button", name="coefficient").click()
    found = [float(v.replace("−", "-")) for v in table.locator("tbody tr > :nth-child(3)").all_inner_texts()]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0 > found[-1]


def test_the_keyboard_reaches_everything_that_acts(open_page):
    page = open_page("binary")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"
    page.evaluate("window.acts = [...document.querySelectorAll('main :is(button, summary, input)')]")
    wanted = page.evaluate("acts.filter(e => e.checkVisibility()).length")
    assert wanted > 40
    seen = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("acts.indexOf(document.activeElement)"))
        if len(seen - {-1}) == wanted:
            return
    raise AssertionError(f"{len(seen - {-1})} of {wanted} were reached")


def test_without_scripts_it_is_whole_and_has_no_dead_controls(open_page):
    page = open_page("binary", java_script_enabled=False)
    assert not page.locator(".slider").is_visible()
    assert outcomes(page) == at(0.5)
    assert page.locator("figure svg").count() >= 8


def test_on_paper_it_is_black_on_white_without_controls(open_page):
    page = open_page("binary", scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".slider").is_visible()
    assert not page.locator("nav").is_visible()


def test_in_a_frame_of_a_notebook_it_works(browser):
    page = browser.new_page()
    said = []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.set_content(f"<!doctype html><title>Notebook</title>{EVALUATION._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.get_by_label("Threshold", exact=True).fill("0")
    assert int(frame.locator("[data-live=fn]").inner_text()) == 0
    page.close()
    assert said == []
