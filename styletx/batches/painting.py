"""The work on one picture, in the steps that an engine puts on its threads: read, start, finish, encode."""

from __future__ import annotations

import dataclasses
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
                self._last = (recipe, self._prepare(recipe))
            return self._last[1]

    def _prepare(self, recipe: Recipe) -> Stylizer:
        options = dict(recipe.options)
        if self._device is not None and options.get("device", "auto") == "auto":
            options["device"] = self._device
        stylizer = stylizers.prepare(*self.found(recipe.style, options))
        # Results shall tell what was asked for, and not where this process found it.
        stylizer.options = Options(**recipe.options)
        return stylizer

    def found(self, style: str, options: dict[str, Any]) -> tuple[images.Source, Options]:
        """The style and the options as they are in reach of this process."""
        return NamedBytes(files.read(style), style) if files.is_url(style) else style, Options(**options)


def read(task: Task) -> bytes | Painted:
    """The source's file, or what became of the task if it goes no further."""
    if task.job.problem:
        return Painted(task, error=task.job.problem)
    try:
        data = files.read(task.job.source)
    except StyletxError as error:
        return Painted(task, error=explained(task.job.source, error))
    digest = files.sha256(data)
    if task.made_from == digest:
        return Painted(task, digest, skipped=True)
    if task.is_blocked:
        how = "from another source file" if task.made_from else "otherwise"
        message = f"{files.shown(task.job.output)} is there, made {how}; --overwrite makes it anew."
        return Painted(task, digest, error=message)
    return data


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
    contents = read(task) if data is None else data
    if isinstance(contents, Painted):
        return contents
    stylizer = load(task.recipe)
    digest = files.sha256(contents)
    try:
        run = stylizer.start(NamedBytes(contents, task.job.source))
        if stylizer.single_pass:
            # What waits for the network, or a while for its thread, had better be small.
            run.picture = dataclasses.replace(run.picture, pixels=images.resize(run.picture.pixels, run.size))
    except Exception as error:
        return Painted(task, digest, seconds=_since(began), error=explained(task.job.source, error))
    return Started(task, digest, run, _since(began))


def finish(group: Sequence[Started]) -> list[tuple[Started, Result | str, float]]:
    """Complete pictures of one style and size together; each with its result, or why there is none, and its seconds."""
    began = time.perf_counter()
    try:
        results: Sequence[Result | str] = group[0].run.stylizer.finish([one.run for one in group])
    except Exception as error:
        if len(group) > 1:
            return [done for one in group for done in finish([one])]
        results = [explained(group[0].task.job.source, error)]
    seconds = _since(began) / len(group)
    return [(one, result, seconds) for one, result in zip(group, results, strict=True)]


def encode(started: Started, result: Result | str, seconds: float) -> Painted:
    """The file of a result."""
    began, task, digest = time.perf_counter(), started.task, started.source_sha256
    seconds = round(seconds + started.seconds, 3)
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
    losses: dict[str, Any] = result.metadata.get("losses", {})
    return Painted(task, digest, stream.getvalue(), (width, height), losses, round(seconds + _since(began), 3))


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)


def explained(name: str, error: Exception) -> str:
    """An error in one line. One that is a bug shall not cost the other pictures either."""
    if isinstance(error, StyletxError):
        return " ".join(str(error).split())
    detail = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{files.shown(name)}: {detail}; this is a fault of styletx, please report it with the picture."
