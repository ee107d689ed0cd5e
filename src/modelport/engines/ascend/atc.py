"""ATC's command line, built from recipe, graph and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelport.core.artifacts import writing
from modelport.core.errors import EngineError, UsageError, unknown
from modelport.engines.ascend import plan_files
from modelport.engines.ascend.aipp import aipp_of, padding_bytes, text_of
from modelport.engines.ascend.npu_smi import soc_version
from modelport.engines.ascend.recipe_table import Ascend
from modelport.engines.base import Build
from modelport.model.graph import precision_plan as plans
from modelport.model.graph.file import opset_of, precision_of, read_graph, signature_of
from modelport.recipes.schema import Recipe

# An ONNX model; the package itself stays in ``modelport.model``.
Graph = Any

PROGRAM = "atc"
SUFFIX = ".om"
# The files that ATC is pointed to lie beside --out, by the names that the guides and CANN's examples use.
FILE_NAMES = {
    "insert_op_conf": "aipp.cfg",
    "keep_dtype": "execeptionlist.cfg",
    "op_precision_mode": "op_precision.ini",
    "customize_dtypes": "customize_dtypes.cfg",
    "modify_mixlist": "ops_info.json",
}
# The operator set that ATC took when the guides were written.
GUIDE_OPSET = 11
# ATC's modes, by option: the least precise arithmetic that each leaves to float32 operators.
MODES = {
    "precision_mode": {
        "force_fp16": "fp16",
        "force_fp32": "fp32",
        "cube_fp16in_fp32out": "fp16",
        "allow_fp32_to_fp16": "fp16",
        "must_keep_origin_dtype": "fp32",
        "allow_mix_precision": "fp16",
        "allow_mix_precision_fp16": "fp16",
        "allow_mix_precision_bf16": "bf16",
        "allow_fp32_to_bf16": "bf16",
    },
    "precision_mode_v2": {"origin": "fp32", "mixed_float16": "fp16", "mixed_bfloat16": "bf16"},
}
# modelport's own words, as ATC's modes.
WORDS = {"fp16": "force_fp16", "fp32": "force_fp32", "bf16": "allow_fp32_to_bf16"}
MIXED = {mode for modes in MODES.values() for mode in modes if "mix" in mode}
KEEPS_ALL = {"must_keep_origin_dtype", "origin"}
EXCLUDE = (
    ("precision_mode", "precision_mode_v2"),
    ("op_precision_mode", "op_select_implmode"),
    ("op_precision_mode", "optypelist_for_implmode"),
)


@dataclass(frozen=True, slots=True)
class AscendBuild:
    """What ATC alone is told: ``Build.own``."""

    soc: str | None = None  # the chip to compile for; None: the one in this machine
    device: int = 0  # whose chip it is, where none is named
    plan: Path | None = None  # a precision plan
    input_type: str | None = None  # float32 or uint8; None: the recipe's


def own_of(build: Build) -> AscendBuild:
    """Return what ATC is told of a build; its own defaults where nothing was said."""
    return build.own if isinstance(build.own, AscendBuild) else AscendBuild()


@dataclass(frozen=True, slots=True)
class AtcCall:
    """One call of ATC: its options, the files that they name (by option: path and text), and what to say of it."""

    options: dict[str, str]
    files: dict[str, tuple[Path, str]]
    precision: str
    input_type: str
    batch: int
    notes: tuple[str, ...]

    def words(self, model: Path, output: Path) -> list[str]:
        """Return the argument vector; ``output`` is the artifact, whose suffix ATC adds by itself."""
        named = {"framework": "5", "model": str(model), "output": str(output.with_suffix("")), **self.options}
        named |= {option: str(path) for option, (path, _) in self.files.items()}
        return [PROGRAM, *(f"--{option}={value}" for option, value in named.items())]


@dataclass(slots=True)
class _Draft:
    options: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def artifact_path(out: Path) -> Path:
    """Return where the artifact goes: ``--out``, with ``.om`` where it lacks it. Raises UsageError for another kind."""
    if out.suffix in (".onnx", ".xml"):
        raise UsageError(f"--out {out}: ATC writes .om files", "give a name that ends in .om, or one without suffix")
    return out if out.suffix == SUFFIX else out.with_name(out.name + SUFFIX)


def plan_call(model: Path, build: Build, out: Path) -> AtcCall:
    """Return the call that compiles an ONNX file for this build into ``out``; nothing is written or run.

    Raises UsageError, EngineError or GraphError for what cannot be compiled so.
    """
    recipe, own = build.needed_recipe, own_of(build)
    settings = _settings(recipe)
    graph = read_graph(model)
    draft = _Draft()
    batch = _batch(graph, build.batch, settings.batch, model, draft)
    shapes = (f"{spec.name}:{','.join(map(str, spec.shape))}" for spec in recipe.signature.with_batch(batch).inputs)
    draft.options |= {"input_format": "NCHW", "input_shape": ";".join(shapes)}
    draft.options |= settings.options
    draft.options["soc_version"] = soc_version(own.soc, own.device)
    mode, precision = _precision(build.precision, draft)
    input_type = own.input_type or settings.input_type
    if input_type == "uint8":
        _insert_aipp(recipe, own.input_type is None, draft)
    if settings.out_nodes:
        nodes = plan_files.output_nodes(graph)
        draft.options["out_nodes"] = ";".join(f"{node}:{index}" for _, node, index in nodes)
    _precision_files(_plan_of(settings, own.plan, graph), graph, mode, draft)
    if opset_of(graph) > GUIDE_OPSET:
        draft.notes.append(
            f"{model} has opset {opset_of(graph)}; the ATC of the guides takes up to {GUIDE_OPSET}. "
            f"Where yours refuses it: modelport export {recipe.name} --opset {GUIDE_OPSET}"
        )
    _check_exclusions(draft)
    paths = _side_paths(draft.texts, artifact_path(out))
    files = {option: (paths[option], text) for option, text in draft.texts.items()}
    return AtcCall(draft.options, files, precision, input_type, batch, tuple(draft.notes))


def _settings(recipe: Recipe) -> Ascend:
    """Return the recipe's own table, or what stands for one where it has none."""
    table = recipe.tables.get("ascend")
    if isinstance(table, Ascend):
        return table
    return Ascend(
        batch=recipe.run.batch, input_type="float32", out_nodes=False, options={}, keep_dtype=[], op_precision={}
    )


def _batch(graph: Graph, asked: int | None, usual: int, model: Path, draft: _Draft) -> int:
    """Return the batch to compile for; a graph that is fixed to one leaves no choice."""
    first = signature_of(graph).inputs[0].shape[0]
    if not isinstance(first, int):
        return asked or usual
    if asked is not None and asked != first:
        raise UsageError(
            f"{model} is fixed to batch {first}, --batch {asked} was asked for",
            f"export it with --batch {asked} (or dynamic), or leave --batch out",
        )
    if asked is None and first != usual:
        draft.notes.append(f"batch {first}, to which {model} is fixed (the recipe's for Ascend is {usual})")
    return first


def _precision(asked: str | None, draft: _Draft) -> tuple[str, str]:
    """Set the precision option and return ATC's mode and what float32 operators are computed in."""
    if asked is None:
        draft.notes.append("no precision option is given: by ATC's default float32 operators are computed in float16")
        return "force_fp16", "fp16"
    if asked == "int8":
        raise EngineError("'ascend' refuses int8: ATC takes it from a graph that is quantised", "choose fp16 or fp32")
    mode = WORDS.get(asked, asked)
    for option, modes in MODES.items():
        if mode in modes:
            draft.options[option] = mode
            if mode == "force_fp32":
                draft.notes.append(
                    f"{mode}: an operator that the chip has in float16 only runs in float16 all the same"
                )
            return mode, modes[mode]
    known = [*WORDS, *(name for modes in MODES.values() for name in modes)]
    raise UsageError(f"--precision {asked}", unknown("precisions of ATC", asked, known))


def _insert_aipp(recipe: Recipe, by_recipe: bool, draft: _Draft) -> None:
    draft.texts["insert_op_conf"] = text_of(aipp_of(recipe))
    height, width = recipe.signature.inputs[0].shape[2:]
    why = "by the recipe; --input-type float32 leaves AIPP out" if by_recipe else "by --input-type"
    draft.notes.append(
        f"AIPP normalises on the device ({why}): the compiled model takes uint8 NHWC, ({height}, {width}, 3) an image, "
        "whatever --input_format says; feed it with `modelport preprocess --input-type uint8`"
    )
    if padding := padding_bytes(recipe):
        colour = ", ".join(map(str, padding))
        note = f"the padding comes before the normalisation: bytes {colour}, the nearest to the recipe's zeros"
        draft.notes.append(note)


def _plan_of(settings: Ascend, given: Path | None, graph: Graph) -> tuple[plans.PrecisionPlan, str]:
    """Return the plan to use and its name: the file that is given, over what the recipe says."""
    nodes: dict[str, str] = {}
    for chain in settings.keep_dtype:
        nodes |= dict.fromkeys(plan_files.chain_nodes(graph, chain), "fp32")
    if settings.keep_dtype and not nodes:
        chains = "; ".join(" → ".join(chain) for chain in settings.keep_dtype)
        raise UsageError(
            f"the graph has no chain {chains}, which the recipe keeps in float32", "mend [ascend] keep_dtype"
        )
    plan = plans.PrecisionPlan(nodes, dict(settings.op_precision))
    if given is None:
        return plan, "the recipe's [ascend]"
    own = plans.read_plan(given)
    if plans.INT8 in (*own.nodes.values(), *own.types.values()):
        raise UsageError(f"{given}: int8 is nothing that ATC takes from a plan", "name fp32, fp16 or bf16 layers only")
    plans.resolve(own, graph, str(given))
    return plans.PrecisionPlan({**plan.nodes, **own.nodes}, {**plan.types, **own.types}), str(given)


def _precision_files(plan: tuple[plans.PrecisionPlan, str], graph: Graph, mode: str, draft: _Draft) -> None:
    """Write the plan as the files that ATC takes in this precision mode."""
    content, place = plan
    whole = plans.resolve(content, graph, place)
    draft.texts["op_precision_mode"] = plan_files.op_precision_mode_text(whole)
    if mode in MIXED:
        draft.texts["modify_mixlist"] = plan_files.modify_mixlist_text(whole)
        whole = plans.resolve(plan_files.nodes_only(content), graph, place)
    forced: tuple[str, ...] = ("fp16", "bf16")
    if precision_of(graph) == "fp32":
        draft.texts["keep_dtype"] = plan_files.keep_dtype_text(whole)
    else:
        # What is not float32 in the graph would be kept as it is.
        forced = ("fp32", *forced)
    draft.texts["customize_dtypes"] = plan_files.customize_dtypes_text(whole, forced)
    draft.texts = {option: text for option, text in draft.texts.items() if text}
    if mode in KEEPS_ALL and draft.texts.pop("keep_dtype", ""):
        draft.notes.append(f"keep_dtype is left out: {mode} keeps every operator's type")


def _check_exclusions(draft: _Draft) -> None:
    given = {*draft.options, *draft.texts}
    for one, other in EXCLUDE:
        if one in given and other in given:
            raise UsageError(f"--{one} and --{other} exclude each other", "leave one of them out")


def _side_paths(texts: dict[str, str], out: Path) -> dict[str, Path]:
    """Return where each file goes: beside ``out``, under the model's name where another file has the usual one."""
    paths = {}
    for option in texts:
        usual = out.with_name(FILE_NAMES[option])
        paths[option] = usual if _is_free(usual, texts[option]) else out.with_name(f"{out.stem}.{FILE_NAMES[option]}")
    return paths


def _is_free(path: Path, text: str) -> bool:
    with writing(path):
        return not path.exists() or path.read_bytes() == text.encode()
