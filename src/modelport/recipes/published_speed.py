"""Published speeds: what a guide prints of one device, and how it is to be read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from modelport.recipes.steps import Strict


class SpeedFigure(Strict):
    """One figure, at the batch that it was really measured with."""

    batch: PositiveInt
    value: PositiveFloat
    """As printed."""
    printed_batch: PositiveInt | None = None
    """The batch that the guide credits it to somewhere, where that is another one."""
    latency_ms: PositiveFloat | None = None
    """Mean time of one run, where the guide tells it."""
    note: str | None = None


class PublishedSpeed(Strict):
    """The speeds of one device by batch."""

    device: str
    unit: Literal["samples/s", "batches/s"]
    """What the figures are; where that is not what is printed, ``note`` says why."""
    printed_unit: str
    source: str
    note: str | None = None
    figures: Annotated[list[SpeedFigure], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> PublishedSpeed:
        batches = [figure.batch for figure in self.figures]
        if batches != sorted(set(batches)):
            raise ValueError(f"the figures must stand in the order of their batches, each once, not {batches}")
        return self

    def samples_per_second(self, figure: SpeedFigure) -> float:
        """Return a figure in samples/s, derived where it is printed in another unit."""
        return figure.value * figure.batch if self.unit == "batches/s" else figure.value
