"""Chains of steps equal Pillow's, OpenCV's and PyTorch's own functions, one after the other, to the last bit."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from step_libraries import (
    CHANNELS,
    OPENCV,
    PILLOW,
    UNIT,
    Spelled,
    box,
    decode,
    drawn,
    grey,
    npy,
    pixels_by_the_libraries,
    png,
    read,
    resized,
    to_tensor,
    values_by_torch,
)

from modelport.core.errors import BadSampleError, ModelportError, RecipeError, UsageError
from modelport.core.placement import Placement
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.chain import affine, form_of

sides = st.integers(1, 48)


def numbers(channels: int, least: float = -3) -> st.SearchStrategy[list[float]]:
    one = st.floats(least, 300, width=32)
    return st.lists(one, min_size=1, max_size=1) | st.lists(one, min_size=channels, max_size=channels)


@st.composite
def geometry(draw: st.DrawFn, size: tuple[int, int], channels: int, color: str) -> list[Spelled]:
    """Draw steps that an image of this (width, height) can take."""
    steps: list[Spelled] = []
    names = st.sampled_from([name for name in PILLOW + OPENCV if channels <= 4 or name != "opencv_area"])
    colours = st.lists(st.integers(0, 255), min_size=channels, max_size=channels)
    thin = max(size) > 30 * min(size)
    if not thin and draw(st.booleans()):
        places, enlarge = draw(st.sampled_from(["center", "top_left"])), draw(st.booleans())
        steps.append(
            box(draw(sides), draw(sides), colour=draw(colours), placement=places, enlarge=enlarge)
            | {"interpolation": draw(names)}
        )
    else:
        for _ in range(draw(st.integers(0, 3))):
            match draw(st.sampled_from(["resize", "resize_shorter", "center_crop", "crop_by_ratio"])):
                case "resize":
                    size = draw(sides), draw(sides)
                    steps.append({"step": "resize", "width": size[0], "height": size[1], "interpolation": draw(names)})
                case "resize_shorter":
                    shorter = draw(sides)
                    steps.append({"step": "resize_shorter", "size": shorter, "interpolation": draw(names)})
                    size = (shorter, shorter * max(size) // min(size))
                case "center_crop":
                    side = draw(st.integers(1, min(size)))
                    rounding = draw(st.sampled_from(["half_even", "floor"]))
                    steps.append({"step": "center_crop", "size": side, "rounding": rounding})
                    size = side, side
                case _:
                    side, ratio = draw(sides), draw(st.sampled_from([0.5, 0.875, 0.9, 0.95, 1.0]))
                    crop = {"step": "crop_by_ratio", "size": side, "ratio": ratio}
                    steps.append(crop | {"interpolation": draw(names)})
                    size = side, side
    if channels == 3 and color != "array" and draw(st.booleans()):
        step = {
            "step": "grey",
            "by": draw(st.sampled_from(["pillow", "opencv"])),
            "channels": draw(st.sampled_from([1, 3])),
        }
        steps.append(step)
    return steps


@st.composite
def arithmetic(draw: st.DrawFn, channels: int) -> list[Spelled]:
    def keys(kind: str) -> Spelled:
        if kind == "normalize":
            divide = {"divide": draw(st.sampled_from([1.0, 127.5, 255.0]))}
            return divide | {"mean": draw(numbers(channels)), "std": draw(numbers(channels, 0.125))}
        if kind == "subtract":
            return {"mean": draw(numbers(channels))}
        return {"by": draw(st.just([1 / 255]) | numbers(channels, 0.125))}

    kinds = st.sampled_from(["normalize", "divide", "multiply", "subtract"])
    return [{"step": kind} | keys(kind) for kind in draw(st.lists(kinds, min_size=1, max_size=3, unique=True))]


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([*CHANNELS, "array"]), st.data())
def test_any_chain_equals_the_libraries(width: int, height: int, color: str, data: st.DataObject) -> None:
    channels = CHANNELS.get(color) or data.draw(st.integers(1, 6))
    shapes = data.draw(geometry((width, height), channels, color))
    out_channels = next((step["channels"] for step in shapes if step["step"] == "grey"), channels)
    sums = data.draw(arithmetic(out_channels))
    layout, dtype = (
        data.draw(st.sampled_from(["NCHW", "NHWC"])),
        data.draw(st.sampled_from(["float32", "float16", "uint8"])),
    )
    pixels = drawn(width, height, channels, data.draw(st.integers(0, 3)))
    first = {"step": "decode_array", "channels": channels} if color == "array" else decode(color)
    steps = [first, *shapes, *(sums if dtype != "uint8" else []), to_tensor(layout, dtype)]
    content = npy(pixels) if color == "array" else png(pixels[:, :, ::-1] if color == "BGR" else pixels)

    try:
        prepare = Preprocess(read(*steps))
    except RecipeError as error:
        ends = values_by_torch(np.array([[[0] * out_channels, [255] * out_channels]], np.uint8), sums)
        assert "float16 ends at 65504" in str(error) and ends.abs().max() > 65504
        return
    try:
        got = prepare.tensor(content, "x")
    except BadSampleError as error:
        assert "would become" in str(error) and shapes[0]["step"] == "letterbox"
        return
    want = pixels_by_the_libraries(pixels, shapes, color)
    np.testing.assert_array_equal(prepare.pixels(content, "x"), want)
    planes = values_by_torch(want, sums) if dtype != "uint8" else torch.from_numpy(want.transpose(2, 0, 1).copy())
    planes = planes.half() if dtype == "float16" else planes
    expected = planes.permute(1, 2, 0).numpy() if layout == "NHWC" else planes.numpy()
    assert got.dtype == np.dtype(dtype) == prepare.dtype
    assert prepare.shape in (None, got.shape)
    np.testing.assert_array_equal(got, expected)
    assert np.isfinite(got.astype(np.float64)).all()
    row = np.empty_like(got)
    assert prepare.into(content, "x", row) == prepare.place(content, "x")
    np.testing.assert_array_equal(row, got)
    if dtype != "uint8":
        offsets, divisors = (np.array(part) for part in affine(read(*steps)))
        exact = (want - offsets) / divisors
        exact = exact if layout == "NHWC" else exact.transpose(2, 0, 1)
        if dtype == "float32":
            np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-4 * (1 + np.abs(offsets / divisors).max()))


@pytest.mark.parametrize("name", PILLOW + OPENCV)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 7), (40, 30), (299, 300)])
def test_each_interpolation_is_the_librarys(name: str, size: tuple[int, int]) -> None:
    pixels = drawn(*size, 3)
    for to in ((1, 1), (40, 30), (64, 17)):
        step = {"step": "resize", "width": to[0], "height": to[1], "interpolation": name}
        got = Preprocess(read(decode(), step, UNIT)).pixels(png(pixels), "x")
        np.testing.assert_array_equal(got, resized(pixels, to, name))


def test_a_grey_is_each_librarys_own() -> None:
    pixels = drawn(300, 300, 3)
    made = {}
    for by in ("pillow", "opencv"):
        step = {"step": "grey", "by": by, "channels": 1}
        made[by] = Preprocess(read(decode(), step, UNIT)).pixels(png(pixels), "x")
        np.testing.assert_array_equal(made[by][:, :, 0], grey(pixels, step, "RGB"))
    np.testing.assert_array_equal(made["pillow"], Preprocess(read(decode("L"), UNIT)).pixels(png(pixels), "x"))
    assert not np.array_equal(made["pillow"], made["opencv"]), "the two libraries round otherwise"


@pytest.mark.parametrize("placement", ["center", "top_left"])
@pytest.mark.parametrize(("size", "want"), [((61, 20), (7, 11, 640, 210)), ((21, 60), (206, 0, 228, 640))])
def test_the_letterbox_says_where_the_image_lies(
    size: tuple[int, int], want: tuple[int, int, int, int], placement: str
) -> None:
    prepare = Preprocess(read(decode(), box(640, 640, placement=placement, colour=[1, 2, 3]), UNIT))
    content = png(np.full((size[1], size[0], 3), 200, np.uint8))
    place = prepare.place(content, "x")
    pixels = prepare.pixels(content, "x")
    rows, columns = np.nonzero((pixels == 200).all(axis=2))
    assert place is not None
    left, top = int(columns.min()), int(rows.min())
    width, height = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
    assert place == Placement(*size, width / size[0], height / size[1], left, top)
    assert (left, top) == (0, 0) or placement == "center"
    outside = pixels[(pixels != 200).any(axis=2)]
    assert (outside == [1, 2, 3]).all() and len(outside) == 640 * 640 - width * height


def test_blue_comes_first_in_colours_and_means() -> None:
    pixels = np.array([[[10, 20, 30]]], np.uint8)
    steps = read(
        decode("BGR"), box(3, 1, colour=[1, 2, 3], enlarge=False), {"step": "subtract", "mean": [30.0, 20.0, 10.0]}
    )
    np.testing.assert_array_equal(
        Preprocess(steps).tensor(png(pixels), "x")[:, 0], [[-29, 0, -29], [-18, 0, -18], [-7, 0, -7]]
    )


def test_the_rotation_by_exif_comes_before_the_letterbox() -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 20), (200, 10, 10)).save(stream, "JPEG", exif=exif)
    for rotation, placed in (("apply", (20, 80)), ("ignore", (80, 20))):
        prepare = Preprocess(read(decode("RGB", rotation), box(64, 64), UNIT))
        place = prepare.into(stream.getvalue(), "x", np.empty((3, 64, 64), np.float32))
        assert place is not None and (place.image_width, place.image_height) == placed
        assert prepare.place(stream.getvalue(), "x") == place


def test_an_image_that_would_vanish_is_a_bad_sample() -> None:
    with pytest.raises(BadSampleError, match="thread: 1 × 300 would become 0 × 30 pixels"):
        Preprocess(read(decode(), box(), UNIT)).pixels(png(drawn(1, 300, 3)), "thread")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "CMYK", "P"])
def test_opacity_that_is_not_in_the_file_is_not_made_up(mode: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (5, 4)).convert(mode).save(stream, "JPEG" if mode == "CMYK" else "PNG")
    with pytest.raises(BadSampleError, match=r"(?s)x: has no fourth channel \(mode .*decode to \"RGB\""):
        Preprocess(read(decode("RGBA"), UNIT)).pixels(stream.getvalue(), "x")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opacity_in_the_file_is_the_fourth_channel(mode: str) -> None:
    image = Image.fromarray(drawn(5, 4, 4)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    got = Preprocess(read(decode("RGBA"), UNIT)).pixels(stream.getvalue(), "x")
    np.testing.assert_array_equal(got, np.asarray(image.convert("RGBA")))


def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"no array", "cannot be decoded"),
        (npy(drawn(5, 4, 3)), r"holds uint8 \(4, 5, 3\).*wants uint8 \(H, W, 6\)"),
        (npy(drawn(5, 4, 1)), r"holds uint8 \(4, 5\)"),
        (npy(drawn(5, 4, 6).astype(np.float32)), "holds float32"),
        (npy(drawn(5, 4, 6))[:-1], "in 119 bytes"),
        (npy(np.empty((0, 4, 6), np.uint8)), "in 0 bytes"),
        (_header((10**9, 10**9, 6)), "in 0 bytes"),
        (npy(np.array([{}], object)), "holds object|cannot be decoded"),
    ],
)
def test_an_array_of_another_form_is_a_bad_sample(content: bytes, found: str) -> None:
    with pytest.raises(BadSampleError, match=rf"x\.npy: .*({found})"):
        Preprocess(read({"step": "decode_array", "channels": 6}, UNIT)).tensor(content, "x.npy")


def test_an_array_of_columns_first_is_read_alike() -> None:
    pixels = drawn(5, 4, 6)
    prepare = Preprocess(read({"step": "decode_array", "channels": 6}, UNIT))
    np.testing.assert_array_equal(prepare.pixels(npy(np.asfortranarray(pixels)), "x"), pixels)


@pytest.mark.parametrize("step", [box(), {"step": "resize", "width": 4, "height": 4, "interpolation": "opencv_area"},
                                  {"step": "grey", "by": "opencv", "channels": 1}])  # fmt: skip
def test_a_missing_opencv_names_the_step_and_what_to_install(step: Spelled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModelportError, match=r"OpenCV is needed for (interpolation 'opencv_|grey by opencv)") as caught:
        Preprocess(read(decode(), step, UNIT))
    assert caught.value.fix == "pip install 'modelport[opencv]'"
    assert not isinstance(caught.value, BadSampleError)
    Preprocess(read(decode(), {"step": "resize", "width": 4, "height": 4, "interpolation": "lanczos"}, UNIT))


def test_opencv_has_no_quicker_way() -> None:
    shorter = {"step": "resize_shorter", "size": 40, "interpolation": "opencv_linear"}
    crop = {"step": "center_crop", "size": 32, "rounding": "floor"}
    with pytest.raises(UsageError, match="no quicker way"):
        Preprocess(read(decode(), shorter, crop, UNIT), fast=True)


def test_a_slot_of_other_channels_is_refused() -> None:
    with pytest.raises(
        BadSampleError, match="x: is 5 × 4 of 1 channels after preprocessing, the model wants 5 × 4 of 3"
    ):
        Preprocess(read(decode("L"), UNIT)).into(png(drawn(5, 4, 3)), "x", np.empty((3, 4, 5), np.float32))


def test_a_crop_by_ratio_is_timms_two_steps() -> None:
    for size, ratio, shorter in (
        (224, 0.875, 256),
        (224, 0.9, 248),
        (299, 0.875, 341),
        (288, 1.0, 288),
        (224, 0.965, 232),
    ):
        step = {"step": "crop_by_ratio", "size": size, "ratio": ratio, "interpolation": "bicubic"}
        parts = [{"step": "resize_shorter", "size": shorter, "interpolation": "bicubic"},
                 {"step": "center_crop", "size": size, "rounding": "half_even"}]  # fmt: skip
        content = png(drawn(300, 280, 3))
        one, two = Preprocess(read(decode(), step, UNIT)), Preprocess(read(decode(), *parts, UNIT))
        assert one.shape == two.shape == (3, size, size)
        np.testing.assert_array_equal(one.pixels(content, "x"), two.pixels(content, "x"))


def test_the_chain_tells_the_form() -> None:
    shorter = {"step": "resize_shorter", "size": 8, "interpolation": "bilinear"}
    exact = {"step": "resize", "width": 20, "height": 10, "interpolation": "box"}
    assert form_of(read(decode("L"), exact, shorter, UNIT)).shape() == (1, 8, 16)
    assert form_of(read(decode("BGR"), shorter, UNIT)).shape() is None
    assert form_of(read(decode("RGBA"), exact, UNIT, to_tensor("NHWC", "float16"))).shape() == (10, 20, 4)


def test_views_are_no_images() -> None:
    with pytest.raises(RecipeError, match="begin with decode"):
        Preprocess(read({"step": "decode_raw", "height": 8, "width": 8}, UNIT))
