"""The tables of a recipe. Unknown keys are refused; what has a default stands in ``modelport show RECIPE``."""

from __future__ import annotations

from collections import Counter
from pkgutil import resolve_name
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator
from pydantic_core import PydanticKnownError

from modelport.core.values import TensorSpec
from modelport.recipes.checks import FORMS_OF_KIND, KIND_NAMES
from modelport.recipes.patterns import check_pattern
from modelport.recipes.steps import Strict

# Sizes beyond these are slips: they would only fill the memory.
MAX_AXIS = 1_000_000
MAX_CLASSES = 10_000_000
MAX_BATCH = 65_536
Batch = Annotated[int, Field(gt=0, le=MAX_BATCH)]


def _pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


def one_of(names: str, found: str) -> str:
    """Return ``found`` where it is among what the function ``names`` (module:function) returns; else it is refused."""
    known = resolve_name(names)()
    if found not in known:
        raise PydanticKnownError("literal_error", {"expected": ", ".join(known)})
    return found


def _kind(name: str) -> str:
    return one_of(KIND_NAMES, name)


def _axis(size: int | str) -> int | str:
    if isinstance(size, int) and not 0 < size <= MAX_AXIS:
        raise ValueError(f"{size}: an axis has 1 to {MAX_AXIS} elements, or the name of what is free")
    return size


class Links(Strict):
    """Where a human reads on."""

    guide: str | None = None
    paper: str | None = None
    code: str | None = None
    data: str | None = None


class Model(Strict):
    """The network and its arguments."""

    architecture: str
    """A network that modelport has, ``timm:NAME``, ``torchvision:NAME``, or ``pkg.module:function`` of the user's own,
    which is imported where the user trusts it."""
    arguments: dict[str, int | float | str | bool] = Field(default_factory=dict)
    """What the network is built with."""


class KnownMistake(Strict):
    """A file that people take for the right one: recognised by a key's beginning, explained by a sentence."""

    key_prefix: str
    """Where a key begins with it, the file is that one."""
    message: str
    """What the user is told."""


class Checkpoint(Strict):
    """How the published file wraps its state dict."""

    unwrap: list[str] = Field(default_factory=list)
    """Keys to descend, outermost first; a file that is already bare is taken as it is, and that is said."""
    strip_prefix: str = ""
    """Taken off every key where all keys have it; empty for none."""
    rename: list[Annotated[tuple[str, str], Field(strict=False)]] | None = None
    """Parts of keys and what they become, one after the other, where the network names its parts otherwise than the
    published file; said in the result."""
    known_mistakes: list[KnownMistake] = Field(default_factory=list)
    drop_first_output: list[str] = Field(default_factory=list)
    """Tensors whose first row (a background class) is cut off after loading; said in the result."""


class GivenKey(Checkpoint):
    """The user's own choice among the state dicts of a file (``--checkpoint-key``): it must be there."""

    key: str = ""
    """The keys that lead to it, with dots between."""


class Weights(Strict):
    """Where the published file is to be had."""

    file: str
    """What it is called."""
    url: str | None = None
    """Where a program can fetch it."""
    page: str | None = None
    """Where a person can fetch it, if no program can."""
    by_hand: str | None = None
    """What a person needs to know to fetch it (an extraction code, a login)."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Of the file; a fetched one must have it."""
    max_bytes: PositiveInt
    """A download is stopped beyond."""
    ready_models: list[ReadyModel] = Field(default_factory=list)

    @model_validator(mode="after")
    def _somewhere(self) -> Weights:
        if not self.url and not self.page:
            raise ValueError("give url (a program can fetch it) or page (a person can)")
        return self


class ReadyModel(Strict):
    """A model file that the publisher offers beside the weights; ``run --model`` takes an .onnx one."""

    kind: Literal["onnx", "om"]
    url: str
    about: str


class Tensor(Strict):
    """One input or output. ``"batch"`` marks the axis of the batch, which comes first."""

    name: str
    """As the graph has it, or as ``export`` is to call it."""
    dtype: Literal["float32", "float16", "int32", "int64", "uint8"]
    shape: Annotated[list[Annotated[int | str, AfterValidator(_axis)]], Field(strict=False, min_length=1, max_length=8)]
    """Sizes; a text is an axis that is free, and names it."""
    value: float | list[float] | None = None
    """Of an input that no sample tells (a size, a scale): the same for every row, one number or one a column."""

    @model_validator(mode="after")
    def _fills_a_row(self) -> Tensor:
        if isinstance(self.value, list) and len(self.value) != self.shape[-1]:
            raise ValueError(f"'{self.name}' has {len(self.value)} values for the {self.shape[-1]} of its last axis")
        return self

    def spec(self) -> TensorSpec:
        """Return the tensor as the rest of modelport passes it on."""
        return TensorSpec(self.name, self.dtype, tuple(self.shape))


class Tensors(Strict):
    """Inputs and outputs by the names that the guides fix."""

    inputs: Annotated[list[Tensor], Field(min_length=1)]
    outputs: Annotated[list[Tensor], Field(min_length=1)]

    @property
    def sample(self) -> Tensor:
        """The input that a sample decides."""
        return next(tensor for tensor in self.inputs if tensor.value is None)

    @model_validator(mode="after")
    def _told_apart(self) -> Tensors:
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two tensors are named '{twice[0]}'; give each its own name")
        if sum(tensor.value is None for tensor in self.inputs) != 1:
            raise ValueError("one input takes the sample; give every other one its value")
        if any(tensor.value is not None for tensor in self.outputs):
            raise ValueError("an output has no value of its own; take it out")
        return self


class Columns(Strict):
    """Which columns of a table of labels are read; what is not told has one of the usual names (data.md)."""

    path: str | None = None
    """Of the image's file."""
    label: str | Annotated[list[str], Field(min_length=1)] | None = None
    """Of the label; a list where labels are numbers, one in each column."""


class Dataset(Strict):
    """The data set the published figures were measured on."""

    kind: Annotated[str, AfterValidator(_kind)]
    """How its files are laid out: one of the kinds of data.md; ``images`` is a folder of images without labels."""
    classes: Annotated[int, Field(gt=0, le=MAX_CLASSES)] | None = None
    """Width of the output; images without labels need not tell it."""
    names: list[str] | None = None
    """Of the classes, by label: the first is that of label 0."""
    class_map: dict[str, int | str] | None = None
    """What the data set calls a class, and the class of the model that it is: a label, or one of ``names``."""
    columns: Columns | None = None
    label_offset: Annotated[int, Field(ge=0)] = 0
    """Added to a label to get its output index (1 where index 0 is background)."""
    views: PositiveInt = 1
    """Rows that the model gets per sample: 2 for contrastive pairs."""
    published_n: PositiveInt | None = None
    """Samples in the full set, where figures of one are published."""
    published_ids: Annotated[str, AfterValidator(_pattern)] | None = None
    """Regular expression that every id of the full set matches, in bounded time."""

    @property
    def labelled(self) -> bool:
        """Whether its samples have labels."""
        return bool(resolve_name(FORMS_OF_KIND)(self.kind))

    @model_validator(mode="after")
    def _full_set_whole(self) -> Dataset:
        if (self.published_n is None) != (self.published_ids is None):
            raise ValueError("published_n and published_ids tell the full set together; give both or neither")
        return self

    @model_validator(mode="after")
    def _classes_named(self) -> Dataset:
        labels = None if self.classes is None else self.classes - self.label_offset
        if self.names is not None:
            if labels is not None and len(self.names) != labels:
                raise ValueError(f"names has {len(self.names)} names for {labels} labels; give one for each, in order")
            if twice := [name for name, times in Counter(self.names).items() if times > 1]:
                raise ValueError(f"names: two classes are named {twice[0]!r}; tell them apart")
        names = set(self.names or ())
        for key, label in (self.class_map or {}).items():
            if isinstance(label, str) and label not in names:
                raise ValueError(f"class_map: {key!r} is mapped to {label!r}, which is not among names")
            if not isinstance(label, str) and not 0 <= label < (labels or MAX_CLASSES):
                raise ValueError(f"class_map: {key!r} is mapped to {label}; labels are 0 to {(labels or 1) - 1}")
        return self


class Published(Strict):
    """One published figure."""

    metric: str
    value: float
    unit: Literal["percent", "fraction"]
    device: str
    source: str
    variant: str | None = None
    """The variant that it was measured with; it says nothing of the others."""


class Tolerance(Strict):
    """The largest drop that still passes; a gain always does."""

    value: Annotated[float, Field(ge=0)] = 1.0
    """The drop; under the task ``outputs`` the distance itself."""
    unit: Literal["percent_of_reference", "points"] = "points"
    """A share of the reference, or points of the figure: hundredths of one that is told as a fraction (mAP)."""


class Run(Strict):
    """Defaults of ``run`` and ``bench``."""

    batch: Batch = 8
    """Of ``run``; a file that is fixed to another one is run with that."""
    bench_batches: Annotated[list[Batch], Field(min_length=1)] = Field(default_factory=lambda: [1, 4, 8, 16, 32, 64])


class Variant(Strict):
    """A named departure from the recipe."""

    about: str
    """For people."""
    changes: dict[str, Any]
    """Tables that replace the recipe's keys, by the same names."""
