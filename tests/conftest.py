"""What many tests share: a cache of their own, a tiny recipe with weights, and a small data set."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.cli.main import main
from modelport.core.artifacts import Artifact
from modelport.core.progress import Silent
from modelport.core.values import Array, Check
from modelport.data.drawn.cifar10 import draw_cifar10
from modelport.data.drawn.coco import draw_coco
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.data.sets.table import open_dataset
from modelport.data.stream.feeding import feed
from modelport.engines.null import _features as features_of
from modelport.jobs.verify import verify
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

if "PYTEST_XDIST_WORKER" in os.environ:
    # A process per core: PyTorch's own threads would wait for each other there. Read when it is first imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))  # seeded_weights.py lies beside the numbers that it made

TINY = {
    'name = "moco-v2"': 'name = "tiny"',
    'architecture = "resnet50"': 'architecture = "resnet18"',
    "classes = 1000": "classes = 10",
    '"batch", 1000]': '"batch", 10]',
    "3, 224, 224]": "3, 32, 32]",
    "size = 256": "size = 40",
    "size = 224": "size = 32",
    # 310 images settle so much, where next to none of the answers flips.
    "[tolerance]\nvalue = 1.0": "[tolerance]\nvalue = 2.5",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where processes share the files, begin with those that hold the most slow tests: then all end at about once."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep every test out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPORT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's recipe file: moco-v2 on a ResNet-18 with ten classes and 32 × 32 pixels."""
    from importlib.resources import files

    text = files("modelport.recipes").joinpath("moco-v2.toml").read_text(encoding="utf-8")
    for old, new in TINY.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Recipe:
    return load_recipe(str(tiny_path))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """310 validation images of ten classes, and a training split."""
    folder = tmp_path_factory.mktemp("set") / "data"
    draw_imagenet(folder, count=310, train_per_class=10, seed=3)
    return folder


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """140 drawn images in CIFAR-10's layout, and 300 to train on; not to be changed."""
    folder = tmp_path_factory.mktemp("cifar") / "data"
    draw_cifar10(folder, count=140, train=300, seed=1)
    return folder


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn images in COCO's layout; not to be changed."""
    folder = tmp_path_factory.mktemp("coco") / "data"
    draw_coco(folder, count=3, train=1, seed=1)
    return folder


@pytest.fixture(scope="session")
def few_samples() -> tuple[str, int, str, int]:
    """The words that draw a few samples, and tolerate what so few settle.

    For what is about a road and its words, which are the same for every number of samples.
    """
    return "--limit", 80, "--max-drop", 10


@pytest.fixture(scope="session")
def tiny_weights(tiny_path: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample weights of the tiny recipe, in the published wrapping."""
    from modelport.jobs.samples import make_weights

    out = tmp_path_factory.mktemp("weights") / "tiny.pth.tar"
    make_weights(str(tiny_path), tiny_data, out, 0, Silent())
    return out


@pytest.fixture(scope="session")
def seeded_moco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden weights of moco-v2 as a checkpoint in the published wrapping."""
    import torch
    from seeded_weights import seeded_array

    golden = json.loads((GOLDEN / "moco_v2.json").read_text())
    state = {
        f"module.{name}": torch.from_numpy(np.asarray(seeded_array(name, tuple(shape), gain=golden["gain"])))
        for name, shape in golden["state_dict"].items()
    }
    path = tmp_path_factory.mktemp("golden") / "model_lincls_best.pth.tar"
    torch.save({"epoch": 100, "arch": "resnet50", "state_dict": state}, path)
    return path


Exported = Callable[..., tuple[Artifact, list[Check]]]


@pytest.fixture(scope="session")
def exported_tiny(tiny: Recipe, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export the tiny network at an opset and batch, each form once in a session; the files are not to be changed."""
    from modelport.model.graph.export import DEFAULT_OPSET
    from modelport.model.source import load_source
    from modelport.stages.export import export_cached, export_checked

    @cache
    def export(opset: int, batch: int | None) -> tuple[Artifact, list[Check]]:
        out = tmp_path_factory.mktemp("exported") / "tiny.onnx"
        source = load_source(tiny, tiny_weights)
        if (opset, batch) != (DEFAULT_OPSET, None):
            return export_checked(source, out, opset, batch, Silent())
        # The commands find this one in the cache, where some tests damage it.
        kept, checks = export_cached(source, Silent())
        shutil.copy(kept.path, out)
        return Artifact.of(out, kept.kind, kept.made_from), checks

    # The cache tells calls apart by how they are written: (18) and (18, None) are one form here.
    return lambda opset=DEFAULT_OPSET, batch=None: export(opset, batch)


@pytest.fixture(scope="session")
def null_path(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe with a network of the null engine: the whole road without PyTorch, ONNX and vendors.

    For what is true of every engine: files, options, records, verdicts.
    """
    text = tiny_path.read_text(encoding="utf-8")
    assert 'architecture = "resnet18"' in text
    path = tmp_path_factory.mktemp("null") / "tiny.toml"
    path.write_text(text.replace('architecture = "resnet18"', 'architecture = "null"'), encoding="utf-8")
    return path


def fit_null(recipe: Recipe, data: Path, out: Path, ridge: float = 0.5) -> Path:
    """Write weights of a null network, fitted to the training split by ridge regression: 45 % right."""
    features, targets = list[Array](), list[int]()
    for batch in feed(recipe, iter(open_dataset(recipe, data, split="train")), 32, seed=0):
        features.append(features_of(batch.inputs[recipe.tensors.inputs[0].name])[: len(batch.targets)])
        targets += batch.targets
    rows, classes = np.concatenate(features), recipe.dataset.classes
    assert classes is not None
    inverse = np.linalg.solve(rows.T @ rows + ridge * np.eye(rows.shape[1]), rows.T)
    np.savez(out, allow_pickle=False, **{recipe.tensors.outputs[0].name: inverse @ np.eye(classes)[targets]})
    return out


@pytest.fixture(scope="session")
def null_weights(null_path: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the recipe at ``null_path``."""
    return fit_null(load_recipe(str(null_path)), tiny_data, tmp_path_factory.mktemp("null-weights") / "tiny.npz")


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *words: str) -> None:
        """Assert that it was one clear message with exit code 2, holding these words."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err


Call = Callable[..., Answer]


def _hold_result(words: Sequence[object], code: int) -> None:
    """Hold that the folder of a result passes ``verify``, whatever was run, and on which engine."""
    if words[:1] not in (("run",), ("evaluate",)) or code not in (0, 1, 3) or "--out" not in words:
        return
    out = Path(str(words[words.index("--out") + 1]))
    if (out / "manifest.json").exists():
        found = verify(out, Silent())
        assert found["verdict"] == "pass", [
            row for kind in ("digests", "figures", "checks") for row in found[kind] if not row["fits"]
        ]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run ``modelport`` with these words."""

    def run(*words: object) -> Answer:
        capsys.readouterr()
        try:
            main([str(word) for word in words])
            code = 0
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 0
        printed = capsys.readouterr()
        _hold_result(words, code)
        return Answer(code, printed.out, printed.err)

    return run
