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
import numpy as np
import modelport
import onnx, onnxruntime, openvino
from onnx import helper as h, TensorProto as T
try:
    import nncf
    from nncf.telemetry import telemetry
    telemetry.start_session("nncf"); telemetry.send_event("nncf", "a", "b"); telemetry.end_session("nncf")
except ImportError:
    pass
shape = [1, 3, 4, 4]
graph = h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g",
    [h.make_tensor_value_info("x", T.FLOAT, shape)], [h.make_tensor_value_info("y", T.FLOAT, shape)])
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9), sys.argv[1])
x = np.ones(shape, np.float32)
end = time.monotonic() + float(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
openvino.convert_model(sys.argv[1])
model = openvino.Core().compile_model(sys.argv[1], "CPU")
while time.monotonic() < end:
    session.run(None, {"x": x}); model(x); time.sleep(0.2)
"""


@pytest.mark.slow
def test_engines_look_nothing_up_and_leave_nothing_at_home(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: look-ups of native code cannot be seen")
    for package in ("onnxruntime", "openvino"):
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
    subprocess.run([sys.executable, "-c", USE, tmp_path / "m.onnx", "15"], env=kept | own, check=True, cwd=tmp_path)
    assert not log.exists(), log.read_text()
    assert [file for file in home.rglob("*") if file.is_file()] == []
    assert list(tmp_path.glob("*.ses")) == []
