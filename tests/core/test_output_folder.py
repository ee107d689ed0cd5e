"""A folder belongs to one run at a time, and a verdict in it to the files beside it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.core.artifacts import digest_json
from modelport.core.errors import OutputError
from modelport.core.output_folder import LOCK, MANIFEST, held_folder, write_manifest, write_result

RESULT, BESIDE = "result.json", ("predictions.jsonl", "report.md")
HOLD = (
    "import os, sys; from pathlib import Path\n"
    "from modelport.core.output_folder import drop_old_result, held_folder\n"
    "with held_folder(Path(sys.argv[1]), 'result.json', True) as folder:\n"
    "    drop_old_result(folder, 'result.json', ('report.md',))\n"
    "    (folder / 'predictions.jsonl').write_text('new'); print('held', flush=True); sys.stdin.read()\n"
)


def _holder(folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_while_the_first_lives_and_served_after_its_kill(tmp_path: Path) -> None:
    first = _holder(tmp_path)
    for force in (False, True):
        with pytest.raises(OutputError, match="another run is writing"), held_folder(tmp_path, RESULT, force):
            pass
    assert (tmp_path / "predictions.jsonl").read_text() == "new"
    first.kill()
    first.communicate()
    with held_folder(tmp_path, RESULT, False):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_forced_run_that_is_killed_leaves_no_old_verdict_beside_new_files(tmp_path: Path) -> None:
    for name in (RESULT, MANIFEST, "report.md", "predictions.jsonl"):
        (tmp_path / name).write_text("old")
    first = _holder(tmp_path)
    first.kill()
    first.communicate()
    assert (tmp_path / "predictions.jsonl").read_text() == "new"
    assert not any((tmp_path / name).exists() for name in (RESULT, MANIFEST, "report.md"))


def test_nothing_is_removed_where_the_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text("old")
    with pytest.raises(OutputError, match="--force"), held_folder(tmp_path, RESULT, False):
        pass
    with (
        held_folder(tmp_path, RESULT, True),
        pytest.raises(OutputError, match="another run"),
        held_folder(tmp_path, RESULT, True),
    ):
        pass
    assert (tmp_path / RESULT).read_text() == "old"


def test_the_result_tells_the_digests_of_what_belongs_to_it(tmp_path: Path) -> None:
    for name in BESIDE:
        (tmp_path / name).write_text(f"content of {name}")
    write_result(tmp_path, RESULT, {"verdict": "pass"}, BESIDE)
    told = json.loads((tmp_path / RESULT).read_text())
    assert told["verdict"] == "pass"
    assert told["companions"] == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in BESIDE}


def test_the_manifest_tells_the_digests_of_what_lies_in_the_folder_and_its_own(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    for place in (folder / "drawn", elsewhere):
        place.mkdir(parents=True)
        (place / "a.jpg").write_bytes(b"a picture")
    (folder / RESULT).write_text("{}")
    (folder / "linked").symlink_to(elsewhere)
    beside = [folder / "drawn" / "a.jpg", elsewhere / "a.jpg", folder / "linked" / "a.jpg"]
    write_manifest(folder, [RESULT], beside)
    told = json.loads((folder / MANIFEST).read_text())
    own = told.pop(MANIFEST)
    names = {RESULT, "drawn/a.jpg"}
    assert told == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    assert own == digest_json(told)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match="cannot be locked"), held_folder(tmp_path / "out", RESULT, False):
        pass
    assert (tmp_path / "mine").read_text() == "kept"
