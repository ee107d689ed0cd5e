"""Thumbnails: which samples, how small, nothing but pixels; what cannot be drawn is a note."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from modelport.core.artifacts import digest_bytes
from modelport.core.output_folder import drop_old_result, thumbnails_in
from modelport.core.progress import Silent
from modelport.core.values import Sample
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Decode, DecodeArray, DecodeRaw, Step
from modelport.report.thumbnails import MAX_BYTES, MOST, SIDE, chosen_lines, draw_thumbnails

DECODE = Decode(step="decode", color="RGB", exif_rotation="ignore")
SECRET = b"where it was taken"


def recipe(first: Step, name: str = "moco-v2") -> Recipe:
    """Return a recipe whose bytes are what ``first`` says."""
    whole = load_recipe(name)
    return whole.model_copy(update={"preprocess": (first, *whole.preprocess[1:])})


def line(name: str, draw: int = 0, content: bytes = b"", **told: Any) -> dict[str, Any]:
    """Return a line of samples.jsonl; one that the engine loses, where nothing else is told."""
    given = {"correct": False, "source_correct": True, "agrees": False, "values": {"top1": [0.0, 1.0]}} | told
    return {"id": name, "sha256": digest_bytes(content), "draw": draw, **given}


def photo(size: tuple[int, int] = (400, 300), orientation: int = 1) -> bytes:
    """Return a JPEG that tells more than its pixels: red on the left, blue on the right."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2, 0], pixels[:, size[0] // 2 :, 2] = 255, 255
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112], exif[0x010E] = orientation, SECRET.decode()
    profile = b"profile: " + SECRET
    image = Image.fromarray(pixels)
    image.save(stream, "JPEG", exif=exif, comment=SECRET, icc_profile=profile, dpi=(72, 72))
    return stream.getvalue()


def drawn(
    folder: Path, contents: dict[str, bytes], step: Step = DECODE, changed: dict[str, bytes] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Draw these samples, all of them lost; return the index and what was said."""
    log = folder / "samples.jsonl"
    lines = [line(name, place, content) for place, (name, content) in enumerate(contents.items())]
    log.write_text("".join(json.dumps(one) + "\n" for one in lines))
    samples = [Sample(name, 0, Path("data"), content) for name, content in (contents | (changed or {})).items()]
    said = draw_thumbnails(folder, log, samples, recipe(step), Silent())
    index = folder / "thumbnails" / "index.json"
    return (json.loads(index.read_text()) if index.exists() else {}), said


def test_pictures_are_small_upright_and_hold_nothing_but_pixels(tmp_path: Path) -> None:
    content = photo((400, 300), orientation=6)  # the camera was turned: the left side is the upper one
    index, said = drawn(tmp_path, {"a": content})
    assert said == [] and index == {
        "0001.jpg": {"id": "a", "sha256": digest_bytes(content), "width": 300, "height": 400}
    }
    file = tmp_path / "thumbnails" / "0001.jpg"
    assert SECRET in content and SECRET not in file.read_bytes()
    with Image.open(file) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (120, 160))
        assert not image.getexif() and set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        top, bottom = (np.asarray(image)[row, 60].astype(int) for row in (20, 140))
    assert top[0] > 200 > 60 > top[2] and bottom[2] > 200 > 60 > bottom[0]


@pytest.mark.parametrize("rotation", ["ignore", "apply"])
def test_boxes_lie_in_the_pixels_that_are_shown(tmp_path: Path, rotation: Literal["ignore", "apply"]) -> None:
    detector = recipe(Decode(step="decode", color="RGB", exif_rotation=rotation), "nas-fpn")
    content, log = photo((400, 300), orientation=6), tmp_path / "samples.jsonl"
    log.write_text(json.dumps(line("a", 0, content)) + "\n")
    assert draw_thumbnails(tmp_path, log, [Sample("a", 0, Path("x"), content)], detector, Silent()) == []
    placement, index = Preprocess(detector.preprocess).place(content, "a"), tmp_path / "thumbnails" / "index.json"
    assert placement is not None
    (entry,) = json.loads(index.read_text()).values()
    assert (entry["width"], entry["height"]) == (placement.image_width, placement.image_height)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (160, 160), (5000, 1), (161, 3000)])
def test_no_side_is_longer_and_no_image_is_enlarged(tmp_path: Path, size: tuple[int, int]) -> None:
    index, said = drawn(tmp_path, {"a": photo(size)})
    assert said == [] and (index["0001.jpg"]["width"], index["0001.jpg"]["height"]) == size
    with Image.open(tmp_path / "thumbnails" / "0001.jpg") as image:
        assert max(image.size) == min(SIDE, max(size)) and min(image.size) >= 1


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "CMYK", "1"])
def test_every_mode_is_drawn_in_rgb(tmp_path: Path, mode: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (200, 100), "red").convert(mode).save(stream, "TIFF" if mode == "CMYK" else "PNG")
    _, said = drawn(tmp_path, {"a": stream.getvalue()})
    with Image.open(tmp_path / "thumbnails" / "0001.jpg") as image:
        assert said == [] and (image.mode, image.size) == ("RGB", (160, 80))


def test_bytes_without_a_header_and_arrays(tmp_path: Path) -> None:
    planes = np.zeros((3, 4, 6), np.uint8)
    planes[1] = 200
    (tmp_path / "raw").mkdir()
    index, said = drawn(tmp_path / "raw", {"a": planes.tobytes()}, DecodeRaw(step="decode_raw", height=4, width=6))
    assert said == [] and index["0001.jpg"]["width"] == 6
    with Image.open(tmp_path / "raw" / "thumbnails" / "0001.jpg") as image:
        assert np.abs(np.asarray(image).astype(int) - [0, 200, 0]).max() < 8
    for channels, drawable in ((1, True), (3, True), (2, False), (6, False)):
        folder, stream = tmp_path / str(channels), io.BytesIO()
        folder.mkdir()
        np.save(stream, np.full((20, 30, channels), 7, np.uint8))
        index, said = drawn(folder, {"a": stream.getvalue()}, DecodeArray(step="decode_array", channels=channels))
        assert bool(index) == drawable == (not said)
        assert drawable or f"{channels} channels is no picture" in said[0]


@pytest.mark.parametrize("content", [b"", b"no image", photo()[:300], photo()[:-900], b"GIF89a" + b"\0" * 50])
def test_a_broken_image_is_a_note_and_the_others_are_drawn(tmp_path: Path, content: bytes) -> None:
    index, said = drawn(tmp_path, {"good": photo(), "broken\x1b[31m": content, "too": photo((90, 90))})
    assert [entry["id"] for entry in index.values()] == ["good", "too"]
    assert len(said) == 1 and said[0].startswith("1 of 3 thumbnails were not drawn: ") and "\x1b" not in said[0]


def test_an_image_that_is_another_by_now_is_not_shown(tmp_path: Path) -> None:
    index, said = drawn(tmp_path, {"a": photo()}, changed={"a": photo((50, 50))})
    assert index == {} and "changed since it was scored" in said[0]
    assert not (tmp_path / "thumbnails").exists()


@pytest.mark.parametrize(
    "name", ["../../up", "/etc/passwd", "a/b", "<script>alert(1)</script>", "\x1b[2J", "n\0l", "…"]
)
def test_no_name_becomes_a_path(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    index, said = drawn(folder, {name: photo()})
    assert said == [] and index["0001.jpg"]["id"] == name
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {f"deep/out/{file}" for file in ("samples.jsonl", "thumbnails/index.json", "thumbnails/0001.jpg")}


def test_all_together_are_bounded(tmp_path: Path) -> None:
    """Noise is what compresses least; names may be as long as they like."""
    rng, contents = np.random.default_rng(0), dict[str, bytes]()
    for number in range(60):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (160, 160, 3), np.uint8)).save(stream, "PNG")
        contents[f"{number}" * 2000] = stream.getvalue()
    index, said = drawn(tmp_path, contents)
    sizes = [path.stat().st_size for path in (tmp_path / "thumbnails").iterdir()]
    assert MAX_BYTES * 0.9 < sum(sizes) <= MAX_BYTES
    assert len(index) == len(sizes) - 1 < MOST and f"{MAX_BYTES} bytes" in said[0]


def test_losses_come_first_then_wins_then_other_changes_by_their_size() -> None:
    same: dict[str, Any] = {"correct": True, "source_correct": True, "agrees": True, "values": {"m": [1.0, 1.0]}}
    neither: dict[str, Any] = {"correct": None, "source_correct": None}
    lines = [
        line("same", 0, **same),
        line("part", 1, **neither, agrees=True, values={"m": [0.5, 0.75]}),
        line("other", 2, correct=False, source_correct=False, values={"top1": [0.0, 0.0]}),
        line("fifth", 2, **same | {"values": {"m": [1.0, 1.0], "top5": [0.0, 1.0]}}),
        line("win", 3, correct=True, source_correct=False),
        line("loss", 4),
        line("far", 5, **neither, values={"surrogate": [0.1, 0.9]}),
        line("near", 6, **neither, values={"surrogate": [0.8, 0.9]}),
        line("earlier", 3, agrees=False, correct=False, source_correct=True),
    ]
    want = ["earlier", "loss", "win", "far", "near", "other", "part"]
    assert [one["id"] for one in chosen_lines(lines)] == want
    assert [one["id"] for one in chosen_lines(reversed(lines))] == want


def test_without_a_source_what_earns_least_comes_first() -> None:
    nobody: dict[str, Any] = {"source_correct": None, "agrees": None}
    lines = [
        line("right", 0, **nobody, correct=True, values={"top1": [1.0, None]}),
        line("half", 1, **nobody, values={"m": [0.5, None]}),
        line("wrong", 2, **nobody, values={"top1": [0.0, None]}),
    ]
    assert [one["id"] for one in chosen_lines(lines)] == ["wrong", "half"]
    untold = [{"id": "a", "sha256": "", "draw": 0, "correct": None, "source_correct": None, "agrees": None}]
    assert chosen_lines(untold) == []


def test_an_old_folders_go_and_nothing_of_anybody_elses(tmp_path: Path) -> None:
    drawn(tmp_path, {"a": photo(), "b": photo()})
    place = tmp_path / "thumbnails"
    assert [path.name for path in thumbnails_in(tmp_path)] == ["0001.jpg", "0002.jpg", "index.json"]
    (place / "0003.jpg").write_bytes(b"mine")
    drop_old_result(tmp_path, "result.json", ())
    assert [path.name for path in place.iterdir()] == ["0003.jpg"]
    (place / "0003.jpg").unlink()
    drawn(tmp_path, {"a": photo()})
    drop_old_result(tmp_path, "result.json", ())
    assert not place.exists()


@pytest.mark.parametrize("index", ["{", "[1]", '{"../up.jpg": {}, "mine.jpg": {}}', "{}"])
def test_a_folder_of_that_name_that_no_run_made_is_left_alone(tmp_path: Path, index: str) -> None:
    place = tmp_path / "thumbnails"
    place.mkdir()
    for name in ("index.json", "mine.jpg", "0001.jpg"):
        (place / name).write_text(index if name == "index.json" else "mine")
    (tmp_path / "up.jpg").write_text("mine")
    drop_old_result(tmp_path, "result.json", ())
    assert _said(tmp_path)[0].startswith("no thumbnails: ")
    assert thumbnails_in(tmp_path) == []
    assert {path.name for path in place.iterdir()} == {"index.json", "mine.jpg", "0001.jpg"}
    assert (place / "0001.jpg").read_text() == (tmp_path / "up.jpg").read_text() == "mine"


def test_where_a_file_of_somebody_elses_is_in_the_way_none_are_left(tmp_path: Path) -> None:
    place = tmp_path / "thumbnails"
    place.mkdir()
    (place / "0002.jpg").write_text("mine")
    index, said = drawn(tmp_path, {"a": photo(), "b": photo(), "c": photo()})
    assert index == {} and said[0].startswith("no thumbnails: ")
    assert [path.name for path in place.iterdir()] == ["0002.jpg"] and (place / "0002.jpg").read_text() == "mine"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_link_or_a_file_of_that_name_is_not_followed(tmp_path: Path, kind: str) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (outside / "index.json").write_text('{"0001.jpg": {}}')
    (outside / "0001.jpg").write_text("mine")
    if kind == "link":
        (out / "thumbnails").symlink_to(outside)
    else:
        (out / "thumbnails").write_text("mine")
    drop_old_result(out, "result.json", ())
    assert thumbnails_in(out) == []
    assert _said(out)[0].startswith("no thumbnails: ")
    assert {path.name: path.read_text() for path in outside.iterdir()} == {
        "index.json": '{"0001.jpg": {}}',
        "0001.jpg": "mine",
    }


def _said(out: Path) -> list[str]:
    (out / "samples.jsonl").write_text(json.dumps(line("a", 0, photo())) + "\n")
    return draw_thumbnails(out, out / "samples.jsonl", [Sample("a", 0, Path("x"), photo())], recipe(DECODE), Silent())
