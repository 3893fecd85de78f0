"""Starting the server, and ending it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from styletx.errors import OptionError, field
from styletx.web.app import Site, application
from styletx.web.guard import HEADERS, LOOPBACK
from styletx.web.problems import problem

TOKEN_BYTES = 18
IDLE = 15  # seconds that a connection may stay open without a request, and that its headers may take
MOST_CONNECTIONS = 200
ENDING = 2  # seconds that open connections get at the end, and the rest of a body that was answered already


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes:
        host: a name or an address.
        port: 0 takes any that is free.
        token: what a caller must know; None for nobody.
    """

    host: str
    port: int
    token: str | None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    def link(self, host: str, port: int) -> str:
        """The page's address, with the token that opens it."""
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/{f'?token={self.token}' if self.token else ''}"


def serve(
    address: Address,
    command: Callable[..., str],
    base: Mapping[str, Any],
    *,
    allow_models: bool,
    is_opened: bool,
    ready: Callable[[str, str | None], None],
) -> None:
    """Serve until the process is told to end.

    Args:
        address: where.
        command: writes a command line; called with content, style and options.
        base: options that are the server's own, such as the device.
        allow_models: whether trained styles may be sent.
        is_opened: whether the browser shows the page.
        ready: called with the page's address when it answers, and with the one for other machines where it has another.

    Raises:
        OptionError: it cannot listen there.
    """
    listening = _listening(address)
    port = listening.getsockname()[1]
    hosts = {*LOOPBACK, address.host.lower()} | (set() if address.is_loopback else {"*"})
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host)
    url = address.link(here or address.host, port)
    elsewhere = _reached() if here else None
    site = Site(command, base, allow_models=allow_models)
    try:
        config = uvicorn.Config(
            application(site, hosts, address.token),
            log_level="error",
            http=_Impatient,
            access_log=False,
            server_header=False,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=ENDING,
            h11_max_incomplete_event_size=64 * 1024,
            ws="none",
        )
        server = _Server(config, site)
        logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it warns of bodies that we refuse
        if hasattr(signal, "SIGHUP"):  # the terminal was closed
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        site.warm()

        def tell() -> None:
            while not server.started:
                if server.should_exit:
                    return
                time.sleep(0.02)
            ready(url, elsewhere and address.link(elsewhere, port))
            if is_opened:
                with contextlib.suppress(webbrowser.Error):
                    webbrowser.open(url)

        threading.Thread(target=tell, daemon=True).start()
        server.run([listening])
    finally:
        site.close()
        listening.close()
        if site.queue.is_painting:  # torch's threads would be torn down under it
            sys.stderr.flush()
            os._exit(130)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Not what was cut off because the server ends."""
    is_cut = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not (is_cut or asyncio.CancelledError.__name__ in record.getMessage())


class _Impatient(H11Protocol):
    """HTTP whose callers have to say soon what they want, and of which there are not too many."""

    _late: asyncio.TimerHandle | None = None
    _answered = 0

    def connection_made(self, transport: Any) -> None:
        """As uvicorn's."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._late = self.loop.call_later(IDLE, self._give_up)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's."""
        super().data_received(data)
        is_waiting = self.conn.their_state is h11.IDLE
        if self._late is not None and not is_waiting:
            self._late.cancel()
            self._late = None
        elif self._late is None and is_waiting:
            self._late = self.loop.call_later(IDLE, self._give_up)

    def on_response_complete(self) -> None:
        """As uvicorn's, which would wait for ever for the rest of a body that nobody wants any more."""
        super().on_response_complete()
        self._answered += 1
        if self.conn.their_state is h11.SEND_BODY:
            self.loop.call_later(ENDING, self._cut, self._answered)

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, in the form that all errors have."""
        response = problem(400, "this is not an HTTP request that can be read")
        headers = [*response.raw_headers, *((key.encode(), one.encode()) for key, one in HEADERS.items())]
        for event in (
            h11.Response(status_code=400, headers=[*headers, (b"connection", b"close")]),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _cut(self, answered: int) -> None:
        if self._answered == answered and self.conn.their_state is h11.SEND_BODY:
            self.transport.abort()

    def _give_up(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.abort()


class _Server(uvicorn.Server):
    """One that ends its streams of events first, which would wait for what never comes."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self.site = site

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's."""
        self.site.queue.abandon()
        super().handle_exit(sig, frame)


def _reached() -> str | None:
    """The address by which other machines of a network reach this one, if it is in any."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing, but a way there is chosen
        return str(probe.getsockname()[0])
    return None


def _listening(address: Address) -> socket.socket:
    if not address.host:
        raise OptionError(f"{field('host')} names no address; give one, such as 127.0.0.1")
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address.host, address.port))
        found.listen(128)
    except OSError as error:
        found.close()
        reason = (error.strerror or "it cannot be reached").lower()
        raise OptionError(
            f"{address.host}:{address.port}: {reason}; give another {field('port')} or {field('host')}"
        ) from None
    return found
