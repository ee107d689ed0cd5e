"""A ``.pt2`` file (``torch.export.save``), held to be a program of tensors and operators before PyTorch reads it.

``torch.export.load`` does what such a file says in several ways: payloads may be pickles or compiled libraries, sizes
are expressions that are evaluated, operators are looked up by attribute, names and guards become Python source. What is
not of the plain forms below is refused; guards are left out when it is run.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelport.core.errors import CheckpointError
from modelport.core.text import plain, some
from modelport.model.weights.file import FETCH_AGAIN, checked_archive, decode
from modelport.model.weights.torchscript import is_torchscript, torchscript_error

# The graph of a large network takes some megabytes.
MAX_GRAPH_BYTES = 256 * 1024 * 1024
FLOAT32 = 7  # torch._export.serde.schema.ScalarType.FLOAT

_ENTRIES = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|\.format_version|\.storage_alignment|models/model\.json"
    r"|data/(weights|constants)/((weight|tensor)_\d+|model_(weights|constants)_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/[\w.-]+"
)
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!from_file)(?!__(?!(and|or|xor|lshift|rshift)__))\w+\.[A-Za-z]\w*"
    r"|torch\.ops\.torchvision\.\w+\.default|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.(_sym_sqrt|sym_(int|float|max|min|not|ite|sum))",
    re.ASCII,
)
_NAME = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)
# Names of tensors in a module: what a getattr of quoted text takes.
_PLAIN = re.compile(r"[\w.+:/ -]*", re.ASCII)
_POWERS = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift"})
_FUNCTIONS = _POWERS | {
    *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Mod", "Max", "Min", "And", "Or", "Not"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "StrictLessThan", "LessThan"),
    *("StrictGreaterThan", "GreaterThan", "FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilDiv"),
    *("CeilToInt", "FloorToInt", "RShift", "FloatTrueDiv", "IntTrueDiv", "TruncToFloat", "TruncToInt"),
    *("RoundToInt", "RoundDecimal", "ToFloat", "Identity"),
}
# A tower of powers would never end.
MAX_EXPONENT = 64
_SYMBOLS = re.compile(r"[a-z]{1,4}\d{1,6}|oo|int_oo|true|false", re.ASCII)
# What a tree of values names beyond plain containers: modules to import.
_IMPORTING = ("__enum__", "default_factory")
# Beside the graph: what the author's program looked like.
_UNUSED = frozenset({"metadata", "guards_code", "as_string", "as_strings"})
_TREES = frozenset({"in_spec", "out_spec", "treespec"})
SAVE_AGAIN = "save it again: torch.export.save(torch.export.export(net.eval(), (example,)), FILE)"


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What a program takes: one input of float32; a string is an axis that is free."""

    shape: tuple[int | str, ...]

    @property
    def batch(self) -> int | None:
        """The only batch that it takes; None: any."""
        return self.shape[0] if self.shape and isinstance(self.shape[0], int) else None


def check_program(content: bytes, name: str) -> ProgramFacts:
    """Return what a program takes, once nothing in the file is more than tensors and PyTorch's own operators.

    ``name`` stands for the file in errors. Raises CheckpointError, whatever the bytes are.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = _entries(archive, content, name)
            if "data/sample_inputs/model.pt" in entries:
                decode(archive.read(entries["data/sample_inputs/model.pt"]), f"{name}: its sample inputs")
            for kind in ("weights", "constants"):
                _check_payloads(_json(archive, entries, f"data/{kind}/model_{kind}_config.json", name), name)
            program = _json(archive, entries, "models/model.json", name)
        _check_version(program, name)
        _check(program, "", name)
        _check_mode(program, name)
        return _facts(program, name)
    except (zipfile.BadZipFile, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{name}: damaged, cut short or no .pt2 file ({plain(f'{type(error).__name__}: {error}', 200)})",
            FETCH_AGAIN,
        ) from error


def _entries(archive: zipfile.ZipFile, content: bytes, name: str) -> dict[str, str]:
    """Return the names in the archive by what they are called in its root folder."""
    names = archive.namelist()
    if min((entry.header_offset for entry in archive.infolist()), default=1):
        # Of a file that was cut short the last archive inside it is found.
        raise zipfile.BadZipFile("its directory is not its own")
    if is_torchscript(names):
        raise torchscript_error(name)
    if any("aotinductor/" in entry for entry in names):
        raise CheckpointError(f"{name}: holds compiled code (AOTInductor), which cannot be looked into", SAVE_AGAIN)
    if "serialized_exported_program.json" in names or any(entry.endswith("/weights/model.pt") for entry in names):
        raise CheckpointError(f"{name}: written by a PyTorch before 2.9, in another layout", SAVE_AGAIN)
    if not any(entry.endswith("models/model.json") for entry in names):
        raise CheckpointError(
            f"{name}: holds no program of torch.export", "a checkpoint goes with --weights; " + SAVE_AGAIN
        )
    checked_archive(archive, content, name)
    entries = {entry.partition("/")[2]: entry for entry in names}
    others = [plain(entry, 100) for entry in entries if not _ENTRIES.fullmatch(entry)]
    if others or len({entry.partition("/")[0] for entry in names}) != 1:
        raise CheckpointError(f"{name}: holds more than a program of tensors: {some(others or names)}", SAVE_AGAIN)
    return entries


def _json(archive: zipfile.ZipFile, entries: dict[str, str], entry: str, name: str) -> Any:
    if archive.getinfo(entries[entry]).file_size > MAX_GRAPH_BYTES:
        raise CheckpointError(f"{name}: its {entry} is larger than {MAX_GRAPH_BYTES} bytes", SAVE_AGAIN)
    return json.loads(archive.read(entries[entry]))


def _check_payloads(config: Any, name: str) -> None:
    for tensor, told in config["config"].items():
        if told["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", told["path_name"]):
            raise CheckpointError(
                f"{name}: refused, '{plain(tensor, 100)}' is no plain tensor: reading it would build objects",
                SAVE_AGAIN,
            )
        if not _PLAIN.fullmatch(tensor):
            raise CheckpointError(f"{name}: refused, a tensor with the name {plain(tensor, 100)}", SAVE_AGAIN)


def _check_version(program: Any, name: str) -> None:
    from torch import __version__
    from torch._export.serde.schema import SCHEMA_VERSION

    got = (program["schema_version"]["major"], program["schema_version"]["minor"])
    if got[0] != SCHEMA_VERSION[0]:
        age = "newer" if got > SCHEMA_VERSION else "older"
        by = program.get("torch_version") or "unknown"
        raise CheckpointError(
            f"{name}: written by a PyTorch {age} than this one ({plain(by, 40)}, schema {got[0]}.{got[1]}; here "
            f"{__version__}, schema {SCHEMA_VERSION[0]}.{SCHEMA_VERSION[1]})",
            "install that PyTorch, or save the program with this one",
        )


def _check(value: Any, key: str, name: str) -> None:
    """Raise CheckpointError for any text that PyTorch would look up, evaluate or write into source, unless plain."""
    if isinstance(value, dict):
        for inner, held in value.items():
            if inner not in _UNUSED:
                _check(inner, "", name)
                _check(held, inner, name)
    elif isinstance(value, list):
        for held in value:
            _check(held, key, name)
    elif isinstance(value, str) and not _is_plain(value, key):
        raise CheckpointError(f"{name}: refused, {key or 'a name'} is {plain(value, 120)}", SAVE_AGAIN)


def _check_mode(program: Any, name: str) -> None:
    """Raise CheckpointError where the network was exported in training mode: batch norms would follow the images."""
    for node in program["graph_module"]["graph"]["nodes"]:
        told = {given["name"]: given["arg"] for given in node["inputs"]}
        # Without running figures it standardises what it is given, weights for instance.
        follows = told.get("training", {}).get("as_bool") and "as_tensor" in told.get("running_mean", {})
        if follows or told.get("train", {}).get("as_bool"):
            raise CheckpointError(f"{name}: exported in training mode", "export net.eval()")


def _is_plain(text: str, key: str) -> bool:
    if key == "target":
        return bool(_OPERATORS.fullmatch(text))
    if key == "expr_str":
        return _is_plain_expression(text)
    if key in _TREES:
        return not any(word in text for word in _IMPORTING)
    return bool((_NAME if key in ("name", "as_name") else _PLAIN).fullmatch(text))


def _is_plain_expression(text: str) -> bool:
    """Whether a size is arithmetic on symbols: sympify evaluates it as Python."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return len(text) < 10_000 and all(map(_is_arithmetic, _nodes(tree.body)))


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of an expression, but for the called names."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(tree, ast.Call) and child is tree.func):
            yield from _nodes(child)


def _is_arithmetic(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=function), args=arguments):
            exponents = ast.walk(arguments[1]) if function in _POWERS and len(arguments) == 2 else ()
            small = all(_magnitude(part) <= MAX_EXPONENT for part in exponents)
            return function in _FUNCTIONS and small and (function not in _POWERS or len(arguments) == 2)
        case ast.Constant(value=str() as text):
            return bool(_SYMBOLS.fullmatch(text))
        case ast.Constant(value=bool() | int() | float()):
            return True
        case ast.Name(id=symbol):
            return bool(_SYMBOLS.fullmatch(symbol))
        case ast.BinOp(op=operator):
            return isinstance(operator, ast.Add | ast.Sub | ast.Mult | ast.Div | ast.FloorDiv | ast.Mod)
    plain_nodes = (ast.UnaryOp, ast.Compare, ast.keyword, ast.Load, ast.operator, ast.unaryop, ast.cmpop)
    return isinstance(node, plain_nodes)


def _magnitude(node: ast.AST) -> float:
    number = node.value if isinstance(node, ast.Constant) else 0
    return abs(number) if isinstance(number, int | float) else 0.0


def _facts(program: Any, name: str) -> ProgramFacts:
    module = program["graph_module"]
    specs = [spec["user_input"]["arg"] for spec in module["signature"]["input_specs"] if "user_input" in spec]
    if len(specs) != 1 or "as_tensor" not in specs[0]:
        raise CheckpointError(
            f"{name}: a program of {len(specs)} inputs; a sample tells one", "export the network with one tensor input"
        )
    tensor = module["graph"]["tensor_values"][specs[0]["as_tensor"]["name"]]
    if tensor["dtype"] != FLOAT32:
        raise CheckpointError(f"{name}: its input is not float32", "export it with a float32 example")
    shape = tuple(size.get("as_int", f"axis{place}") for place, size in enumerate(tensor["sizes"]))
    return ProgramFacts(shape)
