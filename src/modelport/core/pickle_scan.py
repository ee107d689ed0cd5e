"""Walks through a pickle without running it: which globals it names, and whether building its values would ever end."""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

# A checkpoint with its optimizer state takes some ten thousand; three hundred thousand tensors take seven million.
MAX_OPCODES = 10_000_000
# Values that a value holds when all that is shared inside it is written out, as hashing, comparing and printing do.
# Real files share little (a betas tuple, a device); t = (t, t), sixty deep, holds 2**60.
MAX_PARTS = 4 * MAX_OPCODES
# Containers inside each other; configurations that ride along nest about ten deep. Beyond some thousands C code that
# walks through them overflows its stack.
MAX_DEPTH = 200
# An int hashes to itself below 2**61 - 1; beyond, thousands of different ints may share one hash, and filling a
# dictionary with them takes the square of their number. Text and bytes are hashed with a random seed.
MAX_INT_KEY = 2**60

_PUT: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GET: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
_KINDS: Final = {
    "EMPTY_TUPLE": "tuple",
    "TUPLE": "tuple",
    "TUPLE1": "tuple",
    "TUPLE2": "tuple",
    "TUPLE3": "tuple",
    "EMPTY_LIST": "list",
    "LIST": "list",
    "EMPTY_DICT": "dict",
    "DICT": "dict",
    "EMPTY_SET": "set",
    "FROZENSET": "set",
}
# What has a state of its own form: tensors, and the stand-ins that keep nothing.
_STATES: Final = ("argparse.", "numpy.", "torch._utils._rebuild_", "torch._tensor._rebuild_", "torch.nn.parameter.")
_MARK: Final = object()
_SCALAR: Final = object()  # None, a truth value, a float or bytes


@dataclass(frozen=True, slots=True)
class Scan:
    """What a run of pickles asks to import, as ``module.name``, and the first thing that makes it unsafe to build."""

    names: frozenset[str]
    protocol: int  # the highest that is announced
    complete: bool  # every pickle was read to its end
    danger: str = ""  # why building its values might never end; empty where it would


@dataclass(eq=False, slots=True)
class _Node:
    """A container, a global (``kind`` is "global") or what a call makes; ``name`` is the global's or the callee's."""

    kind: str
    parts: list[Any] = field(default_factory=list)
    name: str = ""
    size: int = 0  # with all that is shared written out; 0: not known yet
    depth: int = 0


def scan_pickles(stream: BinaryIO, count: int = 1) -> Scan:
    """Scan ``count`` pickles that follow each other in ``stream``. Nothing is imported, built or called.

    A malformed pickle is no error: what was seen up to there is returned, with ``complete`` false.
    """
    machine = _Machine()
    complete = True
    try:
        for _ in range(count):
            machine.run(stream)
    except ValueError:
        # pickletools raises ValueError for every kind of malformed input.
        complete = False
    machine.measure()
    return Scan(frozenset(machine.names), machine.protocol, complete, machine.danger)


class _Machine:
    """A pickle machine that keeps text, small ints and which value holds which; all other values it forgets."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.protocol = 0
        self.opcodes = 0
        self.danger = ""
        self.nodes: list[_Node] = []
        self.checked = 0  # elements looked at in arguments, which may be looked at again in the next call

    def run(self, stream: BinaryIO) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(stream):
            self.opcodes += 1
            if self.opcodes > MAX_OPCODES:
                self._mark_danger(f"more than {MAX_OPCODES} instructions")
                raise ValueError("too many opcodes")
            self._step(opcode, argument)

    def measure(self) -> None:
        """Find the value that holds the most, everything that it shares written out, and the deepest."""
        for root in self.nodes:
            pending = [(root, False)]
            while pending:
                node, ready = pending.pop()
                if ready:
                    inner = [part for part in node.parts if isinstance(part, _Node)]
                    # A part whose size is 0 holds the node itself: printing such a circle stops there.
                    node.size = min(MAX_PARTS + 1, 1 + len(node.parts) + sum(part.size for part in inner))
                    node.depth = 1 + max((part.depth for part in inner), default=0)
                    if node.size > MAX_PARTS:
                        self._mark_danger("a value that holds itself over and over")
                    elif node.depth > MAX_DEPTH:
                        self._mark_danger(f"values nested more than {MAX_DEPTH} deep")
                elif not node.size:
                    node.size = 1
                    pending.append((node, True))
                    pending += [(part, False) for part in node.parts if isinstance(part, _Node) and not part.size]

    def _mark_danger(self, what: str) -> None:
        self.danger = self.danger or what

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        top = self.stack[-1] if self.stack else None
        name = opcode.name
        if name in _PUT:
            self.memo[int(argument)] = top
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = top
        elif name in _GET:
            self.stack.append(self.memo.get(int(argument)))
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "DUP":
            self.stack.append(top)
        else:
            if name == "PROTO":
                self.protocol = max(self.protocol, argument)
            called = self._note_global(name, argument)
            taken = self._pop(opcode)
            if called:
                self.stack.append(self._node("global", [], called))
            else:
                self._push(opcode, argument, taken)

    def _push(self, opcode: pickletools.OpcodeInfo, argument: Any, taken: list[Any]) -> None:
        name = opcode.name
        if name in _KINDS:
            if name == "DICT":
                self._check_keys(taken[::2])
            elif name == "FROZENSET":
                self._check_keys(taken)
            self.stack.append(self._node(_KINDS[name], taken))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"):
            self._fill(name, taken)
        elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"):
            self._call(taken)
        elif name in ("BINPERSID", "PERSID"):
            self._check_storage(taken)
            self.stack.append(self._node("storage", taken))
        else:
            known = isinstance(argument, str | int) and not isinstance(argument, bool)
            self.stack.extend(argument if known else _SCALAR for _ in opcode.stack_after)

    def _fill(self, name: str, taken: list[Any]) -> None:
        target, *parts = taken or [None]
        if not isinstance(target, _Node):
            self._mark_danger("elements for what is no container")
            target = self._node("unknown", [])
        if name in ("SETITEM", "SETITEMS"):
            self._check_keys(parts[::2])
        elif name == "ADDITEMS":
            self._check_keys(parts)
        elif name == "BUILD":
            own = target.name.startswith(_STATES) or target.name.endswith("Tensor")
            # Others' state goes into a dictionary: pairs in any other form would bring keys of their own.
            if not own and not all(isinstance(part, _Node) and part.kind == "dict" for part in parts):
                self._mark_danger("a state that is no dictionary")
        target.parts += parts
        self.stack.append(target)

    def _call(self, taken: list[Any]) -> None:
        callee, *arguments = taken or [None]
        if not isinstance(callee, _Node) or callee.kind != "global":
            self._mark_danger("a call of what is no function")
            callee = self._node("global", [])
        given = [part for held in arguments for part in (held.parts if isinstance(held, _Node) else [held])]
        if callee.name in ("collections.OrderedDict", "collections.Counter", "builtins.set"):
            for container in given:
                self._check_collection(callee.name, container)
        elif callee.name == "torch._tensor._rebuild_from_type_v2":
            inner = given[0] if given and isinstance(given[0], _Node) else callee
            if not inner.name.startswith("torch._utils._rebuild_"):
                self._mark_danger(f"a tensor rebuilt by {inner.name or 'what is no function'}")
        elif callee.name.endswith(("Storage", "Tensor", "bytearray")) and any(isinstance(part, int) for part in given):
            # A size out of nothing: files that torch.save writes give storages their bytes.
            self._mark_danger(f"a {callee.name} of a size instead of a content")
        self.stack.append(self._node("made", arguments, callee.name))

    def _check_collection(self, callee: str, container: Any) -> None:
        """Hold what a dictionary or set is made of, as far as it becomes keys."""
        if not isinstance(container, _Node) or container.kind not in ("list", "tuple", "dict"):
            self._mark_danger(f"a {callee} made of something else than a list")
        elif container.kind != "dict":  # whose keys were checked
            self.checked += len(container.parts)
            if self.checked > MAX_PARTS:
                self._mark_danger("collections made again and again")
            elif callee != "collections.OrderedDict":
                self._check_keys(container.parts)
            else:  # pairs, as Python 2 writes them
                pairs = [part.parts if isinstance(part, _Node) else [] for part in container.parts]
                self._check_keys([pair[0] if len(pair) == 2 else None for pair in pairs])

    def _check_keys(self, keys: list[Any]) -> None:
        for key in keys:
            if isinstance(key, int) and abs(key) >= MAX_INT_KEY:
                self._mark_danger("a key that is a huge integer")
            elif not (key is _SCALAR or isinstance(key, str | int) or (isinstance(key, _Node) and _is_plain_key(key))):
                kind = key.kind if isinstance(key, _Node) else "value of unknown kind"
                self._mark_danger(f"a key that is a {kind}, not text or a number")

    def _check_storage(self, taken: list[Any]) -> None:
        """A storage is named by text and small numbers; its name becomes a key of the loader's dictionary."""
        for held in taken:
            parts = held.parts if isinstance(held, _Node) else [held]
            view = parts[5].parts if len(parts) == 6 and isinstance(parts[5], _Node) else []
            self._check_keys([*parts[:5], *view])

    def _node(self, kind: str, parts: list[Any], name: str = "") -> _Node:
        made = _Node(kind, parts, name)
        self.nodes.append(made)
        return made

    def _note_global(self, name: str, argument: Any) -> str:
        """Note the global that an opcode names; return it where the opcode leaves it on the stack."""
        if name in ("GLOBAL", "INST"):
            module, _, attribute = argument.partition(" ")
            # Python 2 names (`__builtin__`), which torch's loader translates in the same way.
            module, attribute = NAME_MAPPING.get((module, attribute), (IMPORT_MAPPING.get(module, module), attribute))
            found = f"{module}.{attribute}"
        elif name == "STACK_GLOBAL":
            parts = ["?", "?", *self.stack[-2:]][-2:]
            found = ".".join(part if isinstance(part, str) else "?" for part in parts)
        elif name.startswith("EXT"):
            found = f"copyreg extension {argument}"
        else:
            return ""
        self.names.add(found)
        return "" if name == "INST" else found

    def _pop(self, opcode: pickletools.OpcodeInfo) -> list[Any]:
        """Take off the stack what the opcode takes, the deepest first, without the mark."""
        before = opcode.stack_before
        count = len(before)
        above: list[Any] = []
        if pickletools.markobject in before:
            while self.stack and (top := self.stack.pop()) is not _MARK:
                above.append(top)
            count = before.index(pickletools.markobject)
        start = max(0, len(self.stack) - count)
        taken = self.stack[start:]
        del self.stack[start:]
        return taken + above[::-1]


def _is_plain_key(node: _Node) -> bool:
    # Functions, dtypes and stand-ins are hashed by identity, `_codecs.encode` makes bytes; a torch.Size is a tuple.
    return node.kind == "global" or (node.kind == "made" and node.name.startswith(("numpy.", "_codecs.")))
