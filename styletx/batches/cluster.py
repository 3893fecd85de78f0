"""The executor of a cluster: Ray actors, each of which holds a prepared stylizer.

The nodes need not share a disk. Sources and styles on this machine's disk are sent to them, and what has an address
they fetch themselves. The results come back here, where one process puts them in place: a node that is lost while it
works leaves nothing half done, and nothing is put in place twice.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from styletx import files
from styletx.batches import nodes, painting, places, workers
from styletx.batches.manifest import Recipe, Record
from styletx.batches.painting import Painted, Task
from styletx.errors import OptionError, StyletxError, field

# For each actor, the files of so many sources are in this process's memory.
LARGEST_SHARE = 4


class RayExecutor:
    """Repaints on a Ray cluster.

    Args:
        workers: number of actors; None is one for each GPU of the cluster, or for each CPU if it has no GPU.
        address: of the cluster, such as "host:6379"; None is the one that runs on this machine, or a new one.

    Raises:
        OptionError: Ray is not installed.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise OptionError(f"{field('executor')} ray needs Ray; run: pip install 'styletx[cluster]'") from error
        self.workers = workers
        self.address = address

    def __call__(self, tasks: Sequence[Task], deliver: Callable[[Painted], Record]) -> Iterator[Record]:
        """Repaint; `deliver` is called here with each picture, and what it returns is yielded.

        Raises:
            StyletxError: a style cannot be loaded, or no cluster answers.
        """
        import ray

        with self._connected():
            there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            gpus = int(there.get("GPU", 0))
            count = min(self.workers or gpus or int(there.get("CPU", 1)), len(tasks))
            sent = {path: ray.put(data) for path, data in nodes.needed(workers.recipes(tasks)).items()}
            painter: Any = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus / count))(nodes.Painter)

            def hire(index: int, is_done: Callable[[], bool]) -> workers.Worker | None:
                while not is_done():
                    actor = painter.remote(sent)
                    if _is_ready(actor, is_done):
                        return Actor(actor)
                    ray.kill(actor)
                return None

            yield from workers.share(tasks, hire, count, deliver, largest=LARGEST_SHARE)

    def _check_address(self) -> None:
        # Ray itself would try for minutes.
        host, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if not port.isdigit():
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise OptionError(
                f"{field('address')} {self.address}: no Ray cluster answers there ({files.reason(error)}); "
                "check host and port"
            ) from error

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        import ray

        if ray.is_initialized():  # by the caller
            yield
            return
        self._check_address()
        quietly: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        with contextlib.ExitStack() as stack:
            try:
                ray.init(address=self.address or "auto", **quietly)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                if self.address is not None:
                    raise OptionError(
                        f"{field('address')} {self.address}: there is no Ray cluster ({files.reason(error)}); check "
                        "that one is running"
                    ) from error
                # One of our own, of which nothing is left afterwards.
                folder = tempfile.TemporaryDirectory(prefix="styletx-", ignore_cleanup_errors=True)
                ray.init(address="local", include_dashboard=False, _temp_dir=stack.enter_context(folder), **quietly)
            stack.callback(ray.shutdown)
            yield


class Actor:
    """A `Painter` on some node, as a worker."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def check(self, styles: Sequence[Recipe]) -> None:
        """Find out whether styles can be loaded.

        Raises:
            WorkerLost: the actor or its node is gone.
            StyletxError: a style cannot be loaded.
        """
        import ray

        with _ray_errors():
            ray.get(self._actor.check.remote(styles))

    def paint(self, tasks: Sequence[Task]) -> Iterator[Painted]:
        """Repaint tasks, in any order.

        Raises:
            WorkerLost: the actor or its node is gone.
            StyletxError: a style cannot be loaded.
        """
        import ray

        sent: list[tuple[Task, bytes | None]] = []
        for task in tasks:
            contents = None if places.is_url(task.job.source) and not task.job.problem else painting.read(task)
            if isinstance(contents, Painted):
                yield contents
            else:
                sent.append((task, contents))
        if sent:
            with _ray_errors():
                for reference in self._actor.paint.options(num_returns="streaming").remote(sent):
                    yield ray.get(reference)

    def close(self) -> None:
        """End the actor, which first removes what it put on its node's disk."""
        import ray

        with contextlib.suppress(Exception):  # it may be gone, with its node
            ray.get(self._actor.close.remote(), timeout=10)
        ray.kill(self._actor)


def _is_ready(actor: Any, is_done: Callable[[], bool]) -> bool:
    """Whether an actor came up before everything was done; it may have to wait for a node with room."""
    import ray

    answer = actor.ready.remote()
    while not is_done():
        if ray.wait([answer], timeout=0.5)[0]:
            try:
                ray.get(answer)
            except ray.exceptions.RayActorError:
                return False
            return True
    return False


@contextlib.contextmanager
def _ray_errors() -> Iterator[None]:
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        # Our error comes back inside one of Ray's, whose message is a traceback.
        if isinstance(error.cause, StyletxError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise workers.WorkerLost("its node or process ended") from error
