"""All kinds of faults that can be planted into a graph, and their names."""

from __future__ import annotations

from modelport.diagnose.faults.activations import ACTIVATIONS
from modelport.diagnose.faults.arithmetic import ARITHMETIC
from modelport.diagnose.faults.base import GraphFault
from modelport.diagnose.faults.convolution import CONVOLUTION
from modelport.diagnose.faults.normalization import NORMALIZATION
from modelport.diagnose.faults.pooling import POOLING
from modelport.diagnose.faults.precision import PRECISION
from modelport.diagnose.faults.shapes import SHAPES
from modelport.diagnose.faults.weights import WEIGHTS

GRAPH_FAULTS: tuple[GraphFault, ...] = (
    *CONVOLUTION,
    *POOLING,
    *ACTIVATIONS,
    *NORMALIZATION,
    *SHAPES,
    *ARITHMETIC,
    *PRECISION,
    *WEIGHTS,
)
