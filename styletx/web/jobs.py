"""What is to be painted, and what is known of it while it waits, is painted, and is there."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styletx.options import Options, paths
from styletx.stylizers import Part

WAITING, PAINTING, DONE, STOPPED, FAILED, CANCELLED = "waiting", "painting", "done", "stopped", "failed", "cancelled"


@dataclass(frozen=True)
class Task:
    """What is to be painted.

    Attributes:
        content: the photograph's file.
        name: what its owner calls it.
        parts: the style, of names of bundled styles and of files that were sent.
        options: how to paint it; those that are files are ones that were sent.
        names: what their owner calls the parts.
        command: the command line that repeats it, with the owner's names.
        asked: content, styles and options as they were asked for, by which a page asks again.
        has_timelapse: whether a film of it is kept too.
    """

    content: Path
    name: str
    parts: tuple[Part, ...]
    options: Options
    names: tuple[str, ...]
    command: str
    asked: dict[str, Any] = field(default_factory=dict, compare=False)
    has_timelapse: bool = False

    @property
    def files(self) -> set[str]:
        """All that is read for it."""
        return {
            str(self.content),
            *(str(one) for part in self.parts for one in part.sources),
            *paths(vars(self.options)).values(),
        }


@dataclass(eq=False)
class Job:
    """A picture that waits, is painted, or is there.

    Attributes:
        task: what was asked for.
        loop: the event loop in which it is followed.
        id: unguessable.
        state: waiting, painting, done, stopped, failed or cancelled.
        progress: from 0 to 1.
        left: seconds that it will probably take, None while that is not known.
        shown: its latest picture, as JPEG.
        size: (W, H) of the result, None before it is painted.
        losses: the latest.
        notes: what a person should know.
        error: what went wrong.
        seconds: that painting took.
        result: the file of the result, once there is one.
        timelapse: that of the film, likewise.
    """

    task: Task
    loop: asyncio.AbstractEventLoop
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: str = WAITING
    progress: float = 0.0
    left: float | None = None
    shown: bytes | None = None
    size: tuple[int, int] | None = None
    losses: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    result: Path | None = None
    timelapse: Path | None = None
    changed: float = field(default_factory=time.monotonic)
    asked: str | None = None  # STOPPED or CANCELLED, while it is painted
    is_abandoned: bool = False  # nobody may follow it any more, as the server ends
    version: int = 0
    pictures: int = 0  # that were shown, so that a page knows when there is another one
    _watchers: set[asyncio.Event] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self.state not in (WAITING, PAINTING)

    def drop(self) -> None:
        """Remove its files."""
        for path in (self.result, self.timelapse):
            if path is not None:
                path.unlink(missing_ok=True)

    def tell(self) -> None:
        """Wake whoever follows it; from any thread."""
        self.version += 1
        self.changed = time.monotonic()
        with contextlib.suppress(RuntimeError):  # the server ends
            self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._watchers:
            event.set()

    async def over(self) -> None:
        """Wait until nothing changes any more, or nobody may follow it."""
        async for _ in self.follow(math.inf):
            pass

    async def follow(self, beat: float) -> AsyncIterator[bool]:
        """Yields at first and after each change, and every so many seconds: whether something changed."""
        event = asyncio.Event()
        self._watchers.add(event)
        try:
            seen = -1
            while True:
                is_new, seen = self.version != seen, self.version
                yield is_new
                if self.is_over or self.is_abandoned:
                    return
                event.clear()
                if self.version == seen:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(event.wait(), beat)
        finally:
            self._watchers.discard(event)
