"""A few tensors made again from their images, and held against the files that the inference read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice

import numpy as np

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import BadSampleError, DataError
from modelport.core.text import natural_key
from modelport.core.values import Array, Sample
from modelport.data.files.array_files import map_npy
from modelport.data.files.tensor_index import TensorIndex
from modelport.data.stream.tensor_rows import row_form, stream_rows
from modelport.recipes.schema import Recipe

# Samples whose rows are looked for in a file that holds none of its own.
SEARCHED = 32
# Decoders of two machines differ by a level here and there: as a share of the row's own size.
ALIKE = 0.05


def hold_rows(index: TensorIndex, recipe: Recipe, samples: Sequence[Sample]) -> list[str]:
    """Hold the first, the middle and the last file that is still there against its image; return what is to be said.

    Raises DataError where a file holds another row, or the same in another layout, channel order or dtype: what was
    inferred from it is no answer to the image.
    """
    there = [name for name in index.files if (index.place.parent / name).is_file()]
    if not there or not samples:
        return []
    chosen = sorted({there[0], there[len(there) // 2], there[-1]}, key=there.index)
    by_id = {sample.id: sample for sample in samples}
    # Of an image that is another by now it is said elsewhere.
    wanted = [name for name in chosen if _as_then(index, by_id.get(index.sample_of(index.files[name][0])))]
    try:
        made = dict(_rows(index, recipe, [by_id[index.sample_of(index.files[name][0])] for name in wanted]))
        for name in wanted:
            row, got = index.files[name][0], _first_row(index, name)
            if not _alike(got, made[row]):
                others = dict(_rows(index, recipe, list(islice(samples, SEARCHED))))
                raise _another(index, name, _explained(got, made[row], others), list(others))
    except BadSampleError as error:
        return [f"{index.place.parent}: not held against its images: {error}"]
    return []


def _as_then(index: TensorIndex, sample: Sample | None) -> bool:
    return sample is not None and digest_bytes(sample.read()) == index.digests.get(sample.id)


def _rows(index: TensorIndex, recipe: Recipe, samples: Sequence[Sample]) -> Iterator[tuple[str, Array]]:
    """Yield the rows of samples by their ids, as ``preprocess`` made them."""
    form = row_form(recipe, index.form.dtype)  # type: ignore[arg-type]  # held against the recipe by hold_index
    name = recipe.signature.inputs[0].name
    rows = len(samples) * recipe.dataset.views
    with closing(stream_rows(recipe, samples, form, min(rows, 8), index.seed, None)) as batches:
        for batch in batches:
            yield from zip(map(str, batch.ids), batch.inputs[name], strict=False)


def _first_row(index: TensorIndex, name: str) -> Array:
    """Return the first row of a tensor file. Raises DataError where it cannot be read, or tells another form itself."""
    file, form, count = index.place.parent / name, index.form, len(index.files[name])
    if file.suffix == ".npy":
        values = map_npy(file)
        rows = values if values.ndim > len(form.shape) else values[np.newaxis]
        # The axes in another order are explained as for raw files.
        if rows.dtype != form.dtype or len(rows) != count or sorted(rows.shape[1:]) != sorted(form.shape):
            found = f"{file}: holds {values.dtype} {values.shape}, {index.place.name} tells {count} rows, {form}"
            raise DataError(found, "write the tensors again with `modelport preprocess`, and run the model on them")
        return np.asarray(rows[0])
    count = int(np.prod(form.shape))
    try:
        return np.fromfile(file, form.dtype, count).reshape(form.shape)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read: {error}", "write the tensors again") from error


def _alike(got: Array, want: Array) -> bool:
    if got.shape != want.shape:
        return False
    one, two = got.astype(np.float64), want.astype(np.float64)
    # NaN compares false: ask for what is good.
    return bool(np.linalg.norm(one - two) <= ALIKE * np.linalg.norm(two) + 1e-12)


def _explained(got: Array, want: Array, others: Mapping[str, Array]) -> str:
    """Return what the row is instead; empty where nothing explains it."""
    for row, other in others.items():
        if _alike(got, other):
            return f"the row of {row}"
    channels = int(np.argmin(want.shape))
    if want.ndim == 3 and got.size == want.size:
        told, shape = ("NCHW", "NHWC"), (*want.shape[1:], want.shape[0])
        back: Array = got.reshape(shape).transpose(2, 0, 1)
        if channels == 2:
            told, shape = ("NHWC", "NCHW"), (want.shape[2], *want.shape[:2])
            back = got.reshape(shape).transpose(1, 2, 0)
        if _alike(back, want):
            return f"its row in the layout {told[1]}, not {told[0]}"
        if _alike(np.flip(got.reshape(want.shape), channels), want):
            return "its row with the channels in reverse order (BGR for RGB)"
    for name, dtype in (("float16", "<f2"), ("float64", "<f8"), ("big-endian", want.dtype.newbyteorder(">"))):
        raw = np.ascontiguousarray(got).tobytes()
        read = np.frombuffer(raw, dtype, len(raw) // np.dtype(dtype).itemsize)[: want.size]
        with np.errstate(invalid="ignore", over="ignore"):
            if _alike(read, want.reshape(-1)[: read.size]):
                return f"its row in {name} values"
    return ""


def _another(index: TensorIndex, name: str, instead: str, known: Sequence[str]) -> DataError:
    file, row = index.place.parent / name, index.files[name][0]
    held = f"holds {instead}" if instead else f"is not what {index.recipe} makes of the image"
    why = ""
    if instead.startswith("the row of "):
        other = instead.removeprefix("the row of ")
        by_number, by_text = sorted(known, key=natural_key), sorted(known)
        turned = dict(zip(by_text, by_number, strict=True))
        if turned.get(row) == other or turned.get(other) == row:
            why = ": the files' names were sorted as text and their rows by number, or the reverse"
        else:
            why = ": names and rows were shuffled against each other"
    return DataError(
        f"{file}: {held}, where {index.place.name} tells {row}{why}; what was inferred from it answers another input",
        "write the tensors again with `modelport preprocess`, and run the model on them",
    )
