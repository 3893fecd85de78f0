"""Keeps everyone out who was not let in, before anything else looks at a request.

Any web page may post to localhost, and a name that someone else controls may lead there (DNS rebinding). So a request
must name this server as its host, and one that changes something must not come from another origin. Beyond this
machine's own loopback, a token is needed as well.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from styletx.web.problems import problem

COOKIE = "styletx"
HOST = re.compile(r"[a-z0-9.\-]+(:\d+)?|\[[0-9a-f:.]+\](:\d+)?", re.IGNORECASE)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LONGEST_COOKIE = 4096  # characters of the header that are looked at
READING = ("GET", "HEAD", "OPTIONS")
PATIENCE = 8.0  # seconds between two pieces of a body at most, and before it has to come at a rate
RATE = 16 * 2**10  # bytes a second, at least
TURN = 10.0  # seconds that a body waits for others at most
BODY = 180.0  # seconds that a whole body may take
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        hosts: names by which the server may be called; with "*", every address in digits too.
        token: what a caller must know; None for nobody.
        most_bytes: of a body.
        most_bodies: that are read at once.
    """

    def __init__(self, app: ASGIApp, hosts: set[str], token: str | None, most_bytes: int, most_bodies: int) -> None:
        self.app, self.hosts, self.token = app, hosts, token
        self.most_bytes = most_bytes
        self._free = asyncio.Semaphore(most_bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        headers = Headers(scope=scope)
        if (refusal := self._refusal(scope, headers)) is not None:
            await refusal(scope, receive, answer)
        elif scope["method"] in READING:
            await self.app(scope, receive, answer)
        elif (has_body := _has_body(headers)) and not await self._may_be_read():
            busy = problem(503, "so many uploads are under way; try again in a moment", {"Retry-After": "2"})
            await busy(scope, receive, answer)
        else:
            body = _Body(receive, self.most_bytes, self._free.release if has_body else lambda: None)
            try:
                await self.app(scope, body, answer)
            finally:
                body.end()

    async def _may_be_read(self) -> bool:
        """Whether it is a body's turn, before its sender has waited for too long."""
        try:
            await asyncio.wait_for(self._free.acquire(), TURN)
        except asyncio.TimeoutError:
            return False
        return True

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return problem(421, "this server is not called that; open the address that it showed when it started")
        if scope["method"] not in READING:
            if not _is_same(headers, hosts[0]):
                return problem(403, "another web site sent this; only this server's own page may")
            length = headers.get("content-length")
            if length is not None and not (length.isascii() and length.isdigit()):
                return problem(400, "the length of the body is no number")
            if length is not None and int(length) > self.most_bytes:
                return problem(413, f"the body has {int(length):,} bytes, over the limit of {self.most_bytes:,}")
        return None if self.token is None else self._known(scope, headers)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None or not HOST.fullmatch(host):
            return False
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return "*" in self.hosts

    def _known(self, scope: Scope, headers: Headers) -> Response | None:
        assert self.token is not None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _is_equal(given.strip(), self.token):
            return None
        for cookie in headers.get("cookie", "")[:LONGEST_COOKIE].split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == COOKIE and _is_equal(value, self.token):
                return None
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] == "GET" and _is_equal(asked.pop("token", [""])[0], self.token):
            place = scope["path"] if scope["path"].startswith("/") and not scope["path"].startswith("//") else "/"
            response = RedirectResponse(f"{place}?{urlencode(asked, doseq=True)}".rstrip("?"), 303)
            response.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", path="/")
            return response
        return problem(
            401, "this needs the token that the server showed when it started", {"WWW-Authenticate": "Bearer"}
        )


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _is_same(headers: Headers, host: str) -> bool:
    """Whether a request came from this server's page, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


class TooLarge(Exception):
    """A body has more bytes than allowed."""


class TooSlow(Exception):
    """A body did not come in time."""


class _Body:
    """A body that is neither too long nor too slow."""

    def __init__(self, receive: Receive, most: int, ended: Callable[[], None]) -> None:
        self.receive, self.most, self.ended, self.size, self.is_over = receive, most, ended, 0, False
        self.began: float | None = None

    def end(self) -> None:
        """It was read, or nobody wants it any more; what follows may take any time."""
        if not self.is_over:
            self.is_over = True
            self.ended()

    async def __call__(self) -> Message:
        if self.is_over:  # what comes now tells that the client is gone, which may take any time
            return await self.receive()
        now = asyncio.get_running_loop().time()
        self.began = self.began or now
        left = min(PATIENCE + self.size / RATE, BODY) - (now - self.began)
        try:
            message = await asyncio.wait_for(self.receive(), max(0.0, min(PATIENCE, left)))
        except asyncio.TimeoutError:
            raise TooSlow from None
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
            if self.size > self.most:
                raise TooLarge
            if not message.get("more_body", False):
                self.end()
        return message
