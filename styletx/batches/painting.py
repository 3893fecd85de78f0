"""The work on one picture, in the steps that an executor distributes over threads: read, start, finish, encode."""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from styletx import files, images, stylizers
from styletx.batches import places
from styletx.batches.manifest import Recipe
from styletx.batches.plan import Job
from styletx.errors import OutputError, PictureError, StyletxError
from styletx.notes import Notes
from styletx.options import PLACES, Options
from styletx.stylizers import Result, Run, Stylizer, mixing


@dataclass(frozen=True)
class Task:
    """A job, and what is known of its output.

    Attributes:
        job: what to do.
        recipe: the style with its options.
        format: format of the result, by Pillow's name.
        made_from: hash of the source from which this recipe made the existing output, or None.
        is_there: whether an output exists.
        obstacle: what it is, if it must not be replaced, and what to do.
    """

    job: Job
    recipe: Recipe
    format: str
    made_from: str | None = None
    is_there: bool = False
    obstacle: str | None = None


@dataclass(frozen=True)
class Painted:
    """What an executor made of a task: the result's file, or why there is none.

    Attributes:
        task: what was done.
        source_sha256: hash of the source's file; None if it could not be read.
        data: the result's file; None if there is none.
        size: width and height of the result in px.
        losses: the final losses.
        seconds: time spent on this picture.
        error: why there is no result.
        notes: about this picture.
        style_notes: about its style; the same with every picture of a style.
        skipped: whether the existing output is already what was asked for.
    """

    task: Task
    source_sha256: str | None = None
    data: bytes | None = None
    size: tuple[int, int] | None = None
    losses: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: StyletxError | None = None
    notes: Notes = ()
    style_notes: Notes = ()
    skipped: bool = False


@dataclass(frozen=True)
class Started:
    """A picture that was read and is ready for the network."""

    task: Task
    source_sha256: str
    run: Run
    seconds: float


class NamedBytes(io.BytesIO):
    """A file in memory that keeps its name."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


class Loader:
    """Prepares a style when it is first asked for, and keeps it until another one is. Any thread may call it."""

    known: Container[str] = ()  # names of files that need not be on this machine's disk

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
        stylizer = stylizers.load_stylizer(*self.found(recipe.style, options))
        # A result tells what was asked for, and not where this process found it.
        asked = {name: recipe.options[name] for name in ("device", *PLACES) if name in recipe.options}
        stylizer.options = dataclasses.replace(stylizer.options, **asked)
        return stylizer

    def found(self, style: str, options: dict[str, Any]) -> tuple[mixing.Style, Options]:
        """The style and the options as this process can reach them."""
        parts = mixing.parts(style, self.known)
        return [mixing.Part(*(self._reached(one) for one in part)) for part in parts], Options(**options)

    def _reached(self, one: Any) -> Any:
        return self._source(one) if isinstance(one, str) else one

    def _source(self, name: str) -> images.Source:
        return NamedBytes(places.read(name), name) if places.is_url(name) else name


def read(task: Task) -> bytes | Painted:
    """The source's file, or the outcome of a task that ends here."""
    if task.job.problem:
        return Painted(task, error=PictureError(task.job.problem))
    try:
        data = places.read(task.job.source)
    except StyletxError as error:
        return Painted(task, error=explained(task.job.source, error))
    digest = files.sha256(data)
    if task.made_from == digest:
        return Painted(task, digest, skipped=True)
    if task.obstacle is not None:
        return Painted(task, digest, error=OutputError(f"{files.shown(task.job.output)} {task.obstacle}"))
    return data


def start(task: Task, load: Callable[[Recipe], Stylizer], data: bytes | None = None) -> Started | Painted:
    """Read a picture and make it ready.

    Args:
        task: what to do.
        load: gives the stylizer of a recipe.
        data: the source's file, if it was read already.

    Raises:
        StyletxError: the style cannot be loaded. What is wrong with the picture becomes a `Painted` with an error.
    """
    began = time.perf_counter()
    contents = read(task) if data is None else data
    if isinstance(contents, Painted):
        return contents
    stylizer = load(task.recipe)
    digest = files.sha256(contents)
    try:
        run = stylizer.start(NamedBytes(contents, task.job.source))
    except Exception as error:
        problem = explained(task.job.source, error)
        return Painted(task, digest, seconds=_since(began), error=problem, style_notes=stylizer.notes)
    return Started(task, digest, run, _since(began))


def finish(group: Sequence[Started]) -> list[tuple[Started, Result | StyletxError, float]]:
    """Complete pictures of one style and size together; each with its result or error, and its seconds."""
    began = time.perf_counter()
    try:
        results: Sequence[Result | StyletxError] = group[0].run.stylizer.finish([one.run for one in group])
    except Exception as error:
        if len(group) > 1:
            return [done for one in group for done in finish([one])]
        results = [explained(group[0].task.job.source, error)]
    seconds = _since(began) / len(group)
    return [(one, result, seconds) for one, result in zip(group, results, strict=True)]


def encode(started: Started, result: Result | StyletxError, seconds: float) -> Painted:
    """The file of a result."""
    began, task, run = time.perf_counter(), started.task, started.run
    seconds += started.seconds

    def painted(**values: Any) -> Painted:
        spent = round(seconds + _since(began), 3)
        return Painted(task, started.source_sha256, seconds=spent, style_notes=run.stylizer.notes, **values)

    if isinstance(result, StyletxError):
        return painted(error=result, notes=run.notes)
    stream = NamedBytes(b"", task.job.output)
    try:
        notes = result.save(stream, format=task.format)
    except Exception as error:
        return painted(error=explained(task.job.output, error), notes=run.notes)
    height, width = run.size
    losses: dict[str, float] = result.metadata.get("losses", {})
    return painted(data=stream.getvalue(), size=(width, height), losses=losses, notes=(*run.notes, *notes))


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)


def explained(name: str, error: Exception) -> StyletxError:
    """An error for a person to read, without the traceback, which would keep pictures in memory.

    A bug becomes one too, so that it costs one picture and not the batch.
    """
    if isinstance(error, StyletxError):
        return type(error)(*error.args)
    detail = " ".join(f"{type(error).__name__}: {error}".split())
    return StyletxError(
        f"{files.shown(name)}: {detail}; this is a bug in styletx, please report it together with the picture"
    )
