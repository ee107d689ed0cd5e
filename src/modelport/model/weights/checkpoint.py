"""A weights file → a state dict, unwrapped and checked → a module that has exactly these keys."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import CheckpointError
from modelport.core.files import open_regular
from modelport.model.weights.file import decode
from modelport.model.weights.unwrapping import RIGHT_FILE, held, some_of, unwrapped
from modelport.model.weights.wrapping import (
    AVERAGED_COUNT,
    common_prefix,
    named,
    prefix_note,
    without_prefix,
)
from modelport.recipes.tables import Checkpoint

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]

# A checkpoint of a vision model with its optimizer state stays far below; it is read into memory as a whole.
MAX_FILE_BYTES = 16 * 1024**3
# Tensors may share a storage (tied weights), but not without bound: a few bytes could claim a terabyte.
MAX_SHARING = 4

_FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})
_PLAIN = _FLOATS | {"int64", "int32", "int16", "int8", "uint8", "bool"}


@dataclass(frozen=True, slots=True)
class StateDict:
    """The tensors of a weights file by their final keys: on the CPU, dense, contiguous, finite, detached."""

    tensors: dict[str, torch.Tensor]
    sha256: str  # of the file
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How a state dict compares with a module."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, Shape, Shape], ...]  # name, got, want
    miscast: tuple[tuple[str, str, str], ...]  # name, got, want: an integer where a float is wanted, or the reverse
    matched: int  # keys that fit
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the state dict can be loaded."""
        return not (self.missing or self.unexpected or self.misshapen or self.miscast)


def read_checkpoint(path: Path, spec: Checkpoint, wanted: Collection[str] = ()) -> StateDict:
    """Read a weights file (torch's zip and legacy formats, safetensors) and unwrap it as ``spec`` says.

    Raises CheckpointError where the file is missing, damaged, holds code or anything but plain tensors,
    or is a known mistake. ``wanted``, the model's keys where they are known, lets a prefix be taken off that hides
    exactly these; whatever is taken off, left out or chosen is noted.
    """
    content = read_weights_file(path)
    notes: list[str] = []
    entries = unwrapped(decode(content, str(path)), spec, wanted, path, notes)
    entries = _without_average_count(entries, notes)
    _refuse_known_mistakes(entries, spec, path, wanted)
    tensors = plain_tensors(entries, len(content), path)
    tensors = _renamed(tensors, spec.rename or (), path, notes)
    names, note = without_prefix(tensors, wanted) if wanted else ({}, "")
    if not names and wanted and (prefix := _wrappers_prefix(tensors, wanted, spec)):
        names, note = {key: key.removeprefix(prefix) for key in tensors}, prefix_note(prefix)
    if names:
        notes += [note] * (note != prefix_note(spec.strip_prefix))
        tensors = {names[key]: tensor for key, tensor in tensors.items()}
    else:
        tensors = _stripped(tensors, spec.strip_prefix, path, notes)
    return StateDict(tensors, digest_bytes(content), tuple(notes))


def compare(module: torch.nn.Module, state: StateDict) -> LoadReport:
    """Compare keys, shapes and dtypes; nothing is loaded and nothing raised. The module may be on ``meta``."""
    want, got = module.state_dict(), state.tensors
    absent = [name for name in want if name not in got]
    counters = [name for name in absent if _is_counter(name)]
    both = [(name, got[name], want[name]) for name in want if name in got]
    misshapen = tuple((name, tuple(a.shape), tuple(b.shape)) for name, a, b in both if a.shape != b.shape)
    recast = [(name, dtype_of(a), dtype_of(b)) for name, a, b in both if a.dtype != b.dtype]
    miscast = tuple(row for row in recast if (row[1] in _FLOATS) != (row[2] in _FLOATS) or "bool" in row[1:])
    notes = [f"{len(counters)} absent num_batches_tracked set to zero"] if counters else []
    converted = [row[1:] for row in recast if row not in miscast]
    notes += [
        f"{converted.count(pair)} tensors converted from {pair[0]} to {pair[1]}" for pair in sorted(set(converted))
    ]
    return LoadReport(
        missing=tuple(name for name in absent if not _is_counter(name)),
        unexpected=tuple(name for name in got if name not in want),
        misshapen=misshapen,
        miscast=miscast,
        matched=len(both) - len({row[0] for row in (*misshapen, *miscast)}),
        notes=tuple(notes),
    )


def load_strictly(module: torch.nn.Module, state: StateDict, source: str) -> LoadReport:
    """Load a state dict whose keys, shapes and kinds are exactly the module's; freeze it in evaluation mode.

    The module may be on ``meta``; it takes over the tensors of ``state``. Only absent ``num_batches_tracked``
    are accepted (and become zero), and floats are converted to the module's dtype; both are noted in the report.
    Raises CheckpointError listing what does not fit; ``source`` names the weights in it.
    """
    import torch

    report = compare(module, state)
    if not report.fits:
        raise CheckpointError(
            f"{source}: {_mismatch(report)}", RIGHT_FILE + ", and the recipe's unwrap and strip_prefix"
        )
    own = module.state_dict()
    tensors = OrderedDict[str, Any]()
    # The versions of the parts that load: these are their own keys. Some modules (torchvision's MNASNet) ask for them.
    tensors._metadata = getattr(own, "_metadata", {})  # type: ignore[attr-defined]
    for name, want in own.items():
        got = state.tensors.get(name)
        tensors[name] = torch.zeros(want.shape, dtype=want.dtype) if got is None else got.to(want.dtype)
    converted = [name for name, got in state.tensors.items() if got.dtype != tensors[name].dtype]
    lost = [name for name in converted if not _is_finite(tensors[name])]
    if lost:
        raise CheckpointError(
            f"{source}: {dtype_of(state.tensors[lost[0]])} values too large for the model's dtype: {some_of(lost)}",
            RIGHT_FILE,
        )
    module.load_state_dict(tensors, strict=True, assign=True)
    hollow = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    if hollow:
        raise CheckpointError(
            f"{source}: no values for {some_of(hollow)}, which the model does not keep in its state dict",
            "build the model on the CPU, not on the meta device",
        )
    module.eval().requires_grad_(False)
    return report


def read_weights_file(path: Path) -> bytes:
    """Return the bytes of a weights file. Raises CheckpointError, naming it, where it is no regular file."""
    fix = "check --weights (a file, not a folder), or fetch it with `modelport fetch RECIPE`"
    with open_regular(path, MAX_FILE_BYTES, CheckpointError, fix) as stream:
        try:
            return stream.read()
        except MemoryError as error:
            raise CheckpointError(f"{path}: not enough memory to read it", "free memory") from error
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error}", "check the disk and its permissions") from error


def _wrappers_prefix(tensors: Collection[str], wanted: Collection[str], spec: Checkpoint) -> str:
    """Return the known wrappers' prefix of all keys, where the model has none such and the recipe names another."""
    prefix = common_prefix(tensors)
    own = prefix == spec.strip_prefix or any(key.startswith(prefix) for key in wanted)
    return "" if own else prefix


def _without_average_count(entries: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Leave out the counter of torch.optim.swa_utils.AveragedModel, which is no weight of the model."""
    import torch

    count, rest = entries.get(AVERAGED_COUNT), [key for key in entries if key != AVERAGED_COUNT]
    if not isinstance(count, torch.Tensor) or not rest or not all(key.startswith("module.") for key in rest):
        return entries
    notes.append(f"averaged weights (an AveragedModel's): its counter '{AVERAGED_COUNT}' was left out")
    return {key: entries[key] for key in rest}


def _refuse_known_mistakes(keys: Iterable[str], spec: Checkpoint, path: Path, wanted: Collection[str]) -> None:
    bare = [key.removeprefix(spec.strip_prefix) for key in keys]
    if wanted and set(wanted) <= set(bare):
        return  # the model is all there: what is beside it is named as unexpected
    for mistake in spec.known_mistakes:
        beginning = mistake.key_prefix.removeprefix(spec.strip_prefix)
        if any(key.startswith(beginning) for key in bare):
            raise CheckpointError(
                f"{path}: {mistake.message}",
                f"give the final weights that the recipe names; their keys do not begin with '{mistake.key_prefix}'",
            )


def plain_tensors(entries: Mapping[str, Any], file_bytes: int, path: Path) -> dict[str, torch.Tensor]:
    """Return dense, contiguous, finite tensors. Raises CheckpointError, naming those that are not."""
    import torch

    others = [
        f"{key} ({type(value).__name__})" for key, value in entries.items() if not isinstance(value, torch.Tensor)
    ]
    if others:
        raise CheckpointError(
            f"{path}: not only tensors: {some_of(others)}{held(entries)}", "check the recipe's unwrap, or the file"
        )
    # Called on the class: attributes that the file hung on a tensor must not be called.
    tensors = {key: torch.Tensor.detach(value) for key, value in entries.items()}
    odd = [f"{key} ({_oddity(tensor)})" for key, tensor in tensors.items() if _oddity(tensor)]
    if odd:
        raise CheckpointError(f"{path}: no plain dense tensors: {some_of(odd)}", "save dense floats or integers")
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > MAX_SHARING * file_bytes:
        raise CheckpointError(f"{path}: claims far more values than its {file_bytes} bytes can hold", RIGHT_FILE)
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    broken = [key for key, tensor in tensors.items() if not _is_finite(tensor)]
    if broken:
        raise CheckpointError(
            f"{path}: NaN or infinite values in {some_of(broken)}", "take a checkpoint of a sound training"
        )
    return tensors


def _oddity(tensor: torch.Tensor) -> str:
    """Return what sets a tensor apart from a plain dense one, or an empty string."""
    import torch

    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse or nested"
    if tensor.is_meta:
        return "no values"
    return "" if dtype_of(tensor) in _PLAIN else dtype_of(tensor)


def _stripped(tensors: dict[str, torch.Tensor], prefix: str, path: Path, notes: list[str]) -> dict[str, torch.Tensor]:
    without = [key for key in tensors if not key.startswith(prefix)]
    if len(without) == len(tensors):
        notes.append(f"no key begins with '{prefix}': nothing taken off")
        return tensors
    if without:
        raise CheckpointError(
            f"{path}: {len(without)} of {len(tensors)} keys do not begin with '{prefix}': {some_of(without)}",
            RIGHT_FILE,
        )
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}


def _renamed(
    tensors: dict[str, torch.Tensor], parts: Iterable[tuple[str, str]], path: Path, notes: list[str]
) -> dict[str, torch.Tensor]:
    """Return the tensors with the recipe's parts of keys replaced. Raises CheckpointError where two become one."""
    names = {key: key for key in tensors}
    for old, new in parts:
        names = {key: name.replace(old, new) for key, name in names.items()}
    changed = [key for key, name in names.items() if key != name]
    if len(set(names.values())) < len(names):
        raise CheckpointError(f"{path}: the recipe's rename gives two keys one name", "mend [checkpoint] rename")
    if changed:
        notes.append(f"{len(changed)} of {len(names)} keys renamed as the recipe says: {changed[0]} …")
    return {names[key]: tensor for key, tensor in tensors.items()}


def _mismatch(report: LoadReport) -> str:
    others = {"of another shape": report.misshapen, "of another dtype": report.miscast}
    lists = {"missing": report.missing, "unexpected": report.unexpected}
    lists |= {
        kind: tuple(f"{name} (got {got}, want {want})" for name, got, want in rows) for kind, rows in others.items()
    }
    parts = [f"{len(names)} keys {kind}: {some_of(names)}" for kind, names in lists.items() if names]
    if prefix := common_prefix([*report.unexpected]):
        parts.insert(0, f"each of the unexpected keys begins with {named(prefix)}")
    wanted = report.matched + len(report.missing) + sum(map(len, others.values()))
    if report.matched * 10 <= wanted:
        parts.insert(0, f"only {report.matched} of {wanted} keys fit: these look like weights of another architecture")
    return "; ".join(parts)


def _is_counter(name: str) -> bool:
    # Files saved before torch 0.4.1 lack them, and nothing in evaluation mode reads them.
    return name.endswith(".num_batches_tracked")


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.dtype.is_floating_point or bool(tensor.isfinite().all())


def dtype_of(tensor: torch.Tensor) -> str:
    """Return a tensor's dtype without the library's name, such as ``float32``."""
    return str(tensor.dtype).removeprefix("torch.")
