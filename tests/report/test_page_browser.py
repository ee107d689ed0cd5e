"""The page in a browser: it says no error, asks for nothing, runs nothing of others, and can be read by everybody."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import chromium
import made_results as made
import numpy as np
import pytest
from chromium import Chromium, Shown, shown
from PIL import Image

from modelport.report.page.draw import page
from modelport.report.page.found import found

AXE = Path(os.environ.get("MODELPORT_AXE", f"{sys.prefix}/axe-core/axe.min.js"))
# Where it is looked for all of this, what is missing is a failure.
IN_CI = "MODELPORT_CI" in os.environ
MISSING = ".ci/browser brings it"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None and not IN_CI, reason=f"chromium is not installed: {MISSING}"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    assert chromium.PROGRAM is not None, f"chromium is not installed: {MISSING}"
    one = Chromium(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def one_result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    return _written(folder, [made.folder(folder / "result", made.value())])


@pytest.fixture(scope="module")
def many_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models on three engines."""
    folder, results = tmp_path_factory.mktemp("many"), []
    for model in ("moco-v2", "simclr", "inception-v4", "smlp-t", "nas-fpn"):
        results.append(made.folder(folder / model / "1", made.value(recipe=model)))
        results.append(made.folder(folder / model / "2", made.inconclusive(recipe=model)))
        results.append(made.folder(folder / model / "3", made.value(recipe=model, engine="torch")))
    return _written(folder, results)


@pytest.fixture(scope="module")
def hostile_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    results = [made.hostile_folder(folder / f"{i}", made.value(), words) for i, words in enumerate(made.HOSTILE)]
    return _written(folder, results, "".join(made.HOSTILE))


@pytest.fixture(scope="module")
def mixed_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    results = [made.folder(folder / "1", made.value()), made.folder(folder / "2", made.inconclusive())]
    return _written(folder, [*results, made.hostile_folder(folder / "3", made.value(), made.HOSTILE[1])])


def _written(folder: Path, results: list[Path], title: str = "modelport") -> Path:
    path = folder / "report.html"
    path.write_text(page(found(results), title), encoding="utf-8")
    return path


def _everything_open(one: Shown) -> None:
    one.look("document.querySelectorAll('details').forEach(each => each.open = true)")


@pytest.mark.parametrize("which", ["one_result", "many_results", "hostile_results"])
def test_a_page_opens_without_a_word_and_asks_for_nothing(
    browser: Chromium, which: str, request: pytest.FixtureRequest
) -> None:
    with shown(browser, request.getfixturevalue(which)) as one:
        _everything_open(one)
        one.look("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert one.said() == []
        assert one.asked() == []
        assert one.look("[...document.images].every(each => each.complete && each.naturalWidth > 0)")


def test_nothing_that_others_wrote_runs(browser: Chromium, hostile_results: Path) -> None:
    with shown(browser, hostile_results) as one:
        _everything_open(one)
        # As a hand would: over everything, and pressed.
        one.look(
            "document.querySelectorAll('main *').forEach(each => "
            "['mouseover', 'focus', 'click'].forEach(kind => each.dispatchEvent(new Event(kind, {bubbles: true}))))"
        )
        assert one.look("typeof window.ran") == "undefined"
        assert one.look("document.scripts.length") == 1
        assert "<script>window.ran=1</script>" in one.look("document.body.innerText")
        assert '"><img src=x onerror="window.ran=1">' in one.look("document.title")
        # The policy alone would keep a script from being fetched, were there one.
        assert one.said() == [] and one.asked() == []


def test_markup_that_slipped_through_would_do_nothing(browser: Chromium, one_result: Path, tmp_path: Path) -> None:
    text = one_result.read_text(encoding="utf-8")
    bad = (
        '<script>window.ran=1</script><img src="data:image/png;base64,x" onerror="window.ran=1"><base href="http://x/">'
    )
    (tmp_path / "bad.html").write_text(text.replace("</h1>", f"</h1>{bad}"), encoding="utf-8")
    with shown(browser, tmp_path / "bad.html") as one:
        assert one.look("document.scripts.length") == 2
        assert one.look("typeof window.ran") == "undefined"
        assert one.look("document.baseURI").startswith("file:")
        assert any("Content Security Policy" in words for words in one.said())


@pytest.mark.parametrize("which", ["one_result", "many_results"])
@pytest.mark.parametrize(("width", "height"), [(1200, 800), (390, 844)])
def test_the_first_screen_answers(
    browser: Chromium, which: str, width: int, height: int, request: pytest.FixtureRequest
) -> None:
    with shown(browser, request.getfixturevalue(which), width, height) as one:
        last = ".card dd:last-of-type" if which == "one_result" else ".open"
        for place in (".badge", ".drawing" if which == "one_result" else ".overview", last):
            bottom = one.look(
                f"Math.max(...[...document.querySelectorAll('#verdict {place}')]"
                ".slice(0, 4).map(each => each.getBoundingClientRect().bottom))"
            )
            assert 0 < bottom <= height, place


@pytest.mark.parametrize("which", ["one_result", "many_results", "hostile_results"])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_does_not_scroll_sideways(
    browser: Chromium, which: str, width: int, request: pytest.FixtureRequest
) -> None:
    with shown(browser, request.getfixturevalue(which), width) as one:
        _everything_open(one)
        assert one.look("document.documentElement.scrollWidth") <= width


def test_a_page_is_seen_in_light_dark_on_a_phone_and_on_paper(browser: Chromium, one_result: Path) -> None:
    light = []
    with shown(browser, one_result) as one:
        for width, height, dark in ((1200, 800, False), (390, 844, False), (1200, 800, True)):
            one.size(width, height, dark)
            with Image.open(BytesIO(one.picture())) as picture:
                pixels = np.asarray(picture.convert("L"), np.float64)
            assert pixels.shape == (height, width)
            # Words and lines: not blank, and mostly paper.
            assert 0.01 < (np.abs(pixels - np.median(pixels)) > 60).mean() < 0.5
            light.append(np.median(pixels) > 127)
        assert light == [True, True, False]
        assert one.paper().startswith(b"%PDF") and len(one.paper()) > 10_000


def test_everything_is_open_on_paper(browser: Chromium, many_results: Path) -> None:
    with shown(browser, many_results) as one:
        count = "document.querySelectorAll('details:not([open])').length"
        closed = one.look(count)
        one.look("window.folded = []; addEventListener('beforeprint', () => window.folded.push(" + count + "))")
        one.paper()
        assert closed > 0 and one.look("window.folded") == [0] and one.look(count) == closed


def test_keys_are_shown_by_the_keyboard_alone(browser: Chromium, one_result: Path) -> None:
    shows = (
        "[...document.querySelectorAll('.figure[data-key]')].filter(each => "
        "getComputedStyle(each, '::after').content.includes(` ${each.dataset.key}`)).length"
    )
    with shown(browser, one_result) as one:
        assert one.look(shows) == 0
        one.press("Tab", 9)
        assert one.look("document.activeElement.className") == "skip"
        one.press("Tab", 9)
        assert one.look("document.activeElement.id") == "keys"
        one.press(" ", 32, " ")
        assert one.look(shows) == one.look("document.querySelectorAll('.figure[data-key]').length") > 20


def test_fifteen_results_open_within_a_second(browser: Chromium, many_results: Path) -> None:
    with shown(browser, many_results) as one:
        # Of the core that draws it: on a busy machine the clock on the wall tells of others.
        assert 0 < one.core_seconds() < 1.0


@pytest.mark.skipif(not AXE.is_file() and not IN_CI, reason=f"axe-core is not at {AXE}: {MISSING}")
@pytest.mark.parametrize(
    ("which", "width", "dark"),
    [("one_result", 390, False), ("mixed_results", 1200, True)],
)
def test_axe_finds_nothing(
    browser: Chromium, which: str, width: int, dark: bool, request: pytest.FixtureRequest
) -> None:
    with shown(browser, request.getfixturevalue(which)) as one:
        one.size(width, 844, dark)
        _everything_open(one)
        # As a debugger, not as a script of the page, whose policy refuses others.
        one.look(AXE.read_text(encoding="utf-8") + "; 0")
        found = one.look(
            "axe.run().then(told => told.violations.flatMap(rule => rule.nodes.slice(0, 3).map(node => "
            "`${rule.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`)))"
        )
        assert found == []
