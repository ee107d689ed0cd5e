"""What killed runs leave is swept by the next one; what a live run uses never is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from modelport.core.scratch import scratch_folder, sweep

ASIDE = (
    "import sys; from pathlib import Path; from modelport.core.artifacts import written_aside\n"
    "with written_aside(Path(sys.argv[1])) as aside:\n"
    "    aside.write_text('half'); print('writing', flush=True); sys.stdin.read()\n"
)


def _writer(target: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", ASIDE, str(target)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_next_process_sweeps_what_a_killed_one_left_and_spares_a_live_one(tmp_path: Path) -> None:
    dead, alive = _writer(tmp_path / "a.json"), _writer(tmp_path / "b.json")
    dead.kill()
    dead.communicate()
    assert [name.split(".modelport-")[0] for name in _names(tmp_path)] == [".a.json", ".b.json"]
    os.utime(next(tmp_path.glob(".b.json*")), (0, 0))  # age alone proves nothing
    third = _writer(tmp_path / "c.json")
    assert [name.split(".modelport-")[0] for name in _names(tmp_path)] == [".b.json", ".c.json"]
    for process, name in ((alive, "b.json"), (third, "c.json")):
        process.communicate()
        assert process.returncode == 0 and (tmp_path / name).read_text() == "half"
    assert _names(tmp_path) == ["b.json", "c.json"]


def test_the_cache_is_swept_in_all_its_folders(tmp_path: Path) -> None:
    folder = tmp_path / "exports" / "0123"
    folder.mkdir(parents=True)
    dead = _writer(folder / "model.onnx")
    dead.kill()
    dead.communicate()
    program = "from modelport.core.artifacts import cache_folder; cache_folder('answers')"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"MODELPORT_CACHE": str(tmp_path)})
    assert _names(folder) == []


def test_a_hidden_part_goes_with_its_process_only(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".x_0.bin.{ended.pid}.part").write_text("")
    (tmp_path / f".x_0.bin.{os.getpid()}.part").write_text("")
    sweep(tmp_path)
    assert _names(tmp_path) == [f".x_0.bin.{os.getpid()}.part"]


def test_only_what_bears_the_mark_is_swept(tmp_path: Path) -> None:
    kept = [".git", ".result.json.abcd1234", "x.modelport-abcdefgh", ".modelport-abcdefgh", "weights.pth.part"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".x.modelport-abcdefgh").symlink_to(tmp_path / ".git")
    sweep(tmp_path, 3)
    assert _names(tmp_path) == sorted([*kept, ".x.modelport-abcdefgh"])


def test_a_scratch_folder_is_gone_after_its_block(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "work") as work:
        (work / "file").write_text("")
        sweep(tmp_path)
        assert (work / "file").exists()
    assert _names(tmp_path) == []
