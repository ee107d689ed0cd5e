"""What every stage returns, and the trail that a model leaves from stage to stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from modelport.core.artifacts import Artifact
from modelport.core.values import Check


@dataclass(frozen=True, slots=True)
class Made:
    """A stage's model: the one that came in, where nothing was to be done, or a new one."""

    artifact: Artifact
    checks: tuple[Check, ...] = ()  # that it passed
    notes: tuple[str, ...] = ()  # what is to be said of it
    record: dict[str, Any] = field(default_factory=dict)  # how it became int8; empty where it did not


@dataclass(slots=True)
class Trail:
    """What was made on the way, the last of it the model to run."""

    steps: list[Made] = field(default_factory=list)

    def add(self, made: Made) -> Artifact:
        """Take the next stage's model and return it."""
        self.steps.append(made)
        return made.artifact

    @property
    def model(self) -> Artifact:
        """The model as the last stage left it."""
        return self.steps[-1].artifact

    @property
    def artifacts(self) -> list[Artifact]:
        """Every model on the way, each once."""
        return list({made.artifact.path: made.artifact for made in self.steps}.values())

    @property
    def checks(self) -> list[Check]:
        """The checks of all stages, in order."""
        return list(chain.from_iterable(made.checks for made in self.steps))

    @property
    def notes(self) -> list[str]:
        """The notes of all stages, in order."""
        return list(chain.from_iterable(made.notes for made in self.steps))

    @property
    def record(self) -> dict[str, Any] | None:
        """How the model became int8; None where it did not."""
        return next((made.record for made in reversed(self.steps) if made.record), None)
