"""The engine of one machine: threads that read and write around the network, and a process for each GPU or worker."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from styletx.batches import painting, workers
from styletx.batches.manifest import Recipe, Record
from styletx.batches.painting import Loader, Painted, Started, Task
from styletx.errors import StyletxError
from styletx.stylizers import Stylizer

T = TypeVar("T")
# Decoded pictures that wait for the network take up to so many bytes, or one picture's.
WAITING_BYTES = 2**29


class LocalEngine:
    """Repaints on this machine.

    Args:
        workers: how many processes; None is one for each GPU, and one without a GPU.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    def __call__(self, tasks: Sequence[Task], deliver: Callable[[Painted], Record]) -> Iterator[Record]:
        """Repaint; `deliver` is called with each picture, on any thread, and what it returns is yielded.

        Raises:
            StyletxError: a style cannot be had.
        """
        gpus = torch.cuda.device_count()
        count = min(self.workers or max(1, gpus), len(tasks))
        if count > 1:
            devices = [f"cuda:{index % gpus}" if gpus else None for index in range(count)]
            threads = max(1, torch.get_num_threads() // count)
            yield from workers.share(tasks, lambda index, _: Process(devices[index], threads), count, deliver)
            return
        load = Loader()
        # The first one last, for it stays.
        for recipe in reversed(workers.unproven(tasks)):
            load(recipe)
        yield from pipeline(tasks, load, deliver)


def pipeline(
    tasks: Iterable[Task | tuple[Task, bytes | None]],
    load: Callable[[Recipe], Stylizer],
    deliver: Callable[[Painted], T],
) -> Iterator[T]:
    """Repaint with this process's one network, which runs on the calling thread; others read, encode and deliver.

    A task may come with its source's file. However many there are, only a few pictures are in memory.

    Raises:
        StyletxError: a style cannot be had.
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
        """Take in a picture."""
        self._batch_size = started.run.stylizer.batch_size
        self._groups[id(started.run.stylizer), started.run.size].append(started)
        self._bytes += started.run.picture.pixels.nbytes
        self.count += 1

    def has_room(self, reading: int, threads: int) -> bool:
        """Whether another one may be read."""
        return self.count + reading < threads + 2 * self._batch_size and self._bytes < WAITING_BYTES

    def take(self) -> list[Started]:
        """Those to repaint next, of one stylizer and size: as many as are worth repainting together, if there are."""
        key = max(self._groups, key=lambda key: len(self._groups[key]))
        group = self._groups.pop(key)
        size = group[0].run.stylizer.batch_size
        group, rest = group[:size], group[size:]
        if rest:
            self._groups[key] = rest
        self._bytes -= sum(one.run.picture.pixels.nbytes for one in group)
        self.count -= len(group)
        return group


class Process:
    """A process on this machine with a network of its own."""

    def __init__(self, device: str | None, threads: int) -> None:
        # A fork of a process that has used CUDA, or threads, does not work.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, device, threads), daemon=True)
        self._process.start()
        theirs.close()

    def check(self, styles: Sequence[Recipe]) -> None:
        """Find out whether styles work.

        Raises:
            WorkerLost: the process ended.
            StyletxError: a style cannot be had.
        """
        for _ in self._answers(styles):
            pass

    def paint(self, tasks: Sequence[Task]) -> Iterator[Painted]:
        """Repaint tasks, in any order.

        Raises:
            WorkerLost: the process ended.
            StyletxError: a style cannot be had.
        """
        yield from self._answers(tasks)

    def _answers(self, question: Sequence[Task] | Sequence[Recipe]) -> Iterator[Painted]:
        try:
            self._connection.send(list(question))
            while (answer := self._connection.recv()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        except (EOFError, ConnectionError) as error:
            raise workers.WorkerLost("its process ended; it may have run out of memory") from error

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, device: str | None, threads: int) -> None:
    torch.set_num_threads(threads)
    # What there is to warn of is said by the process that began it, once.
    warnings.simplefilter("ignore")
    load = Loader(device)
    try:
        while True:
            question: list[Task | Recipe] = connection.recv()
            try:
                for recipe in question:
                    if isinstance(recipe, Recipe):
                        load(recipe)
                tasks = (task for task in question if isinstance(task, Task))
                for painted in pipeline(tasks, load, lambda painted: painted):
                    connection.send(painted)
                connection.send(None)
            except StyletxError as error:
                connection.send(error)
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return  # whoever gave the work is gone
