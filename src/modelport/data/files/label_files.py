"""``labels.json`` in the folder of tensor files, and ``labels.npy`` beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.artifacts import digest_bytes, prepare_output_folder, write_json, writing, written_aside
from modelport.core.errors import OutputError
from modelport.core.values import Sample

BY_ID, ARRAY = "labels.json", "labels.npy"
# The guide that numbers its files reads a class off every fifty of them.
PER_CLASS = 50


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """Writes labels for the tensors in ``out``.

    ``stacked``: the array has a row for each file of so many labels, the last filled up with -1, as the guide's
    script stacks them; None: one label after the other.
    """

    out: Path
    force: bool
    stacked: int | None = None

    @property
    def array(self) -> Path:
        """Where the array goes. In the folder ais_bench would take it for an input."""
        return self.out.absolute().parent / ARRAY

    def check(self, samples: Sequence[Sample]) -> None:
        """Raise OutputError where other labels lie beside the folder, or none could be written there."""
        prepare_output_folder(self.array.parent, ARRAY, force=True)
        self._refuse_others(self._content([_label(sample) for sample in samples]))

    def write(self, samples: Sequence[Sample]) -> tuple[dict[str, str], list[str]]:
        """Write both files, and return where they lie and what is to be said. Raises OutputError as ``check``.

        The array is left out where labels are neither numbers nor rows of them, and that is said.
        """
        labels = [_label(sample) for sample in samples]
        content = self._content(labels)
        self._refuse_others(content)
        write_json(self.out / BY_ID, dict(zip((sample.id for sample in samples), labels, strict=True)))
        places = {"json": str(self.out / BY_ID)}
        if content is None:
            return places, [f"{ARRAY} is not written: labels of this form are no numbers in rows; {BY_ID} holds them"]
        with written_aside(self.array) as aside:
            aside.write_bytes(content)
        return places | {"npy": str(self.array), "npy_sha256": digest_bytes(content)}, self._notes(labels)

    def _notes(self, labels: Sequence[Any]) -> list[str]:
        notes = [f"{ARRAY} lies beside the folder, not in it: ais_bench would take it for an input"]
        if self.stacked is not None and len(labels) % self.stacked:
            notes.append(f"{ARRAY}: the row of the short last file is filled up with -1")
        if self.stacked == 1 and (wrong := sum(label != place // PER_CLASS for place, label in enumerate(labels))):
            rule = f"the guide's script takes file number // {PER_CLASS} for the label"
            notes.append(f"{rule}, which is wrong for {wrong} of these images")
        return notes

    def _content(self, labels: Sequence[Any]) -> bytes | None:
        numbers = all(isinstance(label, list) and all(isinstance(one, float) for one in label) for label in labels)
        if not numbers and not all(isinstance(label, int) for label in labels):
            return None
        array = np.array(labels, np.float64 if numbers else np.int64)
        if self.stacked is not None and not numbers:
            array = np.full((-(-len(labels) // self.stacked), self.stacked), -1, np.int64)
            array.reshape(-1)[: len(labels)] = labels
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue()

    def _refuse_others(self, content: bytes | None) -> None:
        if content is None:
            return
        with writing(self.array):
            other = self.array.exists() and (
                self.array.stat().st_size != len(content) or self.array.read_bytes() != content
            )
        if other and not self.force:
            raise OutputError(
                f"{self.array} is there already and holds other labels",
                "choose an --out in another folder (labels.npy lies beside it), or replace it with --force",
            )


def _label(sample: Sample) -> Any:
    """Return the label as a JSON value, of a class its index as the data set counts; of boxes the image's number.

    None for a label that is a file of its own, such as a mask.
    """
    target = getattr(sample.target, "image_id", sample.target)
    if isinstance(target, tuple):
        return list(target)
    return target if isinstance(target, int | float | str) else None
