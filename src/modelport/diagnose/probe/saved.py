"""Saved outputs in a model's place: only how they are read, and what the labels are, can be changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelport.diagnose.asking import Answers
from modelport.diagnose.probe.tally import Tally
from modelport.diagnose.probe.trials import Answering, taken
from modelport.evaluate.saved import Piece, SavedRows


@dataclass(frozen=True, slots=True)
class SavedAnswers(Answering):
    """Answers that lie in files; each change takes all of them at once."""

    rows: SavedRows
    pieces: Sequence[Piece]

    @property
    def n(self) -> int:
        """Samples that there are."""
        return len({sample.id for piece in self.pieces for sample in piece.samples})

    def extend(self, tallies: Sequence[Tally], stop: int) -> None:
        """Let each tally take all answers, whatever ``stop`` is. Raises DataError for files that are not whole."""
        new = [tally for tally in tallies if not tally.n]
        if not new:
            return
        for rows in self.rows.stream(self.pieces):
            answers = Answers(rows.ids, rows.targets, rows.outputs, rows.placements, rows.digests)
            for tally in new:
                taken(tally, answers, None)
