"""No engine tells anybody anything: no name is looked up, nothing is sent, nothing is left in the home folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
static void say(const char *what, const char *name) {
    FILE *log = fopen(getenv("LOOKUPS"), "a");
    if (log) { fprintf(log, "%s %s\\n", what, name ? name : ""); fclose(log); }
}
int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r) {
    say("getaddrinfo", n); return EAI_FAIL;
}
struct hostent *gethostbyname(const char *n) { say("gethostbyname", n); return NULL; }
int connect(int f, const struct sockaddr *a, socklen_t l) {
    if (a->sa_family != AF_UNIX) say("connect", "");
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return next(f, a, l);
}
"""
USE = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
import modelport
from modelport.core.artifacts import Artifact
from modelport.engines.base import Build
from modelport.engines.registry import get_engine, model_artifact, opened
from modelport.recipes.load import load_recipe
import numpy as np
import onnx
from onnx import helper as h, TensorProto as T
recipe, weights, graph = load_recipe(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
shape = [1, 3, 4, 4]
body = h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g",
    [h.make_tensor_value_info("x", T.FLOAT, shape)], [h.make_tensor_value_info("y", T.FLOAT, shape)])
onnx.save(h.make_model(body, opset_imports=[h.make_opsetid("", 17)], ir_version=9), graph)
end = time.monotonic() + float(sys.argv[4])
wanted = sys.argv[5].split(",")
with ExitStack() as stack:
    runners = []
    for name in wanted:
        if name == "torch":
            model, options = Artifact.of(weights, "checkpoint"), Build(recipe=recipe, batch=1)
        else:
            model, options = model_artifact(graph), Build(precision=None)
            if name == "openvino":
                model = get_engine(name).compile(model, options, graph.with_suffix(".xml"))
        runners.append(stack.enter_context(opened(get_engine(name), model, options)))
    while time.monotonic() < end:
        for runner in runners:
            runner.run({spec.name: np.ones([1 if isinstance(n, str) else n for n in spec.shape], spec.dtype)
                        for spec in runner.signature.inputs})
        time.sleep(0.2)
try:
    import nncf
    from nncf.telemetry import telemetry
    telemetry.start_session("nncf"); telemetry.send_event("nncf", "a", "b"); telemetry.end_session("nncf")
except ImportError:
    pass
"""


@pytest.mark.slow
def test_engines_look_nothing_up_and_leave_nothing_at_home(tmp_path: Path, tiny_path: Path, tiny_weights: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: look-ups of native code cannot be seen")
    for package in ("onnxruntime", "openvino", "torch"):
        pytest.importorskip(package)
    source, shim, log, home = (tmp_path / name for name in ("shim.c", "shim.so", "lookups", "home"))
    source.write_text(SHIM)
    home.mkdir()
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("TELEMETRY", "_TRACK"))}
    own = {"HOME": str(home), "LD_PRELOAD": str(shim), "LOOKUPS": str(log), "XDG_CACHE_HOME": str(home / ".cache")}
    seen = [sys.executable, "-c", "import socket\ntry: socket.getaddrinfo('a.invalid', 1)\nexcept OSError: pass"]
    subprocess.run(seen, env=kept | own, check=True)
    assert "a.invalid" in log.read_text()  # the guard does see
    log.unlink()
    words: list[str | Path] = [tiny_path, tiny_weights, tmp_path / "m.onnx", "15", "onnxruntime,openvino,torch"]
    subprocess.run([sys.executable, "-c", USE, *words], env=kept | own, check=True, cwd=tmp_path)
    assert not log.exists(), log.read_text()
    assert [file for file in home.rglob("*") if file.is_file()] == []
    assert list(tmp_path.glob("*.ses")) == []
