"""How training programs wrap weights: which state dicts a file holds, and the prefixes they put before every key."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from modelport.core.text import listed, plain

# Who writes which prefix: torch.compile's OptimizedModule; DataParallel, DistributedDataParallel, AveragedModel.
WRAPPERS = {"_orig_mod.": "torch.compile", "module.": "DataParallel or AveragedModel"}
AVERAGED_COUNT = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, beside its `module.` keys
# How training programs name the averaged weights: ema, model_ema, state_dict_ema, ema_model, averaged, swa.
AVERAGED = re.compile(r"(^|[^a-z])(ema|swa|averaged?)([^a-z]|$)", re.IGNORECASE)
# Where a weights file nests its state dicts: top level, a record such as {"ema": {"state_dict": …}}, one more.
_LEVELS = 3


def state_dicts(content: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Return every mapping of text to tensors alone inside ``content``, by the keys that lead to it."""
    import torch

    if not isinstance(content, Mapping) or not content or len(place) > _LEVELS:
        return {}
    if all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()):
        return {place: content}
    found: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for key, value in content.items():
        if isinstance(key, str):
            found |= state_dicts(value, (*place, key))
    return found


def path_of(place: tuple[str, ...]) -> str:
    """Return the keys that lead to a state dict, for people."""
    return "→".join(f"'{plain(key, 100)}'" for key in place)


def place_of_key(content: Any, key: str) -> tuple[str, ...] | None:
    """Return the place of the state dict that a user's key (dots between nested ones) leads to, None for none."""
    return next((place for place in state_dicts(content) if ".".join(place) == key), None)


def chosen_place(content: Any, wanted: Collection[str]) -> tuple[str, ...]:
    """Return where the state dict lies that is meant, where nobody says so; empty for the top level.

    Of several that have the model's keys the averaged one is taken, as timm does.
    """
    found = state_dicts(content)
    if () in found or not found:
        return ()
    fitting = [
        place for place, tensors in found.items() if without_prefix(tensors, wanted)[0] or _same(tensors, wanted)
    ]
    endings = {_ending(key) for key in wanted}
    alike = [place for place, tensors in found.items() if endings & {_ending(key) for key in tensors}]
    return min(fitting or alike or list(found), key=lambda place: not is_averaged(place))


def is_averaged(place: tuple[str, ...]) -> bool:
    """Whether a state dict's key says that it holds averaged weights."""
    return any(AVERAGED.search(key) for key in place)


def others_note(content: Any, taken: tuple[str, ...], why: str) -> str:
    """Say which other state dicts hold the taken one's tensors too (averaged weights, a teacher); empty for none."""
    found = state_dicts(content)
    mine = {_ending(key) for key in found.get(taken, ())}
    rivals = [place for place, tensors in found.items() if place != taken and mine & {_ending(key) for key in tensors}]
    if not rivals:
        return ""
    return (
        f"several state dicts in this file: {path_of(taken) or 'the top level'} was taken, {why}; "
        f"not {listed(map(path_of, rivals), 8)} (averaged and raw weights give different figures); --checkpoint-key "
        f"{plain('.'.join(rivals[0]), 100)} takes another"
    )


def without_prefix(keys: Collection[str], wanted: Collection[str]) -> tuple[dict[str, str], str]:
    """Return new names for keys under a prefix that hides exactly the ``wanted`` ones, and the note; else nothing.

    ``_orig_mod.`` inside names (a compiled part of a model) counts as well. Counters of batches may be absent.
    """
    if _same(keys, wanted):
        return {}, ""
    readings = [({key: key for key in keys}, "")]
    if any("_orig_mod." in key for key in keys):
        readings.append(({key: key.replace("_orig_mod.", "") for key in keys}, "_orig_mod."))
    for renamed, inner in readings:
        prefix = ""
        while True:
            names = {key: name.removeprefix(prefix) for key, name in renamed.items()}
            if (prefix or inner) and _same(names.values(), wanted):
                return names, prefix_note(prefix, inner)
            segment = next(iter(names.values()), "").partition(".")
            step = segment[0] + segment[1]
            if not segment[1] or not all(name.startswith(step) for name in names.values()):
                break
            prefix += step
    return {}, ""


def common_prefix(keys: Collection[str]) -> str:
    """Return the known wrappers' prefix that every key begins with, or an empty string."""
    prefix = ""
    while step := next((w for w in WRAPPERS if keys and all(key.startswith(prefix + w) for key in keys)), ""):
        prefix += step
    return prefix


def named(prefix: str) -> str:
    """Return a prefix with who writes it, for people."""
    writers = [writer for wrapper, writer in WRAPPERS.items() if wrapper in prefix]
    return f"'{plain(prefix, 100)}'" + (f" ({', '.join(writers)})" if writers else "")


def prefix_note(prefix: str, inner: str = "") -> str:
    """Say which prefix was taken off every key, and which from inside names."""
    if prefix:
        note = f"every key begins with {named(prefix)}: taken off"
        return f"{note}, and {named(inner)} inside names" if inner and inner not in prefix else note
    return f"{named(inner)} taken off inside names"


def _same(names: Collection[str], wanted: Collection[str]) -> bool:
    got, want = set(names), set(wanted)
    absent = want - got
    return len(got) == len(names) and got <= want and all(name.endswith(".num_batches_tracked") for name in absent)


def _ending(key: str) -> str:
    """Return the last two parts of a name, which the wrappers' prefixes leave as they are."""
    return ".".join(key.split(".")[-2:])
