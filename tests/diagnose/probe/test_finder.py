"""The finder: what was planted is among what it tells, inputs are the recipe's own, and guesses stay guesses."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from conftest import Call
from modelport.core.values import Array, Sample, Tensors
from modelport.data.prepare.transforms import Preprocess
from modelport.diagnose.probe.finder import MAX_RUNS, Found, find
from modelport.diagnose.probe.finder_rows import Asked, PreparedRows
from modelport.diagnose.probe.finder_settings import COORDINATES, Setting, Space
from modelport.diagnose.probe.finder_weights import credible, evidence, limit, weights
from modelport.diagnose.scores import Kind
from modelport.recipes.load import load_recipe, parse_recipe
from modelport.recipes.toml import toml_value

CLASSES, SIDE = 6, 16
DECODE = {"step": "decode", "color": "RGB", "exif_rotation": "ignore"}
SPACE = Space((SIDE, SIDE), 3, "NCHW", "float32", DECODE)


def _pictures(count: int, seed: int) -> list[Sample]:
    """Draw small pictures: a class has its own colours at the left, the top and around, and a texture."""
    rng, y, x = np.random.default_rng(seed), *np.mgrid[0:1:36j, 0:1:52j]
    made = []
    for number in range(count):
        label = number % CLASSES
        tint = np.random.default_rng(label).uniform(-1, 1, (4, 3))
        waves = np.sin((6 + 3 * label) * np.pi * (x + 0.3 * y) + rng.uniform(0, 6))
        parts = [x, y, np.maximum(abs(x - 0.5), abs(y - 0.5)) * 2, waves]
        field = sum(part[:, :, None] * colour for part, colour in zip(parts, tint, strict=True))
        values = 120 + 26 * field + rng.normal(0, 24, 3) + rng.normal(0, 4, (36, 52, 3))
        stream = io.BytesIO()
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(stream, "PNG")
        made.append(Sample(f"{number:03d}.png", label, Path(f"{number:03d}.png"), stream.getvalue()))
    return made


@dataclass
class Network:
    """One hidden layer at random, and a last one that was fitted; and what is made of its scores."""

    hidden: Array
    last: Array
    form: str = "logits"
    images: int = 0

    def features(self, rows: Array) -> Array:
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        ones = np.ones((len(rows), 1))
        return np.concatenate([np.tanh(np.concatenate([flat, ones], axis=1) @ self.hidden), ones], axis=1)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.images += len(inputs["image"])
        scores = self.features(inputs["image"]) @ self.last
        for _ in range({"logits": 0, "probabilities": 1, "twice": 2}[self.form]):
            scores = _softmax(scores)
        return {"scores": scores.astype(np.float32)}


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    whole: Array = powers / powers.sum(axis=1, keepdims=True)
    return whole


@pytest.fixture(scope="module")
def training() -> list[Sample]:
    return _pictures(300, seed=1)


@pytest.fixture(scope="module")
def labelled() -> list[Sample]:
    return _pictures(64, seed=2)


def _fitted(space: Space, truth: Setting, training: Sequence[Sample], width: int = CLASSES, first: int = 0) -> Network:
    """Return a network, fitted by ridge regression under the true setting; label 0 is output ``first``."""
    rows = np.stack(PreparedRows(space, training).of(truth, range(len(training))))
    size = rows[0].size
    hidden = np.random.default_rng(5).normal(0, 3.0 / np.sqrt(size), (size + 1, 160)) / rows.std()
    hidden[-1] = -rows.reshape(len(rows), -1).mean(axis=0) @ hidden[:-1]
    network = Network(hidden, np.zeros((161, width)))
    features, wanted = network.features(rows), np.eye(width)[[sample.target + first for sample in training]]
    gram = features.T @ features
    network.last = 9.0 * np.linalg.solve(gram + 0.3 * np.eye(len(gram)), features.T @ wanted)
    return network


def _find(runner: Any, samples: Sequence[Sample], space: Space = SPACE, **more: Any) -> Found:
    return find(runner, space, samples, input_name="image", output="scores", **more)


PLANTED = [
    Setting("RGB", "imagenet", "crop ratio 0.875", "bicubic"),
    Setting("BGR", "caffe", "squash", "bilinear"),
    Setting("RGB", "0 to 1", "letterbox on grey", "nearest"),
]


@pytest.mark.parametrize("truth", PLANTED, ids=str)
def test_what_was_planted_is_among_what_is_told(truth: Setting, training: list[Sample], labelled: list[Sample]) -> None:
    runner = _fitted(SPACE, truth, training)
    found = _find(runner, labelled)
    assert truth in found.told, found.sentence
    assert {one.colour for one in found.told} == {truth.colour} and len({one.numbers for one in found.told}) < 4
    assert next(iter(found.told)) == found.setting and 0.0 < found.confidence == max(found.told.values())
    assert found.setting is not None and f"; {found.setting.geometry} (" in found.sentence
    assert found.setting in found.likely and set(found.likely) <= set(found.told)
    for shares in found.values.values():
        assert sum(shares.values()) == pytest.approx(sum(found.told.values()))
    assert found.runs <= MAX_RUNS and found.label_offset == 0 and found.scores is Kind.LOGITS


def test_scores_of_probabilities_and_of_two_softmaxes_tell_the_same(
    training: list[Sample], labelled: list[Sample]
) -> None:
    runner = _fitted(SPACE, PLANTED[1], training)
    plain = _find(runner, labelled)
    for form, kind in (("probabilities", Kind.PROBABILITIES), ("twice", Kind.TWICE)):
        found = _find(replace(runner, form=form), labelled)
        assert found.scores is kind and found.setting == plain.setting
        assert ("softmaxed twice" in found.sentence) == (form == "twice")


def test_labels_that_count_from_one_are_seen(training: list[Sample], labelled: list[Sample]) -> None:
    runner = _fitted(SPACE, PLANTED[1], training, CLASSES + 1, first=1)
    found = _find(runner, labelled)
    assert found.label_offset == 1 and PLANTED[1] in found.told
    # Where only none may be added, nothing is right.
    assert _find(runner, labelled, offsets=(0,)).setting is None


def test_shuffled_labels_tell_nothing(training: list[Sample], labelled: list[Sample]) -> None:
    labels = np.random.default_rng(3).permutation([sample.target for sample in labelled])
    shuffled = [replace(sample, target=int(label)) for sample, label in zip(labelled, labels, strict=True)]
    found = _find(_fitted(SPACE, PLANTED[0], training), shuffled)
    assert found.setting is None and not found.steps and found.confidence == 0.0 and not found.to_json()["told"]
    assert "better than guessing" in found.sentence and "would settle it" in found.sentence
    assert found.runs <= MAX_RUNS


def test_what_tells_nothing_is_said(training: list[Sample], labelled: list[Sample]) -> None:
    runner = _fitted(SPACE, PLANTED[0], training)
    assert "63 labelled images" in _find(runner, labelled[:63]).sentence
    beyond = [replace(sample, target=CLASSES) for sample in labelled]
    assert "labels beyond the 6 scores" in _find(runner, beyond).sentence

    class Numbers(Network):
        def run(self, inputs: Tensors) -> dict[str, Array]:
            return {"scores": super().run(inputs)["scores"].argmax(axis=1)}

    assert "no row of scores" in _find(Numbers(runner.hidden, runner.last), labelled).sentence


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        replace(SPACE, size=(192, 192)),
        Space((12, 20), 1, "NHWC", "float32", DECODE | {"color": "L"}),
        Space((16, 16), 3, "NHWC", "uint8", DECODE),
    ],
    ids=["square", "large", "grey", "bytes"],
)
def test_rows_are_what_the_recipe_makes(space: Space, labelled: list[Sample]) -> None:
    samples = labelled[:2]
    rows = PreparedRows(space, samples)
    for name in COORDINATES:
        for setting in space.along(name, space.start):
            steps = ", ".join(toml_value(step) for step in space.steps(setting))
            image = [space.channels, *space.size] if space.layout == "NCHW" else [*space.size, space.channels]
            told = {"steps": steps, "dtype": space.dtype, "shape": toml_value(["batch", *image])}
            recipe = parse_recipe(RECIPE.format(**told), "r.toml")
            prepare = Preprocess(recipe.preprocess)
            for row, sample in zip(rows.of(setting, (0, 1)), samples, strict=True):
                np.testing.assert_array_equal(row, prepare.tensor(sample.read(), sample.id), strict=True)


def test_a_mean_goes_with_its_colour() -> None:
    red_first, blue_first = (
        SPACE.arithmetic(Setting(colour, "imagenet", "squash", "bilinear"))[0]["mean"] for colour in ("RGB", "BGR")
    )
    assert red_first == [0.485, 0.456, 0.406] and blue_first == red_first[::-1]
    assert SPACE.arithmetic(PLANTED[1])[0]["mean"] == [103.939, 116.779, 123.68]


RECIPE = """
schema = "modelport.recipe/1"
name = "r"
task = "classification"
metrics = ["top1"]
preprocess = [{steps}]
tensors.inputs = [{{ name = "image", dtype = "{dtype}", shape = {shape} }}]
tensors.outputs = [{{ name = "scores", dtype = "float32", shape = ["batch", 6] }}]
dataset.kind = "table"
dataset.classes = 6
"""


def test_without_opencv_the_rest_is_tried_and_that_is_said(
    training: list[Sample], labelled: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    found = _find(_fitted(SPACE, PLANTED[1], training), labelled)
    assert PLANTED[1] in found.told and "opencv_linear" not in found.values["interpolation"]
    assert "OpenCV's interpolations were not tried" in found.sentence


def test_rows_are_the_same_where_nothing_can_be_kept(labelled: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    settings, places = SPACE.along("geometry", SPACE.start)[:3], range(5)
    kept = PreparedRows(SPACE, labelled)
    wanted = [kept.of(setting, places) for setting in settings]
    monkeypatch.setattr("modelport.diagnose.probe.finder_rows.KEPT_BYTES", 1)
    rows = PreparedRows(SPACE, labelled)
    for _ in range(2):
        for setting, want in zip(settings, wanted, strict=True):
            np.testing.assert_array_equal(rows.of(setting, places), want)


def test_equal_inputs_are_run_once(training: list[Sample]) -> None:
    """Of square images squashed is cropped at a ratio of 1, and letterboxed."""
    small = []
    for sample in training[:4]:
        stream = io.BytesIO()
        Image.open(io.BytesIO(sample.read())).crop((0, 0, SIDE, SIDE)).save(stream, "PNG")
        small.append(replace(sample, content=stream.getvalue()))
    runner: Any = _fitted(SPACE, PLANTED[0], training)
    asked = Asked(runner, PreparedRows(SPACE, small), "image", "scores", 4)
    alike = [replace(SPACE.start, geometry=name) for name in ("crop ratio 1", "squash", "letterbox on black")]
    first, *others = (asked.scores(setting, 4) for setting in alike)
    assert all(np.array_equal(first, other) for other in others)
    assert asked.runs == runner.images == 4 and len({asked.digest(setting, 4) for setting in alike}) == 1


def test_weights_follow_the_evidence() -> None:
    rng = np.random.default_rng(2)
    best = rng.gamma(1.0, 0.5, 100)
    assert evidence(best, best) == evidence(best - 0.1, best) == 0.0
    # Always a little worse: so little says nothing, however sure it is.
    assert evidence(best + 1e-4, best) == pytest.approx(0.01)
    # Worse by much, but by a single sample: that may be chance.
    one = best.copy()
    one[0] += 15.0
    assert evidence(one, best) == pytest.approx(0.5, rel=0.05)
    usual, odd = PLANTED[0], replace(PLANTED[0], interpolation="nearest")
    shares = weights({odd: 0.0, usual: 0.0})
    assert next(iter(shares)) == usual and sum(shares.values()) == pytest.approx(1.0)
    assert next(iter(weights({odd: 0.0, usual: 9.0}))) == odd
    assert credible({usual: 0.7, odd: 0.3}, 0.95) == (usual, odd)
    assert credible({usual: 0.96, odd: 0.04}, 0.95) == (usual,)
    # Two sides of 5 % of two: 1.96 standard errors.
    assert limit(2, 10**6) == pytest.approx(0.5 * 1.96**2, abs=1e-3)
    assert limit(2, 10**6) < limit(2, 32) < limit(40, 32)


def _onnx(network: Network, path: Path) -> Path:
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["sums"]),
        helper.make_node("Tanh", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "v", "c"], ["scores"]),
    ]
    arrays = {"w": network.hidden[:-1], "b": network.hidden[-1], "v": network.last[:-1], "c": network.last[-1]}
    stored = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", network.last.shape[1]])
    graph = helper.make_graph(nodes, "g", [image], [scores], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def _folder(samples: Sequence[Sample], labels: Iterable[int], folder: Path) -> Path:
    folder.mkdir()
    for sample in samples:
        (folder / sample.id).write_bytes(sample.read())
    rows = [f"{sample.id},{label}" for sample, label in zip(samples, labels, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["file,class", *rows]) + "\n")
    return folder


@pytest.mark.slow
def test_init_writes_what_was_found(training: list[Sample], labelled: list[Sample], call: Call, tmp_path: Path) -> None:
    truth = PLANTED[1]
    # The first output is background: labels count from 1.
    network = _fitted(SPACE, truth, training, CLASSES + 1, first=1)
    model, out = _onnx(network, tmp_path / "m.onnx"), tmp_path / "r.toml"
    data = _folder(labelled, [sample.target for sample in labelled], tmp_path / "data")
    told = call("init", model, "--data", data, "--out", out, "--json").json
    recipe = load_recipe(str(out))
    assert "preprocess" not in [entry["key"] for entry in told["guessed"]]
    assert str(truth) in told["found"]["told"] and told["found"]["sentence"] in out.read_text()
    assert recipe.preprocess[0].model_dump()["color"] == "BGR" and recipe.dataset.label_offset == 1
    answer = call(
        "run", out, "--source", model, "--data", data, "--engine", "openvino", "--out", tmp_path / "o", "--json"
    )
    assert answer.json["metrics"]["top1"]["value"] >= 90.0, answer.err

    shuffled = _folder(labelled, np.random.default_rng(3).permutation(64) % CLASSES, tmp_path / "shuffled")
    told = call("init", model, "--data", shuffled, "--out", out, "--force", "--json").json
    guessed = {entry["key"]: entry["why"] for entry in told["guessed"]}
    assert "better than guessing" in guessed["preprocess"] and told["found"]["setting"] is None
    load_recipe(str(out))
    (shuffled / labelled[0].id).write_bytes(b"no image")
    told = call("init", model, "--data", shuffled, "--out", out, "--force", "--json").json
    assert labelled[0].id in {entry["key"]: entry["why"] for entry in told["guessed"]}["preprocess"]
    (shuffled / "labels.csv").unlink()
    told = call("init", model, "--data", shuffled, "--out", out, "--force", "--json").json
    assert "only images with labels" in told["guessed"][0]["why"] and "found" not in told
