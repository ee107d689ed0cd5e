"""The documentation is true: its commands run, in order, in an empty folder.

A block of commands is fenced as ``bash``. A further word on the fence line says what it needs that is not at hand:
``make`` (run by CI itself), ``real-data``, ``npu``, ``long`` (run where MODELPORT_LONG_DOCS is set). A trailing
``# exit N`` gives the expected exit code. A command is ``modelport …``, ``python -m modelport.ais_bench …``, ``pip …``,
or ``python FILE`` for a file that the page shows: a block of Python or TOML whose fence line ends in a file's name is
written there first. Before ``modelport`` may stand ``PYTHONPATH=FOLDER``, whose packages come first then.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Answer, Call
from modelport.ais_bench.__main__ import main as ais_bench
from modelport.recipes.load import load_recipe, recipe_names
from recipe_reference import reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```bash *(?P<needs>[a-z-]*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```(?:python|toml) (?P<name>[\w.-]+)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS = {"make", "real-data", "npu", "long"}


def _commands(page: Path) -> list[str]:
    at_hand = {"", "long"} if os.environ.get("MODELPORT_LONG_DOCS") else {""}
    blocks = [match["body"] for match in FENCE.finditer(page.read_text(encoding="utf-8")) if match["needs"] in at_hand]
    text = "\n".join(blocks).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_not_run_says_what_it_needs(page: Path) -> None:
    needs = {match["needs"] for match in FENCE.finditer(page.read_text(encoding="utf-8"))}
    assert needs - {""} <= NEEDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES[1:] if _commands(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_run(
    page: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one process: how a process of its own starts and ends is held in tests/cli/test_endings.py.

    The README's commands are run by .ci/wheel, as a user who installed the package runs them.

    A page that shows files has a process for each command: what one imports is not there for the next.
    """
    monkeypatch.chdir(tmp_path)
    files = {match["name"]: match["body"] for match in FILE.finditer(page.read_text(encoding="utf-8"))}
    for name, body in files.items():
        Path(name).write_text(body, encoding="utf-8")
    for command in _commands(page):
        line, _, wanted = command.partition("# exit")
        words = shlex.split(line)
        first, _, folder = words[0].partition("=")
        if first == "PYTHONPATH" and words[1] == "modelport":
            answer = _process("-m", *words[1:], before=Path(folder).absolute())
        elif words[0] == "pip":
            answer = _process("-m", *words)
        elif words[0] == "modelport":
            answer = _process("-m", *words) if files else call(*words[1:])
        elif words[:3] == ["python", "-m", "modelport.ais_bench"]:
            answer = Answer(ais_bench(words[3:]), *capsys.readouterr())
        elif len(words) == 2 and words[0] == "python" and words[1] in files:
            answer = _process(words[1])
        else:
            pytest.fail(f"{page.name} shows a command that is not modelport's: {line}")
        # "exit 1 or 3": what a few images say of int8 hangs on the processor's arithmetic.
        codes = [int(code) for code in (wanted or "0").split(" or ")]
        assert answer.code in codes, f"{line}\n{answer.out}\n{answer.err}"


def _process(*words: str, before: Path | None = None) -> Answer:
    """Run Python with these words; packages in the folder ``before`` come before all others."""
    known = os.environ.get("PYTHONPATH")
    place = {} if before is None else {"PYTHONPATH": os.pathsep.join(filter(None, (str(before), known)))}
    ended = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, env=os.environ | place
    )
    return Answer(ended.returncode, ended.stdout, ended.stderr)


def test_every_key_of_a_recipe_is_told() -> None:
    """``MODELPORT_DOCS=write`` writes the page's tables anew."""
    page = ROOT / "docs" / "recipes.md"
    text, marks = page.read_text(encoding="utf-8"), ("<!-- reference -->\n", "<!-- /reference -->\n")
    before, _, rest = text.partition(marks[0])
    wanted = "".join((before, marks[0], reference(), marks[1], rest.partition(marks[1])[2]))
    if os.environ.get("MODELPORT_DOCS") == "write":
        page.write_text(wanted, encoding="utf-8")
    assert text == wanted


def test_the_address_page_names_every_address_of_the_recipes() -> None:
    addresses = r"https?://[^\s\"<>|,]+"
    recipes = " ".join(load_recipe(name).model_dump_json() for name in recipe_names())
    named = set(re.findall(addresses, recipes))
    listed = set(re.findall(addresses, (ROOT / "docs" / "addresses.md").read_text(encoding="utf-8")))
    assert named
    assert named == listed
