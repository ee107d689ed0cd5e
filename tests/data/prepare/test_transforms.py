"""Preprocessing: equal to the published scripts' pixels, and hostile bytes end in one kind of error."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from modelport.core.errors import BadSampleError, RecipeError
from modelport.data.prepare.image_limits import MAX_PIXELS
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.load import load_recipe
from modelport.recipes.steps import CenterCrop, Decode, Normalize, ResizeShorter

GOLDEN = Path(__file__).parents[2] / "golden"
IMAGES = sorted((GOLDEN / "images").iterdir())
EXPECTED = np.load(GOLDEN / "preprocess.npz")
LANDSCAPE = (GOLDEN / "images" / "landscape.JPEG").read_bytes()

IGNORE = Decode(step="decode", color="RGB", exif_rotation="ignore")
APPLY = Decode(step="decode", color="RGB", exif_rotation="apply")
HALF = Normalize(step="normalize", divide=255.0, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def resize(size: int) -> ResizeShorter:
    return ResizeShorter(step="resize_shorter", size=size, interpolation="bilinear")


def crop(size: int) -> CenterCrop:
    return CenterCrop(step="center_crop", size=size, rounding="floor")


IMAGENET = Preprocess(load_recipe("moco-v2").preprocess)
INCEPTION = Preprocess([IGNORE, resize(342), crop(299), HALF])
BARE = Preprocess([IGNORE, HALF])


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def gradient(mode: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert(mode)


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_pixels_equal_the_published_transforms(path: Path) -> None:
    content = path.read_bytes()
    np.testing.assert_array_equal(IMAGENET.pixels(content, path.name), EXPECTED[f"imagenet224_uint8/{path.name}"])
    np.testing.assert_array_equal(INCEPTION.pixels(content, path.name), EXPECTED[f"inception299_uint8/{path.name}"])


@pytest.mark.parametrize(("prepare", "key"), [(IMAGENET, "imagenet224"), (INCEPTION, "inception299")])
def test_normalised_values_equal_torchvision_to_the_last_bit(prepare: Preprocess, key: str) -> None:
    tensor = prepare.tensor(LANDSCAPE, "landscape.JPEG")
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor[:, ::16, ::16], EXPECTED[f"{key}_float_sample/landscape.JPEG"])


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_into_writes_what_tensor_returns(path: Path) -> None:
    assert IMAGENET.shape is not None
    batch = np.full((3, *IMAGENET.shape), np.nan, np.float32)
    IMAGENET.into(path.read_bytes(), path.name, batch[1])
    np.testing.assert_array_equal(batch[1], IMAGENET.tensor(path.read_bytes(), path.name))
    assert np.isnan(batch[[0, 2]]).all()


def test_shape_is_known_where_a_crop_fixes_it() -> None:
    assert IMAGENET.shape == (3, 224, 224)
    assert Preprocess([IGNORE, crop(32), resize(48), HALF]).shape == (3, 48, 48)
    assert BARE.shape is None
    assert Preprocess([IGNORE, resize(32), HALF]).shape is None


def test_crop_beyond_the_resize_is_the_recipes_error() -> None:
    with pytest.raises(RecipeError, match=r"center_crop of 299 after a shorter side of 256.*\n.*at least 299"):
        Preprocess([IGNORE, resize(256), crop(299), HALF])


def test_crop_beyond_the_image_is_the_samples_error() -> None:
    with pytest.raises(BadSampleError, match="tiny: 40 × 30 is smaller than the crop of 32"):
        Preprocess([IGNORE, crop(32), HALF]).pixels(encoded(gradient("RGB"), "PNG"), "tiny")


@pytest.mark.parametrize(("rounding", "left"), [("half_even", [0, 2, 2]), ("floor", [0, 1, 2])])
def test_odd_margins_go_where_the_rounding_says(rounding: str, left: list[int]) -> None:
    prepare = Preprocess([IGNORE, CenterCrop.model_validate({**crop(4).model_dump(), "rounding": rounding}), HALF])
    for margin, want in zip([1, 3, 5], left, strict=True):
        ramp = np.zeros((4, 4 + margin, 3), np.uint8) + np.arange(4 + margin, dtype=np.uint8)[None, :, None]
        assert prepare.pixels(encoded(Image.fromarray(ramp), "PNG"), "ramp")[0, 0, 0] == want


def test_rotation_is_applied_where_the_recipe_says() -> None:
    content = (GOLDEN / "images" / "exif_rotated.JPEG").read_bytes()
    still, turned = BARE.pixels(content, "x"), Preprocess([APPLY, HALF]).pixels(content, "x")
    assert still.shape == (240, 360, 3)
    assert turned.shape == (360, 240, 3)
    assert any(np.array_equal(turned, np.rot90(still, turns)) for turns in (1, 3))


def test_another_size_than_the_slot_names_both() -> None:
    with pytest.raises(BadSampleError, match="x: is 500 × 375 after preprocessing, the model wants 32 × 24"):
        BARE.into(LANDSCAPE, "x", np.empty((3, 24, 32), np.float32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
def test_every_usual_mode_becomes_rgb(mode: str, format: str) -> None:
    content = encoded(gradient(mode), format)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(BARE.pixels(content, "x"), np.asarray(image.convert("RGB")))


def test_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime")]
    for format in ("GIF", "WEBP", "PNG"):
        content = encoded(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
        assert BARE.pixels(content, "anim.JPEG")[0, 0].tolist() == [255, 0, 0]


def noisy(kind: str) -> bytes:
    """Return a sound image that makes Pillow warn."""
    match kind:
        case "transparency":
            return encoded(gradient("P"), "PNG", transparency=bytes(range(256)))
        case "exif":
            cut_off = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01"
            return encoded(gradient("RGB"), "JPEG", exif=cut_off)
        case _:
            return encoded(Image.new("L", (9500, 9500)), "PNG", compress_level=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transparency", "exif", "large"])
def test_what_pillow_warns_of_is_neither_noise_nor_error(kind: str) -> None:
    content = noisy(kind)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with Image.open(io.BytesIO(content)) as image:
            image.getexif()
            image.convert("RGB")
    assert heard, "the file no longer makes Pillow warn; find another"
    assert BARE.pixels(content, "x").ndim == 3


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"no image at all", "no JPEG, PNG, WEBP, BMP, GIF or TIFF image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no JPEG, PNG, WEBP, BMP, GIF or TIFF image"),
        (encoded(gradient("RGB"), "PPM"), "no JPEG, PNG, WEBP, BMP, GIF or TIFF image"),
        (LANDSCAPE[: len(LANDSCAPE) // 2], "truncated"),
        (huge_png(MAX_PIXELS // 1000 + 1, 1000), "beyond the limit|decompression bomb"),
        (huge_png(2**31 - 1, 2**31 - 1), "beyond the limit|decompression bomb"),
        (encoded(Image.fromarray(np.full((4, 4), 40_000, np.uint16)), "PNG"), "more than 8 bits"),
    ],
    ids=["empty", "text", "eps", "ppm", "truncated", "bomb", "bigger-bomb", "sixteen-bits"],
)
def test_hostile_bytes_name_the_file_and_the_way_out(content: bytes, found: str) -> None:
    with pytest.raises(BadSampleError, match=rf"a/b\.JPEG: .*({found})") as caught:
        IMAGENET.pixels(content, "a/b.JPEG")
    assert "--on-bad-image skip" in caught.value.fix


def test_the_limit_holds_where_pillows_own_is_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(BadSampleError, match="beyond the limit"):
        BARE.pixels(huge_png(MAX_PIXELS // 1000 + 1, 1000), "x")


def test_a_line_of_pixels_is_not_blown_up_to_gigabytes() -> None:
    with pytest.raises(BadSampleError, match="256 × 5120000 pixels is beyond the limit"):
        IMAGENET.pixels(encoded(Image.new("L", (1, 20_000)), "PNG"), "x")


def test_truncation_is_found_though_another_library_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(BadSampleError):
        IMAGENET.pixels(LANDSCAPE[: len(LANDSCAPE) // 2], "x")


def decodes_or_is_bad(content: bytes) -> bool:
    """Return whether it decodes; anything but an image or BadSampleError fails the test by itself."""
    try:
        assert IMAGENET.pixels(content, "x").shape == (224, 224, 3)
    except BadSampleError:
        return False
    return True


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_every_cut_is_a_bad_sample_or_an_image(format: str) -> None:
    content = encoded(gradient("RGB"), format)
    cuts = range(0, len(content), max(1, len(content) // 60))
    assert decodes_or_is_bad(content)
    outcomes = [decodes_or_is_bad(content[:cut]) for cut in cuts]
    assert not all(outcomes)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "GIF"]), st.integers(0, 400))
def test_random_damage_is_a_bad_sample_or_an_image(damage: bytes, format: str, start: int) -> None:
    content = encoded(gradient("RGB", (20, 20)), format)
    decodes_or_is_bad(damage)
    decodes_or_is_bad(content[:start] + damage + content[start + len(damage) :])


def test_threads_get_what_one_gets() -> None:
    contents = [path.read_bytes() for path in IMAGES] * 4
    alone = [IMAGENET.pixels(content, "x") for content in contents]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda content: IMAGENET.pixels(content, "x"), contents))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
