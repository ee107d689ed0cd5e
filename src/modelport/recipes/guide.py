"""What an inference guide publishes of its devices, told in short: read as ``published`` and ``speeds``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, create_model

from modelport.recipes.steps import Strict

# In TOML a key is a text.
ByBatch = dict[Annotated[PositiveInt, Field(strict=False)], PositiveFloat]


class OnDevice(Strict):
    """What the guide prints of one device."""

    percent: dict[str, float] = Field(default_factory=dict)
    """Figures by metric, of the full set."""
    samples_per_second: ByBatch = Field(default_factory=dict)
    """By batch."""
    batches_per_second: ByBatch = Field(default_factory=dict)
    """By batch, where that is what the guide's figures really are; ``note`` says why."""


class Guide(Strict):
    """An inference guide's figures by device: ``published`` and ``speeds`` in fewer lines, and read as these."""

    source: str
    """The source of each of them."""
    printed_unit: str = "fps"
    """Of the speeds, as the guide has it."""
    note: str | None = None
    """Of the speeds."""
    on: Annotated[dict[str, OnDevice], Field(min_length=1)]
    """By the device's name."""

    def published(self) -> list[dict[str, Any]]:
        """Return the figures as a recipe's ``published`` has them."""
        return [
            {"metric": metric, "value": value, "unit": "percent", "device": device, "source": self.source}
            for device, told in self.on.items()
            for metric, value in told.percent.items()
        ]

    def speeds(self) -> list[dict[str, Any]]:
        """Return the speeds as a recipe's ``speeds`` has them."""
        common = {"printed_unit": self.printed_unit, "source": self.source, "note": self.note}
        return [
            {"device": device, "unit": unit, "figures": [{"batch": n, "value": value} for n, value in figures.items()]}
            | common
            for device, told in self.on.items()
            for unit, figures in (("samples/s", told.samples_per_second), ("batches/s", told.batches_per_second))
            if figures
        ]


def spelled_out(content: Any) -> Any:
    """Return a recipe's values with the table ``guide`` read as ``published`` and ``speeds``, before what stands there.

    Raises ValidationError with the place of each slip in the table.
    """
    if not isinstance(content, dict) or content.get("guide") is None:
        return content
    table: Any = create_model("GuideTable", guide=(Guide, ...)).model_validate({"guide": content["guide"]})
    told = {"published": table.guide.published(), "speeds": table.guide.speeds()}
    whole = {key: value for key, value in content.items() if key != "guide"}
    for key, rows in told.items():
        more = whole.get(key, [])
        # What is no list is refused by its own field.
        whole[key] = [*rows, *more] if isinstance(more, list) else more
    return whole
