"""Tasks shared among workers that may be lost: another worker takes over the tasks of a lost one."""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeAlias

from styletx import files
from styletx.batches.manifest import Recipe, Record
from styletx.batches.painting import Painted, Task
from styletx.errors import StyletxError, field

# A picture over which so many workers are lost is given up, or it might cost them all; likewise a style.
ATTEMPTS = 3
LARGEST_SHARE = 16


class WorkerLost(Exception):
    """A worker or its node is gone."""


class Worker(Protocol):
    """Something in another process that holds a network of its own."""

    def check(self, styles: Sequence[Recipe]) -> None:
        """Find out whether styles can be loaded.

        Raises:
            WorkerLost: it is gone.
            StyletxError: a style cannot be loaded.
        """
        ...

    def paint(self, tasks: Sequence[Task]) -> Iterator[Painted]:
        """Repaint tasks, in any order.

        Raises:
            WorkerLost: it is gone, with whatever it has not yielded.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...


Hire: TypeAlias = Callable[[int, Callable[[], bool]], "Worker | None"]


def recipes(tasks: Sequence[Task]) -> list[Recipe]:
    """The different recipes of tasks, which come one style after another."""
    return [recipe for recipe, _ in groupby(task.recipe for task in tasks)]


def unproven(tasks: Sequence[Task]) -> list[Recipe]:
    """The styles to load before any picture is made, so that a bad one is found at once and not hours later."""
    return [] if all(task.made_from is not None for task in tasks) else recipes(tasks)


def share(
    tasks: Sequence[Task],
    hire: Hire,
    count: int,
    deliver: Callable[[Painted], Record],
    *,
    largest: int = LARGEST_SHARE,
) -> Iterator[Record]:
    """Let workers do tasks; a thread here looks after each of them.

    Args:
        tasks: what to do.
        hire: called with the worker's number, from 0, and a function that tells whether everything is done. Returns a
            worker, also to replace a lost one, or None once everything is done.
        count: number of workers.
        deliver: called with each picture; what it returns is yielded.
        largest: most tasks that a worker is given at a time.

    Raises:
        StyletxError: a style cannot be loaded, or workers are lost over it again and again.
    """
    board = _Board(tasks, count, largest)
    styles = unproven(tasks)
    proving, is_proven, losses = threading.Lock(), False, 0
    finished: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()

    def work(index: int) -> None:
        nonlocal is_proven, losses
        try:
            while not board.is_done and (worker := hire(index, lambda: board.is_done)) is not None:
                try:
                    # The first one checks, because another may be waiting for room that only this one frees.
                    with proving:
                        if not board.is_done:
                            worker.check([] if is_proven else styles)
                        is_proven, losses = True, 0
                    _serve(worker, board, lambda painted: finished.put(deliver(painted)))
                except WorkerLost as lost:  # before it had any task: it is no picture's fault
                    losses += 1
                    if losses >= ATTEMPTS:
                        raise StyletxError(
                            f"{losses} workers were lost before their first picture ({lost}); use fewer with "
                            f"{field('workers')}, or free some memory"
                        ) from lost
                finally:
                    worker.close()
        except BaseException as error:
            finished.put(error)

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    try:
        for _ in tasks:
            record = finished.get()
            if isinstance(record, BaseException):
                raise record
            yield record
    finally:
        board.stop()
        for thread in threads:
            thread.join()


def _serve(worker: Worker, board: _Board, deliver: Callable[[Painted], None]) -> None:
    """Give a worker its shares until everything is done or it is lost."""
    while in_hand := board.take():
        try:
            for painted in worker.paint(in_hand):
                in_hand = [task for task in in_hand if task.job != painted.task.job]
                deliver(painted)
                board.finish()
                if board.is_stopped:
                    return
        except WorkerLost as lost:
            for task in board.give_back(in_hand):
                message = f"{ATTEMPTS} workers were lost while repainting it ({lost}); choose a smaller {field('size')}"
                deliver(Painted(task, error=StyletxError(f"{files.shown(task.job.source)}: {message}")))
                board.finish()
            return


class _Board:
    """The tasks that no worker has yet."""

    def __init__(self, tasks: Sequence[Task], workers: int, largest: int) -> None:
        self._open = deque(tasks)
        self._left = len(tasks)
        self._workers = workers
        self._largest = largest
        self._losses: Counter[str] = Counter()
        self._changed = threading.Condition()
        self.is_stopped = False

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.is_stopped or not self._left

    def take(self) -> list[Task]:
        """A share of tasks of one style, smaller towards the end; empty when everything is done."""
        with self._changed:
            # Tasks of other workers come back if those are lost.
            self._changed.wait_for(lambda: self._open or self.is_done)
            if self.is_done:
                return []
            # A task that was lost once goes alone, so that no other is lost with it.
            is_suspect = bool(self._losses[self._open[0].job.output])
            most = 1 if is_suspect else min(self._largest, max(1, len(self._open) // (2 * self._workers)))
            share = [self._open.popleft()]
            while self._open and len(share) < most and self._open[0].recipe == share[0].recipe:
                share.append(self._open.popleft())
            return share

    def finish(self) -> None:
        """Count one task as done."""
        with self._changed:
            self._left -= 1
            self._changed.notify_all()

    def give_back(self, tasks: Sequence[Task]) -> list[Task]:
        """Take back a lost worker's tasks; those that were lost too often are returned instead."""
        with self._changed:
            for task in tasks:
                self._losses[task.job.output] += 1
            given_up = [task for task in tasks if self._losses[task.job.output] >= ATTEMPTS]
            self._open.extendleft(task for task in reversed(tasks) if task not in given_up)
            self._changed.notify_all()
            return given_up

    def stop(self) -> None:
        """Give out no more tasks."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()
