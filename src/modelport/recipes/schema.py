"""A recipe: everything modelport knows of a model, held against itself when it is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticKnownError

from modelport.core.artifacts import digest_json
from modelport.core.errors import RecipeError, unknown
from modelport.core.named import named
from modelport.core.values import Signature
from modelport.recipes import engine_tables
from modelport.recipes.chain import check_input, sound
from modelport.recipes.checks import CHECKS, TASK_NAMES
from modelport.recipes.guide_files import GuideFiles
from modelport.recipes.presets import expanded
from modelport.recipes.published_speed import PublishedSpeed
from modelport.recipes.steps import Step, Strict
from modelport.recipes.tables import (
    Checkpoint,
    Contrastive,
    Dataset,
    Links,
    Model,
    Published,
    Run,
    Tensors,
    Tolerance,
    Variant,
    Weights,
)

SCHEMA = "modelport.recipe/1"


def _task(name: str) -> str:
    known = named(TASK_NAMES)()
    if name not in known:
        raise PydanticKnownError("literal_error", {"expected": ", ".join(known)})
    return name


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
    preprocess: Annotated[list[Step], BeforeValidator(expanded), Field(min_length=1), AfterValidator(sound)]
    """In a file the name of a preset will do, which is read as its steps."""
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
        check_input(self.preprocess, self.signature.inputs[0])
        for check in CHECKS:
            named(check)(self)
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


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` over it, table by table; lists are replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
