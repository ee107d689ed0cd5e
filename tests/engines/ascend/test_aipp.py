"""AIPP against a formula of its own: text form, what it does to bytes, and what the lint finds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.core.errors import DataError, ModelportError, RecipeError
from modelport.core.values import Array
from modelport.data.prepare.transforms import Preprocess
from modelport.engines.ascend.aipp import Aipp, aipp_of, emulate, settings_of, text_of, unpacked
from modelport.engines.ascend.aipp_lint import lint, lint_tensors
from modelport.engines.ascend.aipp_text import parse_blocks, read_blocks
from modelport.recipes.load import load_recipe, recipe_names
from modelport.recipes.schema import Recipe

HALF = np.float16


def _aipp(text: str) -> Aipp:
    return settings_of(parse_blocks(f"aipp_op {{ aipp_mode: static input_format: RGB888_U8 {text} }}", "x")[0], "x")


def _pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def _rounded(value: float) -> float:
    """The nearest float16 of a float64."""
    return float(np.float64(value).astype(HALF))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 255), st.integers(0, 255), st.floats(0, 255), st.floats(-4, 4))
def test_each_step_is_rounded_to_float16(pixel: int, mean: int, least: float, factor: float) -> None:
    aipp = _aipp(f"mean_chn_1: {mean} min_chn_1: {least!r} var_reci_chn_1: {factor!r}")
    got = emulate(aipp, np.full((1, 1, 3), pixel, np.uint8))
    want = _rounded(_rounded(_rounded(pixel - mean) - _rounded(least)) * _rounded(factor))
    assert got.dtype == HALF and float(got[1, 0, 0]) == want
    assert float(got[0, 0, 0]) == pixel, "a channel without constants stays"


def test_swap_crop_constants_and_padding_in_this_order() -> None:
    pixels = _pixels(6, 8)
    aipp = _aipp(
        "rbuv_swap_switch: true crop: true load_start_pos_w: 2 load_start_pos_h: 1 crop_size_w: 4 crop_size_h: 3 "
        "padding: true left_padding_size: 1 right_padding_size: 2 top_padding_size: 3 bottom_padding_size: 0 "
        "min_chn_0: 10.5 var_reci_chn_0: 0.5"
    )
    got = emulate(aipp, pixels)
    assert got.shape == (3, 6, 7)
    assert not got[:, :3].any() and not got[:, :, 0].any() and not got[:, :, 5:].any()
    inside = got[:, 3:, 1:5].astype(np.float64)
    np.testing.assert_array_equal(inside[0], (pixels[1:4, 2:6, 2].astype(float) - 10.5) * 0.5)
    np.testing.assert_array_equal(inside[1:], pixels[1:4, 2:6, [1, 0]].transpose(2, 0, 1))
    with pytest.raises(DataError, match="leaves the image"):
        emulate(_aipp("crop: 1 load_start_pos_w: 5 crop_size_w: 4 crop_size_h: 3"), pixels)


def test_colours_are_converted_by_the_matrix() -> None:
    text = (
        "csc_switch: true matrix_r0c0: 256 matrix_r0c2: 359 matrix_r1c0: 256 matrix_r1c1: -88 matrix_r1c2: -183 "
        "matrix_r2c0: 256 matrix_r2c1: 454 input_bias_1: 128 input_bias_2: 128"
    )
    aipp = _aipp(text)
    aipp = Aipp(aipp.values | {"input_format": "YUV420SP_U8"})
    raw = bytes([50, 100, 150, 200, 128, 128])
    pixels = unpacked(aipp, raw, 2, 2)
    np.testing.assert_array_equal(emulate(aipp, pixels)[:, 1, 1], [200] * 3)  # grey stays grey
    pixels = unpacked(aipp, bytes([81] * 4 + [90, 240]), 2, 2)
    red, green, blue = emulate(aipp, pixels)[:, 0, 0]
    # BT.601 in 8 bits: 81 + 1.402·112, 81 − 0.344·(−38) − 0.714·112, 81 + 1.772·(−38), cut at 0
    np.testing.assert_allclose([red, green, blue], [238, 14, 13.7], atol=1.5)
    swapped = Aipp(aipp.values | {"rbuv_swap_switch": True})
    assert emulate(swapped, pixels)[2, 0, 0] > emulate(swapped, pixels)[0, 0, 0]


def test_the_fourth_byte_is_moved_away() -> None:
    values = _aipp("").values | {"input_format": "XRGB8888_U8", "ax_swap_switch": True}
    pixels = _pixels(2, 2, 4)
    np.testing.assert_array_equal(emulate(Aipp(values), pixels), pixels[:, :, 1:].transpose(2, 0, 1))


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipes_file_does_its_normalisation_and_passes_its_lint(name: str) -> None:
    recipe = load_recipe(name)
    blocks = parse_blocks(text_of(aipp_of(recipe)), "x")
    aipp = settings_of(blocks[0], "x")
    pixels = _pixels(20, 20)
    step = next(step for step in recipe.preprocess if step.step == "normalize")
    want = ((pixels.astype(np.float64) / step.divide - step.mean) / step.std).transpose(2, 0, 1)
    # Three roundings of 11 bits, of numbers up to 255 before the factor.
    allowed = 255 * 3 * 2.0**-11 / (np.array(step.std) * step.divide)
    difference = np.abs(emulate(aipp, pixels).astype(np.float64) - want).max(axis=(1, 2))
    assert (difference <= allowed).all() and difference.max() > 0
    findings = lint(blocks, recipe, "x")
    assert [finding.level for finding in findings] == ["warning"] and "NHWC" in findings[0].found


def test_the_files_pixels_are_those_of_the_recipe(tiny: Recipe, tiny_data: Path) -> None:
    image = (
        sorted((tiny_data / "val").glob("*"))[0] if (tiny_data / "val").is_dir() else next(tiny_data.rglob("*.JPEG"))
    )
    steps = Preprocess(tiny.preprocess)
    got = emulate(settings_of(parse_blocks(text_of(aipp_of(tiny)), "x")[0], "x"), steps.pixels(image.read_bytes(), "x"))
    np.testing.assert_allclose(got, steps.tensor(image.read_bytes(), "x"), rtol=0, atol=0.01)


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(RecipeError, match="truncate"):
        aipp_of(load_recipe("simclr").with_variant("published"))
    with pytest.raises(DataError, match="float32 values, four times"):
        unpacked(_aipp(""), bytes(4 * 12), 2, 2)
    with pytest.raises(DataError, match="min_chn"):
        emulate(_aipp("mean_chn_0: 123.675"), _pixels(1, 1))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no aipp_op"),
        ("aipp_op {", "ends where"),
        ("aipp_op { a }", "line 1: '}'"),
        ("aipp_op {\n crop: true\n crop: false }", "line 3: crop stands there again, first in line 2"),
        ("aipp_op {\n\n aipp_mode: 'static }", "line 3"),
        ("aip_op { }", "aip_op"),
        ("aipp_op { src_image_size_w: wide }", "not a whole number"),
        ("aipp_op { left_padding_size: -1 }", "not a whole number"),
        ("aipp_op { crop_size_w: " + "9" * 5000 + " }", "not a whole number"),
        ("aipp_op { padding_value: 1e9 }", "not a number"),
        ("aipp_op { crop: maybe }", "not true or false"),
        ("aipp_op { var_reci_chn_0: nan }", "not a number"),
        ("aipp_op { input_format: RGB888_U9 }", "did you mean 'RGB888_U8'"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(text: str, word: str) -> None:
    with pytest.raises(DataError) as caught:
        settings_of(parse_blocks(text, "x.cfg")[0], "x.cfg")
    assert "x.cfg" in str(caught.value) and word in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="aipp_o{}: \n#\"'1.,;\x00é", max_size=40))
def test_no_text_brings_anything_but_a_clear_error(text: str) -> None:
    try:
        settings_of(parse_blocks("aipp_op" + text, "x")[0], "x")
    except ModelportError as error:
        assert "x" in str(error)


GOOD = "aipp_op {\n aipp_mode: static // the mode\n crop: false # none\n}\n"


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        b"# \xce\xde\xb7\xa8 { aipp_op : } \xff\n" + GOOD.encode(),
        b"// \xff\x00 // '\n" + GOOD.encode().replace(b"\n", b"\r\n"),
    ],
)
def test_bytes_of_comments_do_not_matter(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(content)
    assert settings_of(read_blocks(path)[0], "x").values == {"aipp_mode": "static", "crop": False}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"aipp_op {\n aipp_mode: st\xfftic }", "line 2"),
        (GOOD.encode("utf-16"), "UTF-16"),
        (b"aipp_op { related_input_name: '\xb7\xa8' }", "UTF-8"),
    ],
)
def test_bytes_outside_of_comments_must_be_text(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=word):
        read_blocks(path)


def test_a_pipe_is_no_aipp_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.cfg")
    with pytest.raises(DataError, match="named pipe"):
        read_blocks(tmp_path / "a.cfg")


def test_comments_quotes_and_marks_are_read() -> None:
    text = "# a comment\naipp_op: {\n aipp_mode : \"static\", input_format: 'RGB888_U8';\n csc_switch: 1 # on\n}"
    assert settings_of(parse_blocks(text, "x")[0], "x").values == {
        "aipp_mode": "static", "input_format": "RGB888_U8", "csc_switch": True,
    }  # fmt: skip


def _found(recipe: Recipe, change: dict[str, object]) -> list[tuple[str, str]]:
    values = {key: value for key, value in (aipp_of(recipe) | change).items() if value is not None}
    findings = lint(parse_blocks(text_of(values), "x"), recipe, "x")
    return [(finding.key, finding.found) for finding in findings if finding.level == "error"]


@pytest.mark.parametrize(
    ("change", "key", "word"),
    [
        ({"var_reci_chn_1": None}, "var_reci_chn_1", "missing, so 1 is taken"),
        ({"var_reci_chn_1": 0.0178}, "var_reci_chn_1", "0.017507"),
        ({"min_chn_0": 127.5}, "min_chn_0", "123.675"),
        ({"min_chn_0": 103.53, "min_chn_2": 123.675}, "min_chn_0", "changed places"),
        ({"mean_chn_0": 124}, "min_chn_0", "247.675"),
        ({"mean_chn_0": 123.675, "min_chn_0": None}, "mean_chn_0", "no whole number"),
        ({"crop": True, "crop_size_w": 16, "crop_size_h": 32}, "crop_size_w", "16 × 32 come out"),
        ({"crop": True, "crop_size_w": 40, "crop_size_h": 32}, "crop_size_w", "leaves the image"),
        ({"src_image_size_w": 64}, "src_image_size_w", "64 × 32 come out"),
        ({"padding": True, "left_padding_size": 40}, "padding", "40"),
        ({"csc_switch": True}, "csc_switch", "YUV"),
        ({"rbuv_swap_switch": True}, "rbuv_swap_switch", "BGR"),
        ({"input_format": "YUV420SP_U8"}, "csc_switch", "YUV"),
        ({"input_format": "YUV400_U8"}, "input_format", "grey"),
        ({"input_format": "XRGB8888_U8"}, "ax_swap_switch", "red"),
        ({"var_reci_ch_1": 0.5}, "var_reci_ch_1", "no key"),
        ({"aipp_mode": None}, "aipp_mode", "missing"),
        ({"aipp_mode": "dynamic"}, "max_src_image_size", "missing"),
        ({"aipp_mode": "dynamic", "var_reci_chn_2": None}, "var_reci_chn_2", "missing, so 0 is taken"),
        ({"input_format": None}, "input_format", "missing"),
    ],
)
def test_each_mistake_is_found(change: dict[str, object], key: str, word: str, tiny: Recipe) -> None:
    found = _found(tiny, change)
    assert any(name == key and word in text for name, text in found), found


def test_constants_in_few_digits_pass_and_crops_that_fit(tiny: Recipe) -> None:
    assert _found(tiny, {"min_chn_0": 123.7, "var_reci_chn_0": 0.01712}) == []
    sizes: dict[str, object] = {f"{key}_{side}": 40 for key in ("src_image_size",) for side in "wh"}
    sizes |= {"crop": True, "load_start_pos_w": 4, "load_start_pos_h": 4}
    assert _found(tiny, sizes | {"crop_size_w": 32, "crop_size_h": 32}) == []
    assert _found(tiny, {"min_chn_0": 0.675, "mean_chn_0": 123}) == []


def test_tensor_files_that_do_not_fit_are_found(tiny: Recipe, tmp_path: Path) -> None:
    aipp = settings_of(parse_blocks(text_of(aipp_of(tiny)), "x")[0], "x")
    ramp = np.linspace(0, 200, 32 * 32).reshape(32, 32)
    image = np.stack([ramp, 250 - ramp, ramp / 2 + 90], axis=2).astype(np.uint8)
    normal = ((image / 255 - 0.45) / 0.22).transpose(2, 0, 1).astype(np.float32)
    cases: dict[str, tuple[bytes, str]] = {
        "good": (image.tobytes(), ""),
        "two": (np.stack([image, image]).tobytes(), ""),
        "planes": (image.transpose(2, 0, 1).tobytes(), "CHW"),
        "float": (normal.tobytes(), "float32 values, four times"),
        "half": (normal.astype(HALF).tobytes()[:-2], "takes 3072"),
        "empty": (b"", "takes 3072"),
    }
    for name, (content, word) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.bin").write_bytes(content)
        findings = lint_tensors(aipp, tiny, folder)
        assert bool(findings) == bool(word) and all(word in finding.found for finding in findings), name
    for name, array, word in (
        ("npy-good", image[None], ""), ("npy-float", normal, "float32"),
        ("npy-planes", image.transpose(2, 0, 1), "NHWC"),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", array)
        findings = lint_tensors(aipp, tiny, tmp_path / name)
        assert bool(findings) == bool(word) and all(word in finding.found for finding in findings), name
    with pytest.raises(DataError, match="holds no"):
        lint_tensors(aipp, tiny, tmp_path)
