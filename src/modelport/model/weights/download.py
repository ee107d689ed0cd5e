"""One file over HTTP, going on where an interrupted transfer stopped."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from modelport.core.artifacts import write_json
from modelport.core.errors import DataError, FetchError, raised_as
from modelport.core.files import read_json

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known

TIMEOUT_SECONDS = 30.0  # without a byte
_CHUNK = 1 << 20
_AGAIN = "run again: the download goes on where it stopped"


def download(url: str, part: Path, max_bytes: int, by_hand: str, progress: Progress | None = None) -> None:
    """Fetch ``url`` into ``part``, resuming what lies there if the server still has the same file.

    ``by_hand`` is the fix where no program can fetch it. Raises FetchError; ``part`` then stays where another
    run can go on from it, and is removed where it cannot.
    """
    try:
        if not _is_web(url):
            raise FetchError(f"{url}: no web address", "use http or https; for a file at hand, give --weights FILE")
        start, validator = _resume_point(part, url)
        with _open(url, part, start, validator) as response:
            start, total = _begin(response, url, part, start, max_bytes, by_hand)
            done = _stream(response, url, part, (start, total), max_bytes, progress)
    except HTTPError as error:
        with error:
            raise FetchError(f"{url}: the server answers {error.code} {error.reason}", by_hand) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # URLError and time-outs are OSErrors; ValueError is what the standard library says of a malformed address.
        reason = error.reason if isinstance(error, URLError) else error
        raise FetchError(
            f"{url}: not to be reached, or broken off: {reason or type(error).__name__}",
            f"check the connection and run again (a part is kept and resumed); or {by_hand}",
        ) from error
    if total is not None and done != total:
        raise FetchError(
            f"{url}: broken off after {done} of {total} bytes", _AGAIN if _state_file(part).exists() else "run again"
        )


def forget(part: Path) -> None:
    """Remove a partial file and what is known of it."""
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)


class _WebOnly(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        if not _is_web(newurl):
            raise HTTPError(newurl, code, f"and redirects to {newurl}, which is no web address", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _resume_point(part: Path, url: str) -> tuple[int, str]:
    """Return how many bytes are there, and what tells whether the server's file is still the same."""
    try:
        state = read_json(_state_file(part))
        if state["url"] == url and isinstance(state["validator"], str):
            return part.stat().st_size, state["validator"]
    except (OSError, DataError, KeyError, TypeError):
        pass  # nothing there, or nothing to be relied on: from the beginning
    return 0, ""


def _open(url: str, part: Path, start: int, validator: str) -> Any:
    headers = {"User-Agent": "modelport", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        return build_opener(_WebOnly).open(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        error.close()
        forget(part)
        return _open(url, part, 0, "")


def _begin(response: Any, url: str, part: Path, start: int, max_bytes: int, by_hand: str) -> tuple[int, int | None]:
    """Check an answer's head; return where its bytes belong, and how many there are in all where it says so."""
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise FetchError(f"{url}: answers with a web page (a login?), so a person has to fetch it", by_hand)
    if response.status == http.client.PARTIAL_CONTENT:
        span = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if not span or int(span[1]) != start:
            forget(part)
            raise FetchError(f"{url}: the server resumed at another place than asked", "run again, from the beginning")
    else:
        start = 0
        forget(part)
        etag = response.headers.get("ETag", "")
        # A weak ETag does not promise equal bytes.
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        if validator:
            write_json(_state_file(part), {"url": url, "validator": validator})
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    if total is not None and total > max_bytes:
        raise _too_large(url, part, total, max_bytes)
    return start, total


def _stream(
    response: Any, url: str, part: Path, span: tuple[int, int | None], max_bytes: int, progress: Progress | None
) -> int:
    done, total = span
    with _disk(part):
        # Unbuffered: a buffer that cannot be written would raise once more when the file is closed.
        sink = part.open("ab", buffering=0)
    with sink:
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if done > max_bytes:
                raise _too_large(url, part, done, max_bytes)
            with _disk(part):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[sink.write(rest) :]
            if progress:
                progress(done, total)
        with _disk(part):
            os.fsync(sink.fileno())
    return done


def _too_large(url: str, part: Path, size: int, max_bytes: int) -> FetchError:
    forget(part)
    return FetchError(
        f"{url}: at least {size} bytes, more than the recipe's max_bytes ({max_bytes})",
        "check the address, or raise weights.max_bytes in the recipe",
    )


def _disk(part: Path) -> AbstractContextManager[None]:
    """Keep the disk's errors apart from the network's: both are OSErrors."""
    return raised_as(FetchError, f"{part}: cannot be written", f"free space, then {_AGAIN}", OSError)
