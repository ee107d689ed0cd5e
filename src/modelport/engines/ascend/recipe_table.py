"""What a recipe says of compiling for an Ascend device with ATC."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from modelport.core.errors import did_you_mean
from modelport.recipes.steps import Strict

# Options of ATC that a recipe may set as it likes; the others follow from the model, the data and the flags.
FREE_OPTIONS = frozenset((
    "allow_hf32", "aicore_num", "auto_tune_mode", "buffer_optimize", "compression_optimize_conf", "core_type",
    "deterministic", "disable_reuse_memory", "enable_compress_weight", "enable_scope_fusion_passes",
    "enable_single_stream", "enable_small_channel", "external_weight", "fusion_switch_file", "host_env_cpu",
    "host_env_os", "input_fp16_nodes", "is_input_adjust_hw_layout", "is_output_adjust_hw_layout", "is_weight_clip",
    "log", "op_compiler_cache_dir", "op_compiler_cache_mode", "op_debug_level", "op_select_implmode",
    "optypelist_for_implmode", "output_type", "save_original_model", "sparsity", "status_check", "virtual_type",
))  # fmt: skip
# How an operator computes inside, whatever its tensors are.
Implementation = Literal["high_precision", "high_performance", "enable_float_32_execution"]


class Ascend(Strict):
    """The device options of a model: what its guide gives to ATC."""

    batch: PositiveInt
    """Rows of the compiled model where no --batch is given."""
    input_type: Literal["float32", "uint8"]
    """uint8: an AIPP file is inserted, and the compiled model takes NHWC bytes."""
    out_nodes: bool = False
    """Name the nodes of the outputs, as they are called in the exported graph."""
    options: dict[str, str]
    """Further options of ATC, without their dashes."""
    keep_dtype: list[Annotated[list[str], Field(min_length=1)]] = Field(default_factory=list)
    """Chains of ONNX operators, each feeding the next, that are not to be computed in less than the graph's type."""
    op_precision: dict[str, Implementation] = Field(default_factory=dict)
    """How operators (by the device's types) compute inside."""

    @field_validator("options")
    @classmethod
    def _known(cls, options: dict[str, str]) -> dict[str, str]:
        for name in options:
            if name not in FREE_OPTIONS:
                raise ValueError(
                    f"'{name}' is no option that a recipe may set, {did_you_mean(name, FREE_OPTIONS)}"
                    f"known: {', '.join(sorted(FREE_OPTIONS))}"
                )
        return options
