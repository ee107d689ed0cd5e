"""The values that pass between the floors: tensors, signatures, samples, batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import BadSampleError, SignatureError
from modelport.core.files import read_regular

Array = NDArray[Any]
Tensors = Mapping[str, Array]
# The shape of a tensor of which nothing is told, not even the number of its axes.
UNRANKED = ("...",)

# A photograph is a few megabytes; a file beyond this is a mistake or an attack.
MAX_SAMPLE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of one input or output; a string is an axis that is free to vary."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {_shape_text(self.shape)}"

    def check(self, array: Array) -> None:
        """Raise SignatureError unless the array has this dtype and shape. Nothing is cast."""
        if not shape_fits(array.shape, self.shape) or array.dtype != np.dtype(self.dtype):
            raise SignatureError(
                f"tensor '{self.name}': got {array.dtype} {_shape_text(array.shape)}, "
                f"want {self.dtype} {_shape_text(self.shape)}",
                "give the array in that dtype and shape; modelport casts nothing",
            )

    def with_batch(self, batch: int) -> TensorSpec:
        """Return the spec with its first axis fixed to ``batch`` where that axis is free."""
        if not self.shape or not isinstance(self.shape[0], str):
            return self
        return TensorSpec(self.name, self.dtype, (batch, *self.shape[1:]))


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check_inputs(self, tensors: Tensors) -> None:
        """Raise SignatureError unless the names, dtypes and shapes are exactly the inputs'."""
        got, want = set(tensors), {spec.name for spec in self.inputs}
        if got != want:
            raise SignatureError(
                f"input names: got {sorted(got)}, want {sorted(want)}",
                "name every input as the model declares it; nothing is paired by position",
            )
        for spec in self.inputs:
            spec.check(tensors[spec.name])

    def with_batch(self, batch: int) -> Signature:
        """Return the signature with every free first axis fixed to ``batch``."""
        return Signature(
            tuple(spec.with_batch(batch) for spec in self.inputs),
            tuple(spec.with_batch(batch) for spec in self.outputs),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a data set, not yet read.

    ``target`` is what the metric wants (for classification the class index as the data set counts);
    ``content`` holds the bytes of a sample that does not live in a file of its own, or was read already; ``sha256`` its
    digest, where that was computed already.
    """

    id: str
    target: Any
    path: Path
    content: bytes | None = None
    sha256: str | None = None
    facts: Mapping[str, Any] | None = field(default=None, compare=False)
    """What the data set tells of it beside the label, JSON values by name: ``columns``, those of a table."""

    def read(self) -> bytes:
        """Return the sample's bytes; raises BadSampleError where the file cannot be read."""
        if self.content is not None:
            return self.content
        fix = "mend or remove the file, or pass --on-bad-image skip"
        return read_regular(self.path, MAX_SAMPLE_BYTES, BadSampleError, fix)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The pixels of one thing: polygons, or a mask in runs. The arrays cannot be written to."""

    polygons: tuple[NDArray[np.float64], ...] = ()
    """Each (n, 2): x and y in pixels of the image; what lies in one of them is the thing's."""
    runs: NDArray[np.uint32] | None = None
    """(n,): pixels outside, inside, outside …, column by column, where there are no polygons."""
    size: tuple[int, int] | None = None
    """Height and width that ``runs`` are for."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The annotated boxes of one image, in the file's order. The arrays cannot be written to."""

    image_id: int
    boxes: NDArray[np.float64]
    """(n, 4): x, y, width, height in pixels of the image."""
    category_ids: NDArray[np.int64]
    """(n,), as the file numbers its categories."""
    iscrowd: NDArray[np.bool_]
    """(n,): the box holds a crowd, which is neither found nor missed."""
    areas: NDArray[np.float64]
    """(n,), of the outlines, as annotated; they decide between small, medium and large."""
    outlines: tuple[Outline, ...] = ()
    """(n,), where the task takes them."""
    keypoints: NDArray[np.float64] | None = None
    """(n, P, 3), where the task takes them: x and y in pixels, 0 (not labelled), 1 (hidden) or 2 (seen)."""


class Mask(Protocol):
    """The class of every pixel of one image, read when it is asked for: a set's masks would fill the memory."""

    @property
    def path(self) -> Path:
        """The file, for errors."""

    def read(self) -> NDArray[np.uint16]:
        """Return the values (H, W) as the file holds them. Raises DataError."""


LabelForm = Literal["class", "classes", "identity", "numbers", "text", "boxes", "outlines", "keypoints", "mask"]
"""What the label of a sample is: one class (int, from 0), a set of classes (tuple of ints), an identity (int; which
number is whose means nothing), numbers (tuple of floats), a text (str), boxes with classes, these with outlines or with
keypoints (``Truth``), or a class for every pixel (``Mask``)."""


class DataSet(Protocol):
    """The samples of one split, in an order of their own that never changes."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a result must know of the labels."""

    @property
    def categories(self) -> tuple[tuple[int, str], ...]:
        """(category id, name) by class index, where the data set tells; else empty."""

    def __len__(self) -> int:
        """Samples in the split."""

    def __iter__(self) -> Iterator[Sample]:
        """All of them, in order."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...


class RowId(str):
    """Which row of a data set an answer is to: a sample, or one of its views. As text ``SAMPLE`` or ``SAMPLE#VIEW``."""

    __slots__ = ("sample", "view")
    sample: str
    view: int  # 0 where there are no views

    def __new__(cls, sample: str, view: int | None = None) -> RowId:
        """Name a sample (``view`` None), or one view of it."""
        row = super().__new__(cls, sample if view is None else f"{sample}#{view}")
        row.sample, row.view = sample, view or 0
        return row

    @staticmethod
    def parse(text: str, views: int) -> RowId:
        """Return what a text names in a data set of so many ``views``. Raises ValueError for none of its rows."""
        if views == 1:
            return RowId(text)
        sample, _, view = text.rpartition("#")
        return RowId(sample, int(view))


@dataclass(frozen=True, slots=True)
class Batch:
    """What an engine gets: ``inputs`` have the full batch size, rows past ``len(ids)`` are padding."""

    ids: tuple[RowId, ...]
    inputs: Tensors
    targets: tuple[Any, ...]
    digests: tuple[str, ...]  # sha256 of each sample's content
    placements: tuple[Any, ...] = ()  # where each image lies in the input, where the preprocessing says so
    facts: tuple[Mapping[str, Any], ...] = ()  # what is told of each sample beside; JSON values


# Keys of a check that it has only where they are known.
UNTOLD = ("interval", "needed_n")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was held against what it should be. ``verdict``: pass, fail, inconclusive or incomplete."""

    name: str
    verdict: str
    got: Any
    want: Any
    why: str
    interval: Sequence[float | None] | None = None
    """Of what rests on samples: bounds of the drop, each one-sided, in the tolerance's unit; None for no bound."""
    needed_n: int | None = None
    """Samples that would settle it, where it is inconclusive and some number would."""

    def to_json(self) -> dict[str, Any]:
        """Return the check as the result file holds it."""
        told = asdict(self)
        return {name: value for name, value in told.items() if value is not None or name not in UNTOLD}


def shape_fits(have: Sequence[int | str], want: Sequence[int | str]) -> bool:
    """Whether two shapes have the same axes; one that is free (a string) on either side fits any size."""
    if UNRANKED in (tuple(have), tuple(want)):
        return True
    return len(have) == len(want) and all(
        isinstance(got, str) or isinstance(need, str) or got == need for got, need in zip(have, want, strict=True)
    )


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(str(axis) for axis in shape) + ")"
