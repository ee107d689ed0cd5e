"""How a process ends: faults, signals, streams that are full or closed; each with its code and one plain message."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import Call
from modelport.ais_bench.__main__ import main as ais_bench

PYTHON = sys.executable
FRONTS = {"modelport": ["-m", "modelport"], "ais_bench": ["-m", "modelport.ais_bench"]}


def test_a_fault_of_modelport_is_70_with_a_traceback_in_a_file(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("bug\x1b[31m")

    monkeypatch.setattr("modelport.recipes.load.load_recipe", broken)
    for words in (["show", "moco-v2"], ["show", "moco-v2", "--json"]):
        answer = call(*words)
        assert answer.code == 70
        assert "a fault of modelport itself" in answer.err and "please report" in answer.err
        assert "Traceback" not in answer.err and "\x1b" not in answer.err
        file = re.search(r"traceback is in (\S+),", answer.err)
        assert file and "KeyError" in Path(file[1]).read_text()
    assert answer.json["schema"] == "modelport.error/1"


def test_a_fault_in_ais_bench_is_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("modelport.ais_bench.session.run", broken)
    assert ais_bench(["--model", "x.onnx"]) == 70
    assert "a fault of modelport itself" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(MemoryError(), 2), (KeyboardInterrupt(), 130), (RecursionError(), 70)])
def test_other_ends(error: BaseException, code: int, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("modelport.recipes.load.load_recipe", broken)
    answer = call("show", "moco-v2")
    assert answer.code == code and answer.err.strip() and "Traceback" not in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("words", ["list", "list --json", "--help", "--version", "show moco-v2"])
def test_a_full_stdout_is_an_error_and_a_closed_one_is_none(words: str) -> None:
    line = [PYTHON, *FRONTS["modelport"], *words.split()]
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert answer.returncode == 2 and "No space left" in answer.stderr and "Traceback" not in answer.stderr
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        answer = subprocess.run(line, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.slow
def test_streams_that_are_closed_from_the_start() -> None:
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        line = f'"{PYTHON}" -m modelport list {closed}'
        answer = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, check=False)
        assert (answer.returncode, answer.stderr) == (0, "")


WORK = """
import sys, threading, time
import modelport.{module} as module
def work(*words, **options):
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("ready", flush=True)
    {wait}
{patch}
sys.argv[1:] = {words}
{go}
"""


def _process(front: str, wait: str, out: Path) -> subprocess.Popen[str]:
    if front == "modelport":
        parts = {
            "module": "cli.main",
            "patch": "import modelport.jobs.run\nmodelport.jobs.run.run = work",
            "words": ["run", "moco-v2", "--data", "d", "--out", str(out)],
            "go": "module.main()",
        }
    else:
        parts = {
            "module": "ais_bench.__main__",
            "patch": "import modelport.ais_bench.session\nmodelport.ais_bench.session.run = work",
            "words": ["--model", "x.onnx"],
            "go": "sys.exit(module.main())",
        }
    code = WORK.format(wait=wait, **parts)
    process = subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_though_threads_run_and_says_what_is_kept(
    front: str, number: signal.Signals, tmp_path: Path
) -> None:
    process = _process(front, "time.sleep(600)", tmp_path / "out")
    start = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - start < 4
    assert "interrupted" in err and "Traceback" not in err
    assert (f"{tmp_path / 'out'} holds no result" if front == "modelport" else "is whole") in err


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    stubborn = "\n    ".join(
        ["while True:", "    try:", "        time.sleep(600)", "    except KeyboardInterrupt:", "        pass"]
    )
    process = _process("modelport", stubborn, tmp_path / "out")
    time.sleep(0.5)  # "ready" is said a moment before it is deaf to the first signal
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - start < 2


NASTY_NAMES = ["a\udcff", "a\x1b[31m[/red]", "a[/]b", "/dev/zero", "/dev/null", "."]
NAMED = [
    "show {}",
    "show {}.onnx",
    "show {}.toml",
    "check {} --weights x",
    "check moco-v2 --weights {}",
    "check moco-v2 --weights x --json-out {}/x",
    "compile moco-v2 {} --engine onnxruntime --out x.onnx",
    "preprocess moco-v2 --data {} --out o",
    "evaluate moco-v2 --results {} --data d",
    "run moco-v2 --data {} --out o --weights x",
    "run moco-v2 --data d --out o --model {}",
    "run moco-v2 --data d --out o --setting {}",
    "run moco-v2 --data d --out o --weights x --variant {}",
    "run moco-v2 --data d --out o --weights x --engine {}",
    "bench --model {}",
    "aipp check {} --recipe moco-v2",
    "samples weights {} --data d --out o",
]


@pytest.mark.parametrize("line", NAMED)
def test_no_name_of_a_file_is_a_crash(line: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [*NASTY_NAMES, "a\0b"]:
        if name == "/dev/zero" and line.startswith("aipp"):
            continue
        answer = call(*(word.replace("{}", name) for word in line.split()))
        assert answer.code == 2, (name, answer)
        assert "Traceback" not in answer.err and "\x1b" not in answer.err
        answer.err.encode()


NUMBERED = [
    "bench simclr --weights x --batch {}",
    "bench simclr --weights x --duration {}",
    "bench simclr --weights x --concurrency {}",
    "bench simclr --weights x --threads {}",
    "run simclr --weights x --data d --out o --batch {}",
    "run simclr --weights x --data d --out o --limit {}",
    "tune simclr --weights x --data d --out o.toml --seconds {}",
    "tune simclr --weights x --data d --out o.toml --max-drop {}",
    "tune simclr --weights x --data d --out o.toml --limit {}",
    "export simclr --weights x --out x.onnx --opset {}",
    "export simclr --weights x --out x.onnx --batch {}",
    "preprocess simclr --data d --out o --batch-size {}",
    "samples data cifar10 --out o --count {}",
]


@pytest.mark.parametrize("line", NUMBERED)
def test_no_number_is_a_crash(line: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in ("nan", "-inf", "-1", "0", "1" + "0" * 400, "1" + "0" * 5000, "1e400", "x"):
        answer = call(*line.replace("{}", number).split())
        assert answer.code == 2, (number[:9], answer)
        assert "Traceback" not in answer.err


def test_error_json_stays_exact(call: Call) -> None:
    answer = call("show", "a\x1b[31m", "--json")
    assert json.loads(answer.out)["error"] == "no recipe named 'a\x1b[31m'"


@pytest.mark.parametrize("flag", ["--model", "--input", "--output", "--output_dirname", "--engine", "--dymShape"])
def test_no_name_given_to_ais_bench_is_a_crash(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*NASTY_NAMES, "a\0b", "n" * 5000):
        line = ["--model", "x.onnx", *(["--output", "o"] if flag == "--output_dirname" else []), flag, name]
        assert ais_bench(line) == 2, name
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out and "\x1b" not in said.err + said.out


def test_the_log_of_ais_bench_is_plain_and_a_full_stdout_is_an_error() -> None:
    code = "from modelport.ais_bench.log import Log; Log().info('a\\udcff\\x1b[31m')"
    answer = subprocess.run([PYTHON, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert answer.stdout == "[INFO] a\\udcff\\x1b[31m\n"
    line = [PYTHON, "-m", "modelport.ais_bench", "--help"]
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert answer.returncode == 2 and "No space left" in answer.stderr


@pytest.mark.parametrize("words", ["show ''", "run moco-v2 --data d --out ''", "compile moco-v2 m --precision ''"])
def test_an_empty_word_is_refused_and_its_place_told(words: str, call: Call) -> None:
    line = shlex.split(words)
    call(*line).refused(f"an empty word after {line[line.index('') - 1]}")


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_not_written_over(kind: str, call: Call, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (os.mkfifo if kind == "pipe" else os.mkdir)(target)
    call("aipp", "write", "moco-v2", "--out", target).refused(str(target), kind)
    assert target.exists() and not target.is_file()
