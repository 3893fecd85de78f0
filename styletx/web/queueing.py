"""The queue: one picture is painted at a time, the others wait where they can be seen, and the latest are kept."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from styletx import images
from styletx.errors import StyletxError
from styletx.films.timelapse import Timelapse
from styletx.stylizers import Part, Run, Stylizer, before_finishing, finishing, load_stylizer
from styletx.web import pictures
from styletx.web.jobs import CANCELLED, DONE, FAILED, PAINTING, STOPPED, Job, Task

KEPT = 30  # pictures that are painted, the latest
KEPT_BYTES = 2**31  # of them together
OLDEST = 6 * 3600  # seconds that they are kept
MOST_WAITING = 60
MOST_PREVIEWS = 8  # that wait at once
STYLIZERS = 3  # that stay prepared
BETWEEN = 0.25  # seconds between two of these pictures at least


class Full(Exception):
    """So many pictures wait that another one has to come later."""


class Queue:
    """Paints jobs one after another in a thread of its own, and previews in between.

    Args:
        folder: where results are kept.
        label: what a message's fields are called.
        told: writes an error's message.
    """

    def __init__(self, folder: Path, label: Callable[[str], str], told: Callable[[StyletxError], str]) -> None:
        self.folder = folder
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self._label, self._told = label, told
        self._waiting: deque[Job] = deque()
        self._previews: deque[tuple[Task, Future[bytes]]] = deque()
        self._stylizers: OrderedDict[tuple[Any, ...], Stylizer] = OrderedDict()
        self._condition = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._thread.start()

    def submit(self, task: Task, loop: asyncio.AbstractEventLoop) -> Job:
        """Let a picture wait for its turn.

        Raises:
            Full: too many wait.
        """
        job = Job(task, loop)
        with self._condition:
            if len(self._waiting) >= MOST_WAITING:
                raise Full
            self._forget()
            self.jobs[job.id] = job
            self._waiting.append(job)
            self._condition.notify()
        return job

    def warm(self, task: Task) -> None:
        """Paint something that nobody sees, so that the first preview need not wait for what is read only once."""
        self.preview(task).add_done_callback(lambda future: future.cancelled() or future.exception())

    def preview(self, task: Task) -> Future[bytes]:
        """Paint a small picture soon, as JPEG, even while another one is painted; unless the future is cancelled first.

        Raises:
            Full: too many wait.
        """
        future: Future[bytes] = Future()
        with self._condition:
            for one in [one for one in self._previews if one[1].cancelled()]:
                self._previews.remove(one)
            if len(self._previews) >= MOST_PREVIEWS:
                raise Full
            self._previews.append((task, future))
            self._condition.notify()
        return future

    def used(self) -> set[str]:
        """The files that jobs and previews still need."""
        with self._condition:
            tasks = [job.task for job in self.jobs.values() if not job.is_over]
            return {file for task in (*tasks, *(one for one, _ in self._previews)) for file in task.files}

    def place(self, job: Job) -> int:
        """How many pictures are painted before it."""
        with self._condition:
            if job not in self._waiting:
                return 0
            return 1 + list(self._waiting).index(job)

    def stop(self, job: Job, how: str) -> None:
        """End a job: `STOPPED` keeps what there is by now, `CANCELLED` does not."""
        with self._condition:
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = CANCELLED
            elif job.state == PAINTING:
                job.asked = how
        job.tell()

    def remove(self, job: Job) -> None:
        """End a job and forget it, and its result."""
        self.stop(job, CANCELLED)
        with self._condition:
            self.jobs.pop(job.id, None)
        if job.is_over:
            job.drop()

    def abandon(self) -> None:
        """Let nobody follow jobs any more."""
        for job in list(self.jobs.values()):
            job.is_abandoned = True
            job.tell()

    def close(self, seconds: float) -> None:
        """End all of it; what is painted gets so many seconds."""
        with self._condition:
            self._is_closed = True
            for job in self._waiting:
                job.state = CANCELLED
            self._waiting.clear()
            for job in self.jobs.values():
                if job.state == PAINTING:
                    job.asked = CANCELLED
                job.tell()
            self._condition.notify()
        self._thread.join(seconds)

    @property
    def is_painting(self) -> bool:
        """Whether its thread still works."""
        return self._thread.is_alive()

    def _forget(self) -> None:
        over = [job for job in self.jobs.values() if job.is_over]
        now = time.monotonic()
        size = 0
        for index, job in enumerate(reversed(over), 1):
            size += sum(path.stat().st_size for path in (job.result, job.timelapse) if path is not None)
            if index >= KEPT or now - job.changed > OLDEST or size > KEPT_BYTES:
                del self.jobs[job.id]
                job.drop()

    def _work(self) -> None:
        job: Job | None = None
        while True:
            with self._condition:
                while not (self._is_closed or self._waiting or self._previews):
                    self._condition.wait()
                if self._is_closed:
                    return
                # A preview goes before what waits, but not twice in a row.
                is_preview = bool(self._previews) and (job is not None or not self._waiting)
                job = None if is_preview else self._waiting.popleft()
                if job is not None:
                    job.state = PAINTING
            if job is None:
                self._paint_preview()
            else:
                self._paint(job)

    def _paint_preview(self) -> None:
        with self._condition:
            if not self._previews:
                return
            task, future = self._previews[0]
        if future.set_running_or_notify_cancel():
            try:
                result = self._start(task)
                for _ in result:
                    if self._is_closed:
                        break
                future.set_result(pictures.jpeg(result.result.pixels))
            except BaseException as error:
                future.set_exception(error)
        with self._condition, contextlib.suppress(ValueError):  # it was cancelled, and is gone already
            self._previews.remove((task, future))

    def _paint(self, job: Job) -> None:
        job.tell()
        began = time.monotonic()
        try:
            run = self._start(job.task)
            job.size, job.notes = (run.size[1], run.size[0]), self._notes(run)
            latest = 0.0
            film = Timelapse(run.size) if job.task.has_timelapse and run.stylizer.is_gradual else None
            if job.task.has_timelapse and film is None:
                job.notes += ("There is no film: this is not painted step by step.",)
            for step in run:
                if film is not None:
                    film.add(step.pixels)
                job.progress, job.losses = step.progress, step.losses
                job.seconds = time.monotonic() - began
                job.left = job.seconds * (1 / step.progress - 1) if step.progress > 0.02 else None
                if time.monotonic() - latest > BETWEEN:
                    job.shown, latest = pictures.jpeg(step.pixels), time.monotonic()
                    job.pictures += 1
                job.tell()
                if self._previews:
                    self._paint_preview()
                if job.asked is not None or self._is_closed:
                    break
            if job.asked == CANCELLED or self._is_closed:
                job.state = CANCELLED
            else:
                result = run.result
                place = self.folder / f"{job.id}.png"
                result.save(place)
                if film is not None:
                    film.add(result.pixels)
                    try:
                        film.save(place.with_suffix(".mp4"))
                        job.timelapse = place.with_suffix(".mp4")
                    except StyletxError as error:
                        job.notes += (self._told(error),)
                job.result, job.shown = place, pictures.jpeg(result.pixels)
                job.pictures += 1
                job.progress, job.left = (1.0 if run.is_finished else job.progress), None
                job.state = DONE if run.is_finished else STOPPED
        except StyletxError as error:
            job.state, job.error = FAILED, self._told(error)
        except Exception:
            traceback.print_exc()
            job.state, job.error = FAILED, "styletx made a mistake; its terminal tells which"
        job.seconds = time.monotonic() - began
        with self._condition:
            is_forgotten = job.id not in self.jobs
        if is_forgotten:
            job.drop()
        job.tell()

    def _start(self, task: Task) -> Run:
        photograph = images.read(task.content, max_pixels=task.options.max_pixels)
        return self._prepared(task).start(dataclasses.replace(photograph, name=task.name))

    def _prepared(self, task: Task) -> Stylizer:
        key = (task.parts, task.names, before_finishing(task.options))
        if key not in self._stylizers:
            if len(self._stylizers) == STYLIZERS:
                self._stylizers.popitem(last=False)
            self._stylizers[key] = load_stylizer(list(map(_named, task.parts, task.names)), task.options)
        self._stylizers.move_to_end(key)
        return finishing(self._stylizers[key], task.options)

    def _notes(self, run: Run) -> tuple[str, ...]:
        told = (note for note in (*run.stylizer.notes, *run.notes) if note.once is None)
        return tuple(dict.fromkeys(note.rendered(self._label) for note in told))


def _named(part: Part, name: str) -> Part:
    """A part whose painting has its owner's name for it, and not that of our file."""
    if part.is_trained:
        return part
    return part._replace(source=dataclasses.replace(images.read(part.source), name=name))
