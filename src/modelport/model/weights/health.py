"""What a network's weights tell of themselves: never trained, half loaded, shuffled, broken by a flipped bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from modelport.core.text import listed
from modelport.core.values import Array
from modelport.model.weights.initialisers import DEFAULT, initialiser_of, shape_of
from modelport.model.weights.weight_statistics import Spread, largest_of, outliers, rms_of, spread

if TYPE_CHECKING:
    from torch import Tensor, nn

Role = Literal["layer", "vector", "scale", "shift", "mean", "variance", "count"]
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
# Values that a layer must have to be told from a draw by its shape alone, and by its size too.
TOLD_BY_SHAPE, TOLD_BY_SIZE, TOLD_BY_EDGE = 1024, 4096, 256
UNMISTAKABLE = 32768
# Scores from which on a layer's places matter, and a kurtosis no initialiser has.
TRAINED, PEAKED = 10.0, 15.0
# Scores that shuffled values stay below.
SHUFFLED, ENOUGH, PLACES_ALONE = 5.0, 2048, 8192
# A share of the layers that must be trained for the others to be called missing.
TRAINED_SHARE = 0.2
# A share of the layers whose output channels must be of one size for a network to be as it was drawn.
EVEN_SHARE = 0.8
# No weight of float32 that takes part in a sum of products is as large.
ABSURD = 1e15


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a network, by what it does there; a layer's has its output channels first."""

    name: str
    module: str
    role: Role
    values: Array


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
        return {
            "kind": self.kind,
            "tensor": self.tensor,
            "module": self.module,
            "why": self.why,
            "certain": self.certain,
        }


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
    return [f"the weights look {WORDS[finding.kind]}: {finding.why}" for finding in findings if finding.certain]


def weights_of_state(tensors: Mapping[str, Array]) -> list[Weight]:
    """Return a state dict's tensors by their roles, told by keys and axes as PyTorch names them."""
    found = []
    for name, values in tensors.items():
        module, _, last = name.rpartition(".")
        norm = f"{module}.running_mean".lstrip(".") in tensors
        roles: dict[str, Role] = {"running_mean": "mean", "running_var": "variance", "num_batches_tracked": "count"}
        if norm:
            roles |= {"weight": "scale", "bias": "shift"}
        role = roles.get(last, "layer" if values.ndim > 1 else "vector")
        found.append(Weight(name, module, role, values))
    return found


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return the plain tensors of a state dict that have values as arrays; bfloat16 becomes float32."""
    import torch

    plain = {
        name: torch.Tensor.detach(tensor).cpu()
        for name, tensor in tensors.items()
        if not (tensor.is_meta or tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided)
    }
    return {
        name: (tensor.float() if tensor.dtype is torch.bfloat16 else tensor.resolve_conj()).numpy()
        for name, tensor in plain.items()
    }


def findings_of(weights: Sequence[Weight]) -> tuple[WeightFinding, ...]:
    """Return what a network's weights tell, what is certain first. A sound trained network gives none."""
    return examined(weights).findings


def examined(weights: Sequence[Weight]) -> Examined:
    """Return what a network's weights tell, with how many layers are in which state."""
    broken = [finding for weight in weights if (finding := _broken(weight))]
    unsound = {finding.tensor for finding in broken}
    rest = [weight for weight in weights if weight.name not in unsound]
    norms, fresh = _norms(rest), _fresh_norms(rest)
    layers = _layers(rest, fresh)
    found = [*broken, *_of_norms(fresh, norms), *_of_draws(layers, norms), *_of_shuffled(layers)]
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


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer's weights as judged by themselves."""

    weight: Weight
    state: Literal["drawn", "perhaps drawn", "trained", "shuffled", ""]  # empty: cannot be told
    shape: str = ""  # the distribution that it is a draw of
    known: str = ""  # the initialiser of that size, where it is a known one
    norm: str = ""  # the batch norm that follows at once
    fresh: bool = False  # that norm has never seen a batch
    even: bool = True  # its output channels are of one size

    @property
    def large(self) -> bool:
        """Whether no training leaves so many values without a trace of their places."""
        return self.weight.values.size >= UNMISTAKABLE

    @property
    def how(self) -> str:
        """The distribution, and the initialiser where it is a known one."""
        return f"{self.shape}, {self.known}" if self.known else self.shape


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
    size, place = rms_of(rest), np.unravel_index(int(sizes.argmax()), values.shape)
    what = "one value of" if count <= 1 else f"{count} values up to"
    why = (
        f"{weight.name}: {what} {largest:.3g}, at {tuple(map(int, place))}, where the others have a root mean square "
        f"of {size:.3g} and reach {float(rest[-1]) if rest.size else 0:.3g}: as a flipped bit of the exponent leaves it"
    )
    return WeightFinding("absurd_size", weight.name, weight.module, why, True)


def _norms(weights: Sequence[Weight]) -> dict[str, list[Weight]]:
    """Return the tensors of each batch norm that keeps statistics."""
    found: dict[str, list[Weight]] = {}
    for weight in weights:
        if weight.role in ("scale", "shift", "mean", "variance", "count"):
            found.setdefault(weight.module, []).append(weight)
    return {name: parts for name, parts in found.items() if {"mean", "variance"} <= {part.role for part in parts}}


def _fresh_norms(weights: Sequence[Weight]) -> dict[str, bool]:
    """Return the batch norms whose statistics are those of one that never saw a batch; True where that is certain.

    It is where its counter says so too. A graph has none; there a scale and a shift may be written as a batch norm of
    mean 0 and variance 1, so that these two must be as initialised as well.
    """
    found = {}
    for name, parts in _norms(weights).items():
        values = {part.role: part.values for part in parts}
        if not values["mean"].any() and bool((values["variance"] == 1).all()):
            plain = "scale" in values and bool((values["scale"] == 1).all()) and not values["shift"].any()
            found[name] = not values["count"].any() if "count" in values else plain
    return found


def _judged(weight: Weight, spread_of: Spread | None, norm: str, fresh: bool) -> _Layer:
    """Tell a layer's state from how its values are spread."""
    if spread_of is None or weight.values.size < TOLD_BY_EDGE:
        return _Layer(weight, "")
    shape = shape_of(spread_of)
    if shape is not None:
        known = initialiser_of(weight.values.shape, shape, spread_of) if spread_of.even else ""
        # Where a draw ends is told by few values, its size by many.
        told = spread_of.n >= TOLD_BY_SIZE if known else False
        told |= shape == "uniform" and known == DEFAULT
        if told or spread_of.n >= TOLD_BY_SHAPE:
            return _Layer(weight, "drawn" if told else "perhaps drawn", shape, known, norm, fresh, spread_of.even)
        return _Layer(weight, "")
    if spread_of.structure > TRAINED or spread_of.kurtosis_score > PEAKED:
        shuffled = spread_of.n >= ENOUGH and spread_of.even and spread_of.structure < SHUFFLED
        return _Layer(weight, "shuffled" if shuffled else "trained", norm=norm, fresh=fresh)
    return _Layer(weight, "")


def _layers(weights: Sequence[Weight], fresh: Mapping[str, bool]) -> list[_Layer]:
    """Judge each layer; the batch norm that follows is the next in the order, of as many channels."""
    found = []
    for place, weight in enumerate(weights):
        if weight.role != "layer" or weight.values.dtype.kind != "f" or weight.values.ndim < 2:
            continue
        after = next((other for other in weights[place + 1 :] if other.role not in ("vector",)), None)
        norm = after.module if after is not None and after.role in ("scale", "mean") else ""
        if norm and after is not None and after.values.shape != weight.values.shape[:1]:
            norm = ""
        found.append(_judged(weight, spread(weight.values), norm, norm in fresh))
    return found


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


def _of_draws(layers: Sequence[_Layer], norms: Mapping[str, Sequence[Weight]]) -> list[WeightFinding]:
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
    lost = [layer for layer in drawn if layer.fresh or (layer.state == "drawn" and (not layer.norm or layer.large))]
    if not lost:
        return []
    why = f"{len(lost)} layers are as an initialiser draws them, while {len(trained)} others are trained: " + _some(
        [f"{layer.weight.name} ({layer.how})" for layer in lost]
    )
    return [WeightFinding("half_loaded", lost[0].weight.name, lost[0].weight.module, why, True)]


def _of_shuffled(layers: Sequence[_Layer]) -> list[WeightFinding]:
    """Tell layers whose places mean nothing, in a network where those of most others do."""
    trained = sum(layer.state == "trained" for layer in layers)
    odd = [
        layer for layer in layers if layer.state == "shuffled" or (layer.state == "perhaps drawn" and not layer.known)
    ]
    if trained < 2 or trained < 2 * len(odd):
        return []
    return [
        WeightFinding(
            "shuffled",
            layer.weight.name,
            layer.weight.module,
            f"{layer.weight.name}: the places of its values mean nothing, while those of {trained} other layers do: no "
            "channel and no tap differs from the others, no neighbours are alike: shuffled, or drawn anew",
            layer.weight.values.size >= PLACES_ALONE
            or (layer.state == "shuffled" and layer.weight.values.size >= TOLD_BY_SIZE),
        )
        for layer in odd
        if layer.weight.values.size >= ENOUGH and not layer.fresh
    ]


def _some(names: Sequence[str]) -> str:
    return listed(names, 3)
