"""Fetching weights, against a server on this machine that misbehaves on request."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelport.core.errors import FetchError, RecipeError
from modelport.model.weights import download as download_module
from modelport.model.weights.fetch import BY_FIRST_USE, BY_NAME, BY_NEW_RECORD, BY_RECIPE, cached_path, fetch_weights
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server gives, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    etag: str | None = '"one"'
    ranges: bool = True
    stop_after: int | None = None  # bytes of a body, although more were promised
    length: bool = True
    status: int = 200
    location: str = ""
    content_type: str = "application/octet-stream"
    range_shift: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(dict(handler.headers))
        start, status = 0, self.status
        wanted = handler.headers.get("Range")
        if self.ranges and wanted and handler.headers.get("If-Range") == self.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(self.content) else 416
        body = self.content[start:] if status in (200, 206) else b""
        handler.send_response(status)
        handler.send_header("Content-Type", self.content_type)
        if self.location:
            handler.send_header("Location", self.location)
        if self.etag:
            handler.send_header("ETag", self.etag)
        if status == 206:
            span = f"bytes {start + self.range_shift}-{len(self.content) - 1}/{len(self.content)}"
            handler.send_header("Content-Range", span)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.stop_after])


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/w.pth"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "weights" / "moco-v2"


def recipe(**weights: Any) -> Recipe:
    base = load_recipe("moco-v2")
    return base.model_copy(update={"weights": base.published_weights.model_copy(update={"file": "w.pth", **weights})})


def refusal(recipe: Recipe) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch_weights(recipe)
    assert caught.value.fix
    assert not cached_path(recipe).exists()
    return caught.value


def interrupted(site: Site, wanted: Recipe) -> Path:
    """Leave a part of 3000 bytes behind, and return its path."""
    site.stop_after = 3000
    error = refusal(wanted)
    assert f"broken off after 3000 of {len(CONTENT)} bytes" in error.found
    assert "run again" in error.fix
    site.stop_after = None
    part = cached_path(wanted).with_name("w.pth.part")
    assert part.read_bytes() == CONTENT[:3000]
    return part


# Proof


def test_sha256_of_the_recipe_is_the_first_proof(site: Site, cache: Path) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST, file="w-00000000.pth")
    seen: list[tuple[int, int | None]] = []
    fetched = fetch_weights(wanted, progress=lambda done, total: seen.append((done, total)))
    assert (fetched.path, fetched.sha256, fetched.verified) == (cache / "w-00000000.pth", DIGEST, BY_RECIPE)
    assert fetched.path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(file.name for file in cache.iterdir()) == ["w-00000000.pth", "w-00000000.pth.lock"]


def test_cached_file_needs_no_network_but_is_proved_again(site: Site) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    fetch_weights(wanted)
    assert fetch_weights(wanted).verified == BY_RECIPE
    assert len(site.asked) == 1
    cached_path(wanted).write_bytes(b"altered")
    with pytest.raises(FetchError, match=f"{DIGEST} is promised") as caught:
        fetch_weights(wanted)
    assert f"delete {cached_path(wanted)}" in caught.value.fix
    assert cached_path(wanted).read_bytes() == b"altered"


def test_hash_in_the_file_name_is_the_second_proof(site: Site) -> None:
    fetched = fetch_weights(recipe(url=site.url, file=f"w-{DIGEST[:8]}.pth.tar"))
    assert fetched.verified == BY_NAME
    assert not fetched.path.with_name(f"{fetched.path.name}.sha256.json").exists()
    assert "1234abcd is promised" in refusal(recipe(url=site.url, file="w-1234abcd.pth")).found


def test_wrong_digest_leaves_nothing(site: Site, cache: Path) -> None:
    error = refusal(recipe(url=site.url, sha256="0" * 64))
    assert DIGEST in error.found
    assert "0" * 64 in error.found
    assert [file.name for file in cache.iterdir()] == ["w.pth.lock"]


def test_first_use_is_recorded_and_a_change_refused(site: Site) -> None:
    wanted = recipe(url=site.url)
    fetched = fetch_weights(wanted)
    assert fetched.verified == BY_FIRST_USE
    sidecar = fetched.path.with_name("w.pth.sha256.json")
    record = json.loads(sidecar.read_text())
    assert (record["sha256"], record["url"], record["bytes"]) == (DIGEST, site.url, len(CONTENT))
    assert record["recorded"].endswith("+00:00")
    assert fetch_weights(wanted) == fetched

    fetched.path.write_bytes(b"altered")
    changed = hashlib.sha256(b"altered").hexdigest()
    with pytest.raises(FetchError) as caught:
        fetch_weights(wanted)
    for word in (DIGEST, changed):
        assert word in caught.value.found
    assert f"delete {fetched.path} and {sidecar}" in caught.value.fix

    fetched.path.unlink()
    site.content, site.etag = b"another", '"two"'
    assert hashlib.sha256(b"another").hexdigest() in refusal(wanted).found
    sidecar.unlink()
    assert fetch_weights(wanted).path.read_bytes() == b"another"


def test_file_put_there_by_hand_is_recorded(site: Site) -> None:
    wanted = recipe(url=site.url)
    cached_path(wanted).write_bytes(CONTENT)
    assert fetch_weights(wanted).verified == BY_FIRST_USE
    assert json.loads(cached_path(wanted).with_name("w.pth.sha256.json").read_text())["url"] is None
    assert site.asked == []


@pytest.mark.parametrize("damage", ["[]", "{", "one digit", '{"sha256": 3}'])
def test_damaged_record_is_replaced_and_said(site: Site, damage: str) -> None:
    wanted = recipe(url=site.url)
    assert fetch_weights(wanted).verified == BY_FIRST_USE
    sidecar = cached_path(wanted).with_name("w.pth.sha256.json")
    other = ("0" if DIGEST[0] != "0" else "1") + DIGEST[1:]
    sidecar.write_text(sidecar.read_text().replace(DIGEST, other) if damage == "one digit" else damage)
    assert fetch_weights(wanted).verified == BY_NEW_RECORD
    assert fetch_weights(wanted).verified == BY_FIRST_USE
    assert json.loads(sidecar.read_text())["sha256"] == DIGEST


def test_record_of_an_earlier_version_still_holds(site: Site) -> None:
    wanted = recipe(url=site.url)
    cached_path(wanted).write_bytes(b"altered")
    record = {"sha256": DIGEST, "url": None, "bytes": len(CONTENT), "recorded": "2025-01-01T00:00:00+00:00"}
    cached_path(wanted).with_name("w.pth.sha256.json").write_text(json.dumps(record))
    with pytest.raises(FetchError, match=f"{DIGEST} was recorded"):
        fetch_weights(wanted)


# Resuming


def test_interrupted_transfer_is_resumed(site: Site, cache: Path) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    interrupted(site, wanted)
    seen: list[tuple[int, int | None]] = []
    fetch_weights(wanted, progress=lambda done, total: seen.append((done, total)))
    assert site.asked[-1]["Range"] == "bytes=3000-"
    assert site.asked[-1]["If-Range"] == '"one"'
    assert seen == [(len(CONTENT), len(CONTENT))]
    assert cached_path(wanted).read_bytes() == CONTENT
    assert sorted(file.name for file in cache.iterdir()) == ["w.pth", "w.pth.lock"]


def test_changed_file_is_fetched_from_the_beginning(site: Site) -> None:
    wanted = recipe(url=site.url)
    interrupted(site, wanted)
    site.content, site.etag = CONTENT[::-1], '"two"'
    assert fetch_weights(wanted).path.read_bytes() == CONTENT[::-1]


def test_server_without_ranges_restarts_from_zero(site: Site) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    interrupted(site, wanted)
    site.ranges = False
    seen: list[tuple[int, int | None]] = []
    fetch_weights(wanted, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(len(CONTENT), len(CONTENT))]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_part_of_an_unmarked_file_is_not_resumed(site: Site, etag: str | None) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    site.etag = etag
    interrupted(site, wanted)
    fetch_weights(wanted)
    assert "Range" not in site.asked[-1]


def test_range_beyond_the_end_restarts_from_zero(site: Site) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    interrupted(site, wanted).write_bytes(CONTENT + b"surplus")
    assert fetch_weights(wanted).sha256 == DIGEST
    assert len(site.asked) == 3


def test_range_at_another_place_is_refused(site: Site) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    part = interrupted(site, wanted)
    site.range_shift = 5
    assert "another place" in refusal(wanted).found
    assert not part.exists()


def test_part_of_another_address_is_not_resumed(site: Site) -> None:
    interrupted(site, recipe(url=site.url, sha256=DIGEST))
    fetch_weights(recipe(url=f"{site.url}?mirror", sha256=DIGEST))
    assert "Range" not in site.asked[-1]


# Refusals


def test_size_limit_holds_by_promise_and_while_streaming(site: Site, cache: Path) -> None:
    wanted = recipe(url=site.url, max_bytes=len(CONTENT) - 1)
    site.stop_after = 10  # so that only the promise can tell
    assert f"at least {len(CONTENT)} bytes" in refusal(wanted).found
    site.stop_after = None
    site.length = False
    assert "more than the recipe's max_bytes" in refusal(wanted).found
    assert [file.name for file in cache.iterdir()] == ["w.pth.lock"]
    assert fetch_weights(recipe(url=site.url, max_bytes=len(CONTENT))).sha256 == DIGEST


def test_web_page_has_to_be_fetched_by_hand(site: Site) -> None:
    site.content_type = "text/html; charset=utf-8"
    wanted = recipe(url=site.url, page="https://example.org/weights", by_hand="the code is 1234")
    error = refusal(wanted)
    assert "a person has to fetch it" in error.found
    for words in ("https://example.org/weights (the code is 1234)", str(cached_path(wanted)), "--weights"):
        assert words in error.fix


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusing_server_is_quoted(site: Site, status: int) -> None:
    site.status = status
    wanted = recipe(url=site.url)
    error = refusal(wanted)
    assert site.url in error.found
    assert str(status) in error.found
    assert str(cached_path(wanted)) in error.fix


def test_redirects_lead_to_the_web_only(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    site.status = 302
    for location in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/secret"):
        site.location = location
        assert location in refusal(recipe(url=site.url)).found


def test_redirect_to_the_web_is_followed(site: Site) -> None:
    def once(handler: BaseHTTPRequestHandler, answer: Callable[[BaseHTTPRequestHandler], None] = site.answer) -> None:
        moved = handler.path == "/moved"
        site.status, site.location = (302, site.url) if moved else (200, "")
        answer(handler)

    site.answer = once  # type: ignore[method-assign]
    assert fetch_weights(recipe(url=site.url.replace("w.pth", "moved"))).sha256 == DIGEST


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/w", "w.pth", "http://[", "http://a b/"])
def test_other_addresses_are_refused(url: str) -> None:
    assert url in refusal(recipe(url=url)).found


def test_unreachable_server_names_the_way_by_hand() -> None:
    wanted = recipe(url="http://127.0.0.1:9/w.pth")
    error = refusal(wanted)
    assert "http://127.0.0.1:9/w.pth" in error.found
    assert str(cached_path(wanted)) in error.fix


def test_silent_server_times_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 0.05)
    release = threading.Event()
    site.answer = lambda _: release.wait(5)  # type: ignore[method-assign, assignment]
    error = refusal(recipe(url=site.url))
    release.set()
    assert "timed out" in error.found


def test_weights_without_an_address_for_programs() -> None:
    wanted = recipe(url=None, page="https://pan.example.org/s/1", by_hand="code abcd")
    error = refusal(wanted)
    assert "https://pan.example.org/s/1" in error.found
    assert "code abcd" in error.fix
    assert str(cached_path(wanted)) in error.fix


def test_full_disk_keeps_the_part(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    part = interrupted(site, wanted)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        error = refusal(wanted)
    assert "No space left on device" in error.found
    assert "free space" in error.fix
    assert part.exists()


def test_file_name_with_a_folder_is_refused() -> None:
    for name in ("../w.pth", "a/w.pth", "..", "/etc/passwd", ""):
        with pytest.raises(RecipeError):
            cached_path(recipe(file=name))


def test_two_at_once_fetch_once(site: Site) -> None:
    wanted = recipe(url=site.url, sha256=DIGEST)
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(fetch_weights(wanted).sha256)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [DIGEST] * 4
    assert len(site.asked) == 1
