"""A network of the user's own: whose code may run, what is no network, and what is kept of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from modelport.core import trust
from modelport.core.errors import ModelportError, RecipeError, UsageError
from modelport.model.architectures import build_network, code_behind
from modelport.recipes.tables import Model
from own_networks import NET


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module ``zoo`` is the current one; the file tells who imported it. Nothing is trusted."""
    (tmp_path / "zoo.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WHO_IMPORTED", str(tmp_path / "log"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    trust.trust_nothing()
    yield tmp_path / "log"
    trust.trust_nothing()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("zoo", "parts")]:
        del sys.modules[name]


def model(architecture: str, **arguments: Any) -> Model:
    return Model(architecture=architecture, arguments=arguments)


def refusal(architecture: str, kind: type[ModelportError] = RecipeError, **arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        build_network(model(architecture, **arguments))
    return f"{caught.value.found}\n{caught.value.fix}"


def configure(text: str) -> None:
    from modelport.core.user_config import config_path

    config_path().parent.mkdir(parents=True, exist_ok=True)
    config_path().write_text(text)


def test_nothing_is_imported_that_the_user_does_not_trust(log: Path) -> None:
    said = refusal("zoo:Net", UsageError)
    assert "'zoo'" in said
    assert "--trust-code" in said
    assert not log.exists()
    trust.trust_code("zoology")  # another module, whose name begins alike
    refusal("zoo:Net", UsageError)
    assert not log.exists()
    trust.trust_code("zoo")
    build_network(model("zoo:Net"))
    assert log.exists()


@pytest.mark.parametrize("listed", ["zoo", "parts"])
def test_the_users_configuration_trusts_a_module_or_a_package(listed: str, log: Path) -> None:
    package = log.parent / "parts"
    package.mkdir()
    (package / "zoo.py").write_text(NET)
    configure(f'trust_code = ["{listed}"]')
    name = "zoo" if listed == "zoo" else "parts.zoo"
    assert isinstance(build_network(model(f"{name}:Net")), torch.nn.Module)
    refusal("parts.zoo:Net" if listed == "zoo" else "zoo:Net", UsageError)


@pytest.mark.parametrize("text", ["trust_code = 'zoo'", "trust_code = [1]", "trust = ['zoo']", "trust_code = ["])
def test_a_configuration_with_a_slip_is_named(text: str, log: Path) -> None:
    configure(text)
    assert "config.toml" in refusal("zoo:Net", UsageError)
    assert not log.exists()


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("nowhere_at_all:Net", ("no module 'nowhere_at_all'", "the recipe's own folder is not searched")),
        ("zoo:Nett", ("zoo.py", "no 'Nett'", "did you mean 'Net'")),
        ("zoo:number", ("is a int, which cannot be called",)),
        ("zoo:nothing", ("returns a int, no nn.Module",)),
        ("zoo:fails", ("ValueError", "zoo.py:")),
        ("zoo:double", ("float64", ".float()")),
        ("zoo:", ("names no function",)),
        ("../zoo:Net", ("names no function",)),
        ("zoo.py:Net", ("no module 'zoo.py'",)),
    ],
)
def test_what_is_no_network_is_said(architecture: str, words: tuple[str, ...], log: Path) -> None:
    trust.trust_code()
    said = refusal(architecture)
    for word in words:
        assert word in said


def test_wrong_arguments_name_the_right_ones(log: Path) -> None:
    trust.trust_code()
    assert "classes=10, width=4" in refusal("zoo:Net", clases=3)


def test_a_module_that_fails_to_import_says_why_and_where(log: Path) -> None:
    trust.trust_code()
    Path("parts.py").write_text("x = 1\nimport not_installed_at_all\n")
    said = refusal("parts:Net")
    assert "No module named 'not_installed_at_all'" in said
    assert "parts.py:2" in said
    Path("parts.py").write_text("raise SystemExit(3)\n")
    assert "SystemExit: 3" in refusal("parts:Net")


def test_it_is_built_for_real_and_the_same_each_time(log: Path) -> None:
    trust.trust_code()
    before = torch.get_rng_state()
    one, two = (build_network(model("zoo:Net", width=5)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.get_buffer("scale"), torch.full((5, 1, 1), 2.0))
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    assert not one.training


def test_what_it_prints_goes_to_stderr(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust.trust_code()
    build_network(model("zoo:Net"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "the module is loaded" in printed.err


def test_its_code_is_told_apart_with_all_that_lies_beside_it(log: Path) -> None:
    trust.trust_code()
    Path("parts.py").write_text("factor = 1\n")
    Path("zoo.py").write_text("import parts\n" + NET)

    def code() -> str:
        for name in ("zoo", "parts"):
            sys.modules.pop(name, None)
        named = model("zoo:Net")
        return code_behind(named, build_network(named))

    first = code()
    assert code() == first
    Path("parts.py").write_text("factor = 11\n")
    assert code() != first
