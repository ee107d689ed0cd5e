"""Time equivalent forms of sMLPNet's mixing, all in one run, on every CPU engine.

Usage: python benchmarks/smlp_mixing_forms.py [--batches 8 1] [--repeats 5] [--only WORD …] [--json FILE]

A form is how the maps along rows and columns are written, and how the two linear maps over channels are. All forms
share one set of random weights and give the same numbers, which is checked first. They take turns, so that a load
on the machine hits them alike, and the least of each form's times counts.
"""

from __future__ import annotations

import modelport as mp  # before any vendor's package: it switches their telemetry off

# isort: split
import argparse
import contextlib
import io
import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[Any]
THREADS = 2
QUEUED = 4  # batches sent at once where throughput is timed
BASELINE = "permute_conv, linear"  # as the reference implementation writes it
Parts = tuple[Tensor, Tensor]
Mix = Callable[[Any, Tensor], Parts]
Run = Callable[[], object]


def network() -> nn.Module:
    """Return sMLPNet-T as ``export`` gets it, with random weights, in evaluation mode."""
    recipe = mp.load_recipe("smlp-t")
    with tempfile.TemporaryDirectory() as folder:
        return mp.source(recipe, mp.random_weights(recipe, Path(folder) / "seeded.pth")).exportable.module


def permute_conv(block: Any, x: Tensor) -> Parts:
    """1×1 convolutions over the axis, brought to the channels' place and back."""
    rows = F.conv2d(x.permute(0, 3, 1, 2), block.proj_h.weight, block.proj_h.bias).permute(0, 2, 3, 1)
    columns = F.conv2d(x.permute(0, 2, 1, 3), block.proh_w.weight, block.proh_w.bias).permute(0, 2, 1, 3)
    return rows, columns


def matmul(block: Any, x: Tensor) -> Parts:
    """Rows times the matrix from the right, the matrix times columns from the left: nothing is moved."""
    return block.proj_h(x), block.proh_w(x)


def linear_transpose(block: Any, x: Tensor) -> Parts:
    """A linear layer over the last axis for both, with columns transposed before and after."""
    columns = F.linear(x.transpose(2, 3), block.proh_w.weight.squeeze(3).squeeze(2), block.proh_w.bias)
    return block.proj_h(x), columns.transpose(2, 3)


def conv1d(block: Any, x: Tensor) -> Parts:
    """Columns as a convolution of kernel 1 over H taken as channels, every plane a sample of its own."""
    channels, size = block.BN.num_features, block.proh_w.in_channels
    columns = F.conv1d(x.flatten(0, 1), block.proh_w.weight.squeeze(3), block.proh_w.bias)
    return block.proj_h(x), columns.reshape(-1, channels, size, size)


def kernels(block: Any, x: Tensor) -> Parts:
    """Convolutions of every plane with ``size`` kernels of 1×size and of size×1."""
    channels, size = block.BN.num_features, block.proj_h.in_channels
    planes = x.reshape(-1, 1, size, size)
    rows = F.conv2d(planes, block.proj_h.weight.reshape(size, 1, 1, size), block.proj_h.bias)
    columns = F.conv2d(planes, block.proh_w.weight.reshape(size, 1, size, 1), block.proh_w.bias)
    shape = (-1, channels, size, size)
    return rows.reshape(shape).transpose(2, 3), columns.reshape(shape)


def linear_channels(block: Any, x: Tensor) -> Tensor:
    """Layer norm and both linear maps with the channels last."""
    first, act, second = block[1].net
    x = F.layer_norm(x.permute(0, 2, 3, 1), block[0].normalized_shape, block[0].weight, block[0].bias, block[0].eps)
    x = F.linear(act(F.linear(x, first.weight, first.bias)), second.weight, second.bias)
    return x.permute(0, 3, 1, 2)


def conv_channels(block: Any, x: Tensor) -> Tensor:
    """Layer norm with the channels last, then 1×1 convolutions."""
    return block(x)  # type: ignore[no-any-return]


class ChannelsFirst(nn.Module):
    """The network with another form of its mixing; images stay NCHW."""

    def __init__(self, net: nn.Module, mix: Mix, channels: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.mix, self.channels = net, mix, channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 224, 224) → (N, classes)."""
        net: Any = self.net
        blocks = zip(net.token_mix, net.channel_mix, strict=True)
        for embedding, depth in zip(net.to_patch_embedding, net.depths, strict=True):
            x = embedding(x)
            for (depthwise, sparse), channel in islice(blocks, depth):
                y = sparse.activation(sparse.BN(depthwise(x)))
                x = x + sparse.fuse(torch.cat([y, *self.mix(sparse, y)], dim=1))
                x = x + self.channels(channel, x)
        return net.mlp_head(net.pool(net.batch_norm(x)).flatten(1))  # type: ignore[no-any-return]


class ChannelsLast(nn.Module):
    """The network in NHWC but for its depthwise convolutions: both maps multiply from the left, all else is linear."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 224, 224) → (N, classes)."""
        net: Any = self.net
        blocks = zip(net.token_mix, net.channel_mix, strict=True)
        for embedding, depth in zip(net.to_patch_embedding, net.depths, strict=True):
            x = embedding(x).permute(0, 2, 3, 1)
            for (depthwise, sparse), (norm, forward) in islice(blocks, depth):
                y = sparse.activation(sparse.BN(depthwise(x.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1)
                x = x + F.linear(torch.cat([y, *self._mix(sparse, y)], dim=3), sparse.fuse.weight.flatten(1))
                first, act, second = forward.net
                y = F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
                x = x + F.linear(act(F.linear(y, first.weight, first.bias)), second.weight, second.bias)
            x = x.permute(0, 3, 1, 2)
        return net.mlp_head(net.pool(net.batch_norm(x)).flatten(1))  # type: ignore[no-any-return]

    @staticmethod
    def _mix(sparse: Any, y: Tensor) -> Parts:
        channels, size = sparse.BN.num_features, sparse.proj_h.in_channels
        rows = torch.matmul(sparse.proj_h.weight.flatten(1), y) + sparse.proj_h.bias.unsqueeze(1)
        columns = torch.matmul(sparse.proh_w.weight.flatten(1), y.flatten(2)) + sparse.proh_w.bias.unsqueeze(1)
        return rows, columns.unflatten(2, (size, channels))


def forms(net: nn.Module) -> dict[str, nn.Module]:
    """Return every form by its name, the reference's first and the one in use last."""
    mixes = (permute_conv, matmul, linear_transpose, conv1d, kernels)
    found: dict[str, nn.Module] = {f"{mix.__name__}, linear": ChannelsFirst(net, mix, linear_channels) for mix in mixes}
    found["channels last"] = ChannelsLast(net)
    for mix in (permute_conv, conv1d, matmul):
        found[f"{mix.__name__}, conv"] = ChannelsFirst(net, mix, conv_channels)
    # All but this one lay the three parts side by side for one convolution; here each has its own, and they are added.
    found["matmul, conv, summed (in use)"] = net
    return {name: form.eval() for name, form in found.items()}


def export(form: nn.Module, path: Path) -> None:
    """Write ``form`` as ONNX, opset 20, batch axis free."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            form,
            (torch.zeros(2, 3, 224, 224),),
            str(path),
            dynamo=True,
            opset_version=20,
            external_data=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            verbose=False,
        )


def onnxruntime_call(_: nn.Module, path: Path, images: Array) -> Run:
    """One request on ``THREADS`` threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = THREADS, 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": images})


def openvino_call(_: nn.Module, path: Path, images: Array) -> Run:
    """One request at a time on ``THREADS`` threads."""
    request = _openvino(path, images, "LATENCY").create_infer_request()
    return lambda: request.infer({0: images})


def openvino_throughput_call(_: nn.Module, path: Path, images: Array) -> Run:
    """``QUEUED`` requests at once, as many of them at work as OpenVINO sees fit."""
    import openvino

    queue = openvino.AsyncInferQueue(_openvino(path, images, "THROUGHPUT"))

    def call() -> None:
        for _ in range(QUEUED):
            queue.start_async({0: images})
        queue.wait_all()

    return call


def torch_call(form: nn.Module, _: Path, images: Array) -> Run:
    """The module as it is, not compiled."""
    tensor = torch.from_numpy(images)

    def call() -> None:
        with torch.inference_mode():
            form(tensor)

    return call


def _openvino(path: Path, images: Array, hint: str) -> Any:
    import openvino

    model = openvino.Core().read_model(str(path))
    model.reshape(list(images.shape))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": hint}
    return openvino.Core().compile_model(model, "CPU", settings)


# Engine → what makes its call, and the batches that go through in one call.
ENGINES: dict[str, tuple[Callable[[nn.Module, Path, Array], Run], int]] = {
    "onnxruntime": (onnxruntime_call, 1),
    "openvino": (openvino_call, 1),
    "openvino throughput": (openvino_throughput_call, QUEUED),
    "torch": (torch_call, 1),
}


def measure(files: dict[str, tuple[nn.Module, Path]], batch: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return the least milliseconds per batch by engine and form.

    One engine after the other, and each call once untimed before it counts: the idle threads of the one before spin
    for a while and would slow it.
    """
    images = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)
    least: dict[str, dict[str, float]] = {}
    for engine, (prepare, batches) in ENGINES.items():
        calls = {name: prepare(form, path, images) for name, (form, path) in files.items()}
        times = dict.fromkeys(files, float("inf"))
        for _ in range(repeats):
            for name, call in calls.items():
                call()
                start = time.perf_counter()
                call()
                times[name] = min(times[name], 1e3 * (time.perf_counter() - start) / batches)
        least[engine] = times
    return least


def table(batch: int, times: dict[str, dict[str, float]]) -> str:
    """Return a table of milliseconds, and in brackets the part of the baseline's time."""
    lines = [f"| batch {batch} | {' | '.join(times)} |", "| --- |" + " ---: |" * len(times)]
    for name in next(iter(times.values())):
        cells = (f"{column[name]:.1f} ({column[name] / column[BASELINE]:.2f})" for column in times.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Check that all forms agree, time them, print a table per batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[""], help="words of the forms to time; the baseline always is")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    candidates = forms(network())
    example = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        want = candidates[BASELINE](example)
        apart = {
            name: float((form(example) - want).abs().max() / want.abs().max()) for name, form in candidates.items()
        }
    assert max(apart.values()) < 1e-5, apart
    wanted = [name for name in candidates if name == BASELINE or any(word in name for word in arguments.only)]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        files = {name: (candidates[name], Path(folder) / f"{i}.onnx") for i, name in enumerate(wanted)}
        for form, path in files.values():
            export(form, path)
        for batch in arguments.batches:
            times = measure(files, batch, arguments.repeats)
            print(table(batch, times), end="\n\n", flush=True)
            results.append({"batch": batch, "milliseconds": times})
    if arguments.json:
        record = {
            "threads": THREADS,
            "repeats": arguments.repeats,
            "machine": platform.processor() or platform.machine(),
        }
        arguments.json.write_text(
            json.dumps({**record, "baseline": BASELINE, "apart": apart, "results": results}, indent=1)
        )


if __name__ == "__main__":
    main()
