"""Networks that are not modelport's own, from a recipe to a verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Answer, Call
from modelport.core import trust
from modelport.model.architectures import build_random
from modelport.recipes.load import load_recipe
from modelport.recipes.tables import Model
from own_networks import NET, write_recipe


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the user's module ``zoo``; the file ``log`` tells that it was imported."""
    (tmp_path / "zoo.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WHO_IMPORTED", str(tmp_path / "log"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    trust.trust_nothing()
    sys.modules.pop("zoo", None)


def run(call: Call, recipe: Path, data: Path, *words: object, engine: str = "onnxruntime") -> Answer:
    return call("run", recipe, "--data", data, "--out", "out", "--limit", 40, "--force", "--engine", engine, *words)


def checks(out: Path = Path("out")) -> dict[str, str]:
    result = json.loads((out / "result.json").read_text())
    return {check["name"]: check["verdict"] for check in result["checks"]}


def result() -> Any:
    return json.loads(Path("out/result.json").read_text())


@pytest.mark.parametrize("verb", ["run", "check", "export", "tune", "bench", "samples"])
def test_no_verb_imports_what_is_not_trusted(
    verb: str, zoo: Path, call: Call, tiny_path: Path, tiny_data: Path
) -> None:
    recipe = write_recipe(tiny_path, zoo / "own.toml", "zoo:Net")
    torch.save({}, "w.pth")
    words: dict[str, tuple[object, ...]] = {
        "run": ("run", recipe, "--data", tiny_data, "--out", "out"),
        "check": ("check", recipe, "--weights", "w.pth"),
        "export": ("export", recipe, "--out", "net.onnx"),
        "tune": ("tune", recipe, "--data", tiny_data, "--out", "setting.toml"),
        "bench": ("bench", recipe),
        "samples": ("samples", "weights", recipe, "--data", tiny_data, "--out", "made.pth"),
    }
    call(*words[verb]).refused("--trust-code", "'zoo'")
    assert not (zoo / "log").exists()


@pytest.mark.slow
def test_a_network_without_weights_is_taken_as_it_is_returned(
    zoo: Path, call: Call, tiny_path: Path, tiny_data: Path
) -> None:
    recipe = write_recipe(tiny_path, zoo / "own.toml", "zoo:Net", {"width": 6})
    answer = run(call, recipe, tiny_data, "--trust-code")
    assert answer.code in (1, 3), answer
    told = result()
    assert told["source"]["kind"] == "module"
    assert told["source"]["path"] == "zoo:Net"
    assert told["metrics"]["source_agreement"]["value"] == 100.0
    assert any("as its function returns it" in note for note in told["notes"])
    assert {checks()[name] for name in ("weights_arrived", "outputs_match_source")} == {"pass"}
    assert run(call, recipe, tiny_data, "--trust-code", engine="torch").code == answer.code


def test_sample_weights_of_a_recipe_that_publishes_none_need_a_suffix_as_well(
    zoo: Path, call: Call, tiny_path: Path, tiny_data: Path
) -> None:
    recipe = write_recipe(tiny_path, zoo / "own.toml", "zoo:Named")
    assert load_recipe(str(recipe)).weights is None
    for name, said in (("fitted", "needs a suffix"), ("fitted.safetensors", "are written as torch files")):
        answer = call("samples", "weights", recipe, "--data", tiny_data, "--out", name, "--trust-code")
        answer.refused(f"{name}: ", said, "name it like own.pth")


@pytest.mark.slow
def test_a_checkpoint_is_loaded_strictly_into_it(zoo: Path, call: Call, tiny_path: Path, tiny_data: Path) -> None:
    recipe = write_recipe(tiny_path, zoo / "own.toml", "zoo:Named")
    call("samples", "weights", recipe, "--data", tiny_data, "--out", "fitted.pth", "--trust-code")
    assert call("check", recipe, "--weights", "fitted.pth", "--trust-code").code == 0
    answer = run(call, recipe, tiny_data, "--weights", "fitted.pth", "--trust-code")
    assert answer.code == 3, answer  # 40 images are too few for a verdict
    assert result()["source"]["kind"] == "checkpoint"
    assert result()["metrics"]["source_agreement"]["value"] == 100.0
    other = write_recipe(tiny_path, zoo / "other.toml", "zoo:Named", {"width": 5})
    call("check", other, "--weights", "fitted.pth", "--trust-code").refused("does not fit")


@pytest.mark.slow
def test_changed_code_is_never_answered_from_the_cache(zoo: Path, call: Call, tiny_path: Path, tiny_data: Path) -> None:
    recipe = write_recipe(tiny_path, zoo / "own.toml", "zoo:Net")
    run(call, recipe, tiny_data, "--trust-code")
    before = (zoo / "out" / "predictions.jsonl").read_text()
    (zoo / "zoo.py").write_text(NET.replace("torch.relu(", "torch.tanh("))
    del sys.modules["zoo"]  # as in a process of its own
    run(call, recipe, tiny_data, "--trust-code")
    assert (zoo / "out" / "predictions.jsonl").read_text() != before
    assert checks()["weights_arrived"] == "pass"
    assert result()["metrics"]["source_agreement"]["value"] == 100.0


@pytest.mark.slow
def test_a_network_of_another_width_or_shape_is_named(zoo: Path, call: Call, tiny_path: Path, tiny_data: Path) -> None:
    recipe = write_recipe(tiny_path, zoo / "own.toml", "zoo:Net", {"classes": 7})
    run(call, recipe, tiny_data, "--trust-code").refused("zoo:Net gives float32 (1, 7)", "(batch, 10)")
    (zoo / "zoo.py").write_text(NET.replace("nn.Conv2d(3,", "nn.Conv2d(4,"))
    del sys.modules["zoo"]
    run(call, recipe, tiny_data, "--trust-code").refused("zoo:Net failed on an input of shape (1, 3, 32, 32)")


@pytest.mark.slow
def test_what_cannot_be_exported_is_said_once(zoo: Path, call: Call, tiny_path: Path, tiny_data: Path) -> None:
    branch = "        if x.sum() > 0:\n            x = x + 1\n"
    (zoo / "zoo.py").write_text(NET.replace("        x = torch.relu", f"{branch}        x = torch.relu"))
    recipe = write_recipe(tiny_path, zoo / "own.toml", "zoo:Net")
    run(call, recipe, tiny_data, "--trust-code").refused("cannot write this network", "hang on values")
    assert run(call, recipe, tiny_data, "--trust-code", engine="torch").code in (1, 3)


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "timm:test_resnet": lambda state: {"state_dict": state, "state_dict_ema": state, "epoch": 3},
    "torchvision:squeezenet1_1": lambda state: state,
}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", WRAPPED)
def test_a_librarys_network_comes_to_a_verdict(
    architecture: str, zoo: Path, call: Call, tiny_path: Path, tiny_data: Path
) -> None:
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    recipe = write_recipe(tiny_path, zoo / "library.toml", architecture, {"num_classes": 10})
    call("run", recipe, "--data", tiny_data, "--out", "out").refused("--weights")
    network = build_random(Model(architecture=architecture, arguments={"num_classes": 10}), 3)
    torch.save(WRAPPED[architecture](network.state_dict()), "published.pth")
    assert run(call, recipe, tiny_data, "--weights", "published.pth").code in (1, 3)
    assert {checks()[name] for name in ("weights_arrived", "outputs_match_source")} == {"pass"}
    assert result()["metrics"]["source_agreement"]["value"] == 100.0


def save_program(path: Path, batch: int | None = None, size: int = 32) -> Path:
    """Write the network of ``zoo`` as a program, with random batch norms; ``batch`` None: free."""
    torch.manual_seed(1)
    network: Any = vars(import_module("zoo"))["Net"]().eval()
    network.bn.running_mean.normal_()
    network.bn.running_var.uniform_(0.5, 2.0)
    shapes = None if batch else ({0: torch.export.Dim.DYNAMIC},)
    example = torch.ones(batch or 2, 3, size, size)
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 4])
def test_a_program_is_a_source_without_any_code_of_the_users(
    batch: int | None, zoo: Path, call: Call, tiny_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(zoo))
    program = save_program(zoo / "net.pt2", batch)
    (zoo / "log").unlink()
    del sys.modules["zoo"]
    recipe = write_recipe(tiny_path, zoo / "own.toml", "nowhere:at_all")
    answer = run(call, recipe, tiny_data, "--source", program)
    assert answer.code in (1, 3), answer
    told = result()
    assert told["source"]["kind"] == "program"
    assert told["source"]["path"] == str(program)
    assert told["batch"] == (batch or 8)
    assert told["metrics"]["source_agreement"]["value"] == 100.0
    arrived = next(check for check in told["checks"] if check["name"] == "weights_arrived")
    assert arrived["verdict"] == "pass"
    assert "5 folded into a convolution" in arrived["why"]
    assert checks()["outputs_match_source"] == "pass"
    assert run(call, recipe, tiny_data, "--source", program, engine="torch").code == answer.code
    assert not (zoo / "log").exists()
    if batch:
        run(call, recipe, tiny_data, "--source", program, "--batch", 2).refused("net.pt2", "for batch 4 alone")


def test_what_is_no_program_is_named(
    zoo: Path, call: Call, tiny_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(zoo))
    recipe = write_recipe(tiny_path, zoo / "own.toml", "nowhere:at_all")
    run(call, recipe, tiny_data, "--source", save_program(zoo / "small.pt2", size=16)).refused("small.pt2", "16, 16")
    run(call, recipe, tiny_data, "--source", "absent.pt2").refused("absent.pt2")
    run(call, recipe, tiny_data, "--source", "zoo.py").refused("zoo.py", ".pt2 or .onnx")
