"""Signals that ask for an end: Ctrl-C, a scheduler, a terminal that is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import click

from styletx.cli import terminal

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
LATER = 0.1  # seconds


class Stop:
    """Remembers the signal that asked for an end.

    Attributes:
        number: of the signal; None while there was none.
    """

    def __init__(self, number: int | None = None) -> None:
        self.number = number

    @property
    def code(self) -> int:
        """The exit code that a shell gives a program which that signal ended; 0 without one."""
        return 0 if self.number is None else 128 + self.number

    def leave(self) -> NoReturn:
        """End the command, which has nothing to keep yet."""
        terminal.say("Stopped before there was anything to keep", aside=True)
        raise click.exceptions.Exit(self.code)

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Such a signal ends the block, in which it is a `KeyboardInterrupt`."""
        try:
            with self._heard(self._interrupt):
                yield
        except KeyboardInterrupt:
            self.number = self.number or signal.SIGINT

    def noting(self) -> contextlib.AbstractContextManager[None]:
        """Meanwhile, the first such signal is only remembered, and the next ones do what they did before."""
        return self._heard(self._note)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for one, handler in self._before.items():
            signal.signal(one, handler)

    @contextlib.contextmanager
    def _heard(self, handler: Any) -> Iterator[None]:
        with handled(handler) as self._before:
            yield


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let Ctrl-C wait while torch is imported, which would abort the process."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False):
            later = threading.Timer(LATER, os.kill, (os.getpid(), number))
            later.daemon = True
            later.start()
        else:
            signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def handled(handler: Any) -> Iterator[dict[int, Any]]:
    """Handle such signals so for a while; gives the handlers of before. What is ignored stays so, as nohup wants it."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield dict(before)
    finally:
        for number, one in before.items():
            signal.signal(number, one)
