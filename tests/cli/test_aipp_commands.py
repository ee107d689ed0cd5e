"""``aipp check`` and ``aipp apply`` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelport.data.prepare.transforms import Preprocess
from modelport.engines.ascend.aipp import aipp_of, text_of
from modelport.recipes.schema import Recipe

Call = Callable[..., Any]


@pytest.fixture
def config(tiny: Recipe, tmp_path: Path) -> Path:
    path = tmp_path / "aipp.cfg"
    path.write_text(text_of(aipp_of(tiny)))
    return path


def _image(path: Path, size: tuple[int, int] = (50, 44)) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_check_leaves_with_the_verdict(call: Call, config: Path, tiny_path: Path, tmp_path: Path) -> None:
    answer = call("aipp", "check", config, "--recipe", tiny_path, "--json")
    assert answer.code == 0 and answer.json["clean"] and answer.json["findings"][0]["level"] == "warning"
    config.write_text(config.read_text().replace("var_reci_chn_1", "var_reci_ch_1"))
    answer = call("aipp", "check", config, "--recipe", tiny_path)
    assert answer.code == 1 and "did you mean 'var_reci_chn_1'" in answer.out and "so 1 is taken" in answer.out
    config.write_text("aipp_op {\n aipp_mode static\n}")
    call("aipp", "check", config, "--recipe", tiny_path).refused("aipp.cfg", "line 2")
    call("aipp", "check", tmp_path / "none.cfg", "--recipe", tiny_path).refused("none.cfg")


def test_write_gives_the_recipes_own_file(call: Call, config: Path, tiny_path: Path, tmp_path: Path) -> None:
    assert call("aipp", "write", tiny_path, "--out", tmp_path / "own.cfg").code == 0
    assert (tmp_path / "own.cfg").read_text() == config.read_text()
    told = call("aipp", "write", "nas-fpn", "--out", tmp_path / "own.cfg", "--json").json
    assert any("124, 116, 104" in note for note in told["notes"])


def test_check_looks_at_the_tensors(call: Call, config: Path, tiny_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tensors"
    folder.mkdir()
    np.zeros((3, 32, 32), np.float32).tofile(folder / "a.bin")
    np.random.default_rng(0).standard_normal((3, 32, 32), np.float32).tofile(folder / "a.bin")
    answer = call("aipp", "check", config, "--recipe", tiny_path, "--tensors", folder)
    assert answer.code == 1 and "four times" in answer.out and "a.bin" in answer.out


def test_apply_is_the_recipes_normalisation_within_float16(
    call: Call, config: Path, tiny_path: Path, tiny: Recipe, tmp_path: Path
) -> None:
    image = _image(tmp_path / "photo.png")
    out = tmp_path / "out"
    told = call("aipp", "apply", config, image, "--recipe", tiny_path, "--out", out, "--json").json
    got = np.fromfile(out / "photo.bin", np.float32).reshape(told["shape"])
    want = Preprocess(tiny.preprocess).tensor(image.read_bytes(), "photo")
    np.testing.assert_allclose(got[0], want, rtol=0, atol=0.01)
    assert 0 < told["largest_difference"] < 0.01
    np.testing.assert_array_equal(got, got.astype(np.float16))
    # The same pixels as a tensor file give the same numbers.
    pixels = Preprocess(tiny.preprocess).pixels(image.read_bytes(), "photo")
    pixels.tofile(tmp_path / "raw.bin")
    np.save(tmp_path / "array.npy", pixels[None])
    answer = call(
        "aipp", "apply", config, tmp_path / "raw.bin", tmp_path / "array.npy", "--out", out, "--format", "npy"
    )
    assert answer.code == 0, answer
    for name in ("raw.npy", "array.npy"):
        np.testing.assert_array_equal(np.load(out / name), got)


def test_apply_refuses_what_does_not_fit(call: Call, config: Path, tiny_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    image = _image(tmp_path / "photo.png")
    base = ["aipp", "apply", config]
    call(*base, image, "--out", out).refused("50 × 44", "32 × 32", "--recipe")
    np.zeros((3, 32, 32), np.float32).tofile(tmp_path / "f.bin")
    call(*base, tmp_path / "f.bin", "--out", out).refused("f.bin", "float32 values")
    np.save(tmp_path / "f.npy", np.zeros((32, 32, 3), np.float32))
    call(*base, tmp_path / "f.npy", "--out", out).refused("f.npy", "float32")
    (tmp_path / "photo.jpg").write_bytes(image.read_bytes())
    call(*base, image, tmp_path / "photo.jpg", "--recipe", tiny_path, "--out", out).refused("photo.png", "photo.jpg")
    (tmp_path / "no.png").write_bytes(b"no image")
    call(*base, tmp_path / "no.png", "--recipe", tiny_path, "--out", out).refused("no.png")
    call(*base, image, "--recipe", "simclr", "--out", out).refused("random views", "preprocess")
    call(*base, tmp_path / "none.png", "--out", out).refused("none.png")
    call(*base, image, "--out", out, "--format", "txt").refused("bin, npy")
    config.write_text(config.read_text().replace("static", "dynamic"))
    call(*base, image, "--recipe", tiny_path, "--out", out).refused("static")
    assert not out.exists() or not list(out.iterdir())


def test_a_padded_image_is_padded_before_the_normalisation(call: Call, tmp_path: Path) -> None:
    from modelport.recipes.load import load_recipe

    recipe = load_recipe("nas-fpn")
    (tmp_path / "a.cfg").write_text(text_of(aipp_of(recipe)))
    image = _image(tmp_path / "wide.png", (64, 32))
    words = ["aipp", "apply", tmp_path / "a.cfg", image, "--recipe", "nas-fpn", "--out", tmp_path / "out", "--json"]
    told = call(*words).json
    got = np.fromfile(tmp_path / "out" / "wide.bin", np.float32).reshape(told["shape"])[0]
    want = Preprocess(recipe.preprocess).tensor(image.read_bytes(), "wide")
    assert 0 < np.abs(got[:, :160]).max() < 0.01 and not want[:, :160].any()
    np.testing.assert_allclose(got, want, rtol=0, atol=0.01)
    assert any("padded" in note for note in told["notes"])
