"""One network kept busy: threads read, encode and deliver around it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from styletx.batches import painting
from styletx.batches.manifest import Recipe
from styletx.batches.painting import Painted, Started, Task
from styletx.stylizers import Stylizer

T = TypeVar("T")
# No further picture is read while those that wait for the network take up this much.
WAITING_BYTES = 2**29


def pipeline(
    tasks: Iterable[Task | tuple[Task, bytes | None]],
    load: Callable[[Recipe], Stylizer],
    deliver: Callable[[Painted], T],
) -> Iterator[T]:
    """Repaint with this process's one network, which runs on the calling thread.

    Only a few pictures are in memory at a time, however many there are.

    Args:
        tasks: what to do; each may come with its source's file.
        load: gives the stylizer of a recipe.
        deliver: called with each picture, on any thread; what it returns is yielded, in any order.

    Raises:
        StyletxError: a style cannot be loaded.
    """
    coming = (task if isinstance(task, tuple) else (task, None) for task in tasks)
    threads = max(2, min(8, (os.cpu_count() or 1) // 2))
    reading: set[Future[Started | Painted]] = set()
    writing: set[Future[T]] = set()
    waiting = _Waiting()
    with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(threads) as writers:
        try:
            while True:
                while waiting.has_room(len(reading), threads) and (following := next(coming, None)):
                    task, data = following
                    reading.add(readers.submit(painting.start, task, load, data))
                for read in [future for future in reading if future.done()]:
                    reading.remove(read)
                    started = read.result()
                    if isinstance(started, Started):
                        waiting.add(started)
                    else:
                        writing.add(writers.submit(deliver, started))
                if waiting.count:
                    for done in painting.finish(waiting.take()):
                        writing.add(writers.submit(lambda one: deliver(painting.encode(*one)), done))
                elif reading or writing:
                    wait(set[Future[Any]](reading | writing), return_when=FIRST_COMPLETED)
                else:
                    return
                while len(writing) > 2 * threads:
                    wait(writing, return_when=FIRST_COMPLETED)
                    yield from _finished(writing)
                yield from _finished(writing)
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def _finished(futures: set[Future[T]]) -> Iterator[T]:
    for future in [future for future in futures if future.done()]:
        futures.remove(future)
        yield future.result()


class _Waiting:
    """Started pictures, by stylizer and size."""

    def __init__(self) -> None:
        self._groups: defaultdict[tuple[int, tuple[int, int]], list[Started]] = defaultdict(list)
        self._bytes = 0
        self.count = 0
        self._batch_size = 1

    def add(self, started: Started) -> None:
        """Add a picture."""
        self._batch_size = started.run.stylizer.batch_size
        self._groups[id(started.run.stylizer), started.run.size].append(started)
        self._bytes += started.run.photo.nbytes
        self.count += 1

    def has_room(self, reading: int, threads: int) -> bool:
        """Whether another picture may be read."""
        return self.count + reading < threads + 2 * self._batch_size and self._bytes < WAITING_BYTES

    def take(self) -> list[Started]:
        """The next pictures to repaint together: of one stylizer and size, and no more than it gains from."""
        key = max(self._groups, key=lambda key: len(self._groups[key]))
        group = self._groups.pop(key)
        size = group[0].run.stylizer.batch_size
        group, rest = group[:size], group[size:]
        if rest:
            self._groups[key] = rest
        self._bytes -= sum(one.run.photo.nbytes for one in group)
        self.count -= len(group)
        return group
