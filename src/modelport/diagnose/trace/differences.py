"""In what two forms of the same unit differ: operators, settings, the tensors they read, weights."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np

from modelport.core.text import listed, plain
from modelport.diagnose.trace.difference import SHOWN, Difference, Sides, shown
from modelport.diagnose.trace.differing_settings import of_settings
from modelport.diagnose.trace.differing_weights import of_weights
from modelport.diagnose.trace.folding import Norm, settled
from modelport.diagnose.trace.reading import COMMUTATIVE, Operation
from modelport.diagnose.trace.spelling import NODES


def differences(sides: Sides, mine: Sequence[Operation], theirs: Sequence[Operation]) -> list[Difference]:
    """Return in what the candidate's operations differ from the reference's, what tells most first."""
    found = _compared(sides, mine, theirs, {})
    if found:
        # What is spelled otherwise and is the same is no difference. Where as many are left, the files say it plainer.
        (plainer, own), (plainest, norms) = settled(mine), settled(theirs)
        if not (_same_objects(plainer, mine) and _same_objects(plainest, theirs)):
            found = _smaller(found, _compared(sides, plainer, plainest, {} if own else norms))
    order = ("opset", "missing", "added", "operator", "attribute", "inputs", "constant", "range", "norm", "weights")
    return sorted(found, key=lambda each: order.index(each.kind))


def _smaller(one: list[Difference], two: list[Difference]) -> list[Difference]:
    """Return what tells less, by the operators that it is about; the first where both tell as much."""
    sizes = [sum(each.size for each in found) for found in (one, two)]
    return two if sizes[1] < sizes[0] else one


def _same_objects(one: Sequence[Operation], two: Sequence[Operation]) -> bool:
    return len(one) == len(two) and all(map(operator.is_, one, two))


def _compared(
    sides: Sides, mine: Sequence[Operation], theirs: Sequence[Operation], norms: Mapping[str, Norm]
) -> list[Difference]:
    found = [_of_operators(mine[a:b], theirs[c:d]) for a, b, c, d in _changes(mine, theirs)]
    names = {sides.mine.root(one): sides.theirs.root(two) for one, two in sides.tensors.items()}
    # What nodes of the source make that the candidate lacks: whoever reads it reads something else here, for that.
    alone = {name for _, _, c, d in _changes(mine, theirs) for two in theirs[c:d] for name in two.outputs}
    for one, two in _pairs(mine, theirs):
        turned = _constant_elsewhere(one, two)
        if turned is not None:
            found.append(turned)
        else:
            found += of_settings(sides, one, two)
            found += _of_inputs(one, two, names, alone)
            found += of_weights(sides, one, two, norms.get(two.name))
        names |= dict(zip(one.outputs, two.outputs, strict=False))
    return found


def _blocks(mine: Sequence[Operation], theirs: Sequence[Operation]) -> Sequence[tuple[str, int, int, int, int]]:
    matcher = SequenceMatcher(None, [one.op for one in mine], [two.op for two in theirs], autojunk=False)
    return matcher.get_opcodes()


def _changes(mine: Sequence[Operation], theirs: Sequence[Operation]) -> list[tuple[int, int, int, int]]:
    return [(a, b, c, d) for word, a, b, c, d in _blocks(mine, theirs) if word != "equal"]


def _pairs(mine: Sequence[Operation], theirs: Sequence[Operation]) -> Iterator[tuple[Operation, Operation]]:
    for word, a, b, c, d in _blocks(mine, theirs):
        if word == "equal":
            yield from zip(mine[a:b], theirs[c:d], strict=True)


def _of_operators(mine: Sequence[Operation], theirs: Sequence[Operation]) -> Difference:
    if (inside := _inside(mine, theirs)) is not None:
        return inside
    have, want = _spelled(mine), _spelled(theirs)
    node, op = (mine[0].name, mine[0].op) if mine else ("", "")
    kind, mend, size = "operator", f"put {want} back", max(len(mine), len(theirs))
    told = f"{have} {'is' if len(mine) == 1 else 'are'} where the source has {want}"
    if not mine:
        kind, told = "missing", f"{want} {'is' if len(theirs) == 1 else 'are'} missing"
    elif not theirs:
        kind, mend = "added", f"take {have} out"
        told = f"{have} {'was' if len(mine) == 1 else 'were'} added; the source has nothing there"
    return Difference(kind, told, mend, node, op, size=size)


def _inside(mine: Sequence[Operation], theirs: Sequence[Operation]) -> Difference | None:
    """Tell the one node that is another among those in which the source's operator is written here; None for more."""
    names = [one.op for one in mine]
    for chain in NODES.get(theirs[0].op, ()) if len(theirs) == 1 and len(mine) > 1 else ():
        blocks = SequenceMatcher(None, names, chain, autojunk=False).get_opcodes()
        off = [(a, b, c, d) for word, a, b, c, d in blocks if word != "equal"]
        if len(names) == len(chain):
            off = [(k, k + 1, k, k + 1) for k, (one, two) in enumerate(zip(names, chain, strict=True)) if one != two]
        if len(off) != 1 or max(off[0][1] - off[0][0], off[0][3] - off[0][2]) > 1:
            continue
        a, b, c, d = off[0]
        lead = f"in the nodes that are {theirs[0].op} in the source"
        mend = f"put {theirs[0].op} back"
        if a == b:
            node, op = (mine[a].name, mine[a].op) if a < len(mine) else ("", "")
            return Difference("missing", f"{lead}, {chain[c]} is missing", mend, node, op)
        told = f"{_called_op(mine[a])} is where {chain[c]} belongs" if c < d else f"{_called_op(mine[a])} was added"
        return Difference("operator" if c < d else "added", f"{lead}, {told}", mend, mine[a].name, mine[a].op)
    return None


def _spelled(operations: Sequence[Operation]) -> str:
    return listed(map(_called_op, operations), 6)


def _called_op(operation: Operation) -> str:
    """Return an operator with what tells it from others of its kind: the type of a cast, a number that it takes."""
    from onnx import TensorProto

    name = plain(operation.op, SHOWN)
    if operation.op == "Cast":
        names = {number: word for word, number in TensorProto.DataType.items()}
        return f"Cast to {names.get(operation.settings.get('to'), 'no type').lower()}"
    numbers = {key: one for key, one in operation.settings.items() if key in operation.constants}
    told = [f"{plain(key, SHOWN)} {shown(one)}" for key, one in numbers.items() if isinstance(one, float)]
    return f"{name} ({', '.join(told)})" if told else name


def _constant_elsewhere(mine: Operation, theirs: Operation) -> Difference | None:
    """Tell a constant that is the first operand here and the second there."""
    if len(mine.constants) != 1 or len(theirs.constants) != 1 or mine.constants.keys() == theirs.constants.keys():
        return None
    (one,), (two,) = mine.constants, theirs.constants
    have, want = (
        np.asarray(side.weights[key] if key in side.weights else side.settings[key])
        for side, key in ((mine, one), (theirs, two))
    )
    if have.shape != want.shape or not np.array_equal(have, want):
        return None
    told = f"its inputs are exchanged: the constant is {plain(one, SHOWN)}, the source's is {plain(two, SHOWN)}"
    return Difference("inputs", told, "exchange them", mine.name, mine.op)


def _of_inputs(
    mine: Operation, theirs: Operation, names: Mapping[str, str], alone: Collection[str]
) -> Iterator[Difference]:
    """Yield what is read in another order, or from elsewhere."""
    have, want, called = [names.get(name, "") for name in mine.inputs], list(theirs.inputs), list(mine.inputs)
    if mine.op in COMMUTATIVE:
        for one in set(have).intersection(want):
            place = have.index(one)
            del have[place], called[place], want[want.index(one)]
    if have == want:
        return
    mend = f"read {listed((plain(name, SHOWN) for name in want), 4)} as the source does"
    if len(have) != len(want):
        told = f"it reads {len(mine.inputs)} tensors, the source {len(theirs.inputs)}"
        yield Difference("inputs", told, mend, mine.name, mine.op)
        return
    if sorted(have) == sorted(want):
        told = "its inputs are exchanged" if len(have) == 2 else "its inputs stand in another order"
        told += f": {listed((plain(name, SHOWN) for name in called), 4)}"
        yield Difference("inputs", told, mend, mine.name, mine.op)
        return
    for place, (one, two) in enumerate(zip(have, want, strict=True)):
        # What is made of another tensor inside the unit is told where it is made.
        if one and one != two and two not in alone:
            told = f"it reads '{plain(called[place], SHOWN)}', which is the source's '{plain(one, SHOWN)}';"
            told += f" the source reads '{plain(two, SHOWN)}'"
            yield Difference("inputs", told, mend, mine.name, mine.op)
