"""The work on one picture, in the steps that an engine puts on its threads: read, start, finish, encode."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from styletx import images, stylizers
from styletx.batches import files
from styletx.batches.manifest import Recipe
from styletx.batches.plan import Job
from styletx.errors import StyletxError
from styletx.options import Options
from styletx.stylizers import Result, Run, Stylizer


@dataclass(frozen=True)
class Task:
    """A job, and what is known of its output.

    Attributes:
        job: what is to be done.
        recipe: the style with its options.
        format: the result's, as Pillow names it.
        made_from: hash of the source from which the output that is there was made by this recipe, or None.
        is_blocked: whether there is an output already that shall stay.
    """

    job: Job
    recipe: Recipe
    format: str
    made_from: str | None = None
    is_blocked: bool = False


@dataclass(frozen=True)
class Painted:
    """What an engine made of a task: the result's file, or why there is none.

    Attributes:
        task: what was done.
        source_sha256: of the source's file; None if it could not be read.
        data: the result's file; None if there is none.
        size: width and height of the result in px.
        losses: the final ones.
        seconds: spent on this picture.
        error: why there is no result, in one line.
        skipped: whether the output that is there is already what was asked for.
    """

    task: Task
    source_sha256: str | None = None
    data: bytes | None = None
    size: tuple[int, int] | None = None
    losses: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Started:
    """A picture that was read and is ready for the network."""

    task: Task
    source_sha256: str
    run: Run
    seconds: float


class NamedBytes(io.BytesIO):
    """The bytes of a file, which keep its name."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


class Loader:
    """Prepares a style when it is first asked for, and keeps it until another one is; for any number of threads."""

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._last: tuple[Recipe, Stylizer] | None = None

    def __call__(self, recipe: Recipe) -> Stylizer:
        """The stylizer of a recipe.

        Raises:
            StyletxError: it cannot be made.
        """
        with self._lock:
            if self._last is None or self._last[0] != recipe:
                self._last = None
                self._last = (recipe, self.load(recipe))
            return self._last[1]

    def load(self, recipe: Recipe) -> Stylizer:
        """Make a stylizer."""
        options = dict(recipe.options)
        if self._device is not None and options.get("device", "auto") == "auto":
            options["device"] = self._device
        style = recipe.style
        return stylizers.prepare(
            NamedBytes(files.read(style), style) if files.is_url(style) else style, Options(**options)
        )


def start(task: Task, load: Callable[[Recipe], Stylizer], data: bytes | None = None) -> Started | Painted:
    """Read a picture and make it ready.

    Args:
        task: what is to be done.
        load: gives the stylizer of a recipe.
        data: the source's file, where it was read already.

    Raises:
        StyletxError: the style cannot be had. What is wrong with the picture becomes a `Painted` with its error.
    """
    began = time.perf_counter()
    job, digest = task.job, None
    if job.problem:
        return Painted(task, error=job.problem)
    try:
        data = files.read(job.source) if data is None else data
        digest = files.sha256(data)
    except StyletxError as error:
        return Painted(task, error=str(error))
    if task.made_from == digest:
        return Painted(task, digest, skipped=True)
    if task.is_blocked:
        changed = "from another source file" if task.made_from else "otherwise or changed since"
        error_text = f"{files.shown(job.output)} is there, made {changed}; --overwrite makes it anew."
        return Painted(task, digest, error=error_text)
    stylizer = load(task.recipe)
    try:
        return Started(task, digest, stylizer.start(NamedBytes(data, job.source)), time.perf_counter() - began)
    except Exception as error:
        return Painted(task, digest, seconds=time.perf_counter() - began, error=explained(job.source, error))


def finish(group: Sequence[Started]) -> list[tuple[Started, Result | str, float]]:
    """Complete pictures of one style and size together; each with its result, or why there is none, and its seconds."""
    began = time.perf_counter()
    try:
        results: Sequence[Result | str] = group[0].run.stylizer.finish([one.run for one in group])
    except Exception as error:
        if len(group) > 1:
            return [done for one in group for done in finish([one])]
        results = [explained(group[0].task.job.source, error)]
    seconds = (time.perf_counter() - began) / len(group)
    return [(one, result, seconds) for one, result in zip(group, results, strict=True)]


def encode(started: Started, result: Result | str, seconds: float) -> Painted:
    """The file of a result."""
    began, task, digest = time.perf_counter(), started.task, started.source_sha256
    seconds += started.seconds
    if isinstance(result, str):
        return Painted(task, digest, seconds=seconds, error=result)
    stream = NamedBytes(b"", task.job.output)
    try:
        images.write(
            stream, result.pixels, alpha=result.alpha, metadata=result.metadata, bits=result.bits, format=task.format
        )
    except Exception as error:
        return Painted(task, digest, seconds=seconds, error=explained(task.job.output, error))
    height, width = started.run.size
    seconds += time.perf_counter() - began
    losses: dict[str, Any] = result.metadata.get("losses", {})
    return Painted(task, digest, stream.getvalue(), (width, height), losses, round(seconds, 3))


def explained(name: str, error: Exception) -> str:
    """An error in one line. One that is a bug shall not cost the other pictures either."""
    if isinstance(error, StyletxError):
        return " ".join(str(error).split())
    detail = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{files.shown(name)}: {detail}; this is a fault of styletx, please report it with the picture."
