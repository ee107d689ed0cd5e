"""The table ``[text]`` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelport.recipes.steps import Strict

# More than Unicode has assigned.
MOST_CHARACTERS = 200_000


class Characters(Strict):
    """How scores by position become a text: the best class of each, repeats merged, blanks left out."""

    characters: (
        Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MOST_CHARACTERS)]
    )
    """What the classes stand for, in order, the blank left out; a list where one is more than a single character."""
    blank: Literal[0, "last"]
    """Which class is the blank: number 0, before the characters, or the one after them."""
    layout: Literal["NTC", "NCT"] = "NTC"
    """Of the output: positions and then classes, or classes and then positions."""
