"""Answers to the same samples under many settings: an image is decoded once, and equal inputs are run once."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import TypeAdapter

from modelport.core import machine
from modelport.core.values import Array, Sample
from modelport.data.prepare.arithmetic import Arithmetic
from modelport.data.prepare.interpolation import size_of
from modelport.data.prepare.transforms import Preprocess
from modelport.diagnose.probe.finder_settings import Setting, Space
from modelport.engines.base import Runner
from modelport.recipes.steps import Step

# Bytes of decoded images, and of prepared pixels, that are kept for the next setting.
KEPT_BYTES = 384 * 1024 * 1024
_STEPS: TypeAdapter[list[Step]] = TypeAdapter(list[Step])
# Ends a chain that is wanted for its pixels alone.
_PLAIN = {"step": "normalize", "divide": 1.0, "mean": [0.0], "std": [1.0]}
Key = TypeVar("Key")


class _Kept(Generic[Key]):
    """What was made, by key, up to so many bytes: what was used longest ago goes first."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._held: OrderedDict[Key, tuple[Any, int]] = OrderedDict()

    def get(self, key: Key) -> Any:
        """Return it, None where it is not there."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: Key, value: Any, size: int) -> None:
        """Keep it, and let go of others for it."""
        self._held[key] = (value, size)
        self._bytes += size
        while self._bytes > self._most and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1][1]


class PreparedRows:
    """Samples as the network's input, under any setting of a space."""

    def __init__(self, space: Space, samples: Sequence[Sample]) -> None:
        self._space, self._samples = space, samples
        self._pictures: _Kept[int] = _Kept(KEPT_BYTES)
        self._pixels: _Kept[tuple[int, tuple[str, str]]] = _Kept(KEPT_BYTES)
        self._chains: dict[tuple[str, str], Preprocess] = {}

    def of(self, setting: Setting, places: Sequence[int]) -> list[Array]:
        """Return the rows, (C, H, W) or (H, W, C), of the samples at ``places``. Raises BadSampleError."""
        pixels = {place: self._pixels.get((place, setting.pixels)) for place in places}
        missing = [place for place, held in pixels.items() if held is None]
        decoded, chain = [self._pictures.get(place) for place in missing], self._chain(setting)
        with ThreadPoolExecutor(machine.cores(), thread_name_prefix="modelport-data") as pool:
            shaped = pool.map(lambda place, picture: self._shaped(chain, place, picture), missing, decoded)
            for place, before, (picture, made) in zip(missing, decoded, shaped, strict=True):
                if before is None:
                    self._pictures.put(place, picture, 3 * math.prod(size_of(picture)))
                self._pixels.put((place, setting.pixels), made, made.nbytes)
                pixels[place] = made
        arithmetic = Arithmetic(_STEPS.validate_python(self._space.arithmetic(setting)))
        return [self._row(pixels[place], setting, arithmetic) for place in places]

    def _chain(self, setting: Setting) -> Preprocess:
        if setting.pixels not in self._chains:
            steps = [*self._space.pixel_steps(setting), _PLAIN]
            self._chains[setting.pixels] = Preprocess(_STEPS.validate_python(steps))
        return self._chains[setting.pixels]

    def _shaped(self, chain: Preprocess, place: int, picture: Any) -> tuple[Any, Array]:
        """Return a sample decoded, unless ``picture`` is that already, and shaped (in a worker thread)."""
        sample = self._samples[place]
        if picture is None:
            picture = chain.picture(sample.read(), str(sample.path))
        return picture, chain.pixels_of(picture, str(sample.path))

    def _row(self, pixels: Array, setting: Setting, arithmetic: Arithmetic) -> Array:
        turned = pixels[:, :, ::-1] if setting.colour == "BGR" else pixels
        planes = turned.transpose(2, 0, 1)
        if self._space.dtype != "uint8":
            planes = arithmetic.applied(planes).astype(self._space.dtype)
        row = planes if self._space.layout == "NCHW" else planes.transpose(1, 2, 0)
        return np.ascontiguousarray(row)


class Asked:
    """A runner's scores under many settings; ``runs`` counts the images that it was given."""

    def __init__(self, runner: Runner, rows: PreparedRows, input_name: str, output: str, batch: int) -> None:
        self._runner, self._rows = runner, rows
        self._input, self._output, self._batch = input_name, output, batch
        self._known: dict[bytes, Array] = {}
        self._digests: dict[tuple[Setting, int], bytes] = {}
        self.runs = 0

    def scores(self, setting: Setting, count: int, ran: Callable[[int], None] = lambda count: None) -> Array:
        """Return the scores (count, C) of the first ``count`` samples; ``ran`` hears of each batch's images.

        Raises BadSampleError, EngineError.
        """
        new = [place for place in range(count) if (setting, place) not in self._digests]
        for first in range(0, len(new), self._batch):
            self._take(setting, new[first : first + self._batch], ran)
        return np.stack([self._known[self._digests[setting, place]] for place in range(count)])

    def missing(self, setting: Setting, count: int) -> int:
        """Return how many of the first ``count`` samples were not asked for under a setting."""
        return sum((setting, place) not in self._digests for place in range(count))

    def digest(self, setting: Setting, count: int) -> bytes:
        """Return what the inputs of the first ``count`` samples are told apart by; nothing unless all were run."""
        if self.missing(setting, count):
            return b""
        return b"".join(self._digests[setting, place] for place in range(count))

    def _take(self, setting: Setting, places: Sequence[int], ran: Callable[[int], None]) -> None:
        fresh: dict[bytes, Array] = {}
        for place, row in zip(places, self._rows.of(setting, places), strict=True):
            digest = blake2b(row.tobytes(), digest_size=16).digest()
            self._digests[setting, place] = digest
            if digest not in self._known:
                fresh[digest] = row
        if not fresh:
            return
        inputs = np.stack([*fresh.values(), *[next(iter(fresh.values()))] * (self._batch - len(fresh))])
        answers = self._runner.run({self._input: inputs})[self._output]
        for place, digest in enumerate(fresh):
            self._known[digest] = answers[place]
        self.runs += len(fresh)
        ran(len(fresh))
