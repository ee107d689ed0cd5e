"""``thumbnails/`` of a result folder: small pictures of the samples that one wants to look at first, and their index.

``index.json`` holds {file: {"id", "sha256" of the sample's content, "width", "height" of the whole image as seen}}.
Files are numbered, so that no name of a user's becomes a path; the pictures hold pixels alone, nothing of EXIF.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from modelport.core.artifacts import digest_bytes, writing
from modelport.core.errors import BadSampleError, ModelportError, OutputError
from modelport.core.output_folder import INDEX, THUMBNAILS
from modelport.core.progress import Progress, stage
from modelport.core.text import plain
from modelport.core.values import Sample
from modelport.data.prepare.shrunk import shrunk
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Decode
from modelport.report.pictures import as_jpeg

MOST = 48  # pictures
SIDE = 160  # pixels of the longer side, at most
MAX_BYTES = 800_000  # of all of them with their index
QUALITY = 70


def draw_thumbnails(
    folder: Path, log: Path, samples: Iterable[Sample], recipe: Recipe, progress: Progress
) -> list[str]:
    """Draw the samples that ``log`` (samples.jsonl) tells to look at, into ``folder``; return what is to be said.

    The first step of ``recipe`` tells what a sample's bytes are. Photographs are upright, but for those of a recipe
    that ignores their rotation and whose answers lie in the image's pixels: these could not be drawn over it. Nothing
    is raised for a picture that cannot be drawn or written: a result does not hang on it.
    """
    with log.open(encoding="utf-8") as lines:
        chosen = chosen_lines(map(json.loads, lines))
    if not chosen:
        return []
    with stage(progress, "draw thumbnails"):
        drawn, failed = _drawn(chosen, _named(samples, chosen), recipe)
        if drawn:
            try:
                _write(folder / THUMBNAILS, drawn)
            except ModelportError as error:
                return [f"no thumbnails: {plain(error.found, 300)}"]
    return [f"{len(failed)} of {len(chosen)} thumbnails were not drawn: {plain(failed[0], 300)}"] if failed else []


def chosen_lines(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return up to 48 lines of samples.jsonl, those first that one wants to look at.

    First what the engine loses to the source, then what it wins, both in the order in which they were drawn; then other
    answers that are not the source's, and, where none is simply right or wrong, what earns another value, by how much
    that is. Where no source answered, what earns least.
    """
    ranked = ((rank, line) for line in lines if (rank := _rank(line)) is not None)
    return [line for _, line in heapq.nsmallest(MOST, ranked, key=lambda pair: pair[0])]


def _rank(line: Mapping[str, Any]) -> tuple[int, float, int] | None:
    """Return by what a sample is sorted, the lowest first; None for one that is of no interest."""
    mine, source = line["correct"], line["source_correct"]
    pairs = line.get("values", {}).values()
    away = max((abs(pair[0] - pair[1]) for pair in pairs if pair[1] is not None), default=0.0)
    if mine is not None and source is not None and mine != source:
        return int(mine), 0.0, line["draw"]
    if line["agrees"] is False:
        return 2, -away, line["draw"]
    if away and mine is None and source is None:
        return 3, -away, line["draw"]
    lost = max((1.0 - pair[0] for pair in pairs if pair[1] is None), default=0.0)
    return (4, -lost, line["draw"]) if lost > 0 else None


def _named(samples: Iterable[Sample], lines: Iterable[Mapping[str, Any]]) -> dict[str, Sample]:
    wanted = {line["id"] for line in lines}
    return {sample.id: sample for sample in samples if sample.id in wanted}


def _drawn(
    lines: Iterable[Mapping[str, Any]], samples: Mapping[str, Sample], recipe: Recipe
) -> tuple[list[tuple[dict[str, Any], bytes]], list[str]]:
    """Return entries of the index with their pictures, and why others could not be drawn."""
    drawn, failed, left = list[tuple[dict[str, Any], bytes]](), list[str](), MAX_BYTES
    for line in lines:
        try:
            entry, picture = _entry(line, samples[line["id"]], recipe)
        except ModelportError as error:
            failed.append(error.found)
            continue
        left -= len(picture) + len(_text({"0000.jpg": entry}))
        if left < 0:
            failed.append(f"those drawn have the {MAX_BYTES} bytes that all may have")
            break
        drawn.append((entry, picture))
    return drawn, failed


def _entry(line: Mapping[str, Any], sample: Sample, recipe: Recipe) -> tuple[dict[str, Any], bytes]:
    """Return what the index tells of a sample, and its JPEG. Raises BadSampleError."""
    name, content = f"{sample.path}: {sample.id}", sample.read()
    if digest_bytes(content) != line["sha256"]:
        raise BadSampleError(f"{name}: was changed since it was scored")
    first = recipe.preprocess[0]
    sideways = recipe.placed and isinstance(first, Decode) and first.exif_rotation == "ignore"
    pixels, (width, height) = shrunk(content, name, first, SIDE, upright=not sideways)
    return {"id": sample.id, "sha256": line["sha256"], "width": width, "height": height}, as_jpeg(pixels, QUALITY)


def _write(place: Path, drawn: Sequence[tuple[dict[str, Any], bytes]]) -> None:
    """Write the index, and then the pictures that it lists: all of them or none.

    Raises OutputError where one cannot be written, or anything of its name lies there already.
    """
    files = {f"{number:04d}.jpg": (entry, picture) for number, (entry, picture) in enumerate(drawn, 1)}
    with writing(place):
        place.mkdir(exist_ok=True)
        if place.is_symlink():
            raise OutputError(f"{place} is a link", "remove it")
    with ExitStack() as undo:
        for name, content in _contents(files):
            with writing(place / name), (place / name).open("xb") as stream:
                undo.callback((place / name).unlink, missing_ok=True)
                stream.write(content)
        undo.pop_all()


def _contents(files: Mapping[str, tuple[dict[str, Any], bytes]]) -> Iterator[tuple[str, bytes]]:
    yield INDEX, _text({name: entry for name, (entry, _) in files.items()}).encode()
    yield from ((name, picture) for name, (_, picture) in files.items())


def _text(index: Mapping[str, Any]) -> str:
    return json.dumps(index, indent=1) + "\n"
