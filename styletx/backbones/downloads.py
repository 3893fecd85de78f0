"""Downloading a published file: resumed where the connection was lost, and checked against the published hash."""

from __future__ import annotations

import dataclasses
import errno
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from styletx._version import __version__
from styletx.backbones.registry import Download
from styletx.errors import WeightsError, field
from styletx.files import reason, sha256_of

Progress = Callable[[int, int], None]
"""Called with the bytes that have arrived and the bytes in all."""

TIMEOUT = 30.0  # seconds that a server may be silent
FAILURES = 4  # attempts in a row that bring nothing new, before giving up
PAUSE = 1.0  # seconds before the first new attempt; doubles each time
CHUNK = 1 << 18  # bytes
BY_HAND = f"download that file elsewhere and give it as {field('weights')}"


class _ConnectionLostError(Exception):
    """The connection was lost; what had arrived is kept."""


def download(name: str, published: Download, partial: Path, progress: Progress | None = None) -> None:
    """Complete `partial`, which may hold the beginning of the file, and check its hash.

    Args:
        name: of the network, for the command that continues the download.
        published: what to download.
        partial: where it goes; what has arrived stays there when the download stops.
        progress: called as bytes arrive.

    Raises:
        WeightsError: no answer, or what arrived is not what was published.
        OSError: the file cannot be written.
    """
    began_empty = _size(partial) == 0
    _complete(name, published, partial, progress)
    found = sha256_of(partial)
    if found.startswith(published.sha256):
        return
    partial.unlink()
    if not began_empty:
        # What was left from another day may have been part of another file.
        return download(name, published, partial, progress)
    raise WeightsError(
        f"{published.url}: the file received is not the one published (its SHA-256 is {found[:8]}…, not "
        f"{published.sha256}…) and was removed; try again on another network, or {BY_HAND}"
    )


def _complete(name: str, published: Download, partial: Path, progress: Progress | None) -> None:
    """Receive until `partial` has its full size, with new attempts when the connection is lost."""
    if published.tolerance:
        published = _measured(published)
    missing = published.size - _size(partial)
    if missing > shutil.disk_usage(partial.parent).free:
        raise OSError(errno.ENOSPC, f"no room for a download of {missing / 1e6:.0f} MB")
    furthest, failures = _size(partial), 0
    while _size(partial) < published.size:
        try:
            _receive(published, partial, progress)
        except _ConnectionLostError as error:
            failures = 0 if _size(partial) > furthest else failures + 1
            furthest = max(furthest, _size(partial))
            if failures == FAILURES:
                arrived, size = _size(partial) / 1e6, published.size / 1e6
                raise WeightsError(
                    f"{published.url}: the download stopped at {arrived:.0f} of {size:.0f} MB ({error}); "
                    f"`styletx weights fetch {name}` continues it, or {BY_HAND}"
                ) from error
            time.sleep(PAUSE * 2**failures)


def _measured(published: Download) -> Download:
    """The download with its exact size, which the server tells."""
    request = urllib.request.Request(published.url, headers={"User-Agent": f"styletx/{__version__}"}, method="HEAD")
    try:
        with _open(published, request) as response:
            size = int(response.headers["Content-Length"] or 0)
    except _ConnectionLostError as error:
        raise WeightsError(f"{published.url} cannot be downloaded ({error}); try again later, or {BY_HAND}") from error
    if abs(size - published.size) > published.tolerance:
        raise _wrong_size(published, size, f"about {published.size}")
    return dataclasses.replace(published, size=size, tolerance=0)


def _receive(published: Download, partial: Path, progress: Progress | None) -> None:
    """One request: the rest of the file if the server can send a part, else all of it."""
    arrived = _size(partial)
    headers = {"User-Agent": f"styletx/{__version__}"}
    if arrived:
        headers["Range"] = f"bytes={arrived}-"
    with _open(published, urllib.request.Request(published.url, headers=headers)) as response:
        resumes = response.status == 206 and (response.headers["Content-Range"] or "").startswith(f"bytes {arrived}-")
        if response.status == 206 and not resumes:
            partial.unlink(missing_ok=True)
            raise _ConnectionLostError("the server sent another part of the file than was asked for")
        arrived = arrived if resumes else 0
        if response.length is not None and arrived + response.length != published.size:
            raise _wrong_size(published, arrived + response.length, str(published.size))
        with partial.open("ab" if resumes else "wb") as file:
            while arrived <= published.size:
                if progress:
                    progress(arrived, published.size)
                try:
                    chunk = response.read(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _ConnectionLostError(reason(error)) from error
                if not chunk:
                    break
                file.write(chunk)
                arrived += len(chunk)
    if arrived < published.size:
        raise _ConnectionLostError("the server closed the connection")


def _open(published: Download, request: urllib.request.Request) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
        return response
    except urllib.error.HTTPError as error:
        answer = f"HTTP {error.code} {error.reason}"
        if error.code >= 500:
            raise _ConnectionLostError(answer) from error
    except urllib.error.URLError as error:
        answer = str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionLostError(reason(error)) from error
    raise WeightsError(f"{published.url} cannot be downloaded ({answer}); check the connection, or {BY_HAND}")


def _wrong_size(published: Download, offered: int, expected: str) -> WeightsError:
    return WeightsError(
        f"{published.url}: the server offers {offered} bytes instead of {expected} (perhaps the log-in page of your "
        f"network); {BY_HAND}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
