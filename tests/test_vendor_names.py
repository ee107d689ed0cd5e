"""No engine's name and no vendor's kind of file stands outside ``engines/``, but for the places listed here."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "modelport"
NAMES = re.compile(r"openvino|onnx ?runtime|ascend|tensorrt|\bnncf\b|\batc\b|npu-smi|\.xml\b|\.om\b", re.IGNORECASE)
# How often each file may still name one, and why. The list only becomes shorter: what has no name left is taken off.
ALLOWED = {
    "ais_bench/arguments.py": (9, "ais_bench's own options and help, which speak of its device"),
    "ais_bench/infer/interface.py": (2, "the docstring tells scripts which files run"),
    "cli/aipp.py": (1, "AIPP is a part of one vendor's devices: the verb is that part's"),
    "data/drawn/boxes.py": (1, "Pascal VOC's annotations are XML files"),
    "data/sets/voc.py": (1, "Pascal VOC's annotations are XML files"),
    "jobs/aipp.py": (1, "the verb of one vendor's devices calls that vendor's room"),
    "model/graph/export.py": (1, "the fix of an error tells the opset that a compiler takes"),
}


def _found() -> Counter[str]:
    files = [file for file in SOURCE.rglob("*.py") if SOURCE / "engines" not in file.parents]
    assert len(files) > 50
    return Counter(
        {file.relative_to(SOURCE).as_posix(): len(NAMES.findall(file.read_text(encoding="utf-8"))) for file in files}
    )


def test_no_vendor_is_named_outside_the_engines() -> None:
    new = {place: count for place, count in _found().items() if count > ALLOWED.get(place, (0, ""))[0]}
    assert not new, f"belongs into the engine's own folder: {new}"


def test_the_list_holds_no_more_than_there_is() -> None:
    found = _found()
    rest = {place: found[place] for place, (count, _) in ALLOWED.items() if found[place] < count}
    assert not rest, f"lower these counts, or take the files off the list: {rest}"
