"""A file is what it was or complete, whatever happens while it is written."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.core.artifacts import (
    Artifact,
    digest_json,
    prepare_output_folder,
    write_json,
    written_aside,
)
from modelport.core.errors import OutputError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_while_writing_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_text("old")
    with pytest.raises(RuntimeError), written_aside(target) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["model.onnx"]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    program = (
        "import os, sys; from pathlib import Path; from modelport.core.artifacts import written_aside\n"
        "with written_aside(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(target)], check=False).returncode == -9
    assert target.read_text() == "old"


def test_companion_files_arrive_with_the_main_one(tmp_path: Path) -> None:
    with written_aside(tmp_path / "model.xml") as aside:
        aside.write_text("graph")
        aside.with_suffix(".bin").write_text("weights")
    assert _names(tmp_path) == ["model.bin", "model.xml"]


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_kill_between_the_moves_never_leaves_a_graph_beside_other_weights(tmp_path: Path, moves: int) -> None:
    """Killed before, between and after the moves: the pair is the old one, gone in part, or the new one."""
    (tmp_path / "model.xml").write_text("old graph")
    (tmp_path / "model.bin").write_text("old weights")
    program = (
        "import os, sys; from pathlib import Path; from modelport.core.artifacts import written_aside\n"
        "left, move = int(sys.argv[2]), os.replace\n"
        "def replace(self, target):\n"
        "    global left\n"
        "    if left == 0: os.kill(os.getpid(), 9)\n"
        "    left -= 1; move(self, target)\n"
        "Path.replace = replace\n"
        "with written_aside(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('new graph'); aside.with_suffix('.bin').write_text('new weights')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "model.xml"), str(moves)], check=False)
    graph, weights = tmp_path / "model.xml", (tmp_path / "model.bin").read_text()
    assert not graph.exists() or graph.read_text().split()[0] == weights.split()[0]
    assert weights == ("new weights" if moves else "old weights")
    assert graph.exists() == (moves == 2)


def test_artifact_digest_is_the_files_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert Artifact.of(tmp_path / "a", "onnx").sha256 == hashlib.sha256(b"content").hexdigest()


def test_json_digest_ignores_order_and_sees_values() -> None:
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 2})


def test_nan_is_refused_as_json_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert _names(tmp_path) == []


def test_a_folder_with_a_result_is_refused_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(OutputError, match="--force"):
        prepare_output_folder(tmp_path, "result.json", force=False)
    prepare_output_folder(tmp_path, "result.json", force=True)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        prepare_output_folder(tmp_path / "out", "result.json", force=False)
    with pytest.raises(OutputError, match="cannot be written"), written_aside(tmp_path / "out" / "x"):
        pass


def test_a_full_disk_is_told_apart_from_a_library_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="opaque"), written_aside(tmp_path / "x"):
        raise RuntimeError("opaque")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 0}))
    with pytest.raises(OutputError, match="No space left"), written_aside(tmp_path / "x"):
        raise RuntimeError("opaque")
    assert _names(tmp_path) == []


def test_a_file_written_aside_inside_another_is_named_by_where_it_was_to_go(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, written_aside(tmp_path / "x") as outer, written_aside(outer):
        raise OSError(28, "No space left on device")
    assert str(caught.value).startswith(f"{tmp_path / 'x'} cannot be written")
