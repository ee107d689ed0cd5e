"""The console: nothing but the result on stdout, tables that fit and lose nothing, a colour for one meaning."""

from __future__ import annotations

import io
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest
from given_graphs import classifier
from rich.console import Console

from modelport.cli import bars, console
from modelport.cli.grid import widths
from modelport.cli.main import main
from modelport.core.progress import Silent
from modelport.recipes.schema import Recipe

# A sequence of commands, each of which uses what those before it left; {} are the files at hand.
LINES = (
    "doctor",
    "list",
    "show {recipe}",
    "run {recipe} --weights {weights} --data {data} --limit 40 --engine null --out one",
    "run {recipe} --weights {weights} --data {data} --limit 40 --engine null --out two --until-decided",
    "verify one",
    "compare one two --max-drop 5",
    "history .",
    "report one two --out page.html",
    "preprocess {recipe} --data {data} --limit 4 --out tensors",
    "bench --model m.onnx --engine onnxruntime --batch 1 --duration 0.01 --concurrency 1",
    "diff m.onnx --engine onnxruntime,openvino --random 1",
)
# What is never the same twice: figures of time, and where and when it was.
VOLATILE = re.compile(r"[0-9]+([.:,][0-9]+)*")


def test_stdout_holds_the_result_alone_and_talk_goes_to_stderr(
    null_path: Path,
    null_weights: Path,
    tiny_data: Path,
    tiny: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(classifier(tiny, 10), "m.onnx")
    places = {"recipe": null_path, "weights": null_weights, "data": tiny_data}

    def told(*words: str) -> tuple[str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main(list(words))
        printed = capfd.readouterr()
        assert leaving.value.code in (0, 1, 3), printed.err
        return printed.out, printed.err

    for line in LINES:
        words = line.format(**places).split()
        again = ["--force"] * ("--out" in words)
        plain, silent = told(*words)
        assert plain and not silent, line
        assert max(map(len, _tables(plain)), default=0) <= console.WIDTH, line
        loud, talk = told(*words, *again, "--verbose")
        assert VOLATILE.sub("0", loud).split() == VOLATILE.sub("0", plain).split() or words[0] in ("bench", "run"), line
        assert talk or words[0] in ("doctor", "list", "show"), line
        out, talk = told(*words, *again, "--json", "-v")
        assert json.loads(out), line


def _tables(text: str) -> list[str]:
    """Return the lines of tables: from a header that is underlined to the next blank line."""
    lines = text.splitlines()
    found, inside = [], False
    for before, line in zip(["", *lines], lines, strict=False):
        if "──" in line:
            inside = True
            found.append(before)
        inside = inside and bool(line.strip())
        if inside:
            found.append(line)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_table_fits_and_every_character_of_it_is_there(seed: int) -> None:
    draw = random.Random(seed)

    def words(most: int) -> str:
        return " ".join("x[/]é–7%"[draw.randrange(8)] * draw.randint(1, most) for _ in range(draw.randint(1, 4)))

    sizes = [draw.randint(1, 3) for _ in range(3)]
    left, right, last = ([words(6) for _ in range(size)] for size in sizes)
    table, rows = console.grid(left, right, last), [[words(60) for _ in range(sum(sizes))] for _ in range(4)]
    for row in rows:
        table.add_row(*map(console.cell, row))
    out = io.StringIO()
    Console(file=out, width=console.WIDTH).print(table)
    drawn = out.getvalue()
    assert max(map(len, drawn.splitlines())) <= console.WIDTH
    given = Counter("".join("".join(row) for row in ([*left, *right, *last], *rows)).replace(" ", ""))
    assert Counter(re.sub(r"[\s─]", "", drawn)) == given


@pytest.mark.parametrize("seed", range(20))
def test_a_word_is_broken_only_where_all_words_do_not_fit(seed: int) -> None:
    draw = random.Random(seed)
    columns = [[" ".join("x" * draw.randint(1, 9) for _ in range(9)) for _ in range(3)] for _ in range(1 + seed % 9)]
    longest = [max(len(word) for text in column for word in text.split()) for column in columns]
    widest = [max(map(len, column)) for column in columns]
    for room in (sum(longest) + draw.randint(0, 40), max(9, sum(longest) - 1), sum(widest) + 5):
        found = widths(columns, room)
        assert sum(found) <= room
        assert (sum(longest) > room) or all(got >= want for got, want in zip(found, longest, strict=True))
        assert (sum(widest) > room) or found == widest
    assert widths([["x" * 99], ["123.45"]], 40) == [34, 6]


def test_a_colour_means_one_thing() -> None:
    meanings = {console.GOOD: "pass", console.BAD: "fail", console.DOUBT: "inconclusive"}
    assert len(meanings) == 3 and set(console.COLOURS.values()) == set(meanings)
    for colour, told in meanings.items():
        assert console.word(told).style == colour
    assert console.word("fault of nobody").style == ""
    # No verb has colours of its own.
    for file in Path(console.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "console.py":
            assert not re.search(r"\"(?:bold |dim )?(?:red|green|yellow|blue|magenta|cyan)\"", text), file.name
            assert "rich.table" not in text or file.name == "grid.py", file.name


class _Drawn:
    """A terminal of a width that keeps what was written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out = io.StringIO()
        self.console = Console(file=self.out, force_terminal=True, width=80, color_system=None)
        monkeypatch.setattr(bars, "SECONDS", 0.0)

    def lines(self) -> list[str]:
        return re.sub(r"\x1b\[[0-9?;]*[A-Za-z]", "", self.out.getvalue()).replace("\r", "\n").splitlines()


def test_a_bar_tells_rate_and_time_left_and_what_is_known_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = _Drawn(monkeypatch)
    with bars._drawn(drawn.console, "until decided, on a folder of a long name", 480, "images") as bar:
        for place in range(3):
            bar.advance(60)
            bar.say(lambda place=place: f"top1 loses -0.3 to {9 - place} of 1 %\x1b[31m[b]")  # type: ignore[misc]
    lines = drawn.lines()
    assert max(map(len, lines)) <= 80
    assert any(re.search(r"180/480 [0-9,.–]+ images/s [0-9:-]+$", line.strip()) for line in lines), lines
    assert any("to 7 of 1 %\\x1b[31m[b]" in line for line in lines), lines


def test_where_nobody_watches_the_words_are_not_even_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> str:
        raise AssertionError

    out = io.StringIO()
    with bars._drawn(Console(file=out), "work", 2, "images") as bar:
        bar.advance()
        bar.say(never)
    with Silent().bar("work", 2, "images") as bar:
        bar.say(never)
    assert out.getvalue() == ""


def test_the_interval_shrinks_beside_the_bar_of_a_run_until_decided(
    null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelport.jobs.run import run
    from modelport.jobs.run_request import RunRequest
    from modelport.stages.plan import Wish
    from modelport.verdict.settings import Judging

    said: list[str] = []

    class Told(Silent):
        def say(self, words: Any) -> None:
            said.append(words())

    request = RunRequest(
        *(str(null_path), tiny_data, tmp_path / "out"),
        weights=null_weights,
        wish=Wish(engine="null"),
        judging=Judging(until_decided=True),
    )
    run(request, Told())
    told = [line for line in said if line]
    form = r"(\w+): between (\S+) and (\S+) % are lost, 2\.5 % may be lost"
    ends = [re.fullmatch(form, line) for line in told]
    assert len(ends) > 2 and all(ends), said
    wide = [float(match[3]) - float(match[2]) for match in ends if match is not None and "?" not in match[2] + match[3]]
    assert len(wide) > 2 and wide[-1] < wide[0], told
