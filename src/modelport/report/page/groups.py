"""What was found by model: figures of one recipe and variant are set side by side, those of two never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from modelport.core.text import plain
from modelport.report.page.found import Found
from modelport.report.page.reading import words_at


@dataclass(frozen=True, slots=True)
class Member:
    """One thing that was found, and what it is called beside the others of its group."""

    one: Found
    label: str


@dataclass(frozen=True, slots=True)
class Group:
    """All that was found of one recipe and variant."""

    name: str
    members: Sequence[Member]

    def of(self, kind: str) -> list[Member]:
        """Return those of one kind."""
        return [member for member in self.members if member.one.kind == kind]


def groups(material: Sequence[Found], kinds: Collection[str]) -> list[Group]:
    """Return what was found of these kinds, by recipe and variant, in the order in which each is met first."""
    by_model: dict[str, list[Found]] = {}
    for one in material:
        if one.kind in kinds:
            by_model.setdefault(_model(one), []).append(one)
    return [Group(name, _labelled(members)) for name, members in by_model.items()]


def _model(one: Found) -> str:
    """Return what the model is called: a bench of a file alone has no recipe."""
    name = words_at(one.value, "recipe", limit=80) or plain(one.path.name, 80)
    variant = words_at(one.value, "variant", limit=40)
    return f"{name}, variant {variant}" if variant else name


def _labelled(members: Sequence[Found]) -> list[Member]:
    """Return them by engine and precision; those of one kind that share these are told apart by where they lie."""
    named = [(one, _place(one)) for one in members]
    met = Counter((one.kind, label) for one, label in named)
    return [
        Member(one, label if met[one.kind, label] == 1 else f"{label} ({plain(one.path.name, 30)})")
        for one, label in named
    ]


def _place(one: Found) -> str:
    told = [words_at(one.value, key, limit=40) for key in ("engine", "precision")]
    return " ".join(filter(None, told)) or "answers from elsewhere"
