"""How a guide's own scripts name and order the tensor files that they write."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from modelport.recipes.steps import Strict


class GuideFiles(Strict):
    """What ``preprocess --style guide`` writes, so that the guide's postprocessing script finds it."""

    names: Literal["image_stem", "row_number", "batch_number"]
    """After the image; after the row's place among all rows; after the file's place among all files."""
    prefix: Annotated[str, Field(pattern="^[A-Za-z0-9_-]*$")]
    """Before a number."""
    digits: NonNegativeInt
    """A number has at least so many."""
    batch: PositiveInt
    """Rows in a file, where no other number is asked for; only ``batch_number`` takes another."""
    dtype: Literal["float32", "int8"]
    """What the values are cast to."""
    variant: str | None = None
    """The variant whose preprocessing the script does."""
    info_file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.info$")] | None = None
    """A text file with a line ``index path width height`` for each image."""
