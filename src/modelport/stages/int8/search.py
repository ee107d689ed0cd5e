"""Post-training quantization: calibrate, see what was lost, let sensitive layers return, write the plan down."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelport import __version__
from modelport.core.artifacts import (
    Artifact,
    cache_folder,
    digest_file,
    digest_json,
    read_record,
    write_record,
    write_text,
)
from modelport.core.errors import DataError, EngineError, ModelportError
from modelport.core.progress import Progress
from modelport.core.scratch import scratch_folder
from modelport.core.values import Tensors
from modelport.engines.base import Build, Engine
from modelport.engines.fitted import with_constants
from modelport.engines.quantizer import Int8Model, Quantizer, calibrated, versions
from modelport.engines.registry import ENGINES, get_engine, model_artifact
from modelport.model.graph.file import read_graph
from modelport.model.graph.precision_plan import PrecisionPlan, block_list, plan_text
from modelport.recipes.schema import Recipe
from modelport.stages.int8.calibrate import Calibration
from modelport.stages.int8.examination import Examination, Loss, Reference
from modelport.stages.int8.sensitivity import as_json, groups_of, most_returned, ranked, return_layers
from modelport.stages.trail import Made
from modelport.tasks.scoring import SOURCE_AGREEMENT

# A metric in percent from which on nothing can be seen to be lost.
SATURATED = 99.9
# What takes part in the key: a change of the procedure makes what is cached old.
PROCEDURE = 3


@dataclass(frozen=True, slots=True)
class Int8Job:
    """A float32 ONNX graph to be quantized for an engine. ``reference`` answers as the source model does."""

    recipe: Recipe
    engine: Engine
    model: Artifact
    calibration: Calibration
    reference: Reference
    reference_is: str  # what answers, for the result: the source's sha256, or that it is the float32 graph
    build: Build  # the graph's form of the recipe, and the batch that is fed
    seed: int = 0
    plan: PrecisionPlan = field(default_factory=PrecisionPlan)


@dataclass(slots=True)
class _Trial:
    """One way of calibrating, and where it ended."""

    model: Int8Model
    kept: tuple[str, ...]
    loss: Loss | None
    first: Loss | None  # with nothing returned
    ranking: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    why_not: str = ""  # why nothing was measured
    distance: float = 0.0  # of the outputs from the source's, with nothing returned

    @property
    def excess(self) -> float:
        return max(0.0, self.loss.excess) if self.loss else 0.0


def quantized(job: Int8Job, progress: Progress) -> Made:
    """Return the int8 model for an engine, from the cache where the same was made before.

    Raises EngineError where the engine has no quantization, its library fails, or the outputs have collapsed;
    GraphError where the plan names what the graph has not.
    """
    name, quantizer = job.engine.name, _quantizer_of(job.engine)
    key = digest_json(
        [
            *(PROCEDURE, quantizer.methods, __version__, versions(quantizer), name),
            *(job.model.identity, job.recipe.digest),
            *(job.calibration.digest, job.reference_is, job.seed, job.build.batch),
            *(dict(job.plan.nodes), dict(job.plan.types)),
        ]
    )
    folder = cache_folder("quantized", key[:32])
    path, record = folder / f"model{job.engine.compiles_to}", folder / "record.json"
    known = _read_record(record, path)
    if known is None:
        known = _make(job, path, progress)
        write_record(record, known | {"sha256": _digests(path)})
    else:
        progress.detail(f"int8 model from the cache: {path}")
    artifact = model_artifact(path)
    chained = replace(artifact, made_from=job.model.digests, stands_for=job.model.shown)
    said = {"calibration": job.calibration.to_json(), "plan_file": str(plan_beside(path))}
    checks = (job.calibration.check,)
    return Made(chained, checks, notes=(*job.calibration.notes, *known["notes"]), record=known["record"] | said)


def _quantizer_of(engine: Engine) -> Quantizer:
    """Return the engine's quantizer. Raises EngineError where it has none."""
    if engine.quantizer is None:
        able = [other.name for other in map(get_engine, ENGINES) if other.quantizer is not None]
        raise EngineError(f"'{engine.name}' has no quantization", f"choose --engine {' or '.join(able)}")
    return engine.quantizer


def plan_beside(path: Path) -> Path:
    """Return where the precision plan of a model file lies."""
    return path.with_suffix(".plan.json")


def _make(job: Int8Job, path: Path, progress: Progress) -> dict[str, Any]:
    asked = tuple(block_list(job.plan, read_graph(job.model.path)))
    quantizer = _quantizer_of(job.engine)
    with scratch_folder(path.parent, "work") as work:
        examination = Examination(job.engine, job.calibration, job.reference, job.build, job.seed)
        tried: list[_Trial] = []
        failed: dict[str, EngineError] = {}
        for method in quantizer.methods:
            progress.note(f"quantizing {job.recipe.name} for {job.engine.name}: {method}")
            try:
                model = calibrated(quantizer, method, job.model, lambda: _inputs(job), work)
                tried.append(_first(job, model, asked, examination, work))
            except EngineError as error:
                # The libraries know some operators by one way only, and one way's outputs may have collapsed; the
                # other way is said and then does.
                failed[method] = error
        if not tried:
            raise next(iter(failed.values()))
        # The loss moves in steps of whole images; among equals the distance of the outputs decides.
        best = min(tried, key=lambda made: (made.excess, made.distance))
        if best.excess > 0:
            _let_return(best, asked, job, examination, (work, progress))
        best.model.write(best.kept, path)
    known = _told(job, best, asked, path)
    known["notes"] += [
        f"on held-out calibration images the source itself is not sound: {why}" for why in examination.notes
    ]
    known["record"]["tried"] = [
        {
            "ranges": made.model.method["ranges"],
            "distance": as_json(made.distance),
            "excess": made.first and as_json(made.first.excess),
        }
        for made in tried
    ] + [{"ranges": method, "failed": error.found} for method, error in failed.items()]
    known["notes"] += [
        f"int8 with ranges by '{method}' was not taken: {error.found}" for method, error in failed.items()
    ]
    return known


def _inputs(job: Int8Job) -> Iterator[Tensors]:
    fixed = _fixed_batch(job)
    batches = job.calibration.batches(job.calibration.ranges, job.build, job.seed)
    with closing(batches):
        for batch in batches:
            # Padding repeats a row; only a graph of a fixed batch needs it.
            rows = batch.inputs if fixed else {name: rows[: len(batch.ids)] for name, rows in batch.inputs.items()}
            yield with_constants(job.recipe.tensors.inputs, rows)


def _fixed_batch(job: Int8Job) -> bool:
    from modelport.model.graph.file import signature_of

    return isinstance(signature_of(read_graph(job.model.path)).inputs[0].shape[0], int)


def _trial(job: Int8Job, model: Int8Model, kept: Collection[str], work: Path) -> Artifact:
    return model.write(kept, work / f"trial{job.engine.compiles_to}")


def _first(job: Int8Job, model: Int8Model, asked: tuple[str, ...], examination: Examination, work: Path) -> _Trial:
    """Measure the model with nothing returned but what the plan keeps."""
    trial = _trial(job, model, asked, work)
    examination.refuse_collapsed(trial)
    made = _Trial(model, asked, None, None, distance=examination.distance(trial))
    if not job.calibration.held_out:
        made.why_not = "no calibration image is left to be held out"
        return made
    try:
        made.loss = made.first = examination.loss(trial)
    except DataError as error:
        made.why_not = error.found
    return made


def _let_return(
    made: _Trial, asked: tuple[str, ...], job: Int8Job, examination: Examination, place: tuple[Path, Progress]
) -> None:
    """Rank the layers and let them return until the loss is tolerated, fewer than half of the heavy ones."""
    work, progress = place
    groups = groups_of([name for name in made.model.layers if name not in asked])

    def distance(kept: Collection[str]) -> float:
        return examination.distance(_trial(job, made.model, kept, work))

    def examine(kept: Collection[str]) -> Loss:
        return examination.loss(_trial(job, made.model, kept, work))

    order = ranked(groups, asked, distance, progress)
    heavy = made.model.heavy or made.model.layers
    most = max(0, most_returned(len(heavy)) - len(set(heavy) & set(asked)))
    returned = return_layers(order, asked, most, examine, heavy)
    made.kept, made.steps = returned.kept, returned.steps
    assert isinstance(returned.examined, Loss)
    made.loss = returned.examined
    made.ranking = [{"layers": list(group), "gain": gain} for group, gain in order]


def _told(job: Int8Job, made: _Trial, asked: tuple[str, ...], path: Path) -> dict[str, Any]:
    """Write the plan beside the model, and return the record and the notes."""
    returned = [name for name in made.kept if name not in asked]
    eight = set(made.model.layers) - set(made.kept)
    higher = [name for name in made.model.heavy if name not in eight]
    plan = PrecisionPlan({**dict.fromkeys(made.kept, "fp32"), **dict.fromkeys(sorted(eight), "int8")})
    text = plan_text(plan)
    write_text(plan_beside(path), text)
    notes = [
        f"int8: {len(made.model.heavy) - len(higher)} of {len(made.model.heavy)} heavy layers, "
        f"by {made.model.method['library']}, ranges from {len(job.calibration.ranges)} images"
    ]
    if higher:
        notes.append(f"in float32 stayed: {', '.join(higher[:8])}" + (" …" if len(higher) > 8 else ""))
    if returned:
        more = f" … ({len(returned)} in all)" if len(returned) > 8 else ""
        notes.append(f"returned to float32 for accuracy: {', '.join(returned[:8])}{more}")
    if made.loss is None:
        notes.append(f"what int8 loses was not measured on calibration images: {made.why_not}")
    elif made.loss.unsound:
        notes.append(f"int8 is not sound on held-out calibration images: {'; '.join(made.loss.unsound)}")
    elif made.loss.source >= SATURATED and made.loss.metric != SOURCE_AGREEMENT:
        notes.append(
            f"the source answers all {made.loss.n} held-out calibration images right: they tell little of what int8 "
            "loses on images that it was not trained on"
        )
    elif made.excess > 0:
        notes.append(
            f"int8 loses more than is tolerated on held-out calibration images, also with {len(returned)} layers in "
            f"float32: {made.loss.metric} {made.loss.got:.4g}, source {made.loss.source:.4g}"
        )
    record = {
        "engine": job.engine.name,
        "method": made.model.method,
        "reference": job.reference_is,
        "layers": {"heavy": len(made.model.heavy), "quantized": len(eight)},
        "higher_precision": higher,
        "returned": returned,
        "asked": list(asked),
        "loss": {
            "before": made.first.to_json() if made.first else None,
            "after": made.loss.to_json() if made.loss else None,
            "tolerated": None if made.loss is None else made.excess <= 0,
        },
        "ranking": made.ranking,
        "steps": made.steps,
        "plan": json.loads(text),
    }
    return {"record": record, "notes": notes}


def _digests(path: Path) -> dict[str, str]:
    model = model_artifact(path)
    return {part.path.name: part.sha256 for part in (model, *model.parts)} | {
        plan_beside(path).name: digest_file(plan_beside(path))
    }


def _read_record(record: Path, path: Path) -> dict[str, Any] | None:
    """Return what was made before, None where it is not whole."""
    known = read_record(record)
    whole = known is not None and {"record", "notes", "sha256"} <= set(known)
    try:
        return known if whole and known is not None and _digests(path) == known["sha256"] else None
    except (OSError, ModelportError):
        return None
