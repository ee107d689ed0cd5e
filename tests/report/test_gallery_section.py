"""The gallery shows which samples flip, with both answers; pictures are JPEG files of the folder, or none."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Call
from modelport.core.errors import DataError
from modelport.core.progress import Silent
from modelport.data.sets.table import open_dataset
from modelport.recipes.schema import Recipe
from modelport.report.page import gallery
from modelport.report.page.draw import page
from modelport.report.page.found import Found, found
from modelport.report.page.gallery import gallery_section
from modelport.report.page.gallery.boxes import Box, boxes_of, overlay
from modelport.report.page.gallery.thumbnails import MOST_BYTES
from modelport.report.thumbnails import draw_thumbnails

HOSTILE = "<script>alert(1)</script>\"'<img src=x onerror=alert(2)>"
Line = dict[str, Any]
Made = Callable[..., Path]


def jpeg(size: tuple[int, int] = (40, 30)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 30, 60)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def ran(null_path: Path, null_weights: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of the null engine on 40 samples: none flips."""
    from modelport.cli.main import main

    out = tmp_path_factory.mktemp("ran") / "out"
    words = ("--weights", null_weights, "--data", tiny_data, "--engine", "null", "--limit", 40, "--out", out)
    with pytest.raises(SystemExit):
        main([str(word) for word in ("run", null_path, *words)])
    return out


@pytest.fixture
def made(ran: Path, tmp_path: Path) -> Made:
    """Copy that result; of its first lines make what is asked for: (kind of flip, changes of predictions.jsonl)."""

    def make(*flips: tuple[str, Line], name: str = "made", pictures: Mapping[str, bytes] | None = None) -> Path:
        out = tmp_path / name
        shutil.copytree(ran, out)
        predictions, samples = (_read(out / f"{file}.jsonl") for file in ("predictions", "samples"))
        for (kind, changes), line, sample in zip(flips, predictions, samples, strict=False):
            line |= changes
            sample |= {"id": line["id"], "agrees": False}
            sample["correct"], sample["source_correct"] = {"lost": (False, True), "won": (True, False)}.get(
                kind, (False, False)
            )
        for file, lines in (("predictions", predictions), ("samples", samples)):
            (out / f"{file}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        if pictures is not None:
            (out / "thumbnails").mkdir()
            names = [line["id"] for line in predictions]
            for file, content in pictures.items():
                if "/" not in file:
                    (out / "thumbnails" / file).write_bytes(content)
            index = {
                file: {"id": sample, "width": 40, "height": 30} for file, sample in zip(pictures, names, strict=False)
            }
            (out / "thumbnails" / "index.json").write_text(json.dumps(index))
        return out

    return make


def _read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def values(*folders: Path) -> Mapping[str, Any]:
    section = gallery_section(found(folders))
    assert section is not None
    return section.values


def drawn(*folders: Path) -> str:
    return page(found(folders), "t")


FLIP = {"target": 3, "source_top5": [[3, 0.9], [1, 0.5]], "top5": [[1, 0.8], [3, 0.7]]}


def test_flips_stand_with_both_answers_and_their_kind(made: Made) -> None:
    folder = made(("lost", FLIP), ("won", FLIP), ("other", FLIP), ("lost", FLIP))
    told = values(folder)
    one = told["results"][0]
    assert one["counts"].text == "4 samples flip: 2 lost, 1 other, 1 won."
    # Of each kind alike: a filter shall find some.
    assert [item["kind"] for item in one["items"]] == ["lost", "other", "won", "lost"]
    rows = dict(one["items"][0]["rows"])
    assert rows["source"].text == "class 3 (0.9), then class 1 (0.5)"
    assert rows["engine"].text == "class 1 (0.8), then class 3 (0.7)"
    assert rows["engine"].key == "predictions.jsonl line 1: top5"
    assert [name for _, name in told["classes"]] == ["class 1", "class 3"]
    assert "no pictures: the folder holds no thumbnails" in one["notes"]
    text = drawn(folder)
    assert text.count('<li data-kind="') == 4 and text.count('data-kind="lost"') == 3  # two samples, and a button


def test_the_names_of_classes_are_the_recipes(made: Made) -> None:
    folder = made(("lost", FLIP))
    recipe = (folder / "recipe.toml").read_text()
    names = json.dumps([f"kind {place}" for place in range(10)])
    assert "[dataset]" in recipe
    (folder / "recipe.toml").write_text(recipe.replace("[dataset]", f"[dataset]\nnames = {names}", 1))
    rows = dict(values(folder)["results"][0]["items"][0]["rows"])
    assert rows["label"].text == "kind 3"


def test_without_the_files_of_samples_the_results_own_list_serves(made: Made) -> None:
    folder = made()
    result = json.loads((folder / "result.json").read_text())
    flips = [{"id": f"s{n}", "target": 1, "source": 1, "engine": n % 2} for n in range(3)]
    result["source"] |= {"flips": flips, "flip_count": 7}
    (folder / "result.json").write_text(json.dumps(result))
    for name in ("samples.jsonl", "predictions.jsonl"):
        (folder / name).unlink()
    one = values(folder)["results"][0]
    assert [item["kind"] for item in one["items"]] == ["lost", "other", "lost"]
    assert dict(one["items"][0]["rows"])["engine"].key == "source.flips.0.engine"
    assert one["more"].startswith("4 more samples flip")
    assert "predictions.jsonl is missing: scores and boxes are not told" in one["notes"]


def test_where_nothing_flips_there_is_no_section(ran: Path) -> None:
    assert gallery_section(found([ran])) is None
    assert gallery_section([Found("trace", Path("x"), {})]) is None


def test_pictures_are_data_of_the_page(made: Made) -> None:
    content = jpeg()
    folder = made(("lost", FLIP), ("lost", FLIP), pictures={"0000.jpg": content})
    items = values(folder)["results"][0]["items"]
    assert [item["picture"] is not None for item in items] == [True, False]
    assert base64.b64decode(items[0]["picture"].data) == content
    text = drawn(folder)
    assert re.findall(r'<img src="([a-z]+:[a-z/]+)', text) == ["data:image/jpeg"] and text.count("<img ") == 1


def test_the_thumbnails_of_a_run_are_found(made: Made, tiny: Recipe, tiny_data: Path) -> None:
    folder = made(("lost", FLIP), ("won", FLIP))
    samples = open_dataset(tiny, tiny_data)
    assert not draw_thumbnails(folder, folder / "samples.jsonl", samples, tiny, Silent())
    one = values(folder)["results"][0]
    assert all(item["picture"] is not None for item in one["items"]) and not one["notes"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("0000.jpg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("0000.jpg", b""),
        ("0000.jpg", jpeg() + bytes(MOST_BYTES)),
        ("0000.svg", jpeg()),
        ("../0000.jpg", jpeg()),
        ("../../made/0000.jpg", jpeg()),
        ("/etc/hostname.jpg", jpeg()),
        ("0000.jpg\n", jpeg()),
        (HOSTILE.replace("/", ""), jpeg()),
    ],
)
def test_what_is_no_thumbnail_is_left_out_and_told(made: Made, file: str, content: bytes) -> None:
    folder = made(("lost", FLIP), pictures={file: content})
    (folder.parent / "0000.jpg").write_bytes(jpeg())
    (folder / "0000.jpg").write_bytes(jpeg())
    one = values(folder)["results"][0]
    assert one["items"][0]["picture"] is None and dict(one["items"][0]["rows"])["engine"].text
    assert any("1 thumbnails are left out" in note for note in one["notes"])
    assert "<img " not in drawn(folder)


def test_a_thumbnail_is_not_read_through_a_link(made: Made, tmp_path: Path) -> None:
    folder = made(("lost", FLIP), pictures={"0000.jpg": jpeg()})
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg())
    (folder / "thumbnails" / "0000.jpg").unlink()
    (folder / "thumbnails" / "0000.jpg").symlink_to(secret)
    assert values(folder)["results"][0]["items"][0]["picture"] is None
    shutil.move(folder / "thumbnails", tmp_path / "elsewhere")
    (folder / "thumbnails").symlink_to(tmp_path / "elsewhere")
    assert values(folder)["results"][0]["items"][0]["picture"] is None


def test_a_thumbnail_that_is_a_pipe_does_not_hold_the_page_up(made: Made) -> None:
    folder = made(("lost", FLIP), pictures={"0000.jpg": jpeg()})
    (folder / "thumbnails" / "0000.jpg").unlink()
    os.mkfifo(folder / "thumbnails" / "0000.jpg")
    assert values(folder)["results"][0]["items"][0]["picture"] is None


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "{",
        '{"0000.jpg": 3}',
        '{"0000.jpg": {"id": 3, "width": 1, "height": 1}}',
        '{"0000.jpg": {"id": "x", "width": true, "height": 1}}',
        '{"0000.jpg": {"id": "x", "width": 0, "height": 1}}',
        '{"0000.jpg": {"id": "x", "width": 1e308, "height": 1}}',
        f'{{"0000.jpg": {{"id": "x", "width": {"9" * 400}, "height": 1}}}}',
        "[" * 10_000,
    ],
)
def test_a_broken_index_leaves_the_text(made: Made, index: str) -> None:
    folder = made(("lost", FLIP), pictures={"0000.jpg": jpeg()})
    (folder / "thumbnails" / "index.json").write_text(index)
    one = values(folder)["results"][0]
    assert one["items"][0]["picture"] is None and one["notes"]
    (folder / "thumbnails" / "index.json").unlink()
    assert values(folder)["results"][0]["items"][0]["picture"] is None


def test_pictures_of_all_results_share_the_room(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    flips = [("lost", FLIP)] * 6
    pictures = {f"{place:04d}.jpg": jpeg() for place in range(6)}
    folders = [made(*flips, name=name, pictures=pictures) for name in ("one", "two")]
    size = len(base64.b64encode(jpeg()))
    monkeypatch.setattr(gallery, "MOST_PICTURES", 5 * size + size // 2)
    told = values(*folders)["results"]
    assert [sum(item["picture"] is not None for item in one["items"]) for one in told] == [3, 2]
    assert all(any("larger than 2 MB" in note for note in one["notes"]) for one in told)


def test_of_many_samples_the_first_are_shown_and_the_rest_is_counted(made: Made) -> None:
    folder = made(*[("lost", FLIP)] * 40)
    lines = _read(folder / "samples.jsonl")
    more = [lines[0] | {"id": f"more{place}"} for place in range(100)]
    with (folder / "samples.jsonl").open("a") as stream:
        stream.writelines(f"{json.dumps(line)}\n" for line in more)
    with (folder / "predictions.jsonl").open("a") as stream:
        stream.writelines(f"{json.dumps(FLIP | {'id': line['id']})}\n" for line in more)
    one = values(folder)["results"][0]
    assert len(one["items"]) == 48 and one["more"].startswith("92 more samples flip")
    assert "predictions.jsonl" in one["more"]
    many = values(*[folder] * 10)
    assert many["total"] == 200


def test_pictures_come_first_and_leave_room_for_kinds_without(made: Made) -> None:
    flips = [("lost", FLIP)] * 30 + [("won", FLIP)] * 10
    folder = made(*flips, pictures={f"{place:04d}.jpg": jpeg() for place in range(30)})
    for copies, each in ((4, 48), (10, 20)):
        one = values(*[folder] * copies)["results"][0]
        kinds = [item["kind"] for item in one["items"]]
        assert len(kinds) == min(40, each)
        assert kinds.count("won") == min(10, each // 4)
        assert sum(item["picture"] is not None for item in one["items"]) == min(30, each * 3 // 4)


def test_where_nothing_flips_the_samples_with_pictures_are_shown(made: Made) -> None:
    one = values(made(pictures={f"{place:04d}.jpg": jpeg() for place in range(20)}))["results"][0]
    assert [item["kind"] for item in one["items"]] == ["unflipped"] * 12
    assert one["counts"].text == "No sample flips." and not one["more"]


def test_lines_of_other_samples_are_not_looked_at(made: Made) -> None:
    folder = made(("lost", FLIP), ("won", FLIP))
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    lines[0], lines[5:] = lines[0].replace("ILSVRC", "another"), ["{"]
    (folder / "predictions.jsonl").write_text("\n".join(lines))
    one = values(folder)["results"][0]
    assert [item["kind"] for item in one["items"]] == ["won"]
    assert "1 samples are left out: nothing tells how they were answered" in one["notes"]


def test_names_of_others_show_as_text(made: Made) -> None:
    folder = made(("lost", FLIP | {"id": HOSTILE}), pictures={"0000.jpg": jpeg()})
    result = json.loads((folder / "result.json").read_text())
    result["per_class"] = [{"class": kind, "name": f"{HOSTILE} {kind}", "n": 1, "top1": 1.0} for kind in (1, 3)]
    (folder / "result.json").write_text(json.dumps(result))
    text = drawn(folder)
    assert text.count("<script>") == 1 and len(re.findall("<img ", text)) == 1
    assert "&lt;script&gt;" in text and "onerror=alert(2)>" not in text
    item = text[text.index('<li data-kind="lost"') :]
    assert re.match(r'<li data-kind="lost" data-classes="[0-9 ]*">', item)


@pytest.mark.parametrize(
    "changes",
    [
        {"top5": 3},
        {"top5": [[1]]},
        {"top5": [["x", {}]]},
        {"source_top5": [[3, 10**400]]},
        {"boxes": [[1, 2]], "source_boxes": [], "source_met": [0, 0]},
        {"boxes": 7},
        {"boxes": [[0, "x", 1, 2, 3, 4]]},
        {"boxes": [[0, 10**400, 1, 2, 3, 4]]},
    ],
)
def test_lines_of_another_form_are_one_error(made: Made, changes: Line) -> None:
    folder = made(("lost", FLIP | changes))
    with pytest.raises(DataError, match=r"predictions.jsonl line 1: is not as modelport"):
        drawn(folder)


def test_a_report_of_a_damaged_line_ends_with_one_error(made: Made, call: Call, tmp_path: Path) -> None:
    folder = made(("lost", FLIP | {"top5": 3}))
    call("report", folder, "--out", tmp_path / "page.html").refused("predictions.jsonl", "line 1: is not as")


BOXES = {
    "boxes": [[1, 0.9, 2.0, 3.0, 20.0, 20.0], [1, 0.1, 0.0, 0.0, 5.0, 5.0], [2, None, None, 0.0, 5.0, 5.0]],
    "source_boxes": [[1, 0.8, 4.0, 3.0, 22.0, 20.0]],
    "source_met": [0, 1],
    "ap": 0.25,
    "source_ap": 0.5,
}


def test_both_sets_of_boxes_are_drawn_over_the_picture(made: Made) -> None:
    folder = made(("lost", BOXES), pictures={"0000.jpg": jpeg()})
    one = values(folder)["results"][0]
    item = one["items"][0]
    assert 'class="stroke-engine" d="M2.0 3.0H20.0V20.0H2.0Z"' in item["overlay"]
    assert 'class="stroke-source dashed" d="M4.0 3.0H22.0V20.0H4.0Z"' in item["overlay"]
    rows = dict(item["rows"])
    assert (rows["met"].text, rows["engine AP"].text, rows["engine"].text) == (
        "0 of 1 of the source's",
        "0.25",
        "class 1 (0.9)",
    )
    text = drawn(folder)
    # A reader is told what lines mean, and the boxes in words.
    assert one["legend"] and "source's boxes" in text and "class 1 (0.8)" in text


def test_where_the_source_has_no_boxes_the_engines_are_drawn_alone(made: Made) -> None:
    alone = {"boxes": BOXES["boxes"]}
    one = values(made(("other", alone), pictures={"0000.jpg": jpeg()}))["results"][0]
    assert "stroke-source" not in one["items"][0]["overlay"]
    assert "the source's boxes are not in the folder: the engine's alone are drawn" in one["notes"]


def test_boxes_are_few_the_best_first_and_near_the_image() -> None:
    rows = [[0, place / 100, 0, 0, 1, 1] for place in range(100)]
    boxes = boxes_of(rows, str)
    assert len(boxes) == 20 and boxes[0].score == 0.99
    assert len(boxes_of(rows[:10], str)) == 1  # none is sure: the best alone
    far = Box("x", 1.0, (-1e300, -1e300, 1e300, 1e300))
    assert 'd="M-10.0 -20.0H20.0V40.0H-10.0Z"' in overlay([far], None, 10, 20)


FORMS: dict[str, tuple[Line, dict[str, str]]] = {
    "multilabel": (
        {"target": [1], "source_classes": [1, 2], "classes": [1], "top5": [[1, 0.5]]},
        {"label": "class 1", "source": "class 1, class 2", "engine": "class 1"},
    ),
    "segmentation": (
        {"source_same": 0.5, "miou": 40.0, "source_miou": 60.0, "classes": [[7, 90.0]]},
        {"same class": "50 %", "engine mIoU": "40", "source mIoU": "60", "engine": "class 7 90 %"},
    ),
    "text": ({"target": "abc", "source_text": "abc", "text": None}, {"source": "abc", "engine": "nothing"}),
    "numbers": (
        {"target": [1.0], "source_numbers": [1.25], "numbers": [2.5]},
        {"label": "1", "source": "1.25", "engine": "2.5"},
    ),
    "vectors": ({"target": 5, "source_cosine": 0.75}, {"cosine with the source": "0.75"}),
    "views": (
        {"found": [True, False], "source_found": [True, True]},
        {"engine": "1 of 2 views found", "source": "2 of 2 views found"},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_lines_of_each_task_are_told(made: Made, form: str) -> None:
    line, wanted = FORMS[form]
    folder = made(("lost", line))
    lines = _read(folder / "predictions.jsonl")
    lines[0] = {"id": lines[0]["id"]} | line
    (folder / "predictions.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    rows = {word: cell.text for word, cell in values(folder)["results"][0]["items"][0]["rows"]}
    assert wanted.items() <= rows.items()


def test_all_is_shown_without_a_script(made: Made) -> None:
    """The filters are hidden until the script shows them; no sample is."""
    text = drawn(made(("lost", FLIP), ("won", FLIP)))
    assert '<div class="filters" hidden>' in text
    assert not re.search(r"<li data-kind[^>]*hidden", text)
    assert 'role="status"' in text and 'aria-pressed="true"' in text
