"""Constants of one graph carried into another, in the float type that the other keeps them in."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.model.graph.file import FLOATING
from modelport.model.graph.flow import constant_of
from modelport.model.graph.quantizable import constant_nodes

if TYPE_CHECKING:
    import onnx


class Carried:
    """The constants of ``reference``, to be brought into ``model``, which is changed.

    ``makers`` are the reference's nodes by what they give; ``fresh`` makes a name that ``model`` does not have yet.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        reference: onnx.ModelProto,
        makers: Mapping[str, Any],
        fresh: Callable[[str], str],
    ) -> None:
        self._graph = model.graph
        self._fresh = fresh
        self._kind = _float_kind(model)
        self._made_here = {name: tensor.data_type for name, tensor in constant_nodes(model)}
        self._kept = {tensor.name: tensor for tensor in reference.graph.initializer}
        self._makers = makers

    def has(self, name: str) -> bool:
        """Whether a tensor is a constant of the reference."""
        return name in self._kept or self._made(name) is not None

    def bring(self, name: str, known: str, uses: int, *, full: bool) -> str:
        """Bring a constant along and return its name here.

        It has the float type of the constant ``known``, and takes its place where that is an initializer that is used
        no more than once; ``uses`` says how often it is. Where there is none, its type is the one that most constants
        have, or stays as it is where ``full`` says that no other is taken there.
        """
        from onnx import TensorProto

        kept = next((one for one in self._graph.initializer if one.name == known), None)
        kind = self._made_here.get(known, TensorProto.FLOAT if full else self._kind)
        tensor = _typed_as(self._copied(name), kind if kept is None else kept.data_type)
        if kept is not None and uses == 1:
            tensor.name = known
            kept.CopyFrom(tensor)
            return known
        tensor.name = self._fresh(name)
        self._graph.initializer.append(tensor)
        return str(tensor.name)

    def _copied(self, name: str) -> Any:
        return copy.deepcopy(self._kept[name]) if name in self._kept else self._made(name)

    def _made(self, name: str) -> Any:
        return constant_of(self._makers[name]) if name in self._makers else None


def _float_kind(model: onnx.ModelProto) -> int:
    """Return the float type that most constants have, float32 where there are none."""
    from onnx import TensorProto

    constants = (*model.graph.initializer, *(tensor for _, tensor in constant_nodes(model)))
    kinds = Counter(tensor.data_type for tensor in constants if tensor.data_type in FLOATING)
    return kinds.most_common(1)[0][0] if kinds else int(TensorProto.FLOAT)


def _typed_as(tensor: Any, kind: int) -> Any:
    """Return a float constant in another float type of onnx.proto; others as they are."""
    from onnx import helper, numpy_helper

    if tensor.data_type == kind or not {tensor.data_type, kind} <= FLOATING:
        return tensor
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite: the judge of the repair sees it
        array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
    return numpy_helper.from_array(array, tensor.name)
