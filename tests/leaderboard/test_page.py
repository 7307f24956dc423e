"""The page in a browser: it stands by itself, sorts, filters, and shows what the records say."""

import itertools
import os
import shutil

import cv2
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from psa_seg.leaderboard import read_boards, write
from psa_seg.records import write as write_record
from psa_seg.records.schema import OF_A_DEMO
from tests.leaderboard import invented
from tests.leaderboard.test_board import CITYSCAPES

BROWSER = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        assert "CI" not in os.environ, "this test must not be left out there"
        pytest.skip("no chromium here: apt install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, tmp_path):
    """A function: records' changes → the page, opened without a network, and its messages."""
    context = browser.new_context(offline=True)

    def open_page(pictures=False, **changes):
        records = invented.write_all(tmp_path / "records", **changes)
        rng = np.random.default_rng(0)
        cv2.imwrite(str(records / "SE 0.webp"), rng.integers(0, 255, (30, 60, 3), dtype=np.uint8))
        write(str(records), str(tmp_path / "out"), pictures)
        page, messages = context.new_page(), []
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("console", lambda message: messages.append(message.text))
        page.on("request", lambda request: messages.append(request.url))
        page.goto(f"file://{tmp_path}/out/index.html")
        loaded = [m for m in messages if not m.startswith(("file:", "data:"))]
        assert loaded == [], "an error, or something from elsewhere"
        return page

    yield open_page
    context.close()


def column(page, number):
    return page.locator(f"table.figures tbody td:nth-child({number})").all_inner_texts()


def heading(page, name):
    return page.locator("table.figures th", has_text=name)


def test_it_shows_sorts_and_filters(opened, tmp_path):
    page = opened()
    (board,) = read_boards(str(tmp_path / "records")).boards
    means = [f"{model.mean_and_sd()[0]:.2f}" for model in board.models.values()]
    assert column(page, 1) == ["PSA parallel", "SE", "none"]
    assert [text.split(" ")[0] for text in column(page, 2)] == means
    assert column(page, 7) == ["better", "no significant difference", ""]

    page.get_by_role("button", name="parameters").click()
    assert column(page, 1) == ["PSA parallel", "none", "SE"]
    assert heading(page, "parameters").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="parameters").click()
    assert column(page, 1) == ["SE", "none", "PSA parallel"]
    page.get_by_role("button", name="difference to none").click()
    assert column(page, 1) == ["PSA parallel", "SE", "none"], "what is not there, last"
    page.get_by_role("button", name="difference to none").click()
    assert column(page, 1) == ["SE", "PSA parallel", "none"]

    page.get_by_label("cost").select_option("GFLOPs")
    page.get_by_role("searchbox").fill("s")
    assert column(page, 1) == ["SE", "PSA parallel", "none"], "still sorted, and with the baseline"
    assert page.get_by_label("cost").input_value() == "GFLOPs"
    page.get_by_role("searchbox").fill("psa")
    assert column(page, 1) == ["PSA parallel", "none"]
    page.get_by_role("searchbox").fill("nothing of this name")
    assert "No model of that name" in page.inner_text("main")


def test_its_plots_follow(opened, tmp_path):
    page = opened()
    labels = page.locator("svg").first.locator("text.name")
    assert set(labels.all_text_contents()) == set(invented.LABELS)
    places = []
    for cost in ("parameters", "GFLOPs", "inference", "training memory"):
        page.get_by_label("cost").select_option(cost)
        marks = page.locator("svg").first.locator("path.mark")
        places.append([mark.get_attribute("d") for mark in marks.all()])
        assert not any("NaN" in place for place in places[-1])
    assert len({tuple(place) for place in places}) > 2
    labels = page.locator("svg").nth(1).locator("text").all_text_contents()
    assert "0" in labels, "the axis of learning curves starts at 0"
    shot = tmp_path / "shot.png"
    page.screenshot(path=str(shot), full_page=True)
    assert cv2.imread(str(shot)).std() > 10, "an empty page"


def test_pictures_of_real_images_are_shown_when_asked_for(opened):
    assert opened().locator("img").count() == 0
    page = opened(pictures=True)
    page.locator("summary").click()
    page.wait_for_function("document.querySelector('img').naturalWidth === 60")


def test_what_is_synthetic_exploratory_or_of_others_says_so(opened):
    page = opened(data="synthetic streets", exploratory=True)
    assert page.locator(".tag").all_inner_texts() == [
        "synthetic: says nothing about real images",
        "exploratory: a search, not a test",
    ]
    assert page.locator("img").count() == 1
    assert page.locator(".theirs").count() == 0
    page = opened(data="photos" + OF_A_DEMO)
    assert page.locator(".tag").all_inner_texts() == ["demo: no figures of a full training"]
    page = opened(**CITYSCAPES, max_iterations=80_000)
    assert "not measured here" in page.inner_text(".theirs")
    assert "80.09" in page.inner_text(".theirs")


def test_what_is_known_comes_first_and_what_others_measured_last(opened):
    page = opened()
    found = page.inner_text("#findings")
    assert "PSA parallel +" in found
    assert "no significant difference. With 3 seeds, a difference of" in found
    last = page.locator("main > section").last.inner_text()
    assert all(text in last for text in ("86.95", "86.92", "84.62", "byte-identical", "issue 19"))
    assert opened(data="synthetic streets").inner_text("#findings") == ""


def test_thirteen_rows_stay_apart(browser, tmp_path):
    for index in range(13):
        label = f"PSA number {index}" if index else "none"
        made = invented.record(label, 0, 60.0 + index % 3 / 100, config_hash=f"c{index}")
        write_record(tmp_path / f"{index}.json", made)
    write(str(tmp_path), str(tmp_path / "out"), False)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"file://{tmp_path}/out/index.html")
    names = page.locator("svg").first.locator("text.name")
    tops = sorted(float(name.get_attribute("y")) for name in names.all())
    assert min(b - a for a, b in itertools.pairwise(tops)) > 11
    marks = page.locator("svg.key path").evaluate_all(
        "paths => paths.map(p => p.getAttribute('fill') + p.getAttribute('d'))"
    )
    assert len(set(marks)) == 13
    hint, box = page.locator(".hint").first, page.locator(".scroll").first
    assert hint.is_visible(), "that there is more of the table"
    assert page.locator("td[style]").count() == 0, "one seed is neither green nor red"
    page.set_viewport_size({"width": 1600, "height": 800})
    box.evaluate("box => { box.style.width = box.scrollWidth + 'px' }")
    hint.wait_for(state="hidden")
    page.close()


def test_names_are_text_and_not_markup(opened):
    bad = "</script><!--<script><img src=x onerror=alert(1)>"
    page = opened(data=bad)
    assert bad in page.inner_text("h2")
    assert page.locator("img").count() == 0
