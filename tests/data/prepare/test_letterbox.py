"""The letterbox: equal to mmdetection's tensors, and boxes find their way back."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelport.core.errors import BadSampleError, ModelportError, RecipeError
from modelport.core.placement import Placement
from modelport.data.prepare.letterbox import LateBox
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.load import load_recipe
from modelport.recipes.steps import Decode, Normalize, PadCenter, ResizeToFit, Step

GOLDEN = Path(__file__).parents[2] / "golden"
IMAGES = sorted((GOLDEN / "images").iterdir())
EXPECTED = np.load(GOLDEN / "preprocess.npz")

NASFPN = Preprocess(load_recipe("nas-fpn").preprocess)
DECODE = Decode(step="decode", color="RGB", exif_rotation="apply")
UNIT = Normalize(step="normalize", divide=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def fit(width: int, height: int) -> ResizeToFit:
    return ResizeToFit(step="resize_to_fit", width=width, height=height, interpolation="opencv_bilinear")


def pad(width: int, height: int) -> PadCenter:
    return PadCenter(step="pad_center", width=width, height=height)


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, format)
    return stream.getvalue()


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_tensors_and_places_equal_the_published_preprocessing(path: Path) -> None:
    out = np.full((3, 640, 640), np.nan, np.float32)
    placement = NASFPN.into(path.read_bytes(), path.name, out)
    assert placement is not None
    # To the last bit on x86; a few levels are granted to other builds of the two libraries.
    np.testing.assert_allclose(out[:, 3::16, 3::16], EXPECTED[f"letterbox640_float_sample/{path.name}"], atol=2e-2)
    height, width, top, left = EXPECTED[f"letterbox640_size/{path.name}"].tolist()
    assert (placement.pad_top, placement.pad_left) == (top, left)
    assert round(placement.image_width * placement.scale_x, 6) == width
    assert round(placement.image_height * placement.scale_y, 6) == height
    outside = np.ones((640, 640), bool)
    outside[top : top + height, left : left + width] = False
    assert (out[:, outside] == 0).all()
    np.testing.assert_array_equal(NASFPN.tensor(path.read_bytes(), path.name), out)
    assert NASFPN.pixels(path.read_bytes(), path.name).shape == (height, width, 3)


def test_cmyk_is_converted_as_opencv_does_it() -> None:
    out = NASFPN.tensor((GOLDEN / "images" / "cmyk.JPEG").read_bytes(), "cmyk")
    np.testing.assert_allclose(out[:, 3::16, 3::16], EXPECTED["letterbox640_float_sample/cmyk.JPEG"], atol=1e-5)


def test_the_shape_is_the_canvas() -> None:
    assert NASFPN.shape == (3, 640, 640)
    assert Preprocess([DECODE, fit(30, 20), UNIT, pad(40, 24)]).shape == (3, 24, 40)


@pytest.mark.parametrize(
    ("size", "resized", "corner"),
    [
        ((60, 20), (30, 10), (5, 7)),
        ((20, 60), (7, 20), (16, 2)),
        ((3, 2), (30, 20), (5, 2)),
        ((64, 64), (20, 20), (10, 2)),
    ],
)
def test_each_side_fits_and_odd_margins_go_right_and_below(
    size: tuple[int, int], resized: tuple[int, int], corner: tuple[int, int]
) -> None:
    prepare = Preprocess([DECODE, fit(30, 20), UNIT, pad(40, 24)])
    out = np.full((3, 24, 40), np.nan, np.float32)
    placement = prepare.into(encoded(Image.new("RGB", size, (9, 8, 7))), "x", out)
    assert placement == Placement(*size, resized[0] / size[0], resized[1] / size[1], *corner)
    left, top = corner
    want = np.zeros((3, 24, 40), np.float32)
    want[:, top : top + resized[1], left : left + resized[0]] = np.array([9, 8, 7]).reshape(3, 1, 1)
    np.testing.assert_array_equal(out, want)


@settings(max_examples=30, deadline=None)
@given(st.integers(40, 300), st.integers(40, 300), st.data())
def test_a_box_that_is_seen_in_the_tensor_lies_there_in_the_image(width: int, height: int, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, width - 20)), data.draw(st.integers(0, height - 20))
    right, bottom = data.draw(st.integers(left + 20, width)), data.draw(st.integers(top + 20, height))
    image = Image.new("RGB", (width, height))
    image.paste((255, 255, 255), (left, top, right, bottom))
    out = np.empty((3, 256, 256), np.float32)
    placement = Preprocess([DECODE, fit(256, 256), UNIT, pad(256, 256)]).into(encoded(image), "x", out)
    assert placement is not None
    y, x = np.nonzero(out[0] > 127)
    seen = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]])
    # Half a pixel on either side of the border between black and white, in the coarser of the two grids.
    slack = 0.51 * max(1, 1 / placement.scale_x, 1 / placement.scale_y) + 0.01
    np.testing.assert_allclose(placement.to_image(seen), [[left, top, right, bottom]], atol=slack)


def test_an_image_that_would_vanish_is_a_bad_sample() -> None:
    with pytest.raises(BadSampleError, match=r"thread: 1 × 2000 would become 0 × 640 pixels\n  fix: "):
        NASFPN.tensor(encoded(Image.new("RGB", (1, 2000))), "thread")


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_truncated_files_are_bad_samples(path: Path) -> None:
    content = path.read_bytes()
    with pytest.raises(BadSampleError, match="cut"):
        NASFPN.tensor(content[: len(content) // 2], "cut")


def test_a_slot_of_another_size_is_refused() -> None:
    with pytest.raises(BadSampleError, match="x: is 640 × 640 after preprocessing, the model wants 32 × 32"):
        NASFPN.into(IMAGES[0].read_bytes(), "x", np.empty((3, 32, 32), np.float32))


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([DECODE, fit(64, 64), UNIT], "belong together"),
        ([DECODE, UNIT, pad(64, 64)], "belong together"),
        ([DECODE, fit(64, 64), fit(64, 64), UNIT, pad(64, 64)], "belong together"),
        ([DECODE, fit(64, 65), UNIT, pad(64, 64)], "cannot hold the image"),
        ([DECODE, fit(65, 64), UNIT, pad(64, 64)], "cannot hold the image"),
        ([DECODE, pad(64, 64)], "end with normalize"),
    ],
)
def test_half_a_letterbox_is_the_recipes_error(steps: list[Step], found: str) -> None:
    with pytest.raises(RecipeError, match=found):
        Preprocess(steps)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("turned", ["apply", "ignore"])
def test_the_header_alone_tells_the_place(orientation: int, turned: str) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (90, 41), (200, 10, 10)).save(stream, "JPEG", exif=exif)
    decode = Decode.model_validate({"step": "decode", "color": "RGB", "exif_rotation": turned})
    prepare = Preprocess([decode, fit(64, 64), UNIT, pad(64, 64)])
    place = prepare.place(stream.getvalue(), "x")
    assert place is not None and place == prepare.into(stream.getvalue(), "x", np.empty((3, 64, 64), np.float32))
    with pytest.raises(BadSampleError, match="x: cannot be decoded"):
        prepare.place(b"no image", "x")


def test_other_recipes_have_no_placement() -> None:
    prepare = Preprocess(load_recipe("moco-v2").preprocess)
    assert prepare.into(IMAGES[0].read_bytes(), "x", np.empty((3, 224, 224), np.float32)) is None
    assert prepare.place(IMAGES[0].read_bytes(), "x") is None
    assert LateBox.of([]) is None


def test_a_missing_opencv_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModelportError, match="OpenCV is needed") as caught:
        Preprocess(load_recipe("nas-fpn").preprocess)
    assert "modelport[detection]" in caught.value.fix
    assert not isinstance(caught.value, BadSampleError)
    Preprocess(load_recipe("moco-v2").preprocess)
