"""Sharing tasks among workers that may be lost: what a lost one had in hand is given to another."""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeAlias

from styletx.batches.manifest import Recipe, Record
from styletx.batches.painting import Painted, Task

# A picture that costs so many workers their lives is left out, lest it cost them all.
ATTEMPTS = 3
LARGEST_SHARE = 16


class WorkerLost(Exception):
    """A worker, or the node that it was on, is gone."""


class Worker(Protocol):
    """Something elsewhere that holds a network of its own."""

    def check(self, styles: Sequence[Recipe]) -> None:
        """Find out whether styles work.

        Raises:
            WorkerLost: it is gone.
            StyletxError: a style cannot be had.
        """
        ...

    def paint(self, tasks: Sequence[Task]) -> Iterator[Painted]:
        """Repaint tasks, in any order.

        Raises:
            WorkerLost: it is gone, with whatever it has not yielded.
        """
        ...

    def close(self) -> None:
        """Let it go."""
        ...


Hire: TypeAlias = Callable[[int, Callable[[], bool]], "Worker | None"]


def recipes(tasks: Sequence[Task]) -> list[Recipe]:
    """The different recipes of tasks that come one style after the other."""
    return [recipe for recipe, _ in groupby(task.recipe for task in tasks)]


def unproven(tasks: Sequence[Task]) -> list[Recipe]:
    """What to try before any picture is made, lest a style be found not to work when others are done."""
    return [] if all(task.made_from is not None for task in tasks) else recipes(tasks)


def share(
    tasks: Sequence[Task],
    hire: Hire,
    count: int,
    deliver: Callable[[Painted], Record],
    *,
    largest: int = LARGEST_SHARE,
) -> Iterator[Record]:
    """Have tasks done by workers, each of which is held by a thread here.

    Args:
        tasks: what is to be done.
        hire: called with a number from 0 on, and a function that tells whether all is done; gives a worker, also in
            a lost one's stead, or None once all is done.
        count: how many workers.
        deliver: called with each picture; what it returns is yielded.
        largest: how many tasks a worker is given at most at a time.

    Raises:
        StyletxError: a style cannot be had.
    """
    board = _Board(tasks, count, largest)
    styles = unproven(tasks)
    proving, is_proven = threading.Lock(), False
    finished: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()

    def work(index: int) -> None:
        nonlocal is_proven
        try:
            while not board.is_done and (worker := hire(index, lambda: board.is_done)) is not None:
                try:
                    # By whichever is there first, for another may wait for a place that only this one leaves.
                    with proving:
                        if not is_proven and not board.is_done:
                            worker.check(styles)
                        is_proven = True
                    _serve(worker, board, lambda painted: finished.put(deliver(painted)))
                except WorkerLost:
                    continue  # before it had anything in hand
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
    """Give a worker its share until all is done or it is lost."""
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
                error = f"{task.job.source}: {ATTEMPTS} workers were lost over it ({lost}); give a smaller --size."
                deliver(Painted(task, error=error))
                board.finish()
            return


class _Board:
    """The tasks that nobody has in hand yet."""

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
        """A share of one style, the smaller the less there is left; none when all is done."""
        with self._changed:
            # What others have in hand comes back if they are lost.
            self._changed.wait_for(lambda: self._open or self.is_done)
            if self.is_done:
                return []
            # What was lost once goes alone, so that nothing is lost with it again.
            is_suspect = bool(self._losses[self._open[0].job.output])
            most = 1 if is_suspect else min(self._largest, max(1, len(self._open) // (2 * self._workers)))
            share = [self._open.popleft()]
            while self._open and len(share) < most and self._open[0].recipe == share[0].recipe:
                share.append(self._open.popleft())
            return share

    def finish(self) -> None:
        """Count one as done."""
        with self._changed:
            self._left -= 1
            self._changed.notify_all()

    def give_back(self, tasks: Sequence[Task]) -> list[Task]:
        """Take back what a lost worker had in hand, but for what was lost too often, which is returned."""
        with self._changed:
            for task in tasks:
                self._losses[task.job.output] += 1
            given_up = [task for task in tasks if self._losses[task.job.output] >= ATTEMPTS]
            self._open.extendleft(task for task in reversed(tasks) if task not in given_up)
            self._changed.notify_all()
            return given_up

    def stop(self) -> None:
        """Give out no more."""
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()
