"""A batch from its plan to its last picture: what exists already, what must not be touched, and what goes where."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from styletx import files
from styletx._version import __version__
from styletx.batches import places, plan
from styletx.batches.manifest import Manifest, Recipe, Record
from styletx.errors import OutputError, PictureError, StyletxError, field
from styletx.notes import Note, Notes
from styletx.options import Options, is_offline, paths

if TYPE_CHECKING:
    from styletx.batches.painting import Painted, Task

# Why a result of ours is not made again.
OTHER_SETTINGS = f"was not made with these settings; redo it with {field('overwrite')}"
OTHER_VERSION = f"was made from another version of the photograph; redo it with {field('overwrite')}"
MANY = 1000  # pictures beyond which a batch says before it starts how many there are

Path: TypeAlias = str | os.PathLike[str]


class Executor(Protocol):
    """What runs a batch, on this machine or elsewhere."""

    def __call__(self, tasks: Sequence[Task], deliver: Callable[[Painted], Record]) -> Iterator[Record]:
        """Repaint every task, pass the outcome to `deliver`, and yield what that returns, in any order.

        Raises:
            StyletxError: a style cannot be loaded, or the executor cannot start.
        """
        ...


class Batch:
    """A batch that is planned and not yet run. Arguments and errors are those of `batch`.

    Attributes:
        jobs: the plan.
        output: the folder for the results, or its address.
        manifest: the manifest of that folder.
        guard: knows which places in that folder may be written.
        tally: number of pictures "done", "skipped" and "failed" so far, including those whose records were not yielded
            because the batch was stopped.
        failures: why pictures failed so far.
        notes: what one should know about the sources, the styles and the overviews, each once. A picture's own notes
            are in its record.
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
        history: bool = False,
    ) -> None:
        self.output, offline = files.local(output), is_offline(options.offline or None)
        if offline:
            places.check_offline(self.output)
        self.manifest = Manifest(self.output)
        passed_over = Counter[str]()
        self.jobs = plan.make(
            sources,
            styles,
            output,
            pattern=pattern,
            format=format,
            offline=offline,
            earlier=self.manifest.pictures,
            passed_over=passed_over,
        )
        self.overwrite, self.history = overwrite, history
        self.format = {"jpg": "JPEG", "tif": "TIFF"}.get(format, format.upper())
        self.options = dataclasses.asdict(options)
        inputs = [*(job.source for job in self.jobs), *_lists(sources), *_files_of(styles, options)]
        self.guard = places.Guard(self.output, inputs)
        for place in (self.manifest.path, *(job.output for job in self.jobs)):
            self.guard.check(place)
        self.tally: Counter[str] = Counter()
        self.failures: list[StyletxError] = []
        self.notes: Notes = (*_found([job.source for job in self.jobs]), *_others(passed_over))
        # One at a time, so that never more than one line lacks its picture.
        self._placing = threading.Lock()

    @cached_property
    def tasks(self) -> list[Task]:
        """The jobs, with what is known about their outputs."""
        from styletx.batches.painting import Task

        recipes = {style: _recipe(style, self.options) for style in {job.style: 0 for job in self.jobs}}
        tasks = []
        for job in self.jobs:
            recipe, is_there = recipes[job.style], places.exists(job.output)
            made_from = self.manifest.source_of(job.output, recipe) if is_there else None
            obstacle = None
            if is_there and not made_from and not self._is_ours(job.output):
                obstacle = "was not made by styletx, or was changed since; move it away"
            elif is_there and not self.overwrite:
                obstacle = OTHER_VERSION if made_from else OTHER_SETTINGS
            tasks.append(Task(job, recipe, self.format, made_from, is_there, obstacle))
        return tasks

    def state(self, task: Task) -> str:
        """What will happen to a task: "make", "remake", "skip", "refuse" or "fail"."""
        if task.job.problem:
            return "fail"
        with contextlib.suppress(PictureError):
            if task.made_from and task.made_from == files.sha256(places.read(task.job.source)):
                return "skip"
        if task.obstacle is not None:
            return "refuse"
        return "remake" if places.exists(task.job.output) else "make"

    def check(self) -> None:
        """Find out whether it can start.

        Raises:
            OutputError: something is in the way, or the folder cannot be written to.
        """
        blocked = [task.job.output for task in self.tasks if task.obstacle == OTHER_SETTINGS]
        if blocked:
            raise OutputError(
                f"{len(blocked)} of {len(self.jobs)} results exist and were not made with these settings, such as "
                f"{files.shown(blocked[0])}; redo them with {field('overwrite')}, or choose another folder"
            )
        self.manifest.check()

    def check_log(self, path: str) -> None:
        """Find out whether lines may be appended to a file of that name.

        Raises:
            OutputError: it is one of the inputs, or a file that the batch itself writes.
        """
        self.guard.check_input(path)
        overviews = (places.join(self.output, name) for name in (plan.CONTACT_SHEET, plan.REPORT))
        ours = (self.manifest.path, *overviews, *(job.output for job in self.jobs))
        if os.path.realpath(path) in {os.path.realpath(one) for one in ours if not places.is_url(one)}:
            raise OutputError(f"{files.shown(path)} is another file of this batch; choose another name")

    def run(self, executor: Executor) -> Generator[Record, None, None]:
        """Do the work with an executor; yields the record of each picture, in any order.

        Raises:
            StyletxError: it cannot start.
        """
        with self._locked():
            if not places.is_url(self.output):
                copies = places.join(self.output, plan.COPIES)
                for folder in {self.output, copies, *(os.path.dirname(job.output) for job in self.jobs)}:
                    files.tidy(folder)
            try:
                yield from executor(self.tasks, self._deliver)
            finally:
                if not self.history:
                    with contextlib.suppress(OutputError):  # what is superseded does no harm
                        self.manifest.tidy()

    def write_overviews(self, *, contact_sheet: bool, report: bool) -> None:
        """Write a contact sheet and a report of the results into the output folder.

        One that cannot be written becomes a note: the pictures are there, and that is what matters.
        """
        from styletx.batches import report as overviews

        records = overviews.latest(self.manifest.records(), self.jobs)
        if contact_sheet and any(record.output_sha256 for record in records):
            self._write(plan.CONTACT_SHEET, lambda: overviews.contact_sheet(records))
        for name, make in overviews.page(records, self.output) if report else ():
            # A copy has its picture's hash for a name, so that one that is there needs no other.
            if name == plan.REPORT or not places.exists(places.join(self.output, name)):
                self._write(name, make)

    def _write(self, name: str, make: Callable[[], bytes]) -> None:
        place = places.join(self.output, name)
        try:
            self.guard.check(place)
            if places.exists(place) and not self._is_ours(place):
                raise OutputError(f"{files.shown(place)} was not made by styletx and is left as it is")
            places.write(place, make())
        except (OutputError, PictureError) as error:
            self._note((Note(f"{error.args[0]}."),))

    def _is_ours(self, place: str) -> bool:
        """Whether styletx made the file at a place: the manifest knows it, or the file says so."""
        from styletx import images
        from styletx.batches.report import MARK

        if places.is_url(place) and self.manifest.knows(place):  # fetching it could take as long as making it
            return True
        with contextlib.suppress(PictureError):
            data = places.read(place)
            if self.manifest.knows(place, files.sha256(data)):
                return True
            return MARK in data if place.endswith(plan.REPORT) else bool(images.read_metadata(data))
        return False

    def _note(self, notes: Notes) -> None:
        self.notes = tuple(dict.fromkeys((*self.notes, *notes)))

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
            error=None if painted.error is None else " ".join(str(painted.error).split()),
            notes=tuple(map(str, painted.notes)),
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            version=__version__,
            skipped=painted.skipped,
        )
        failure = painted.error
        with self._placing:
            self._note(painted.style_notes)
            if not painted.skipped:
                try:
                    self._place(record, painted.data, task.is_there)
                except OutputError as error:
                    failure = failure or error
                    if record.error is None:
                        record = dataclasses.replace(record, output_sha256=None, error=str(error))
                        with contextlib.suppress(OutputError):
                            self.manifest.append(record)
            self.tally["failed" if failure else "skipped" if record.skipped else "done"] += 1
            self.failures += [failure] if failure else []
        return record

    def _place(self, record: Record, data: bytes | None, was_there: bool) -> None:
        self.manifest.append(record)
        if data is not None:
            # What came there meanwhile is somebody else's.
            places.write(record.output, data, overwrite=was_there)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if places.is_url(self.output):
            yield
            return
        import filelock

        lock = filelock.FileLock(os.path.join(self.output, ".styletx-batch.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"{files.shown(self.output)}: another batch is writing there; wait for it, or choose another folder"
            ) from None
        except OSError as error:
            raise OutputError(
                f"{files.shown(self.output)} cannot be written to ({files.reason(error)}); choose another folder"
            ) from error
        with lock:
            lock.release()  # it is held twice by now
            yield


def _found(sources: Sequence[str]) -> Notes:
    """How many pictures were found, and where, if they are so many that one might not mean it."""
    full = {one if places.is_url(one) else os.path.abspath(one).replace(os.sep, "/") for one in sources}
    if len(full) <= MANY:
        return ()
    shared = os.path.commonprefix(list(full))  # noqa: RUF071 (commonpath spoils addresses)
    return (Note(f"Found {len(full):,} pictures in {files.shown(shared[: shared.rfind('/') + 1])}."),)


def _others(passed_over: Counter[str]) -> Notes:
    if not passed_over:
        return ()
    kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(passed_over.items()))
    return (Note(f"Passed over for their format: {kinds}."),)


def _lists(sources: Sequence[Path]) -> Iterator[str]:
    """The files of lists among the sources."""
    names = map(files.local, sources)
    yield from (name[1:] for name in names if name.startswith("@"))


def _files_of(styles: Sequence[Path], options: Options) -> Iterator[str]:
    """The files that styles and options name, and other names."""
    from styletx.feedforward import models
    from styletx.stylizers import mixing

    for style in map(files.local, styles):
        for part in mixing.parts(style):
            yield from (name for one in part.sources for name in models.parts(str(one)))
    yield from models.shipped()
    yield from map(files.local, paths(vars(options)).values())


def _recipe(style: str, options: dict[str, Any]) -> Recipe:
    from styletx.feedforward import models
    from styletx.stylizers import mixing

    parts = mixing.parts(style)
    is_one_pass = options["method"] == "one-pass" or all(part.is_trained for part in parts)
    named = [str(one) for part in parts for one in part.sources]
    names = [name for one in named for name in models.parts(one, is_one_pass=is_one_pass)]
    asked = map(files.local, paths(options).values())
    names += [place for place in asked if os.path.isfile(place)]  # another mask under this name is another recipe
    try:
        sha256 = files.sha256(b"".join(map(places.read, names)))
    except PictureError:
        sha256 = None  # loading it will tell what is wrong
    # A trained style is painted in one pass, whether or not that was asked for.
    return Recipe(style, sha256, options | {"method": "one-pass"} if is_one_pass else options)
