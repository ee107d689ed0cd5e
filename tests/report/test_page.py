"""The page: one file, well formed, that asks for nothing and in which whatever others wrote is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made_results as made
import pytest

from modelport.core.errors import DataError
from modelport.core.text import plain
from modelport.report.page.draw import page
from modelport.report.page.facts import left_open, loss_of, reason_of
from modelport.report.page.found import Found, found
from modelport.report.page.parts import Cell
from modelport.report.page.table import SECTIONS
from modelport.report.result import Result

VOID = {"meta", "input", "img", "br", "hr", "link", "source"}
SVG = {"svg", "g", "rect", "line", "polyline", "polygon", "circle", "path", "text", "tspan", "title", "desc"}
MOST = 2 * 1024 * 1024


class Read(HTMLParser):
    """Elements, attributes and text of a page; ``wrong`` tells what is not closed or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"{name} stays open" for name in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len({name for name, _ in attrs}) != len(attrs):
            self.wrong.append(f"{tag}: an attribute twice")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)


def drawn(tmp_path: Path, *values: dict[str, Any], title: str = "modelport") -> str:
    """Return the page over these results."""
    return page(found([made.folder(tmp_path / f"result{index}", told) for index, told in enumerate(values)]), title)


def held(text: str) -> Read:
    """Read a page, and hold it to be well formed and to ask for nothing."""
    read = Read(text)
    assert read.wrong == []
    identities = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    for tag, attributes in read.elements:
        assert tag not in {"iframe", "object", "embed", "base", "form", "link"}, tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "srcset", "action", "formaction", "poster", "data", "xlink:href", "background"}:
                assert value is not None and value.startswith(("#", "data:image/")), (tag, name, value)
    assert sum(tag == "script" for tag, _ in read.elements) == 1
    assert len(text.encode()) <= MOST
    return read


def test_a_page_is_well_formed_and_asks_for_nothing(tmp_path: Path) -> None:
    read = held(drawn(tmp_path, made.value(), made.inconclusive()))
    anchors = {attributes["href"] for tag, attributes in read.elements if tag == "a"}
    places = {f"#{attributes['id']}" for _, attributes in read.elements if "id" in attributes}
    assert anchors <= places
    style = re.search(r"<style>(.*?)</style>", drawn(tmp_path / "again", made.value()), re.DOTALL)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


@pytest.mark.parametrize("words", made.HOSTILE)
def test_whatever_others_wrote_is_text(tmp_path: Path, words: str) -> None:
    safe = held(drawn(tmp_path / "safe", made.value(), made.inconclusive()))
    values = (made.value(), made.inconclusive())
    paths = [made.hostile_folder(tmp_path / f"r{i}", told, words) for i, told in enumerate(values)]
    read = held(page(found(paths), f"{words} title"))
    kinds = {tag for tag, _ in safe.elements} | SVG | {"ul", "li", "img", "figure", "figcaption", "bdi"}
    assert {tag for tag, _ in read.elements} <= kinds
    assert plain(words)[:40] in "".join(read.words)
    # Neither control characters nor what turns the direction of writing.
    assert not {"\x1b", "\x00", "\x07", "\u202e", "\u2066", "\u2028"} & set("".join(read.words))


def test_a_page_stays_below_its_size(tmp_path: Path) -> None:
    told = made.value(
        notes=["n" * 5000] * 3000,
        per_class=[{"class": i, "name": "c" * 300, "n": 9, "top1": 1.0, "source": 2.0} for i in range(20_000)],
        artifacts=[{"kind": "onnx", "path": "p" * 4000, "sha256": "0" * 64, "made_from": ["0" * 64] * 99}] * 2000,
        command="c" * 100_000,
        checks=[made.check(f"check {index}", why="w" * 500) for index in range(2000)],
    )
    held(drawn(tmp_path, told))


def test_every_figure_of_the_first_screen_names_a_key_that_is_there(tmp_path: Path) -> None:
    told = made.value()
    read = held(drawn(tmp_path, told))
    keys = [str(attributes["data-key"]) for _, attributes in read.elements if "data-key" in attributes]
    assert {"verdict", "throughput.end_to_end.value", "checks[1]", "recipe_sha256", "command"} <= set(keys)
    lost = [
        key
        for key in keys
        if not key.startswith("recipe.toml") and not _there(told, key.replace("[", ".").replace("]", "").split("."))
    ]
    assert lost == []


def _there(value: Any, parts: list[str]) -> bool:
    """Whether a key leads anywhere; the names of files and packages hold dots themselves."""
    if not parts:
        return True
    if isinstance(value, list):
        return parts[0].isdigit() and int(parts[0]) < len(value) and _there(value[int(parts[0])], parts[1:])
    heads = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return isinstance(value, dict) and any(
        head in value and _there(value[head], parts[count:]) for count, head in enumerate(heads, 1)
    )


def test_the_reason_names_the_check_that_it_is_about() -> None:
    doubt = made.check("top1_above_chance", "inconclusive", "cannot be told from guessing")
    loss = made.check("top1_vs_source", "inconclusive", interval=[-6.0, 6.0])
    first, second = made.value(verdict="inconclusive", checks=[loss, doubt]), made.value(verdict="inconclusive")
    cell = reason_of(Result.from_json(first))
    assert cell.key == "checks.0" and "between -6.00 and 6.00 % are lost" in cell.text
    cell = reason_of(Result.from_json(second | {"checks": [doubt, loss]}))
    assert cell.key == "checks.0" and cell.text.startswith("top1_above_chance: cannot be told")


def test_an_older_result_gives_a_page_too(tmp_path: Path) -> None:
    told = made.value()
    for key in ("statistics", "paired", "per_class", "confusions", "slices", "slices_looked_at", "runs_in_flight"):
        del told[key]
    for key in ("kind", "path", "sha256", "title"):
        del told["source"][key]
    for one in told["checks"]:
        one.pop("interval", None)
    path = made.folder(tmp_path / "old", told)
    (path / "recipe.toml").unlink()
    held(page(found([path]), "old"))


def test_there_is_a_section_for_each_line_of_the_table(tmp_path: Path) -> None:
    text = drawn(tmp_path, made.value())
    names = re.findall(r'<section id="([a-z-]+)"', text)
    assert names[0] == "verdict" and names[-1] == "provenance" and len(names) <= len(SECTIONS)


def open_words(tmp_path: Path, **changes: Any) -> str:
    """Return what a result with these keys leaves open."""
    one = _one(tmp_path, made.value(**changes))
    assert one.result is not None
    return "; ".join(cell.text for cell in left_open(one.result, one.recipe))


def _one(tmp_path: Path, told: dict[str, Any]) -> Found:
    return found([made.folder(tmp_path / f"r{len(list(tmp_path.iterdir()))}", told)])[0]


def test_what_was_not_proved_is_said(tmp_path: Path) -> None:
    assert "the published accuracy (480 of 50000 images)" in open_words(tmp_path)
    assert "the recipe tells no digest of them" in open_words(tmp_path)
    assert "accuracy (labels were not looked at)" in open_words(
        tmp_path, dataset={**made.value()["dataset"], "labels": "not looked at"}
    )
    assert "skipped (3 of them)" in open_words(tmp_path, skipped=3)
    assert "no figure is published" in open_words(tmp_path, published=[])
    doubt = [made.check("samples", "inconclusive"), made.check("top1_vs_source", "incomplete")]
    assert "inconclusive: samples" in open_words(tmp_path, checks=doubt)
    assert "incomplete: top1_vs_source" in open_words(tmp_path, checks=doubt)
    source = made.value()["source"]
    assert "the given onnx defines the right answer" in open_words(tmp_path, source={**source, "kind": "onnx"})
    nothing = {**source, "kind": "none", "metrics": {}}
    assert "there was no source model" in open_words(tmp_path, source=nothing)


def test_where_all_is_proved_it_is_said_so(tmp_path: Path) -> None:
    path = made.folder(
        tmp_path / "whole",
        made.value(published=[{**made.value()["published"][0], "applies": True}]),
        lambda text: text.replace("[weights]\n", f'[weights]\nsha256 = "{made.DIGEST}"\n'),
    )
    one = found([path])[0]
    assert one.result is not None and one.recipe is not None
    assert left_open(one.result, one.recipe) == [
        Cell("nothing: the full published set, the published weights, every check", "checks", "pass")
    ]


@pytest.mark.parametrize(
    ("verdict", "interval", "said"),
    [
        ("pass", [-0.72, 0.71], "all of it is within"),
        ("fail", [6.1, 37.2], "all of it is beyond"),
        ("inconclusive", [-6.3, 5.9], "the limit lies between"),
        ("inconclusive", [None, 5.9], "an unknown number"),
    ],
)
def test_the_bar_says_in_words_what_it_shows(verdict: str, interval: list[float | None], said: str) -> None:
    told = made.value(verdict=verdict, checks=[made.check("top1_vs_source", verdict, interval=interval)])
    chart = loss_of(Result.from_json(told))
    assert chart is not None and said in chart.alternative and "1 % may be lost" in chart.alternative
    held_numbers = [float(number) for number in re.findall(r'(?:x|x1|x2|width)="(-?[\d.]+)"', chart.svg)]
    assert all(0 <= number <= 360 for number in held_numbers)


@pytest.mark.parametrize("interval", [[None, None], [float("nan"), 1.0], [0.0, float("inf")]])
def test_what_bounds_nothing_is_not_drawn(interval: list[float | None]) -> None:
    told = made.value(checks=[made.check("top1_vs_source", interval=interval)])
    assert loss_of(Result.from_json(told)) is None


def test_an_overview_tells_each_result_once(tmp_path: Path) -> None:
    values = [made.value(recipe=name, engine=engine) for name in "ab" for engine in "xyz"]
    text = drawn(tmp_path, *values, made.inconclusive(recipe="a"))
    table = re.search(r'<table class="overview">(.*?)</table>', text, re.DOTALL)
    assert table is not None
    assert table[1].count('scope="row"') == 2 and table[1].count('scope="col"') == 5
    assert table[1].count(">pass<") == 6 and table[1].count(">inconclusive<") == 1
    assert table[1].count("not run") == 1
    assert "7 results of 2 models" in text


@pytest.mark.parametrize("key", ["environment", "dataset"])
def test_a_result_of_another_form_is_one_error(tmp_path: Path, key: str) -> None:
    from modelport.core.progress import Silent
    from modelport.jobs.report import ReportRequest, report

    path = made.folder(tmp_path / "r", made.value(**{key: "text"}))
    with pytest.raises(DataError, match="is not as modelport writes it"):
        report(ReportRequest((path,), tmp_path / "out.html"), Silent())


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_words_can_be_read_in_light_and_in_dark() -> None:
    from importlib.resources import files

    style = (files("modelport.report.page") / "templates" / "style.css").read_text()
    blocks = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{([^}]*)\}", style)
    ]
    blocks = [block for block in blocks if block]
    assert len(blocks) == 3
    for block in blocks:
        for name in ("ink", "muted", "link", "pass", "fail", "doubt", "source", "engine", "published"):
            assert contrast(block[name], block["paper"]) >= 4.5, name
            assert contrast(block[name], block["panel"]) >= 4.5, name
