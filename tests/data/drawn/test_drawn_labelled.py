"""Sets drawn for labels of other forms: they open in their layout, equal seeds draw equal files, counts are held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelport.core.artifacts import digest_file
from modelport.core.errors import OutputError, UsageError
from modelport.data.drawn.table import DRAWN
from modelport.data.sets.base import Wanted
from modelport.data.sets.table import kind_of
from modelport.recipes.tables import Columns

WANTED = {
    "multilabel": ("table", Wanted("classes", 5)),
    "numbers": ("table", Wanted("numbers", columns=Columns(label=["x", "y", "radius"]))),
    "text": ("table", Wanted("text")),
    "faces": ("imagenet", Wanted("identity")),
}
FEW: dict[str, dict[str, Any]] = {name: {"count": 12, "train": 3} for name in WANTED}
FEW["faces"] = {"count": 12, "train_per_identity": 1, "identities": 6}
EVERY = pytest.mark.parametrize("name", WANTED)


def _digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in folder.rglob("*") if path.is_file()}


@EVERY
def test_they_open_and_equal_seeds_draw_equal_files(name: str, tmp_path: Path) -> None:
    seen: list[int] = []
    kind, wanted = WANTED[name]
    for out, seed in (("one", 0), ("same", 0), ("other", 1)):
        told = DRAWN[name].draw(tmp_path / out, seed=seed, progress=lambda: seen.append(1), **FEW[name])
        assert (told["val"], told["seed"]) == (12, seed)
    one, same, other = (_digests(tmp_path / out) for out in ("one", "same", "other"))
    pictures = {digest for file, digest in one.items() if file.endswith(".png")}
    assert one == same and not pictures & set(other.values()) and len(seen) == 3 * len(pictures)
    val, train = (kind_of(kind).open(tmp_path / "one", wanted, split) for split in ("val", "train"))
    assert len(val) == 12 and len(train) == told["train"] and len({str(sample.target) for sample in val}) > 3


@EVERY
def test_counts_that_make_no_set_are_refused(name: str, tmp_path: Path) -> None:
    draw = DRAWN[name].draw
    for words in ({"count": 0}, {next(key for key in FEW[name] if key.startswith("train")): 0}, {"seed": -1}):
        with pytest.raises(UsageError):
            draw(tmp_path / "out", **{**FEW[name], **words})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError, match="no empty folder"):
        draw(tmp_path / "full", **FEW[name])
    assert list(tmp_path.iterdir()) == [tmp_path / "full"]
