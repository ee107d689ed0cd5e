"""The data sets that can be drawn, by the name that ``modelport samples data`` takes."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any, NamedTuple


class Drawn(NamedTuple):
    """What draws a set, ``module:function``, and how many validation images it draws where nothing is said."""

    drawer: str
    images: int

    def draw(self, *arguments: Any, **words: Any) -> dict[str, Any]:
        """Draw it; returns what was drawn, as JSON values."""
        function: Callable[..., dict[str, Any]] = resolve_name(self.drawer)
        return function(*arguments, **words)


# A set is one line here; its function is imported when it is asked for.
DRAWN: dict[str, Drawn] = {
    "imagenet": Drawn("modelport.data.drawn.imagenet:draw_imagenet", 300),
    "cifar10": Drawn("modelport.data.drawn.cifar10:draw_cifar10", 1000),
    "coco": Drawn("modelport.data.drawn.coco:draw_coco", 24),
    "yolo": Drawn("modelport.data.drawn.boxes:draw_yolo", 24),
    "voc": Drawn("modelport.data.drawn.boxes:draw_voc", 24),
    "masks": Drawn("modelport.data.drawn.masks:draw_masks", 120),
    "multilabel": Drawn("modelport.data.drawn.multilabel:draw_multilabel", 300),
    "numbers": Drawn("modelport.data.drawn.numbers:draw_numbers", 300),
    "text": Drawn("modelport.data.drawn.text:draw_text", 300),
    "faces": Drawn("modelport.data.drawn.faces:draw_faces", 320),
}
