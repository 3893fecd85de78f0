"""Signals that ask for an end: Ctrl-C, a scheduler, a terminal that is closed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import click

from styletx.cli import terminal

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


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
