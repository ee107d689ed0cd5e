"""Nodes of one graph put in the place of another's, between tensors that both have."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelport.core.errors import GraphError, raised_as
from modelport.core.text import plain
from modelport.model.graph.carried import Carried
from modelport.model.graph.file import opset_of
from modelport.model.graph.float16 import FULL, float_types
from modelport.model.graph.flow import captures, in_order
from modelport.model.graph.passing import named_nodes, passes, root
from modelport.model.graph.quantizable import name_nodes

if TYPE_CHECKING:
    import onnx

# Operators that changed their meaning, with the first opset of the new one (the operators' changelog).
NEW_MEANING = {"Softmax": 13, "LogSoftmax": 13, "Hardmax": 13, "Resize": 11, "BatchNormalization": 9, "Dropout": 12}
EXPORT_AGAIN = "export the file again from the source"


@dataclass(frozen=True, slots=True)
class Graft:
    """What takes the place of what. Names of nodes as ``name_nodes`` gives them where a file has none."""

    nodes: tuple[str, ...]  # the candidate's, which go
    reference_nodes: tuple[str, ...]  # which come
    places: Mapping[str, str]  # the candidate's tensor by the reference's, of all that both have
    output: str  # the candidate's tensor that is made anew
    reference_output: str
    whole: bool = False  # the nodes themselves, with what stands around them; else what they say, where they are alike


def grafted(candidate: onnx.ModelProto, reference: onnx.ModelProto, grafts: Sequence[Graft]) -> onnx.ModelProto:
    """Return a copy of ``candidate`` with each graft made; both models are left as they are.

    A node that keeps its operator keeps its name and the names of its tensors; new ones get names of their own. Float
    constants take the type that the candidate keeps the same constant in. Raises GraphError where a graft cannot be
    made: the reference reads a tensor that the candidate does not have, the opsets give its operator two meanings, it
    is control flow that differs, or the result is not valid.
    """
    work = _Work(candidate, reference)
    for graft in grafts:
        work.make(graft)
    return work.finish()


class _Work:
    def __init__(self, candidate: onnx.ModelProto, reference: onnx.ModelProto) -> None:
        import onnx.inliner

        whole = onnx.inliner.inline_local_functions(candidate) if candidate.functions else copy.deepcopy(candidate)
        name_nodes(whole)
        self.model, self.graph = whole, whole.graph
        self.reference = onnx.inliner.inline_local_functions(reference) if reference.functions else reference
        self.theirs = named_nodes(self.reference)
        self.opsets = opset_of(whole), opset_of(reference)
        self.made_there = {name: node for node in self.theirs.values() for name in node.output}
        self.constants = Carried(whole, self.reference, self.made_there, self._fresh)
        self.nodes: list[Any] = list(whole.graph.node)
        self.taken = {value.name for value in (*self.graph.input, *self.graph.initializer)}
        for node in self.nodes:
            self.taken.update((node.name, *node.input, *node.output))

    def make(self, graft: Graft) -> None:
        """Put what the reference's nodes say, or these nodes themselves, in the place of the candidate's."""
        old = [node for node in self.nodes if node.name in set(graft.nodes)]
        if not old:
            raise GraphError(f"the file has no node {_quoted(graft.nodes)}", EXPORT_AGAIN)
        unknown = [name for name in graft.reference_nodes if name not in self.theirs]
        if unknown:
            raise GraphError(f"the source has no node {_quoted(unknown)}", EXPORT_AGAIN)
        coming = [self.theirs[name] for name in graft.reference_nodes if self.theirs[name].op_type != "Constant"]
        if not coming:
            raise GraphError(f"the source has no operator for '{plain(graft.output, 60)}'", EXPORT_AGAIN)
        for node in coming:
            self._hold_meaning(node)
        mine, theirs = ([node for node in nodes if _computes(node)] for nodes in (old, coming))
        if not graft.whole and theirs and [node.op_type for node in mine] == [node.op_type for node in theirs]:
            self._mend(graft, mine, theirs)
        else:
            self._exchange(graft, old, coming)

    def _mend(self, graft: Graft, mine: Sequence[Any], theirs: Sequence[Any]) -> None:
        """Give the candidate's own nodes the attributes, the constants and the inputs of the reference's.

        What stands around them for the precision (casts, quantization) stays.
        """
        names = {root(there, self.made_there): here for there, here in graft.places.items()}
        makers = {name: node for node in self.nodes for name in node.output}
        for own, node in zip(mine, theirs, strict=True):
            if own.attribute != node.attribute:
                self._hold_plain(node)
                del own.attribute[:]
                own.attribute.extend(node.attribute)
            own.domain = node.domain
            had = list(own.input)
            own.input[:] = [
                self._mended_input(place, name, had, node, names, makers) for place, name in enumerate(node.input)
            ]
            self._as_many_results(own, len(node.output))
            names |= dict(zip(node.output, own.output, strict=False))

    def _as_many_results(self, own: Any, count: int) -> None:
        """Let go of results that nobody reads, as those of a batch norm that trained; add what is lacking."""
        read = {name for node in self.nodes for name in _reads(node)} | {value.name for value in self.graph.output}
        while len(own.output) > count and own.output[-1] not in read:
            own.output.pop()
        own.output.extend(self._fresh(f"{own.name}_{place}") for place in range(len(own.output), count))

    def _mended_input(
        self, place: int, name: str, had: Sequence[str], node: Any, names: Mapping[str, str], makers: Mapping[str, Any]
    ) -> str:
        """Return what a node of the candidate is to read where the reference's reads ``name``."""
        own = had[place] if place < len(had) else ""
        if not name:
            return ""
        source = root(name, self.made_there)
        if self.constants.has(source):
            # A weight in 8 bits stays: it is mended by quantizing again.
            quantized = own in makers and makers[own].op_type == "DequantizeLinear"
            return own if quantized else self._constant(source, own, node, place)
        want = names.get(source)
        if want is None:
            raise self._unknown(name, node)
        sources = {root(one, makers): one for one in had if one}
        return sources.get(root(want, makers), want)

    def _exchange(self, graft: Graft, old: Sequence[Any], coming: Sequence[Any]) -> None:
        """Put the reference's nodes in the place of the candidate's."""
        kept = _matched(old, coming)
        names = self._around(graft, coming)
        # The unit's own tensor keeps its name, whatever the node behind it was.
        names[graft.reference_output] = graft.output
        for node in coming:
            self._name_results(node, kept.get(node.name), names)
        self._replace(old, [self._brought(node, kept.get(node.name), names) for node in coming])

    def _around(self, graft: Graft, coming: Sequence[Any]) -> dict[str, str]:
        """Return the candidate's names of what flows in; what is made inside is not there yet."""
        made = {name for node in coming for name in node.output}
        return {theirs: mine for theirs, mine in graft.places.items() if theirs not in made}

    def _name_results(self, node: Any, own: Any, names: dict[str, str]) -> None:
        for place, name in enumerate(node.output):
            if name and name not in names:
                known = own.output[place] if own is not None and place < len(own.output) else ""
                names[name] = known if known and known not in names.values() else self._fresh(name)

    def _brought(self, node: Any, own: Any, names: Mapping[str, str]) -> Any:
        """Return the reference's node with its tensors by the candidate's names and its constants brought along."""
        made = copy.deepcopy(node)
        self._hold_plain(node)
        made.name = own.name if own is not None else self._fresh(node.name)
        for place, name in enumerate(node.input):
            if name in names:
                made.input[place] = names[name]
            elif name:
                known = own.input[place] if own is not None and place < len(own.input) else ""
                made.input[place] = self._constant(name, known, node, place)
        for place, name in enumerate(node.output):
            made.output[place] = names.get(name, name)
        return made

    def _hold_meaning(self, node: Any) -> None:
        mine, theirs = self.opsets
        new = NEW_MEANING.get(node.op_type)
        if new is not None and (mine < new) != (theirs < new):
            found = f"{node.op_type} means something else in opset {mine} than in the source's {theirs}"
            raise GraphError(found, f"export the file with opset {theirs}")

    def _hold_plain(self, node: Any) -> None:
        # What a subgraph reads of the source's tensors has no name here.
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise GraphError(f"node '{plain(node.name, 60)}' ({node.op_type}) is control flow", EXPORT_AGAIN)

    def _constant(self, name: str, known: str, node: Any, place: int) -> str:
        """Bring a constant of the reference along and return its name here; ``known`` is what it takes the place of."""
        if not self.constants.has(name):
            raise self._unknown(name, node)
        full = float_types(node, self.model, False)[0][place] == FULL
        return self.constants.bring(name, known, sum(_reads(other).count(known) for other in self.nodes), full=full)

    def _unknown(self, name: str, node: Any) -> GraphError:
        found = f"the source's node '{plain(node.name, 60)}' ({node.op_type}) reads '{plain(name, 60)}'"
        return GraphError(f"{found}, which this file does not have", EXPORT_AGAIN)

    def _replace(self, old: Sequence[Any], new: Sequence[Any]) -> None:
        """Take the old nodes out, but for those whose other results the rest of the graph still reads."""
        gone = {id(node) for node in old}
        fresh = {name for node in new for name in node.output}
        first = next(index for index, node in enumerate(self.nodes) if id(node) in gone)
        rest = [node for node in self.nodes if id(node) not in gone]
        wanted = {name for node in (*rest, *new) for name in _reads(node)} | {value.name for value in self.graph.output}
        back = []
        for node in reversed(old):
            if any(name in wanted and name not in fresh for name in node.output):
                for place, name in enumerate(node.output):
                    if name in fresh:
                        node.output[place] = self._fresh(name)
                if any(node.name == one.name for one in new):
                    node.name = self._fresh(node.name)
                wanted.update(_reads(node))
                back.append(node)
        before = [node for node in self.nodes[:first] if id(node) not in gone]
        after = [node for node in self.nodes[first:] if id(node) not in gone]
        self.nodes = [*before, *reversed(back), *new, *after]

    def finish(self) -> onnx.ModelProto:
        """Order the nodes, drop what nobody reads any more, and have the checker look at the whole."""
        import onnx

        known = {value.name for value in (*self.graph.input, *self.graph.initializer)}
        ordered = [step.node for step in in_order(self.nodes, known)]
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        read = {name for node in ordered for name in _reads(node)} | {value.name for value in self.graph.output}
        ordered = [node for node in ordered if node.op_type != "Constant" or read.intersection(node.output)]
        used = {name for node in ordered for name in _reads(node)} | {value.name for value in self.graph.output}
        dropped = {tensor.name for tensor in self.graph.initializer} - used
        for field in (self.graph.initializer, self.graph.input):  # before IR 4 a constant is an input as well
            kept = [entry for entry in field if entry.name not in dropped]
            del field[:]
            field.extend(kept)
        self.model.ir_version = max(self.model.ir_version, 4)
        del self.graph.value_info[:]  # shapes inside may be others now
        refused = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
        try:
            onnx.checker.check_model(self.model, full_check=True)
        except refused:
            _settle_outputs(self.model, self.reference)
            with raised_as(GraphError, "the file with the source's nodes is not valid", EXPORT_AGAIN, refused):
                onnx.checker.check_model(self.model, full_check=True)
        return self.model

    def _fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _reads(node: Any) -> list[str]:
    return [*node.input, *captures(node)]


def _computes(node: Any) -> bool:
    return node.op_type != "Constant" and not passes(node, floats_only=True)


def _matched(old: Sequence[Any], coming: Sequence[Any]) -> dict[str, Any]:
    """Return the candidate's node by the name of the reference's: the next of the same operator, in order."""
    rest, found = list(old), {}
    for node in coming:
        hit = next((one for one in rest if one.op_type == node.op_type), None)
        if hit is not None:
            found[node.name] = hit
            rest = rest[rest.index(hit) + 1 :]
    return found


def _settle_outputs(model: onnx.ModelProto, reference: onnx.ModelProto) -> None:
    """Declare the outputs as the source does, where it has them: a wrong stride had them declared otherwise."""
    theirs = {value.name: value for value in reference.graph.output}
    for value in model.graph.output:
        if value.name in theirs:
            value.type.CopyFrom(theirs[value.name].type)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{plain(name, 60)}'" for name in names)
