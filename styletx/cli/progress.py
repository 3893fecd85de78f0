"""What is shown on stderr meanwhile: bars for a run or a download, and notes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tqdm import tqdm

from styletx.cli import terminal
from styletx.cli.flags import flag
from styletx.notes import Note, Notes
from styletx.optimization import Step

EVERY = 10  # seconds between lines that take a bar's place


class Lines:
    """What takes a bar's place where nobody watches stderr: a line every ten seconds, and none from a short command.

    Args:
        quiet: say nothing.
        share: of the work, from 0 to 1, that was done before.
    """

    def __init__(self, quiet: bool, share: float = 0.0) -> None:
        self.is_silent = quiet or is_watched()
        self.began = self.said = time.monotonic()
        self.first = share

    def update(self, share: float, told: str = "") -> None:
        """Tell how much of the work is done, from 0 to 1, and what else there is to tell, if it is time."""
        now = time.monotonic()
        if self.is_silent or not self.first < share < 1 or now - self.said < EVERY:
            return
        self.said = now
        left = round((now - self.began) * (1 - share) / (share - self.first))
        terminal.say(f"{share:.0%} done, about {left // 60}:{left % 60:02} left{told and ', '}{told}", aside=True)


class Count(contextlib.AbstractContextManager["Count"]):
    """How many of several things are done, as a bar, or as lines where nobody watches.

    Args:
        total: how many there are.
        unit: what they are called.
        quiet: show nothing.
        done: how many were done before.
    """

    def __init__(self, total: int, unit: str, quiet: bool, done: int = 0) -> None:
        layout = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
        self._quiet, self._lines = quiet, Lines(quiet, done / total)
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}",
            bar_format=layout,
            disable=quiet or not is_watched(),
            dynamic_ncols=True,
        )
        self.done, self.total, self._unit = done, total, unit

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def update(self, told: str = "") -> None:
        """One more is done, and this is to be told of it."""
        self.done += 1
        self._bar.set_postfix_str(told, refresh=False)
        self._bar.update()
        count = f"{self.done} of {self.total} {self._unit}"
        self._lines.update(self.done / self.total, f"{count}{told and ', '}{told}")

    def notes(self, given: Notes) -> None:
        """Print notes above the bar."""
        if given:
            with self._bar.external_write_mode(file=sys.stderr):
                notes(given, self._quiet)


def is_watched() -> bool:
    """Whether stderr is a terminal, where a bar can move."""
    return sys.stderr is not None and sys.stderr.isatty()  # it is None where the shell closed it


def bar(run: Iterable[Step], quiet: bool) -> Iterator[Step]:
    """The steps of a run, with a bar that shows scale, loss and time left."""
    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}"
    lines, is_silent = Lines(quiet), quiet or not is_watched()
    with tqdm(total=1.0, bar_format=layout, disable=is_silent, dynamic_ncols=True, smoothing=0) as shown:
        for step in run:
            lines.update(step.progress)
            height, width = step.pixels.shape[-2:]
            scale = f"scale {step.scale + 1}/{step.scales} " if step.losses else ""
            shown.set_description_str(f"{scale}({width}×{height})", refresh=False)
            if step.losses:
                shown.set_postfix_str(f"loss {step.losses['total']:.4f}", refresh=False)
            shown.update(step.progress - shown.n)
            yield step
        # It may have settled before all the evaluations that were planned.
        shown.update(1 - shown.n)


@contextlib.contextmanager
def download_bar(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A function to call with bytes done and bytes in all; its bar appears with the first call."""
    shown: list[tqdm[Any]] = []

    def update(done: int, whole: int) -> None:
        if not shown:
            shown.append(
                tqdm(total=whole, unit="B", unit_scale=True, desc="weights", disable=quiet or not is_watched())
            )
        shown[0].update(done - shown[0].n)

    try:
        yield update
    finally:
        for one in shown:
            one.close()


def notes(given: Iterable[Note], quiet: bool) -> None:
    """Print notes on stderr, a line each."""
    for note in () if quiet else given:
        if note.once and not _is_news(note.once):
            continue
        terminal.say(f"Note: {' '.join(note.rendered(flag).split())}", aside=True)


def _is_news(name: str) -> bool:
    """Whether a note was never told on this machine; from now on it was, if the cache can be written."""
    from styletx import backbones

    told = backbones.cache_dir() / "told" / name
    with contextlib.suppress(OSError, ValueError):
        told.parent.mkdir(parents=True, exist_ok=True)
        try:
            told.touch(exist_ok=False)
        except FileExistsError:
            return False
    return True
