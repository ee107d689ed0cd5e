"""What the values of a mask stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.placement import Placement
from modelport.core.values import Mask
from modelport.recipes.schema import Recipe
from modelport.tasks.base import own_table
from modelport.tasks.segmentation.pixels import NO_CLASS
from modelport.tasks.segmentation.recipe_table import Segmentation

# What Pascal VOC, Cityscapes and mmsegmentation give pixels that are not to be counted.
USUAL_IGNORED = 255


@dataclass(frozen=True, slots=True)
class Labels:
    """Values of masks → indices of the output."""

    classes: int
    """Of the output."""
    offset: int
    """Added to a value, the recipe's ``label_offset``; −1 where 0 is not counted and 1 is the first class."""
    ignore_index: int | None

    @staticmethod
    def of(recipe: Recipe) -> Labels:
        """Return what a recipe says of its masks."""
        table, classes = own_table(recipe, Segmentation), recipe.dataset.classes or 0
        ignored = table.ignore_index
        if ignored is None and classes - recipe.dataset.label_offset <= USUAL_IGNORED:
            ignored = USUAL_IGNORED
        return Labels(classes, recipe.dataset.label_offset - bool(table.reduce_zero_label), ignored)

    @property
    def ignored(self) -> str:
        """The values that are not counted, in words."""
        values = [0] if self.offset < 0 else []
        values += [self.ignore_index] if self.ignore_index is not None else []
        return " or ".join(map(str, values)) or "nothing"

    def read(self, mask: Mask, placement: Placement) -> NDArray[np.int64]:
        """Return the classes (H, W) as indices of the output, ``NO_CLASS`` where they are not counted.

        Raises DataError for a mask of another size than its image, or a value that is no class.
        """
        values = mask.read()
        size, wanted = values.shape[::-1], (placement.image_width, placement.image_height)
        if size != wanted:
            turned = ": the image is turned by its EXIF orientation, the mask is not" if size == wanted[::-1] else ""
            raise DataError(
                f"{mask.path}: the mask is {size[0]} × {size[1]}, its image {wanted[0]} × {wanted[1]}{turned}",
                "give the mask of this image, neither resized nor rotated",
            )
        ignored = np.zeros(values.shape, bool) if self.ignore_index is None else values == self.ignore_index
        if self.offset < 0:
            ignored |= values == 0
        found = np.where(ignored, NO_CLASS, values.astype(np.int64) + self.offset)
        strange = found >= self.classes
        if strange.any():
            row, column = np.argwhere(strange)[0].tolist()
            least, most = (1 if self.offset < 0 else 0), self.classes - self.offset - 1
            raise DataError(
                f"{mask.path}: the pixel in column {column}, row {row} is {values[row, column]}, which is no class "
                f"({least} to {most}) and not ignored ({self.ignored})",
                "give masks whose values are the model's classes, or tell ignore_index in [segmentation] of the recipe",
            )
        return found
