"""Pictures with boxes: the lines lie where the boxes are, and every tag can be read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import BadSampleError, OutputError
from modelport.report.pictures import class_colour, draw_boxes, write_picture

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = [f"thing {kind}" for kind in range(80)]


def plain(size: tuple[int, int], colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def drawn(
    content: bytes, boxes: list[list[float]], kinds: list[int], scores: list[float] | None = None
) -> NDArray[np.uint8]:
    found = None if scores is None else np.array(scores)
    return np.asarray(draw_boxes(content, np.array(boxes), np.array(kinds), NAMES, found))


@pytest.mark.parametrize("ground", ["white", "black", "grey"])
@pytest.mark.parametrize("kind", [0, 1, 17, 79])
def test_the_line_runs_along_the_box_and_leaves_the_rest(ground: str, kind: int) -> None:
    image = drawn(plain((640, 480), ground), [[100, 150, 400, 350]], [kind])
    colour = list(class_colour(kind))
    for x, y in ((250, 150), (250, 349), (100, 250), (399, 250)):
        assert colour in image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).tolist()
    untouched = np.asarray(Image.open(io.BytesIO(plain((640, 480), ground))))
    for part in (np.s_[160:340, 110:390], np.s_[360:, :], np.s_[:, 410:], np.s_[:100, :]):
        np.testing.assert_array_equal(image[part], untouched[part])
    # Bright and dark lie side by side along the line, so that it is seen on this ground and on any other.
    light = image[250, 90:110].astype(int).sum(axis=1)
    assert light.max() - light.min() > 150


def test_each_class_has_its_colour() -> None:
    colours = np.array([class_colour(kind) for kind in range(80)], int)
    assert len({tuple(colour) for colour in colours.tolist()}) == 80
    assert (np.abs(colours[1:] - colours[:-1]).sum(axis=1) > 150).all()
    assert (colours.max(axis=1) - colours.min(axis=1) > 90).all()


def test_lines_grow_with_the_image() -> None:
    def coloured(size: int) -> int:
        image = drawn(plain((size, size), "white"), [[size / 4, size / 2, size / 2, size * 3 / 4]], [0])
        return int((image[int(size * 0.7), : size // 3] == class_colour(0)).all(axis=1).sum())

    assert (coloured(320), coloured(640), coloured(2560)) == (2, 2, 8)


def test_the_best_box_lies_on_top() -> None:
    boxes = [[100.0, 100, 300, 300], [100.0, 100, 300, 300]]
    for scores, top in (([0.9, 0.1], 3), ([0.1, 0.9], 4)):
        image = drawn(plain((400, 400), "white"), boxes, [3, 4], scores)
        assert image[200, 100].tolist() == list(class_colour(top))


def test_tags_of_one_corner_hide_nothing_of_each_other() -> None:
    content = plain((640, 480), "white")
    alone = [drawn(content, [[200, 200, 400, 400]], [kind]) for kind in (0, 1)]
    both = drawn(content, [[200, 200, 400, 400]] * 2, [0, 1])

    def area(image: NDArray[np.uint8], kind: int) -> int:
        return int((image == class_colour(kind)).all(axis=2).sum())

    # Of the line that lies below, three of four sides are painted over; the tag stays whole.
    tag = area(alone[0], 0) - 4 * 200 * 2
    assert area(both, 0) > 0.9 * tag
    assert area(both, 1) > 0.9 * area(alone[1], 1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.lists(st.tuples(*[st.floats(-50, 150)] * 4, st.integers(0, 79), st.floats(0, 1)), max_size=6),
)
def test_any_boxes_on_any_image_can_be_drawn(width: int, height: int, rows: list[tuple[float, ...]]) -> None:
    boxes = np.array([row[:4] for row in rows]).reshape(-1, 4)
    kinds, scores = np.array([int(row[4]) for row in rows], np.int64), np.array([row[5] for row in rows])
    image = draw_boxes(plain((width, height), "white"), boxes, kinds, NAMES, scores)
    assert (image.size, image.mode) == ((width, height), "RGB")


def test_boxes_lie_in_the_image_as_it_is_seen() -> None:
    content = (GOLDEN / "images" / "exif_rotated.JPEG").read_bytes()
    assert draw_boxes(content, np.zeros((0, 4)), np.zeros(0), NAMES).size == (240, 360)


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(BadSampleError, match=r"a\.jpg"):
        draw_boxes(b"no image", np.zeros((0, 4)), np.zeros(0), NAMES, name="a.jpg")


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    image = draw_boxes(plain((64, 48), "white"), np.array([[8, 20, 40, 40]]), np.array([2]), NAMES)
    write_picture(tmp_path / "deep" / "a.jpg", image)
    with Image.open(tmp_path / "deep" / "a.jpg") as read:
        assert (read.format, read.size) == ("JPEG", (64, 48))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_picture(tmp_path / "file" / "a.jpg", image)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a.jpg"]
