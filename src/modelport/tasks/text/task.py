"""A text per image, as CTC networks read it: exact match, edit distance, and the same text as the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.errors import UsageError
from modelport.core.values import Array, TensorSpec
from modelport.recipes.draft import Line
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.tasks.base import Draft, Task, own_table
from modelport.tasks.classification.topk import percent
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer
from modelport.tasks.text.ctc import Alphabet, normal
from modelport.tasks.text.distance import edit_distance
from modelport.tasks.text.lines import judged, over_resamples, recount
from modelport.tasks.text.recipe_table import MOST_CHARACTERS, Characters

# What networks of 37 classes read, a blank beside them.
USUAL = "0123456789abcdefghijklmnopqrstuvwxyz"
# Where PaddleOCR's files keep their characters, one a line; their decoder puts the blank before and a space behind.
PADDLE = "character"


class Text(Task):
    """The task ``text``: scores by position (N, T, C) or (N, C, T), or the best classes (N, T), against texts."""

    metrics = ("exact_match", "edit_distance", "cer")
    recipe_table = Characters
    needs_table = True
    # Of an edit distance, one point would be a whole character of every text.
    tolerance = Tolerance(value=1.0, unit="percent_of_reference")
    label_form = "text"
    placeholder = ""
    sample_fitter = "modelport.stages.sample_weights.text:fit_texts"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the output is no sequence, or the characters are not as many as its classes."""
        output, table = recipe.tensors.outputs[0], own_table(recipe, Characters)
        indices = output.dtype.startswith("int")
        if len(output.shape) != (2 if indices else 3):
            wanted = "(batch, positions)" if indices else "(batch, positions, classes), or (batch, classes, positions)"
            raise ValueError(f"the output '{output.name}' is {output.dtype} {output.shape}, texts are read of {wanted}")
        classes = None if indices else output.shape[2 if table.layout == "NTC" else 1]
        alphabet = Alphabet.of(table)
        if isinstance(classes, int) and classes != alphabet.classes:
            raise ValueError(
                f"text.characters: {len(table.characters)} characters and a blank are {alphabet.classes} classes, the "
                f"output '{output.name}' has {classes} (text.layout {table.layout}); often a space is the last one"
            )
        if recipe.dataset.views != 1 or recipe.dataset.label_offset:
            raise ValueError("dataset.label_offset and dataset.views have no meaning for texts; take them out")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take scores by position; by themselves such outputs may be anything."""
        found = [spec for spec in outputs if spec.dtype.startswith("float") and len(spec.shape) == 3]
        return None if alone or not found else Draft(found[:1], list(cls.metrics), f"'{found[0].name}' is a sequence")

    @classmethod
    def draft_lines(cls, outputs: Sequence[TensorSpec], metadata: Mapping[str, str]) -> Sequence[Line]:
        """Return the characters that a file of PaddleOCR tells, else the usual 36 where they fit, as a guess.

        Raises UsageError where neither does.
        """
        output = outputs[0]
        told = [line for line in metadata.get(PADDLE, "").splitlines() if line]
        for place, layout in ((2, "NTC"), (1, "NCT")):
            spare = output.shape[place] if isinstance(output.shape[place], int) else 0
            for extra in ((), (" ",)) if told else ():
                if len(told) + len(extra) + 1 == spare:
                    said = f"the file's metadata '{PADDLE}'" + (", and a space, as PaddleOCR adds it" if extra else "")
                    return _lines([*told, *extra], layout, said, guessed=False)
            if not told and spare == len(USUAL) + 1:
                return _lines(USUAL, layout, "the usual characters of so many classes", guessed=True)
        raise UsageError(
            f"--task text: nothing tells which characters the classes of {output} are",
            "write the recipe by hand: [text] characters, blank (docs/tasks.md)",
        )

    def scorer(self, against_source: bool) -> TextScorer:
        """Return a scorer of sequences against texts."""
        return TextScorer(self._output, Alphabet.of(own_table(self._recipe, Characters)), against_source)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return the label in normal form C, and whether engine and source read it."""
        return judged(line)

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Return the figures of the texts in the lines."""
        return recount(line for line, _ in lines)


class Errors:
    """Counts texts and characters; a text that was not read (None) is wrong and has no characters."""

    def __init__(self) -> None:
        self._exact: list[bool] = []
        self._away: list[int] = []
        self._letters: list[int] = []

    def take(self, got: Sequence[str | None], want: Sequence[str]) -> None:
        """Count texts beside their labels, both in normal form C."""
        for mine, label in zip(got, want, strict=True):
            self._exact.append(mine == label)
            self._away.append(edit_distance(mine or "", label))
            self._letters.append(len(label))

    @property
    def n(self) -> int:
        """Texts counted."""
        return len(self._away)

    def each(self) -> tuple[Array, Array, Array]:
        """Return of each text whether it is right, its distance, and its label's length, (N,) each."""
        return np.array(self._exact, bool), np.array(self._away, np.int64), np.array(self._letters, np.int64)

    def scores(self) -> dict[str, Score]:
        """Return the figures of at least one text; ``cer`` where the labels have any character."""
        n, letters, away = self.n, sum(self._letters), np.array(self._away)
        stderr = float(away.std(ddof=1) / np.sqrt(n)) if n > 1 else None
        length, whose = letters / n, "the labels' mean length"
        found = {
            "exact_match": percent(sum(self._exact), n),
            "edit_distance": Score(float(away.mean()), "characters", n, stderr, True, length, whose),
        }
        if letters:
            rate = 100.0 * float(away.sum()) / letters
            found["cer"] = Score(rate, "percent", n, None, True, 100.0, "the labels' characters")
        return found


class TextScorer(Scorer):
    """Counts texts; two answers agree where they are the same text, read from scores without a NaN."""

    def __init__(self, output: str, alphabet: Alphabet, against_source: bool) -> None:
        self._output, self._alphabet = output, alphabet
        self._mine, self._theirs = Errors(), Errors() if against_source else None
        self._sourced: list[bool] = []  # of each text, whether the source answered
        self._flips = Flips()
        self._labels: Counter[str] = Counter()
        self._known = set("".join(map(normal, alphabet.characters)))
        self._foreign: set[str] = set()
        self._texts = 0

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each."""
        labels = [normal(label) for label in rows.targets]
        mine = self._alphabet.texts(rows.outputs[self._output])
        self._mine.take(mine, labels)
        self._notice(labels)
        theirs: list[str | None] = [None] * len(labels)
        agrees: list[bool | None] = [None] * len(labels)
        if self._theirs is not None and rows.source is not None:
            theirs = self._alphabet.texts(rows.source[self._output])
            self._theirs.take(theirs, labels)
            agrees = [own == other and own is not None for own, other in zip(mine, theirs, strict=True)]
        self._sourced += [same is not None for same in agrees]
        lines = []
        for name, label, own, other, same in zip(rows.ids, labels, mine, theirs, agrees, strict=True):
            if same is not None:
                self._flips.add(int(same), 1, {"id": str(name), "target": label, "source": other, "engine": own})
            lines.append({"id": str(name), "target": label, "text": own, "source_text": other, "agrees": same})
        return lines

    def figures(self) -> Figures:
        """Return the figures, and the source's on the same texts."""
        source = None if self._theirs is None else self._theirs.scores() if self._theirs.n else {}
        # Whoever always answers the most frequent text.
        guess = 100.0 * max(self._labels.values()) / self._mine.n
        figures = Figures(self._mine.scores(), source, self._flips, self._notes(), {"exact_match": guess})
        if self._theirs is not None and self._theirs.n:
            exact, away, letters = (part[self._sourced] for part in self._mine.each())
            right, distance, _ = self._theirs.each()
            figures.paired = {"exact_match": Paired.of(right, exact)}
            figures.resampled = over_resamples(away, distance, letters)
        return figures

    def _notice(self, labels: Sequence[str]) -> None:
        self._labels.update(labels)
        for label in labels:
            if strange := set(label) - self._known:
                self._foreign |= strange
                self._texts += 1

    def _notes(self) -> list[str]:
        if not self._texts:
            return []
        shown = "".join(sorted(self._foreign)[:20])
        return [f"{self._texts} labels hold characters that the model has not, and no answer meets them: {shown!r}"]


def _lines(characters: Sequence[str], layout: str, why: str, guessed: bool) -> list[Line]:
    if len(characters) > MOST_CHARACTERS:
        raise UsageError(f"--task text: {len(characters)} characters", f"at most {MOST_CHARACTERS} are taken")
    single = all(len(one) == 1 for one in characters)
    return [
        Line("text.characters", "".join(characters) if single else list(characters), why, guessed=guessed),
        Line("text.blank", 0, "as PaddleOCR has it", guessed=guessed),
        Line("text.layout", layout, "by the number of classes"),
    ]
