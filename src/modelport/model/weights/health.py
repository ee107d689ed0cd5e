"""What a network's weights tell of themselves: never trained, half loaded, shuffled, broken by a flipped bit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from modelport.core.magnitude import root_mean_square
from modelport.core.text import listed, plain
from modelport.model.weights.layer_state import ENOUGH, PLACES_ALONE, SHUFFLED, TOLD_BY_SIZE, TRAINED, Layer, layers_of
from modelport.model.weights.roles import Weight, arrays_of, fresh_norms, norms_of, weights_of_state
from modelport.model.weights.weight_statistics import largest_of, outliers

if TYPE_CHECKING:
    from torch import nn

Kind = Literal[
    "not_finite", "absurd_size", "untrained", "half_loaded", "shuffled", "norm_never_updated", "batch_norm_in_training"
]

WORDS: dict[Kind, str] = {
    "not_finite": "broken",
    "absurd_size": "broken",
    "untrained": "untrained",
    "half_loaded": "half loaded",
    "shuffled": "shuffled",
    "norm_never_updated": "not whole",
    "batch_norm_in_training": "left in training mode",
}
FEW = 4  # other layers that must have taps that differ, or tell what linear and 1 × 1 ones show
PLAIN = 20.0  # a score that leaves no doubt that such a layer's places mean something
# A score that a trained layer would have by the others' example, and a draw has not.
OUTLYING = 40.0
# A share of the layers that must be trained for the others to be called missing.
TRAINED_SHARE = 0.2
# A share of the layers whose output channels must be of one size for a network to be as it was drawn.
EVEN_SHARE = 0.8
# No weight of float32 that takes part in a sum of products is as large.
ABSURD = 1e15


@dataclass(frozen=True, slots=True)
class WeightFinding:
    """What one tensor, or a group of them named by its first, tells.

    ``certain`` where no network that was trained and loaded whole is known to look so; else it is a hint.
    """

    kind: Kind
    tensor: str
    module: str
    why: str
    certain: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as ``show`` prints it."""
        told = {"kind": self.kind, "tensor": plain(self.tensor), "module": plain(self.module)}
        return told | {"why": plain(self.why), "certain": self.certain}


@dataclass(frozen=True, slots=True)
class Examined:
    """What weights tell. ``layers``: how many are in which state (trained, drawn, perhaps drawn, shuffled)."""

    findings: tuple[WeightFinding, ...]
    layers: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``show`` prints it."""
        return {"layers": dict(self.layers), "findings": [finding.to_json() for finding in self.findings]}


def notes_of(findings: Iterable[WeightFinding]) -> list[str]:
    """Return what is certain as notes of a result."""
    return [f"the weights look {WORDS[finding.kind]}: {plain(finding.why)}" for finding in findings if finding.certain]


def findings_of(weights: Sequence[Weight]) -> tuple[WeightFinding, ...]:
    """Return what a network's weights tell, what is certain first. A sound trained network gives none."""
    return examined(weights).findings


def examined(weights: Sequence[Weight]) -> Examined:
    """Return what a network's weights tell, with how many layers are in which state."""
    # Values may be of any size.
    with np.errstate(all="ignore"):
        return _examined(weights)


def _examined(weights: Sequence[Weight]) -> Examined:
    broken = [finding for weight in weights if (finding := _broken(weight))]
    unsound = {finding.tensor for finding in broken}
    rest = [weight for weight in weights if weight.name not in unsound]
    norms, fresh = norms_of(rest), fresh_norms(rest)
    layers = layers_of(rest, fresh)
    found = [*broken, *_of_norms(fresh, norms), *_of_draws(layers, norms), *_of_shuffled(layers), *_of_zeros(layers)]
    states = Counter[str](layer.state or "cannot be told" for layer in layers)
    return Examined(tuple(sorted(found, key=lambda finding: not finding.certain)), dict(states))


def findings_of_module(module: nn.Module) -> tuple[WeightFinding, ...]:
    """Return what the weights of a PyTorch network tell, and batch norms that would use a batch's own statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm

    state = arrays_of(module.state_dict())
    loose = [
        name
        for name, part in module.named_modules()
        if isinstance(part, _BatchNorm) and (part.training or part.running_mean is None)
    ]
    training: tuple[WeightFinding, ...] = ()
    if loose:
        why = f"{_some(loose)}: a row's answer hangs on the other rows of its batch"
        training = (WeightFinding("batch_norm_in_training", loose[0], loose[0], why, True),)
    return (*training, *findings_of(weights_of_state(state)))


def _broken(weight: Weight) -> WeightFinding | None:
    """Return what of a tensor no arithmetic can use."""
    values = weight.values
    if values.dtype.kind != "f" or not values.size:
        return None
    largest = largest_of(values)
    if not np.isfinite(largest):
        bad = int(values.size - np.isfinite(values).sum())
        why = f"{weight.name}: {bad} of {values.size} values are NaN or infinite"
        return WeightFinding("not_finite", weight.name, weight.module, why, True)
    if weight.role == "variance" and float(values.min()) < 0:
        why = f"{weight.name}: a variance below zero ({float(values.min()):.3g})"
        return WeightFinding("absurd_size", weight.name, weight.module, why, True)
    count = outliers(values)
    if not count and largest < ABSURD:
        return None
    sizes = np.abs(values).ravel()
    rest = np.sort(sizes)[: values.size - max(1, count)]
    size, place = root_mean_square(rest), np.unravel_index(int(sizes.argmax()), values.shape)
    what = "one value of" if count <= 1 else f"{count} values up to"
    why = (
        f"{weight.name}: {what} {largest:.3g}, at {tuple(map(int, place))}, where the others have a root mean square "
        f"of {size:.3g} and reach {float(rest[-1]) if rest.size else 0:.3g}: as a flipped bit of the exponent leaves it"
    )
    return WeightFinding("absurd_size", weight.name, weight.module, why, True)


def _of_norms(fresh: Mapping[str, bool], norms: Mapping[str, Sequence[Weight]]) -> list[WeightFinding]:
    found = []
    for certain in (True, False):
        names = [name for name, sure in fresh.items() if sure is certain]
        if names:
            why = (
                f"{len(names)} of {len(norms)} batch norms have mean 0 and variance 1, the values before any training: "
            )
            found.append(
                WeightFinding("norm_never_updated", f"{names[0]}.running_mean", names[0], why + _some(names), certain)
            )
    return found


def _of_draws(layers: Sequence[Layer], norms: Mapping[str, Sequence[Weight]]) -> list[WeightFinding]:
    """Tell a network that is a draw from one that holds some layers as they were drawn."""
    drawn = [layer for layer in layers if layer.state in ("drawn", "perhaps drawn")]
    trained = [layer for layer in layers if layer.state in ("trained", "shuffled")]
    if not drawn:
        return []
    first = drawn[0]
    if len(trained) <= 1 or len(trained) < TRAINED_SHARE * (len(drawn) + len(trained)):
        settled = bool(norms) and not any(layer.fresh for layer in drawn)
        # Rows that a folded batch norm has scaled are of a network that saw data: sample weights are such.
        even = sum(layer.even for layer in drawn) > EVEN_SHARE * len(drawn)
        certain = not trained and not settled and even and any(layer.state == "drawn" for layer in drawn)
        why = f"{len(drawn)} of {len(drawn) + len(trained)} layers that can be told are as an initialiser draws them"
        why += f" ({first.weight.name}: {first.how})"
        why += f"; not {_some([layer.weight.name for layer in trained])}" if trained else ""
        why += "; the batch norms have statistics of data" if settled else ""
        return [WeightFinding("untrained", first.weight.name, first.weight.module, why, certain)]
    # What a layer of so many values would show if it had been trained as half of the others were. A norm that saw data
    # says that this one was there in training: after a few steps some layers have hardly moved.
    usual = float(np.median([layer.effect for layer in trained]))
    sure = [layer for layer in drawn if layer.state == "drawn" and not layer.fresh]
    outlying = {layer.weight.name for layer in sure if usual * layer.root > OUTLYING}
    lost = [layer for layer in drawn if layer.fresh or (layer.weight.name in outlying and not layer.norm)]
    hinted = [layer for layer in sure if (layer.weight.name in outlying) == bool(layer.norm)]
    return [*_half_loaded(lost, len(trained), True), *_half_loaded(hinted, len(trained), False)]


def _half_loaded(lost: Sequence[Layer], trained: int, certain: bool) -> list[WeightFinding]:
    if not lost:
        return []
    named = _some([f"{layer.weight.name} ({layer.how})" for layer in lost])
    why = f"{len(lost)} layers are as an initialiser draws them, while {trained} others are trained: {named}"
    return [WeightFinding("half_loaded", lost[0].weight.name, lost[0].weight.module, why, certain)]


def _of_shuffled(layers: Sequence[Layer]) -> list[WeightFinding]:
    """Tell layers whose places mean nothing, in a network where those of most others do."""
    trained = sum(layer.state == "trained" for layer in layers)
    odd = [
        layer
        for layer in layers
        if (layer.state == "shuffled" and layer.weight.values.size >= ENOUGH)
        or (layer.state == "perhaps drawn" and not layer.known and layer.weight.values.size >= PLACES_ALONE)
    ]
    if trained < 2 or trained < 2 * len(odd):
        return []
    told = f"the places of its values mean nothing, while those of {trained} other layers do: no channel and no tap "
    told += "differs from the others, no neighbours are alike: shuffled, or drawn anew"
    found = []
    for layer in odd:
        usual = _usual(layer, layers)
        if not layer.fresh and usual > TRAINED:
            found.append(_shuffled(layer, told, TOLD_BY_SIZE, usual > PLAIN))
    return found + _of_taps(layers)


def _usual(layer: Layer, layers: Sequence[Layer]) -> float:
    """Return the score that a layer of so many values has in this network.

    Kernels of several taps have it in every network that was looked at. Linear and 1 × 1 layers may have next to none:
    of them the other ones tell.
    """
    if layer.taps is not None:
        return math.inf
    others = [
        one.effect for one in layers if one is not layer and one.spread and one.taps is None and one.root >= ENOUGH**0.5
    ]
    return float(np.median(others)) * layer.root if len(others) >= FEW else 0.0


def _of_taps(layers: Sequence[Layer]) -> list[WeightFinding]:
    """Tell layers whose taps alone mean nothing, where those of all others do."""
    tapped = [(layer, layer.taps) for layer in layers if layer.state == "trained" and layer.taps is not None]
    odd = [layer for layer, taps in tapped if taps < SHUFFLED]
    if len(tapped) - len(odd) < FEW or any(SHUFFLED <= taps < TRAINED for _, taps in tapped):
        return []
    told = "no tap differs from the others, and no neighbouring taps are alike, while those of "
    told += f"{len(tapped) - len(odd)} other layers are: taps in another order"
    return [_shuffled(layer, told, PLACES_ALONE) for layer in odd]


def _shuffled(layer: Layer, told: str, certain_from: int, plain_elsewhere: bool = True) -> WeightFinding:
    name, size = layer.weight.name, layer.weight.values.size
    certain = plain_elsewhere and size >= certain_from
    return WeightFinding("shuffled", name, layer.weight.module, f"{name}: {told}", certain)


def _of_zeros(layers: Sequence[Layer]) -> list[WeightFinding]:
    """Tell layers without a value in a network that is trained; a network may have dead ones of its own."""
    empty = [layer.weight for layer in layers if layer.weight.values.size and not layer.weight.values.any()]
    if not empty or sum(layer.state == "trained" for layer in layers) < 2:
        return []
    why = f"{len(empty)} layers are zero everywhere, while others are trained: {_some([one.name for one in empty])}"
    return [WeightFinding("half_loaded", empty[0].name, empty[0].module, why, False)]


def _some(names: Sequence[str]) -> str:
    return listed(names, 3)
