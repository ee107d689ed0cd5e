"""What a weights file holds → the state dict in it that is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelport.core.errors import CheckpointError
from modelport.core.text import plain
from modelport.model.weights.wrapping import chosen_place, is_averaged, others_note, path_of, place_of_key, state_dicts
from modelport.recipes.tables import Checkpoint, GivenKey

NAMED = 8  # names that a message shows of each list
RIGHT_FILE = "check that this is the file the recipe names"


def unwrapped(content: Any, spec: Checkpoint, wanted: Collection[str], path: Path, notes: list[str]) -> dict[str, Any]:
    """Return the state dict that ``spec`` or the user's key names, or that alone fits; ``notes`` takes what is said.

    Raises CheckpointError where it is not there, or is none.
    """
    import torch

    whole, absent, taken = content, [], []
    keys, why = _keys_and_why(content, spec, wanted, path)
    for key in keys:
        if isinstance(content, Mapping) and key in content:
            content = content[key]
            taken.append(key)
        else:
            absent.append(repr(key))
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__} where a state dict should be", RIGHT_FILE)
    if not content:
        raise CheckpointError(f"{path}: holds no tensors", RIGHT_FILE)
    if not all(isinstance(key, str) for key in content):
        raise CheckpointError(f"{path}: has keys that are no text", RIGHT_FILE)
    if absent and not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(
            f"{path}: has no {', '.join(absent)}; its keys are {some_of(content)}{held(whole)}",
            "check the recipe's unwrap, or save the right state dict alone: torch.save(STATE_DICT, FILE)",
        )
    if absent:
        notes.append(f"not wrapped in {', '.join(absent)}: taken as a bare state dict")
    if note := others_note(whole, tuple(taken), why):
        notes.append(note)
    elif taken and not spec.unwrap:
        notes.append(f"the state dict under {path_of(tuple(taken))} was taken")
    return dict(content)


def _keys_and_why(content: Any, spec: Checkpoint, wanted: Collection[str], path: Path) -> tuple[Sequence[str], str]:
    """Return the keys to descend, and who says so. Raises CheckpointError where the user's own key is not there."""
    if isinstance(spec, GivenKey):
        place = place_of_key(content, spec.key)
        if place is None:
            known = [plain(".".join(other), 100) for other in state_dicts(content) if other]
            raise CheckpointError(
                f"{path}: holds no state dict under '{plain(spec.key, 100)}'",
                f"--checkpoint-key takes one of: {some_of(known)}"
                if known
                else "leave --checkpoint-key out: it is bare",
            )
        return place, "as --checkpoint-key says"
    if spec.unwrap or not wanted:
        return spec.unwrap, "as the recipe says"
    place = chosen_place(content, wanted)
    return place, "the averaged weights" if is_averaged(place) else "the first of them"


def held(content: Any) -> str:
    """Say which state dicts lie deeper inside; empty for none."""
    places = [place for place in state_dicts(content) if place]
    return f"; it holds a state dict under {', '.join(map(path_of, places[:NAMED]))}" if places else ""


def some_of(names: Iterable[str]) -> str:
    """Return the first names, made plain, and how many there are beside them."""
    names = list(names)
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(plain(name, 200) for name in names[:NAMED]) + rest
