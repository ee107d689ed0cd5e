"""The shape of a recipe. Unknown keys are refused, and what moves a number has no default."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PositiveInt,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticKnownError

from modelport.core.artifacts import digest_json
from modelport.core.errors import RecipeError, unknown
from modelport.core.values import Signature, TensorSpec
from modelport.recipes import engine_tables
from modelport.recipes.checks import CHECKS, TASK_NAMES
from modelport.recipes.guide_files import GuideFiles
from modelport.recipes.patterns import check_pattern
from modelport.recipes.published_speed import PublishedSpeed
from modelport.recipes.steps import (
    CenterCrop,
    ColorJitter,
    Decode,
    DecodeRaw,
    GaussianBlur,
    Normalize,
    PadCenter,
    RandomFlip,
    RandomGrayscale,
    RandomResizedCrop,
    ResizeShorter,
    ResizeToFit,
    Step,
    Strict,
    TruncateToInteger,
)

# Other floors take the steps from here.
__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Decode",
    "DecodeRaw",
    "GaussianBlur",
    "Normalize",
    "PadCenter",
    "RandomFlip",
    "RandomGrayscale",
    "RandomResizedCrop",
    "Recipe",
    "ResizeShorter",
    "ResizeToFit",
    "Step",
    "TruncateToInteger",
]

SCHEMA = "modelport.recipe/1"
# Sizes beyond these are slips: they would only fill the memory.
MAX_AXIS = 1_000_000
MAX_CLASSES = 10_000_000
MAX_BATCH = 65_536
Batch = Annotated[int, Field(gt=0, le=MAX_BATCH)]


def _pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


def _task(name: str) -> str:
    known = resolve_name(TASK_NAMES)()
    if name not in known:
        raise PydanticKnownError("literal_error", {"expected": ", ".join(known)})
    return name


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
    known_mistakes: list[KnownMistake] = Field(default_factory=list)
    drop_first_output: list[str] = Field(default_factory=list)
    """Tensors whose first row (a background class) is cut off after loading; said in the result."""


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
    dtype: Literal["float32", "int64", "uint8"]
    shape: Annotated[list[Annotated[int | str, AfterValidator(_axis)]], Field(strict=False, min_length=1, max_length=8)]

    def spec(self) -> TensorSpec:
        """Return the tensor as the rest of modelport passes it on."""
        return TensorSpec(self.name, self.dtype, tuple(self.shape))


class Tensors(Strict):
    """Inputs and outputs by the names that the guides fix."""

    inputs: Annotated[list[Tensor], Field(min_length=1)]
    outputs: Annotated[list[Tensor], Field(min_length=1)]

    @model_validator(mode="after")
    def _told_apart(self) -> Tensors:
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two tensors are named '{twice[0]}'; give each its own name")
        return self


class Dataset(Strict):
    """The data set the published figures were measured on."""

    kind: Literal["imagenet", "cifar10", "coco"]
    classes: Annotated[int, Field(gt=0, le=MAX_CLASSES)]
    """Width of the output."""
    label_offset: Annotated[int, Field(ge=0)]
    """Added to a label to get its output index (1 where index 0 is background)."""
    views: PositiveInt = 1
    """Rows that the model gets per sample: 2 for contrastive pairs."""
    published_n: PositiveInt
    """Samples in the full set."""
    published_ids: Annotated[str, AfterValidator(_pattern)]
    """Regular expression that every id of the full set matches, in bounded time."""


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

    value: Annotated[float, Field(ge=0)]
    unit: Literal["percent_of_reference", "points"]


class Contrastive(Strict):
    """How pairs of views are judged."""

    pairs_per_batch: PositiveInt
    pairs: Literal["in_order", "with_replacement"]
    """``with_replacement`` draws the published script's batches at random, seeded."""


class Run(Strict):
    """Defaults of ``run`` and ``bench``."""

    batch: Batch
    bench_batches: Annotated[list[Batch], Field(min_length=1)]


class Variant(Strict):
    """A named departure from the recipe: tables that replace the recipe's keys, by the same names."""

    about: str
    changes: dict[str, Any]


class Recipe(Strict):
    """Everything modelport knows of a model."""

    schema_: Annotated[Literal["modelport.recipe/1"], Field(alias="schema")]
    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$")]
    title: str
    task: Annotated[str, AfterValidator(_task)]
    links: Links = Links()
    model: Model
    checkpoint: Checkpoint
    weights: Weights
    tensors: Tensors
    preprocess: Annotated[list[Step], Field(min_length=1)]
    dataset: Dataset
    metrics: Annotated[list[str], Field(min_length=1)]
    published: list[Published]
    speeds: list[PublishedSpeed] = Field(default_factory=list)
    tolerance: Tolerance
    contrastive: Contrastive | None = None
    run: Run
    engines: Annotated[dict[str, SerializeAsAny[BaseModel]], BeforeValidator(engine_tables.read)] = Field(
        default_factory=dict
    )
    """What one engine alone reads, by its name; in a file each is a table of that name."""
    guide_files: GuideFiles | None = None
    variants: dict[str, Variant] = Field(default_factory=dict)
    variant: str | None = None
    """Set by ``with_variant`` alone."""

    @model_validator(mode="before")
    @classmethod
    def _tables_set_apart(cls, content: Any) -> Any:
        return engine_tables.set_apart(content)

    @model_serializer(mode="wrap")
    def _tables_put_back(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return engine_tables.put_back(inner(self))

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Recipe:
        _check_steps([step.step for step in self.preprocess])
        for check in CHECKS:
            resolve_name(check)(self)
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

    def with_variant(self, name: str | None) -> Recipe:
        """Return the recipe with a variant's changes in place, None for the recipe itself.

        Raises RecipeError for an unknown name.
        """
        if name is None:
            return self
        if name not in self.variants:
            known = unknown("variants", name, self.variants) if self.variants else "this recipe has none"
            raise RecipeError(f"{self.name} has no variant '{name}'", known)
        content = _merged(self.to_json(), self.variants[name].changes)
        return Recipe.model_validate(content | {"variant": name, "variants": {}})

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values, absent keys left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _check_steps(steps: list[str]) -> None:
    """Raise ValueError unless the steps begin with decoding, and only padding or a cast follows the normalisation."""
    decoders = [step for step in steps if step.startswith("decode")]
    after = steps[steps.index("normalize") + 1 :] if "normalize" in steps else ["?"]
    if steps[0] not in decoders or len(decoders) != 1 or not set(after) <= {"pad_center", "truncate_to_integer"}:
        raise ValueError(f"preprocess must begin with decode and end with normalize, once each, not {steps}")


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` over it, table by table; lists are replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
