"""The recipe's weights → the cache: fetched once, and proved every time before they are used."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelport.core.artifacts import OWN_DIGEST, cache_folder, digest_file, read_record, write_record, writing
from modelport.core.errors import DataError, FetchError, RecipeError, raised_as
from modelport.core.files import read_json
from modelport.model.weights.download import Progress, download, forget
from modelport.recipes.schema import Recipe

BY_RECIPE = "sha256 of the recipe"
BY_NAME = "hash prefix in the file name"
BY_FIRST_USE = "unverified (recorded on first use)"
BY_NEW_RECORD = "unverified (the record of its first use was damaged: recorded anew)"

# torch hub's convention: the first digits of the sha256 stand before the suffix, as in `resnet50-0676ba61.pth`.
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z.]+$")


@dataclass(frozen=True, slots=True)
class FetchedWeights:
    """A weights file in the cache, and what its content was held against."""

    path: Path
    sha256: str
    verified: str  # BY_RECIPE, BY_NAME, BY_FIRST_USE or BY_NEW_RECORD


def cached_path(recipe: Recipe) -> Path:
    """Return where the recipe's weights lie in the cache, whether they are there or not."""
    file = recipe.published_weights.file
    if Path(file).name != file or file in ("", "..") or "\0" in file:
        raise RecipeError(f"weights.file: '{file}' is no plain file name", "give a name without folders")
    return cache_folder("weights", recipe.name) / file


def fetch_weights(recipe: Recipe, *, progress: Progress | None = None) -> FetchedWeights:
    """Return the recipe's weights, from the cache or, where they are not there, from their address.

    The content is proved either way: by the recipe's sha256, else by a hash in the file's name, else by what
    was recorded on first use. Raises FetchError where they cannot be had or are not what was promised; it says
    how to fetch them by hand.
    """
    path = cached_path(recipe)
    with _locked(path):
        if path.exists():
            return _proved(recipe, path, path, None)
        url, by_hand = recipe.published_weights.url, _by_hand(recipe, path)
        if url is None:
            raise FetchError(f"{recipe.published_weights.page}: only a person can fetch {path.name} there", by_hand)
        part = path.with_name(f"{path.name}.part")
        download(url, part, recipe.published_weights.max_bytes, by_hand, progress)
        try:
            weights = _proved(recipe, path, part, url)
        except FetchError:
            forget(part)
            raise
        with writing(path):
            part.replace(path)
        forget(part)
        return weights


def _proved(recipe: Recipe, path: Path, lies_at: Path, url: str | None) -> FetchedWeights:
    """Digest what lies at ``lies_at`` and hold it against the best proof there is; ``url`` where it just came."""
    with raised_as(FetchError, f"{lies_at}: cannot be read", f"remove {lies_at}", OSError):
        digest, size = digest_file(lies_at), lies_at.stat().st_size
    in_name = HASH_IN_NAME.search(path.name)
    wanted = recipe.published_weights.sha256 or (in_name[1] if in_name else "")
    if not wanted:
        return FetchedWeights(path, digest, _hold_against_first_use(path, digest, size, url))
    proof = BY_RECIPE if recipe.published_weights.sha256 else BY_NAME
    if not digest.startswith(wanted):
        fix = f"the file there is another one: {_by_hand(recipe, path)}" if url else f"delete {path} and run again"
        raise FetchError(f"{url or path}: sha256 is {digest}, but {wanted} is promised ({proof})", fix)
    return FetchedWeights(path, digest, proof)


def _hold_against_first_use(path: Path, digest: str, size: int, url: str | None) -> str:
    """Hold a digest against the one recorded on first use, which is made where it is missing or damaged."""
    sidecar = path.with_name(f"{path.name}.sha256.json")
    recorded = _recorded(sidecar)
    if recorded is None:
        damaged = sidecar.exists()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_record(sidecar, {"sha256": digest, "url": url, "bytes": size, "recorded": now})
        return BY_NEW_RECORD if damaged else BY_FIRST_USE
    if digest != recorded:
        raise FetchError(
            f"{url or path}: sha256 is {digest}, but {recorded} was recorded on first use",
            f"if you accept the change, delete {path} and {sidecar}, then fetch the file again",
        )
    return BY_FIRST_USE


def _recorded(sidecar: Path) -> str | None:
    """Return the digest in a record, None where there is none or it is damaged."""
    record = read_record(sidecar)
    if record is None:
        # Earlier versions wrote no digest of the record itself.
        try:
            record = read_json(sidecar)
        except DataError:
            return None
        if not isinstance(record, dict) or OWN_DIGEST in record:
            return None
    digest = record.get("sha256")
    return digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else None


def _by_hand(recipe: Recipe, path: Path) -> str:
    weights = recipe.published_weights
    how = f" ({weights.by_hand})" if weights.by_hand else ""
    return f"fetch {weights.page or weights.url}{how} yourself and put the file at {path}, or give --weights FILE"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time fetch a file; the lock goes with the process, however that ends."""
    lock = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as opened:
        with writing(lock):
            fcntl.flock(opened.enter_context(lock.open("a")), fcntl.LOCK_EX)
        yield
