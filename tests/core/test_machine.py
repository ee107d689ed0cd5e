"""What the kernel tells of a processor is read as it is, and two of one name are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.core import machine

GENOA = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu avx512f avx512_bf16 avx512_vnni

processor\t: 1
cpu family\t: 99
model\t\t: 99
model name\t: another
flags\t\t: amx_int8
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd40\n\nprocessor\t: 1\n"


def test_processors_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor() == "unknown" and not machine.has_bf16() and not machine.has_vnni()
    machine.CPUINFO.write_text(GENOA)
    assert machine.processor() == "AMD EPYC (family 25, model 17)"
    assert machine.has_bf16() and machine.has_vnni()
    machine.CPUINFO.write_text(GENOA.replace("family\t: 25", "family\t: 26").replace("avx512_bf16 avx512_vnni", ""))
    assert machine.processor() == "AMD EPYC (family 26, model 17)"
    assert not machine.has_bf16() and not machine.has_vnni()
    machine.CPUINFO.write_text(ARM)
    assert machine.processor() == "unknown" and not machine.has_bf16()
