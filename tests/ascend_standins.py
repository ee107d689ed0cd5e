"""Stand-ins for what an Ascend machine has: ``atc``, ``npu-smi`` and ais_bench's InferSession.

They refuse what the real ones refuse, with their kinds of message. The model that this ``atc`` writes is a line of JSON
and the ONNX file, and this InferSession runs it by ONNX Runtime: what crosses the border is tested, no device is.
"""

from __future__ import annotations

import json
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.values import Array

ATC = '''
import json, os, pathlib, sys

KNOWN = """framework model output input_format input_shape log soc_version insert_op_conf keep_dtype op_precision_mode
customize_dtypes modify_mixlist precision_mode precision_mode_v2 out_nodes enable_small_channel""".split()


def fail(code, text):
    print(f"{code}: {text}")
    print("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    sys.exit(1)


print("ATC start working now, please wait for a moment.")
options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
for name in options:
    if name not in KNOWN:
        fail("E10016", f"unknown command line flag '{name}'")
if os.environ.get("STANDIN_ATC") == "silent":
    sys.exit(0)
if not options["soc_version"].startswith("Ascend310"):
    fail("E10001", f"Value [{options['soc_version']}] for parameter [--soc_version] is invalid.")
for name in ("model", "insert_op_conf", "keep_dtype", "op_precision_mode", "customize_dtypes", "modify_mixlist"):
    if name in options and not os.path.exists(options[name]):
        fail("E10003", f"Value [{options[name]}] for parameter [--{name}] is invalid. Reason: no such file.")
pathlib.Path("fusion_result.json").write_text("{}")
if os.environ.get("STANDIN_ATC") == "full":
    pathlib.Path(options["output"] + ".om").write_bytes(b"half of")
    fail("E19999", "Inner Error! no space left on device")
head = {"shapes": options["input_shape"], "aipp": "insert_op_conf" in options}
target = options["output"] + os.environ.get("STANDIN_ATC_SUFFIX", "") + ".om"
pathlib.Path(target).write_bytes(json.dumps(head).encode() + b"\\n" + pathlib.Path(options["model"]).read_bytes())
print("ATC run success, welcome to the next use.")
'''
TABLE = """+-------------------+-----------------+------------------------------------------------------+
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===================+=================+======================================================+
| 0       310P3     | OK              | 15.8         42                0    / 0              |
| 0       0         | 0000:82:00.0    | 0            1074 / 21534                            |
+===================+=================+======================================================+
| 1       310P3     | OK              | 15.4         43                0    / 0              |
| 0       1         | 0000:89:00.0    | 0            1070 / 21534                            |
+===================+=================+======================================================+
"""
NPU_SMI = f"""
import os, sys
if os.environ.get("STANDIN_NPU_SMI") == "broken":
    print({TABLE!r})
    print("dcmi module initialize failed. ret is -8005")
    sys.exit(1)
assert sys.argv[1:] == ["info"]
print({TABLE!r})
"""


@dataclass
class _Described:
    name: str
    datatype: str
    shape: list[int]


class Memory:
    """``MemorySummary``: times of the copies since the last reset, in ms."""

    h2d: list[float] = []  # noqa: RUF012 - the real one keeps them for the whole process too
    d2h: list[float] = []  # noqa: RUF012

    @classmethod
    def get_h2d_time_list(cls) -> list[float]:
        return cls.h2d

    @classmethod
    def get_d2h_time_list(cls) -> list[float]:
        return cls.d2h

    @classmethod
    def reset(cls) -> None:
        cls.h2d, cls.d2h = [], []


class Session:
    """``InferSession``: one run at a time, static shapes, ATC's names of the outputs."""

    naming = "{node}:0:{name}"
    freed = 0

    def __init__(self, device_id: int, model_path: str) -> None:
        if os.environ.get("STANDIN_DEVICE") == "busy":
            raise RuntimeError("[ERROR] acl set device failed: 507033, device is busy")
        if device_id > 1:
            raise RuntimeError(f"[ERROR] acl set device failed: 107001, device {device_id}")
        import onnxruntime

        head, _, graph = Path(model_path).read_bytes().partition(b"\n")
        try:
            told = json.loads(head)
            self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise RuntimeError("[ERROR] load model from file failed: 545000") from error
        self._shapes = {
            name: [int(axis) for axis in axes.split(",")]
            for name, _, axes in (entry.partition(":") for entry in told["shapes"].split(";"))
        }
        self._aipp = told["aipp"]
        self._times: list[tuple[float, float]] = []
        self._outputs = self._session.get_outputs()

    def get_inputs(self) -> list[_Described]:
        if self._aipp:
            return [_Described(name, "dtype.uint8", [n, h, w, c]) for name, (n, c, h, w) in self._shapes.items()]
        return [_Described(name, "dtype.float32", shape) for name, shape in self._shapes.items()]

    def get_outputs(self) -> list[_Described]:
        batch = next(iter(self._shapes.values()))[0]
        kinds = {"tensor(float)": "dtype.float32", "tensor(int64)": "dtype.int64"}
        return [
            _Described(
                self.naming.format(node=f"Node_{index}", name=one.name), kinds[one.type], [batch, *one.shape[1:]]
            )
            for index, one in enumerate(self._outputs)
        ]

    def infer(self, feeds: list[Array], mode: str = "static") -> list[Array]:
        assert mode == "static"
        for array, want in zip(feeds, self.get_inputs(), strict=True):
            if list(array.shape) != want.shape or f"dtype.{array.dtype}" != want.datatype:
                raise RuntimeError(f"[ERROR] input size {array.nbytes} does not match the model's")
            Memory.h2d.append(0.5)
        if self._aipp:
            feeds = [np.ascontiguousarray(array.transpose(0, 3, 1, 2)).astype(np.float32) for array in feeds]
        arrays = self._session.run(None, dict(zip(self._shapes, feeds, strict=True)))
        start = 10.0 * len(self._times)
        self._times.append((start, start + 2.0))
        Memory.d2h.extend([0.25] * len(arrays))
        return list(arrays)

    def summary(self) -> Any:
        return types.SimpleNamespace(exec_time_list=self._times)

    def free_resource(self) -> None:
        Session.freed += 1


@dataclass
class Machine:
    """A machine with stand-ins; what is set here lasts for the test."""

    patch: pytest.MonkeyPatch
    programs: Path

    def without(self, program: str) -> None:
        (self.programs / program).unlink()


@pytest.fixture(name="ascend")
def ascend_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Make this a machine with an Ascend card, as far as modelport can see."""
    programs = tmp_path / "ascend-programs"
    programs.mkdir()
    for name, text in (("atc", ATC), ("npu-smi", NPU_SMI)):
        (programs / name).write_text(f"#!{sys.executable}\n{text}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    interface = types.ModuleType("ais_bench.infer.interface")
    interface.InferSession, interface.MemorySummary = Session, Memory  # type: ignore[attr-defined]
    package, infer = types.ModuleType("ais_bench"), types.ModuleType("ais_bench.infer")
    package.infer, infer.interface = infer, interface  # type: ignore[attr-defined]
    for name, module in (("ais_bench", package), ("ais_bench.infer", infer), ("ais_bench.infer.interface", interface)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Session, "freed", 0)
    Memory.reset()
    return Machine(monkeypatch, programs)
