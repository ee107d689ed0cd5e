"""From scores by position to a text: greedy decoding of connectionist temporal classification (CTC)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

from modelport.core.errors import DataError
from modelport.core.values import Array
from modelport.tasks.text.recipe_table import Characters


@dataclass(frozen=True, slots=True)
class Alphabet:
    """Which output index is which character. ``layout`` NTC: (N, positions, classes), or indices (N, positions)."""

    characters: tuple[str, ...]
    blank: int
    layout: str

    @staticmethod
    def of(table: Characters) -> Alphabet:
        """Return what a recipe's table says."""
        characters = tuple(table.characters)
        return Alphabet(characters, 0 if table.blank == 0 else len(characters), table.layout)

    @property
    def classes(self) -> int:
        """The characters and the blank."""
        return len(self.characters) + 1

    def texts(self, output: Array) -> list[str | None]:
        """Return the text of each row, in Unicode's normal form C; None for a row that holds NaN.

        The best class at each position (the first of equals), repeats merged, blanks left out (Graves et al. 2006,
        https://www.cs.toronto.edu/~graves/icml_2006.pdf, best path decoding). ``output`` (N, T, C) or (N, C, T) float,
        or (N, T) integer: the best classes themselves, below 0 where there is none. Raises DataError for an index
        beyond the classes.
        """
        if output.dtype.kind in "iu":
            indices = output.astype(np.int64)
            if indices.size and indices.max() >= self.classes:
                raise DataError(
                    f"the output holds class {indices.max()}, text.characters and the blank are {self.classes} classes",
                    "name every character that the model knows, in its order",
                )
            return [self._text(row) for row in indices]
        scores = output if self.layout == "NTC" else output.transpose(0, 2, 1)
        broken: Array = np.asarray(np.isnan(scores).any(axis=(1, 2)))
        best = scores.argmax(axis=2)
        return [None if bad else self._text(row) for row, bad in zip(best, broken.tolist(), strict=True)]

    def _text(self, row: Array) -> str:
        new = np.flatnonzero(np.diff(row, prepend=-1))
        shift = int(self.blank == 0)
        found = [int(index) for index in row[new] if index >= 0 and index != self.blank]
        return normal("".join(self.characters[index - shift] for index in found))


def normal(text: str) -> str:
    """Return a text in Unicode's normal form C: an é of one code point and one of two are the same text."""
    return unicodedata.normalize("NFC", text)
