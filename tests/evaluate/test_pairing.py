"""Which tensors of two models stand for each other, and what sizes free axes get."""

from __future__ import annotations

import pytest

from modelport.core.errors import EngineError, UsageError
from modelport.core.values import TensorSpec
from modelport.evaluate.feeds import Shapes, settled, shapes_told
from modelport.evaluate.pairing import Pair, paired_inputs, paired_outputs


def _spec(name: str, *shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape)


def _names(pairs: tuple[Pair, ...]) -> list[tuple[str, str]]:
    return [(pair.first.name, pair.second.name) for pair in pairs]


def test_names_pair_whatever_their_order() -> None:
    found = paired_outputs([_spec("a", 1, 2), _spec("b", 1, 2)], [_spec("b", 1, 2), _spec("a", 1, 2)])
    assert _names(found.pairs) == [("a", "a"), ("b", "b")] and not found.notes


def test_other_names_pair_by_position_where_shapes_agree_and_that_is_said() -> None:
    found = paired_outputs([_spec("a", "N", 2), _spec("b", 1, 3)], [_spec("x", 1, 2), _spec("y", "?", 3)])
    assert _names(found.pairs) == [("a", "x"), ("b", "y")] and {pair.by for pair in found.pairs} == {"position"}
    assert "'a' is held beside 'x'" in found.notes[0] and "by position" in found.notes[0]


def test_an_output_that_one_alone_has_is_left_out_and_that_is_said() -> None:
    found = paired_outputs([_spec("a", 1, 2)], [_spec("a", 1, 2), _spec("more", 1, 9)])
    assert _names(found.pairs) == [("a", "a")] and "the second model's 'more'" in found.notes[0]
    # A name at another place: by position it would be paired with what it is not.
    found = paired_outputs([_spec("a", 1, 2), _spec("b", 1, 2)], [_spec("c", 1, 2), _spec("a", 1, 2)])
    assert _names(found.pairs) == [("a", "a")] and "'b'" in found.notes[0] and "'c'" in found.notes[0]


@pytest.mark.parametrize(
    "others", [[_spec("x", 1, 3)], [_spec("x", 1, 2), _spec("y", 1, 2)], [_spec("x", 1, 2, dtype="int64")]]
)
def test_nothing_else_pairs(others: list[TensorSpec]) -> None:
    with pytest.raises(UsageError, match=r"the outputs do not pair: .*a: float32"):
        paired_outputs([_spec("a", 1, 2)], others)


def test_inputs_are_all_paired_and_given_what_both_can_hold() -> None:
    found = paired_inputs([_spec("a", "N", 3)], [_spec("a", 2, "?", dtype="float16")])
    assert found.pairs[0].shape == (2, 3) and found.pairs[0].dtype == "float16"
    assert "both are given values rounded to float16" in found.notes[0]
    for others in ([_spec("a", 4, 3), _spec("b", 1)], [_spec("a", 4, 5)]):
        with pytest.raises(UsageError, match="the inputs do not pair"):
            paired_inputs([_spec("a", "N", 3)], others)
    with pytest.raises(UsageError, match="'a' is float32 in the first model and uint8 in the second"):
        paired_inputs([_spec("a", 1, 3)], [_spec("a", 1, 3, dtype="uint8")])


def _pair(*shape: int | str) -> Pair:
    return Pair(_spec("x", *shape), _spec("x", *shape))


@pytest.mark.parametrize(
    ("shape", "chosen"),
    [
        (("N", 3, "H", "W"), (1, 3, 224, 224)),
        (("N", "H", "W", 3), (1, 224, 224, 3)),
        (("N", 3, 48, "W"), (1, 3, 48, 224)),
        (("N", "T"), (1, 1)),
        ((4, 3, 8, 8), (4, 3, 8, 8)),
    ],
)
def test_free_axes_are_settled_and_that_is_said(shape: tuple[int | str, ...], chosen: tuple[int, ...]) -> None:
    shapes, said = settled([_pair(*shape)], {}, lambda shapes: None)
    assert shapes == {"x": chosen}
    assert bool(said) == (shape != chosen) and all(str(chosen) in note for note in said)


def test_the_first_size_that_runs_is_taken() -> None:
    tried = []

    def runs(shapes: Shapes) -> None:
        tried.append(shapes["x"])
        if shapes["x"][2] != 64:
            raise EngineError(f"no {shapes['x']}")

    assert settled([_pair("N", 3, "H", "W")], {}, runs)[0] == {"x": (1, 3, 64, 64)}
    assert tried[0] == (1, 3, 224, 224) and len(tried) == len(set(tried))
    with pytest.raises(UsageError, match=r"no size that was tried .* \(no \(1, 5\)\)(.|\n)*--shape x:"):
        settled([_pair("N", 5)], {}, lambda shapes: (_ for _ in ()).throw(EngineError(f"no {shapes['x']}")))


def test_shapes_are_taken_as_told_or_refused() -> None:
    pair = Pair(_spec("in:0", "N", 3, "H"), _spec("in:0", "N", 3, "H"))
    assert shapes_told([("in:0", (2, 3, 8))], [pair]) == {"in:0": (2, 3, 8)}
    for name, shape in (("x", (1, 3, 8)), ("in:0", (1, 3)), ("in:0", (1, 4, 8))):
        with pytest.raises(UsageError, match="--shape"):
            shapes_told([(name, shape)], [pair])
