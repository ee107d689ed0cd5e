"""What weights tell of themselves: each fault with relatives of it, and sound networks that must tell nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from modelport.core.values import Array
from modelport.model.architectures import build_random
from modelport.model.graph.weights import findings_of_graph
from modelport.model.weights.health import WeightFinding, examined, findings_of, findings_of_module, notes_of
from modelport.model.weights.roles import arrays_of, weights_of_state
from modelport.recipes.tables import Model

State = dict[str, Array]


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> State:
    """Return the state of a small network after 60 steps on gratings of ten orientations."""
    module, rng = small_net().train(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-2, weight_decay=0.05)
    x, y = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16))
    for _ in range(60):
        labels = rng.integers(0, 10, 32)
        angle, phase, pace = (part[:, None, None] for part in (labels * np.pi / 10, *rng.uniform(4, 7, (2, 32))))
        waves = np.sin(pace * (np.cos(angle) * x + np.sin(angle) * y) + phase)[:, None] * rng.uniform(
            0.3, 1, (32, 3, 1, 1)
        )
        images = torch.tensor(waves + rng.normal(0, 0.3, waves.shape), dtype=torch.float32)
        loss = nn.functional.cross_entropy(module(images), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def told(state: State) -> list[WeightFinding]:
    return list(findings_of(weights_of_state(state)))


def kinds(findings: list[WeightFinding], certain: bool = True) -> set[str]:
    return {finding.kind for finding in findings if finding.certain is certain}


def test_a_trained_network_tells_nothing(trained: State) -> None:
    assert told(trained) == []


@pytest.mark.parametrize("architecture", ["timm:resnet10t", "timm:mobilenetv3_small_050", "torchvision:squeezenet1_1"])
def test_a_network_as_initialised_is_untrained(architecture: str) -> None:
    found = findings_of_module(build_random(Model(architecture=architecture), 3))
    assert "untrained" in kinds(list(found))


def test_a_network_of_pytorchs_own_layers_is_untrained() -> None:
    found = findings_of_module(small_net().eval())
    assert kinds(list(found)) == {"untrained", "norm_never_updated"}


def test_a_random_network_with_settled_norms_is_a_hint_alone(trained: State) -> None:
    """Sample weights are such: nothing in them was lost."""
    state = {name: tensor.numpy() for name, tensor in small_net().state_dict().items()}
    settled = {name: value for name, value in trained.items() if "running" in name or "num_batches" in name}
    found = told(state | settled)
    assert (kinds(found), kinds(found, False)) == (set(), {"untrained"})


@pytest.mark.parametrize(("lost", "certain"), [(("8.", "9."), True), (("4.", "5."), True), (("13.",), False)])
def test_layers_that_were_not_loaded_are_named(trained: State, lost: tuple[str, ...], certain: bool) -> None:
    """A last layer of 320 values, without a norm, is a hint: some are hardly trained."""
    fresh = {name: tensor.numpy() for name, tensor in small_net().state_dict().items() if name.startswith(lost)}
    found = [finding for finding in told(trained | fresh) if finding.kind == "half_loaded"]
    assert [(finding.tensor, finding.certain) for finding in found] == [(f"{lost[0]}weight", certain)]


def test_a_layer_of_zeros_among_trained_ones_is_a_hint(trained: State) -> None:
    found = told(trained | {"8.weight": np.zeros_like(trained["8.weight"])})
    assert [(finding.kind, finding.tensor, finding.certain) for finding in found] == [
        ("half_loaded", "8.weight", False)
    ]
    assert told({"a.weight": np.zeros((32, 32)), "b.weight": np.zeros((9, 9))}) == []


def test_a_network_of_a_few_steps_is_not_called_half_loaded() -> None:
    """Three of its layers show a trace of training, three none yet."""
    rng = np.random.default_rng(0)
    state = {f"conv{number}.weight": rng.normal(0, (2 / 576) ** 0.5, (64, 64, 3, 3)) for number in range(6)}
    for number in (1, 3, 5):
        state[f"conv{number}.weight"] *= rng.uniform(0.9, 1.1, (1, 64, 1, 1))
    assert examined(weights_of_state(state)).layers == {"drawn": 3, "trained": 3}
    assert kinds(told(state)) == set()


def test_a_convolution_that_was_not_loaded_among_trained_ones_is_named() -> None:
    state = smooth_net()
    state["conv3.weight"] = np.random.default_rng(0).normal(0, (2 / 288) ** 0.5, (32, 32, 3, 3))
    assert [(one.kind, one.tensor, one.certain) for one in told(state)] == [("half_loaded", "conv3.weight", True)]
    # A norm that saw data was behind it in training: with residual scales that begin at zero some layers do not move.
    norm = {"bn3.running_mean": np.ones(32), "bn3.running_var": np.ones(32), "bn3.num_batches_tracked": np.array(9)}
    state = {
        name: value for key, one in state.items() for name, value in [(key, one), *(norm.items() if "3" in key else ())]
    }
    assert [(one.kind, one.tensor, one.certain) for one in told(state)] == [("half_loaded", "conv3.weight", False)]


def test_norms_that_never_saw_a_batch_are_named(trained: State) -> None:
    fresh = {
        name: tensor.numpy() for name, tensor in small_net().state_dict().items() if "running" in name or "num_" in name
    }
    found = told(trained | fresh)
    assert kinds(found) == {"norm_never_updated"}
    assert found[0].module == "1"
    assert "3 of 3" in found[0].why
    one = told(trained | {name: value for name, value in fresh.items() if name.startswith("5.")})
    assert [(finding.kind, finding.module) for finding in one] == [("norm_never_updated", "5")]


def test_a_shuffled_layer_is_named(trained: State) -> None:
    values = trained["8.weight"]
    mixed = np.random.default_rng(0).permutation(values.ravel()).reshape(values.shape)
    found = told(trained | {"8.weight": mixed})
    assert [(finding.kind, finding.tensor, finding.certain) for finding in found] == [("shuffled", "8.weight", True)]


@pytest.mark.parametrize("tensor", ["0.weight", "8.weight", "13.weight"])
def test_a_flipped_bit_of_an_exponent_is_named(trained: State, tensor: str) -> None:
    flipped = trained[tensor].copy()
    # The highest bit of the exponent is 0 below 2: flipped it makes a weight 2^128 times as large.
    flipped.view(np.uint32).reshape(-1)[flipped.size // 3] ^= np.uint32(1 << 30)
    found = told(trained | {tensor: flipped})
    assert [(finding.kind, finding.tensor, finding.certain) for finding in found] == [("absurd_size", tensor, True)]


@pytest.mark.parametrize("factor", [-1e4, 3e5, 1e30])
def test_values_of_absurd_size_are_named(trained: State, factor: float) -> None:
    large = trained["4.weight"].copy()
    large.flat[[7, 99]] = large.flat[7] * factor
    found = told(trained | {"4.weight": large})
    assert [(finding.kind, finding.tensor) for finding in found] == [("absurd_size", "4.weight")]
    assert "2 values" in found[0].why


@pytest.mark.parametrize(("tensor", "value"), [("13.bias", np.nan), ("4.weight", np.inf), ("5.running_mean", -np.inf)])
def test_values_that_are_not_finite_are_named(trained: State, tensor: str, value: float) -> None:
    broken = trained[tensor].copy()
    broken.flat[0] = value
    found = told(trained | {tensor: broken})
    assert [(finding.kind, finding.tensor, finding.certain) for finding in found] == [("not_finite", tensor, True)]


def smooth_net(shuffle: str = "") -> State:
    """Return six convolutions of smooth kernels of different size; of one the taps in any order, kernel by kernel."""
    rng, state = np.random.default_rng(0), State()
    taps = np.array([0.5, 1.0, 0.6])
    for name in map("conv{}.weight".format, range(6)):
        sizes = (
            rng.normal(size=(32, 32, 1, 1)) * rng.uniform(0.3, 2, (32, 1, 1, 1)) * rng.uniform(0.3, 2, (1, 32, 1, 1))
        )
        kernels = sizes * np.outer(taps, taps) + rng.normal(0, 0.2, (32, 32, 3, 3))
        if name == shuffle:
            kernels = rng.permuted(kernels.reshape(32, 32, 9), axis=2).reshape(kernels.shape)
        state[name] = kernels.astype(np.float32)
    return state


def test_taps_in_another_order_are_named() -> None:
    assert told(smooth_net()) == []
    for name in ("conv0.weight", "conv4.weight"):
        found = told(smooth_net(name))
        assert [(finding.kind, finding.tensor, finding.certain) for finding in found] == [("shuffled", name, True)]


def pointwise_net(strength: float, rows: float, shuffle: str = "") -> State:
    """Return smooth convolutions, and 1 × 1 ones whose inputs and rows differ in size so much."""
    rng, state = np.random.default_rng(1), smooth_net()
    for name in map("point{}.weight".format, range(6)):
        values = rng.normal(size=(64, 192)) * rng.uniform(1 - strength, 1 + strength, 192)
        if name == shuffle:
            values = rng.permutation(values.ravel()).reshape(values.shape)
        state[name] = (values * rng.uniform(1 - rows, 1 + rows, (64, 1))).astype(np.float32)[:, :, None, None]
    return state


def test_one_by_one_layers_are_held_against_each_other() -> None:
    """In small published networks (ddddocr's) places mean little in them; a draw among strong ones is another thing."""
    # Rows as folded batch norms leave them; of one layer the places mean nothing at all.
    plain = {"point2.weight": pointwise_net(0.0, 0.7)["point2.weight"]}
    assert told(pointwise_net(0.15, 0.7) | plain) == []
    assert [(one.kind, one.certain) for one in told(pointwise_net(0.9, 0.7) | plain)] == [("shuffled", True)]
    found = told(pointwise_net(0.9, 0.0, "point2.weight"))
    assert [(one.kind, one.tensor, one.certain) for one in found] == [("shuffled", "point2.weight", True)]


def test_a_sparse_layer_of_few_values_is_sound(trained: State) -> None:
    """LPIPS' last layers: of 64 values a dozen weigh, the others have decayed."""
    sparse = np.abs(np.random.default_rng(0).normal(0, 1e-5, (1, 64, 1, 1))).astype(np.float32)
    sparse.flat[::5] = np.linspace(0.05, 0.5, 13)
    assert told(trained | {"lin.weight": sparse}) == []
    sparse = np.full((1, 64, 1, 1), 0.1, np.float32)
    sparse.flat[9] = 1e5
    assert kinds(told(trained | {"lin.weight": sparse})) == {"absurd_size"}


def test_odd_tensors_are_looked_at_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(0)
    odd: State = {
        "": np.zeros((3, 0)),
        "empty.running_mean": np.zeros(0),
        "empty.running_var": np.ones(0),
        "norm.running_mean": np.zeros(4, np.float32),  # affine=False
        "norm.running_var": np.full(4, 2, np.float32),
        "scale.running_mean": np.ones(4, np.float32),
        "scale.running_var": np.ones(4, np.float32),
        "scale.weight": np.ones(4, np.float32),  # without a bias
        "whole": rng.integers(0, 9, (64, 64)),
        "complex": rng.normal(size=(64, 64)) * 1j,
        "half": rng.normal(size=(64, 64)).astype(np.float16),
        "constant": np.ones((64, 64), np.float32),
        "column": rng.normal(size=(4096, 1)),
        "row": rng.normal(size=(1, 4096)),
        "scalar": np.array(3, np.float32),
        "high": rng.normal(size=(2, 2, 2, 2, 2, 2, 16)),
    }
    assert kinds(told(odd)) <= {"untrained"}
    assert kinds(told(odd | {"large": np.full((64, 64), 1e300)})) == {"absurd_size"}
    assert not recwarn.list


def test_tensors_that_numpy_lacks_become_float32_or_are_passed_over() -> None:
    wide = {"a": torch.ones(3, dtype=torch.bfloat16), "b": torch.ones(3).to(torch.float8_e4m3fn), "c": torch.ones(3)}
    found = arrays_of(wide | {"d": torch.ones(3).to_sparse(), "e": torch.ones(3, device="meta")})
    assert {name: str(value.dtype) for name, value in found.items()} == dict.fromkeys("abc", "float32")


def test_names_are_made_plain(trained: State) -> None:
    broken = np.full((64, 64), np.nan, np.float32)
    (found,) = findings_of(weights_of_state({"a\x1b[31m.weight": broken}))
    assert "\x1b" not in str(found.to_json()) and "\x1b" not in notes_of([found])[0]


def test_a_variance_below_zero_is_named(trained: State) -> None:
    broken = trained["5.running_var"].copy()
    broken[3] *= -1
    assert kinds(told(trained | {"5.running_var": broken})) == {"absurd_size"}


@pytest.mark.parametrize("loose", ["training", "no statistics"])
def test_batch_norms_that_use_the_batch_are_named(trained: State, loose: str) -> None:
    module = small_net().eval()
    module.load_state_dict({name: torch.tensor(value) for name, value in trained.items()})
    assert findings_of_module(module) == ()
    if loose == "training":
        module[5].train()
    else:
        module[5] = nn.BatchNorm2d(32, track_running_stats=False).eval()
    found = findings_of_module(module)
    assert [(finding.kind, finding.module, finding.certain) for finding in found] == [
        ("batch_norm_in_training", "5", True)
    ]


def as_graph(state: State, training: int = 0) -> onnx.ModelProto:
    """Return the first convolution, its norm, and the last layer with its weights turned round, as an ONNX graph."""
    norm = [f"1.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    nodes = [
        helper.make_node("Conv", ["x", "0.weight"], ["a"], name="conv", pads=[2, 2, 2, 2]),
        helper.make_node("BatchNormalization", ["a", *norm], ["b"], name="norm", training_mode=training),
        helper.make_node("Conv", ["b", "4.weight"], ["c"], name="next"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "last"], ["y"], name="last"),
    ]  # fmt: skip
    kept = {name: state[name] for name in ("0.weight", "4.weight", *norm)}
    kept["last"] = np.ascontiguousarray(state["13.weight"].T)
    tensors = [numpy_helper.from_array(value, name) for name, value in kept.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors))


def test_a_graph_tells_what_its_state_does(trained: State) -> None:
    assert findings_of_graph(as_graph(trained)) == ()
    fresh = {name: tensor.numpy() for name, tensor in small_net().state_dict().items()}
    assert kinds(list(findings_of_graph(as_graph(fresh)))) == {"untrained", "norm_never_updated"}
    large = trained["4.weight"].copy()
    large.flat[11] = 1e9
    found = findings_of_graph(as_graph(trained | {"4.weight": large}))
    assert [(finding.kind, finding.tensor) for finding in found] == [("absurd_size", "4.weight")]


def test_a_graph_with_a_norm_in_training_is_named(trained: State) -> None:
    found = findings_of_graph(as_graph(trained, training=1))
    assert [(finding.kind, finding.module) for finding in found] == [("batch_norm_in_training", "norm")]
