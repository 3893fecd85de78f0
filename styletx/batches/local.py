"""The executor of one machine: a process for each GPU or worker, or this process alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

import torch

from styletx.batches import workers
from styletx.batches.manifest import Recipe, Record
from styletx.batches.painting import Loader, Painted, Task
from styletx.batches.pipeline import pipeline
from styletx.errors import StyletxError

FORK = "-" * 2 + "multiprocessing-fork"  # what Python starts a frozen program with to make it a worker
_STARTING = threading.Lock()


class LocalExecutor:
    """Repaints on this machine.

    Args:
        workers: number of processes; None is one for each GPU, or one without a GPU.

    Raises:
        StyletxError: this process is to be a worker itself, and its program does not let it.
    """

    def __init__(self, workers: int | None = None) -> None:
        if getattr(sys, "frozen", False) and sys.argv[1:2] == [FORK]:
            raise StyletxError("a frozen program must call multiprocessing.freeze_support() before anything else")
        self.workers = workers

    def __call__(self, tasks: Sequence[Task], deliver: Callable[[Painted], Record]) -> Iterator[Record]:
        """Repaint; `deliver` is called with each picture, on any thread, and what it returns is yielded.

        Raises:
            StyletxError: a style cannot be loaded.
        """
        gpus = torch.cuda.device_count()
        count = min(self.workers or max(1, gpus), len(tasks))
        if count > 1 and not multiprocessing.current_process().daemon:  # such a process may start no others
            devices = [f"cuda:{index % gpus}" if gpus else None for index in range(count)]
            threads = max(1, torch.get_num_threads() // count)
            yield from workers.share(tasks, lambda index, _: Process(devices[index], threads), count, deliver)
            return
        load = Loader()
        # The first style last, because the last one stays loaded.
        for recipe in reversed(workers.unproven(tasks)):
            load(recipe)
        yield from pipeline(tasks, load, deliver)


class Process:
    """A process on this machine with a network of its own."""

    def __init__(self, device: str | None, threads: int) -> None:
        # Forking fails once a process has used CUDA or threads.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, device, threads), daemon=True)
        with _without_main(), _without_interrupts():
            self._process.start()
        theirs.close()

    def check(self, styles: Sequence[Recipe]) -> None:
        """Find out whether styles can be loaded.

        Raises:
            WorkerLost: the process ended.
            StyletxError: a style cannot be loaded.
        """
        for _ in self._answers(styles):
            pass

    def paint(self, tasks: Sequence[Task]) -> Iterator[Painted]:
        """Repaint tasks, in any order.

        Raises:
            WorkerLost: the process ended.
            StyletxError: a style cannot be loaded.
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


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started meanwhile does not hear Ctrl-C; who started it does, and ends it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let them through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Let a process that is started meanwhile have no main module of its own.

    It would be given the caller's, and run it: a script without a guard would start its batch again in every worker.
    """
    with _STARTING:
        callers = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = callers


def _serve(connection: Connection, device: str | None, threads: int) -> None:
    torch.set_num_threads(threads)
    # They are for programmers, and every worker would repeat them.
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
        return  # the process that sent the work is gone
