"""The shape of a recipe. Unknown keys are refused, and what moves a number has no default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from modelport.core.artifacts import digest_json
from modelport.core.values import Signature, TensorSpec

SCHEMA = "modelport.recipe/1"

# A channel triple (R, G, B).
Triple = tuple[float, float, float]


class Strict(BaseModel):
    """Base of every part: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Links(Strict):
    """Where a human reads on."""

    guide: str | None = None
    paper: str | None = None
    code: str | None = None
    data: str | None = None


class Model(Strict):
    """The network: a name in ``modelport.model.architectures.ARCHITECTURES`` and its arguments."""

    architecture: str
    arguments: dict[str, int | float | str | bool]


class KnownMistake(Strict):
    """A file that people take for the right one: recognised by a key's beginning, explained by a sentence."""

    key_prefix: str
    message: str


class Checkpoint(Strict):
    """How the published file wraps its state dict."""

    unwrap: list[str]
    """Keys to descend, outermost first; a file that is already bare is taken as it is, and that is said."""
    strip_prefix: str
    """Taken off every key where all keys have it; empty for none."""
    known_mistakes: list[KnownMistake] = []


class Weights(Strict):
    """Where the published file is to be had."""

    file: str
    url: str | None = None
    page: str | None = None
    """Where a person can fetch it, if no program can."""
    by_hand: str | None = None
    """What a person needs to know to fetch it (an extraction code, a login)."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    max_bytes: PositiveInt

    @model_validator(mode="after")
    def _somewhere(self) -> Weights:
        if not self.url and not self.page:
            raise ValueError("give url (a program can fetch it) or page (a person can)")
        return self


class Tensor(Strict):
    """One input or output. ``"batch"`` marks the axis of the batch, which comes first."""

    name: str
    dtype: Literal["float32", "int64", "uint8"]
    shape: Annotated[list[int | str], Field(strict=False)]

    def spec(self) -> TensorSpec:
        """Return the tensor as the rest of modelport passes it on."""
        return TensorSpec(self.name, self.dtype, tuple(self.shape))


class Tensors(Strict):
    """Inputs and outputs by the names that the guides fix."""

    inputs: Annotated[list[Tensor], Field(min_length=1)]
    outputs: Annotated[list[Tensor], Field(min_length=1)]


class Decode(Strict):
    """Bytes → uint8 (H, W, 3), by Pillow. Grey, CMYK and palette images become RGB as Pillow converts them."""

    step: Literal["decode"]
    color: Literal["RGB"]
    exif_rotation: Literal["ignore", "apply"]


class ResizeShorter(Strict):
    """Resize so that the shorter side is ``size``; the longer is ``int(size * longer / shorter)``. Antialiased."""

    step: Literal["resize_shorter"]
    size: PositiveInt
    interpolation: Literal["bilinear", "bicubic"]


class CenterCrop(Strict):
    """Cut ``size`` × ``size`` from the middle; ``rounding`` says where an odd margin goes."""

    step: Literal["center_crop"]
    size: PositiveInt
    rounding: Literal["half_even", "floor"]


class Normalize(Strict):
    """``(pixel / divide - mean) / std`` per channel in float32, then HWC → CHW."""

    step: Literal["normalize"]
    divide: float
    mean: Annotated[Triple, Field(strict=False)]
    std: Annotated[Triple, Field(strict=False)]


Step = Annotated[Decode | ResizeShorter | CenterCrop | Normalize, Field(discriminator="step")]


class Dataset(Strict):
    """The data set the published figures were measured on."""

    kind: Literal["imagenet"]
    classes: PositiveInt
    """Width of the output."""
    label_offset: Annotated[int, Field(ge=0)]
    """Added to a label to get its output index (1 where index 0 is background)."""
    published_n: PositiveInt
    """Samples in the full set."""
    published_ids: str
    """Regular expression that every id of the full set matches."""


class Published(Strict):
    """One published figure."""

    metric: str
    value: float
    unit: Literal["percent", "fraction"]
    device: str
    source: str


class Tolerance(Strict):
    """The largest drop that still passes; a gain always does."""

    value: Annotated[float, Field(ge=0)]
    unit: Literal["percent_of_reference", "points"]


class Run(Strict):
    """Defaults of ``run`` and ``bench``."""

    batch: PositiveInt
    bench_batches: Annotated[list[PositiveInt], Field(min_length=1)]


class Recipe(Strict):
    """Everything modelport knows of a model."""

    schema_: Annotated[Literal["modelport.recipe/1"], Field(alias="schema")]
    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$")]
    title: str
    task: Literal["classification"]
    links: Links = Links()
    model: Model
    checkpoint: Checkpoint
    weights: Weights
    tensors: Tensors
    preprocess: Annotated[list[Step], Field(min_length=1)]
    dataset: Dataset
    metrics: Annotated[list[str], Field(min_length=1)]
    published: list[Published]
    tolerance: Tolerance
    run: Run

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Recipe:
        steps = [step.step for step in self.preprocess]
        if steps[0] != "decode" or steps[-1] != "normalize" or {"decode", "normalize"} & set(steps[1:-1]):
            raise ValueError(f"preprocess must begin with decode and end with normalize, once each, not {steps}")
        for figure in self.published:
            if figure.metric not in self.metrics:
                raise ValueError(f"published figure of '{figure.metric}', which is not among metrics {self.metrics}")
        return self

    @property
    def signature(self) -> Signature:
        """The model's tensors, with a free batch axis."""
        return Signature(
            tuple(tensor.spec() for tensor in self.tensors.inputs),
            tuple(tensor.spec() for tensor in self.tensors.outputs),
        )

    @property
    def digest(self) -> str:
        """sha256 of the recipe's content; comments and layout of the file do not count."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values, absent keys left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
