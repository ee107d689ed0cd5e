"""A recipe: everything modelport knows of a model, held against itself when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from modelport.core.artifacts import digest_json
from modelport.core.errors import RecipeError, unknown
from modelport.core.values import LabelForm, Signature
from modelport.recipes import owned_tables
from modelport.recipes.chain import check_input, sound
from modelport.recipes.checks import CHECKS, FORM_OF_TASK, TASK_NAMES, TOLERANCE_OF
from modelport.recipes.guide import Guide, spelled_out
from modelport.recipes.guide_files import GuideFiles
from modelport.recipes.presets import expanded, known_set
from modelport.recipes.published_speed import PublishedSpeed
from modelport.recipes.steps import Step, Strict
from modelport.recipes.tables import (
    Checkpoint,
    Dataset,
    GivenKey,
    Links,
    Model,
    Published,
    Run,
    Tensors,
    Tolerance,
    Variant,
    Weights,
    one_of,
)

SCHEMA = "modelport.recipe/1"


def _task(name: str) -> str:
    return one_of(TASK_NAMES, name)


class Recipe(Strict):
    """Everything modelport knows of a model."""

    schema_: Annotated[Literal["modelport.recipe/1"], Field(alias="schema")]
    """The form of this file."""
    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$")]
    """What results call it: small letters, digits, ``.``, ``_`` and ``-``."""
    title: str = ""
    """For people, in `modelport list`."""
    task: Annotated[str, AfterValidator(_task)]
    """What the outputs mean, and how they are judged: one of the tasks of tasks.md."""
    links: Links = Links()
    model: Model | None = None
    """The PyTorch network; none where the source is a file that runs by itself."""
    checkpoint: Checkpoint = Checkpoint()
    weights: Weights | None = None
    """Where the published weights are to be had; none where they are published nowhere."""
    tensors: Tensors
    preprocess: Annotated[list[Step], BeforeValidator(expanded), Field(min_length=1), AfterValidator(sound)]
    """In a file the name of a preset will do, which is read as its steps."""
    dataset: Annotated[Dataset, BeforeValidator(known_set)]
    """What the published figures were measured on; in a file a known set's name will do, read as its keys:
    ``imagenet-1k``, ``coco-2017``."""
    metrics: Annotated[list[str], Field(min_length=1)]
    """Figures of the task that are told. Those that are published decide, else the first."""
    published: list[Published] = Field(default_factory=list)
    speeds: list[PublishedSpeed] = Field(default_factory=list)
    guide: Guide | None = None
    """Figures and speeds of an inference guide in short; read as ``published`` and ``speeds``, which then hold them."""
    tolerance: Tolerance = Tolerance()
    run: Run = Run()
    tables: Annotated[dict[str, SerializeAsAny[BaseModel]], BeforeValidator(owned_tables.read)] = Field(
        default_factory=dict
    )
    """What one engine or task alone reads, by its name; in a file each is a table of that name."""
    guide_files: GuideFiles | None = None
    variants: dict[str, Variant] = Field(default_factory=dict)
    variant: str | None = None
    """Set by ``with_variant`` alone."""

    @model_validator(mode="before")
    @classmethod
    def _tables_set_apart(cls, content: Any) -> Any:
        if isinstance(content, dict) and "tolerance" not in content:
            tolerated = resolve_name(TOLERANCE_OF)(content.get("task"))
            content = content | ({"tolerance": tolerated} if tolerated else {})
        return owned_tables.set_apart(spelled_out(content))

    @model_serializer(mode="wrap")
    def _tables_put_back(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return owned_tables.put_back(inner(self))

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Recipe:
        check_input(self.preprocess, self.signature.inputs[0])
        for check in CHECKS:
            resolve_name(check)(self)
        if self.published and self.dataset.published_n is None:
            raise ValueError("published figures hold on one set: tell dataset.published_n and published_ids")
        for figure in self.published:
            if figure.metric not in self.metrics:
                raise ValueError(f"published figure of '{figure.metric}', which is not among metrics {self.metrics}")
        return self

    @property
    def signature(self) -> Signature:
        """The tensors that a sample decides and that the task reads, with a free batch axis."""
        return Signature(
            tuple(tensor.spec() for tensor in self.tensors.inputs if tensor.value is None),
            tuple(tensor.spec() for tensor in self.tensors.outputs),
        )

    @property
    def whole_signature(self) -> Signature:
        """The same, and the inputs that have a value of their own."""
        return Signature(tuple(tensor.spec() for tensor in self.tensors.inputs), self.signature.outputs)

    @property
    def label_form(self) -> LabelForm:
        """What the task takes for the label of a sample."""
        form: LabelForm = resolve_name(FORM_OF_TASK)(self.task)
        return form

    @property
    def placed(self) -> bool:
        """Whether answers lie in the image, so that it must be known where that lies in the input."""
        return self.label_form in ("boxes", "outlines", "keypoints", "mask")

    @property
    def network(self) -> Model:
        """The PyTorch network. Raises RecipeError where the recipe names none."""
        if self.model is None:
            raise RecipeError(
                f"{self.name} names no network ([model])",
                "name its architecture, or give a model that runs by itself: --source FILE.onnx or FILE.pt2",
            )
        return self.model

    @property
    def published_weights(self) -> Weights:
        """Where the weights are to be had. Raises RecipeError where the recipe tells none."""
        if self.weights is None:
            raise RecipeError(f"{self.name} names no weights to fetch ([weights])", "give --weights FILE")
        return self.weights

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

    def with_shapes(self, shapes: Sequence[tuple[str, Sequence[int]]]) -> Recipe:
        """Return the recipe with inputs of other sizes; the batch axis stays free, whatever its size is here.

        Raises RecipeError for an input that it does not name, or another number of axes.
        """
        if not shapes:
            return self
        content = self.to_json()
        inputs = {tensor["name"]: tensor for tensor in content["tensors"]["inputs"]}
        for name, shape in shapes:
            if name not in inputs:
                raise RecipeError(f"--shape: {self.name} has no input '{name}'", unknown("inputs", name, inputs))
            if len(shape) != len(inputs[name]["shape"]):
                told = ",".join(map(str, inputs[name]["shape"]))
                raise RecipeError(f"--shape {name}: {len(shape)} axes for {told}", "give a size for each axis")
            first = inputs[name]["shape"][0]
            inputs[name]["shape"] = [first if isinstance(first, str) else shape[0], *shape[1:]]
        try:
            return Recipe.model_validate(content)
        except ValidationError as error:
            told = "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
            raise RecipeError(f"--shape: {self.name}: {told}", "change the steps of the recipe with it") from error

    def with_checkpoint_key(self, key: str | None) -> Recipe:
        """Return the recipe for the state dict that the user chose of a file, None for the recipe itself."""
        if key is None:
            return self
        # The key counts in the digest: what is kept is of these weights.
        chosen = GivenKey(**self.checkpoint.model_dump() | {"unwrap": key.split("."), "key": key})
        return self.model_copy(update={"checkpoint": chosen})

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values, absent keys left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` over it, table by table; lists are replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
