"""A batch from its plan to its last picture: what is done already, what may not be touched, and what is put where."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from styletx.batches import files, plan
from styletx.batches.manifest import Manifest, Recipe, Record
from styletx.errors import OutputError, PictureError
from styletx.options import Options

if TYPE_CHECKING:
    from styletx.batches.painting import Painted, Task

Path: TypeAlias = str | os.PathLike[str]


class Engine(Protocol):
    """What does the work, here or elsewhere."""

    def __call__(self, tasks: Sequence[Task], deliver: Callable[[Painted], Record]) -> Iterator[Record]:
        """Repaint every task and hand what became of it to `deliver`, whose results are yielded, in any order.

        Raises:
            StyletxError: a style cannot be had, or the engine cannot start.
        """
        ...


class Batch:
    """A batch that was planned and not yet run. Arguments and errors are those of `batch`.

    Attributes:
        jobs: the plan.
        output: the folder for the results, or its address.
        manifest: of that folder.
        tally: how many pictures are "done", "skipped" and "failed" so far; also those whose records were not yielded,
            because the batch was stopped before.
        failures: why those failed that did.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        styles: Sequence[Path],
        output: Path,
        options: Options,
        *,
        pattern: Sequence[str] = (),
        format: str = "png",
        overwrite: bool = False,
    ) -> None:
        self.jobs = plan.make(sources, styles, output, pattern=pattern, format=format)
        self.output = files.local(output)
        self.overwrite = overwrite
        self.format = {"jpg": "JPEG", "tif": "TIFF"}.get(format, format.upper())
        self.options = dataclasses.asdict(options)
        self.manifest = Manifest(self.output)
        self.tally: Counter[str] = Counter()
        self.failures: list[str] = []
        # One at a time, so that there is never more than one line whose picture is not in place yet.
        self._placing = threading.Lock()

    @cached_property
    def tasks(self) -> list[Task]:
        """The jobs, with what is known of their outputs."""
        from styletx.batches.painting import Task

        recipes = {
            style: Recipe(style, _style_sha256(style), self.options) for style in {job.style: 0 for job in self.jobs}
        }
        tasks = []
        for job in self.jobs:
            recipe, is_there = recipes[job.style], files.exists(job.output)
            made_from = self.manifest.source_of(job.output, recipe) if is_there else None
            tasks.append(Task(job, recipe, self.format, made_from, is_there and not self.overwrite))
        return tasks

    def state(self, task: Task) -> str:
        """What will be done of a task: "make", "remake", "skip", "refuse" or "fail"."""
        if task.job.problem:
            return "fail"
        with contextlib.suppress(PictureError):
            if task.made_from and task.made_from == files.sha256(files.read(task.job.source)):
                return "skip"
        if task.is_blocked:
            return "refuse"
        return "remake" if files.exists(task.job.output) else "make"

    def check(self) -> None:
        """Find out whether it can start.

        Raises:
            OutputError: results that were made otherwise are in the way, or the folder cannot be written to.
        """
        blocked = [task.job.output for task in self.tasks if task.is_blocked and task.made_from is None]
        if blocked:
            raise OutputError(
                f"{len(blocked)} of {len(self.jobs)} results are there already and were made otherwise, as "
                f"{files.shown(blocked[0])}; give --overwrite to make them anew, or name another folder."
            )
        self.manifest.check()

    def run(self, engine: Engine) -> Iterator[Record]:
        """Do the work with an engine; yields a record of each picture, in any order.

        Raises:
            StyletxError: it cannot start.
        """
        began = time.time()
        with self._locked():
            try:
                yield from engine(self.tasks, self._deliver)
            finally:
                if not files.is_url(self.output):
                    files.tidy({os.path.dirname(job.output) for job in self.jobs}, before=began)

    def _deliver(self, painted: Painted) -> Record:
        """Put a result in place and into the manifest, and count it."""
        task = painted.task
        record = Record(
            source=task.job.source,
            style=task.job.style,
            output=task.job.output,
            source_sha256=painted.source_sha256,
            style_sha256=task.recipe.sha256,
            options=task.recipe.options,
            size=painted.size,
            seconds=painted.seconds,
            losses=painted.losses,
            output_sha256=None if painted.data is None else files.sha256(painted.data),
            error=painted.error,
            skipped=painted.skipped,
        )
        with self._placing:
            if not painted.skipped:
                record = self._placed(record, painted.data)
            self.tally["failed" if record.error else "skipped" if record.skipped else "done"] += 1
            self.failures += [record.error] if record.error else []
        return record

    def _placed(self, record: Record, data: bytes | None) -> Record:
        """The record as it is in the end, for the disk may be full."""
        try:
            self.manifest.append(record)
            if data is not None:
                files.write(record.output, data)
        except OutputError as error:
            if record.error is None:
                record = dataclasses.replace(record, output_sha256=None, error=str(error))
                with contextlib.suppress(OutputError):
                    self.manifest.append(record)
        return record

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if files.is_url(self.output):
            yield
            return
        import filelock

        lock = filelock.FileLock(os.path.join(self.output, ".styletx-batch.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"{files.shown(self.output)}: another batch is writing there; wait for it, or name another folder."
            ) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(
                f"{files.shown(self.output)} cannot be written to ({reason}); name another folder."
            ) from error
        with lock:
            lock.release()  # of the two times that it is held by now
            yield


def _style_sha256(style: str) -> str | None:
    """The hash of a style's file: a picture, or a network, bundled or not; None if there is none."""
    from styletx.feedforward import files as models

    model = None if files.is_url(style) else models.find(style)
    try:
        return files.sha256(files.read(style if model is None else str(model)))
    except PictureError:
        return None  # the engine says what is wrong with it
