"""ATC, run without a shell: what it wrote is moved into place, what it said is kept."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

from modelport.core.artifacts import Artifact, digest_bytes, write_json, write_text, written_aside
from modelport.core.errors import EngineError, raised_as
from modelport.engines.ascend.atc import PROGRAM, SUFFIX, AtcCall, artifact_path

INSTALL = "install CANN (its toolkit holds atc), then: source /usr/local/Ascend/ascend-toolkit/set_env.sh"
SHOWN_LINES = 8


def run_call(call: AtcCall, model: Artifact, out: Path) -> Artifact:
    """Write the files that the call names, run ATC, and return what it wrote; its output lies in ``<out>.atc.log``.

    Beside the artifact a file ``.om.json`` says what it was compiled from and for. Raises EngineError where ATC is
    missing or fails; then ``out`` is what it was before.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise EngineError("there is no atc on the PATH, which compiles for Ascend", f"{INSTALL}; or see --dry-run")
    for path, text in call.files.values():
        write_text(path, text)
    final = artifact_path(out)
    log = final.with_name(final.name + ".atc.log")
    with written_aside(final) as aside:
        _run(program, call, model.path, aside, log, final)
        parts = (*model.digests, *(digest_bytes(text.encode()) for _, text in call.files.values()))
        artifact = Artifact.of(aside, "om", parts)
        write_json(aside.with_name(final.name + ".json"), _record(call, model, final, artifact))
    return replace(artifact, path=final)


def _run(program: str, call: AtcCall, model: Path, aside: Path, log: Path, final: Path) -> None:
    files = {option: (path.absolute(), text) for option, (path, text) in call.files.items()}
    words = [program, *replace(call, files=files).words(model.absolute(), aside.absolute())[1:]]
    shown = shlex.join(call.words(model, final))
    # ATC leaves files of its own (fusion_result.json, kernel_meta) in its working folder.
    unstarted = raised_as(EngineError, f"{program} cannot be started", INSTALL, OSError)
    with tempfile.TemporaryDirectory() as work, unstarted:
        answer = subprocess.run(words, cwd=work, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
    said = answer.stdout.decode("utf-8", "replace")
    write_text(log, f"{shown}\n{said}")
    _settle(aside)
    if answer.returncode != 0 or not aside.is_file() or aside.stat().st_size == 0:
        last = "\n    ".join([line for line in said.splitlines() if line.strip()][-SHOWN_LINES:]) or "(it said nothing)"
        why = f"left with {answer.returncode}" if answer.returncode else "left with 0, yet wrote no model"
        raise EngineError(
            f"atc {why}; its last lines:\n    {last}\n  command: {shown}\n  log: {log}",
            "read the log; ATC keeps a longer one in $ASCEND_PROCESS_LOG_PATH or ~/ascend/log",
        )


def _settle(aside: Path) -> None:
    """Give the model its name (ATC adds the host's for some models), and drop whatever else ATC left beside it."""
    for path in sorted(aside.parent.iterdir()):
        if path.suffix == SUFFIX and path.stem.startswith(f"{aside.stem}_linux_") and not aside.exists():
            path.replace(aside)
        elif path != aside:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _record(call: AtcCall, model: Artifact, final: Path, artifact: Artifact) -> dict[str, object]:
    return {
        "schema": "modelport.om/1",
        "sha256": artifact.sha256,
        "made_from": list(artifact.made_from),
        "precision": call.precision,
        "input_type": call.input_type,
        "batch": call.batch,
        "soc_version": call.options["soc_version"],
        "command": call.words(model.path, final),
    }
