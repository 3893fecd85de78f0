"""The engine of a cluster: Ray actors, each of which holds a prepared stylizer.

The nodes need no common disk. Sources and styles on this machine's disk are sent to them, those behind an address
they fetch themselves, and results come back here, where one process puts them in place: a node that is lost in the
middle of its work leaves nothing half done, and nothing is put in place twice.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from styletx import images
from styletx.batches import files, local, painting, workers
from styletx.batches.manifest import Recipe, Record
from styletx.batches.painting import Loader, NamedBytes, Painted, Task
from styletx.errors import OptionError, StyletxError
from styletx.feedforward import files as models
from styletx.options import Options
from styletx.stylizers import Stylizer

# Their sources' files are in this process's memory, for each of the actors.
LARGEST_SHARE = 4


class RayEngine:
    """Repaints on a Ray cluster.

    Args:
        workers: how many actors; None is one for each GPU of the cluster, or for each CPU if it has none.
        address: of the cluster, as "host:6379"; None is one that runs on this machine, or else is started there.

    Raises:
        OptionError: Ray is not installed.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise OptionError("--engine ray takes Ray; run: pip install 'styletx[cluster]'") from error
        self.workers = workers
        self.address = address

    def __call__(self, tasks: Sequence[Task], deliver: Callable[[Painted], Record]) -> Iterator[Record]:
        """Repaint; `deliver` is called here with each picture, and what it returns is yielded.

        Raises:
            StyletxError: a style cannot be had, or no cluster answers.
        """
        import ray

        with self._connected():
            there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            gpus = int(there.get("GPU", 0))
            count = min(self.workers or gpus or int(there.get("CPU", 1)), len(tasks))
            sent = {path: ray.put(data) for path, data in _needed(workers.recipes(tasks)).items()}
            painter: Any = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus / count))(Painter)

            def hire(index: int, is_done: Callable[[], bool]) -> workers.Worker | None:
                while not is_done():
                    actor = painter.remote(sent)
                    if _is_ready(actor, is_done):
                        return Actor(actor)
                    ray.kill(actor)
                return None

            yield from workers.share(tasks, hire, count, deliver, largest=LARGEST_SHARE)

    def _check_address(self) -> None:
        # Ray itself tries for minutes.
        host, _, port = (self.address or "").removeprefix("ray://").rpartition(":")
        if not port.isdigit():
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise OptionError(
                f"--address {self.address}: no Ray cluster answers there ({error}); check host and port."
            ) from error

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        import ray

        if ray.is_initialized():  # by whoever calls
            yield
            return
        self._check_address()
        try:
            ray.init(address=self.address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = "here" if self.address is None else f"at --address {self.address}"
            reason = " ".join(str(error).split())
            raise OptionError(f"no Ray cluster can be had {where} ({reason}); see that one runs.") from error
        try:
            yield
        finally:
            ray.shutdown()


class Actor:
    """A `Painter` on some node, as a worker."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def check(self, styles: Sequence[Recipe]) -> None:
        """Find out whether styles work.

        Raises:
            WorkerLost: the actor or its node is gone.
            StyletxError: a style cannot be had.
        """
        import ray

        with _ray_errors():
            ray.get(self._actor.check.remote(styles))

    def paint(self, tasks: Sequence[Task]) -> Iterator[Painted]:
        """Repaint tasks, in any order.

        Raises:
            WorkerLost: the actor or its node is gone.
            StyletxError: a style cannot be had.
        """
        import ray

        sent: list[tuple[Task, bytes | None]] = []
        for task in tasks:
            contents = None if files.is_url(task.job.source) and not task.job.problem else painting.read(task)
            if isinstance(contents, Painted):
                yield contents
            else:
                sent.append((task, contents))
        if sent:
            with _ray_errors():
                for reference in self._actor.paint.options(num_returns="streaming").remote(sent):
                    yield ray.get(reference)

    def close(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor)


class Painter:
    """What runs on a node.

    Args:
        sent: files of the machine that the batch was started on: path to Ray's reference to what it holds.
    """

    def __init__(self, sent: Mapping[str, Any]) -> None:
        self._load = SentLoader(sent)

    def ready(self) -> None:
        """Answer, once it is there."""

    def check(self, styles: Sequence[Recipe]) -> None:
        """As `Worker.check`."""
        for recipe in styles:
            self._load(recipe)

    def paint(self, tasks: Sequence[tuple[Task, bytes | None]]) -> Iterator[Painted]:
        """As `Worker.paint`, of tasks with their sources' files where those were sent."""
        yield from local.pipeline(tasks, self._load, lambda painted: painted)


class SentLoader(Loader):
    """A `Loader` for styles, weights and pictures that may be on another machine."""

    def __init__(self, sent: Mapping[str, Any]) -> None:
        super().__init__()
        self._sent = sent
        self._folder = tempfile.TemporaryDirectory(prefix="styletx-")
        self._placed: dict[str, str] = {}

    def _prepare(self, recipe: Recipe) -> Stylizer:
        try:
            return super()._prepare(recipe)
        except StyletxError as error:
            # It shall name the file that can be put right, and not the copy of it.
            message = str(error)
            for place, path in self._placed.items():
                message = message.replace(place, path)
            raise type(error)(message) from error

    def found(self, style: str, options: dict[str, Any]) -> tuple[images.Source, Options]:
        """As `Loader.found`; a file that is not the same here is taken from what was sent."""
        for name in ("weights", "init"):
            if options.get(name) in self._sent:
                options[name] = self._place(options[name])
        if style not in self._sent:
            return super().found(style, options)
        is_model = style in models.bundled() or Path(style).suffix in models.SUFFIXES
        return self._place(style) if is_model else NamedBytes(self._fetched(style), style), Options(**options)

    def _place(self, path: str) -> str:
        data = self._fetched(path)
        with contextlib.suppress(OSError, StyletxError):
            if (models.find(path) or Path(path)).read_bytes() == data:
                return path
        place = Path(self._folder.name) / files.sha256(data) / Path(path).name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        self._placed[str(place)] = path
        return str(place)

    def _fetched(self, path: str) -> bytes:
        import ray

        data: bytes = ray.get(self._sent[path])
        return data


def _needed(styles: Sequence[Recipe]) -> dict[str, bytes]:
    """The files of this machine that styles need: path, or bundled name, to what it holds."""
    needed = {}
    for recipe in styles:
        for name in (recipe.style, recipe.options.get("weights"), recipe.options.get("init")):
            if name and name not in needed and not files.is_url(name):
                with contextlib.suppress(StyletxError):
                    path = models.find(name) if name == recipe.style else None
                    needed[name] = files.read(str(path or name))
    return needed


def _is_ready(actor: Any, is_done: Callable[[], bool]) -> bool:
    """Whether an actor came to be before all was done; it may have to wait for a node with room."""
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
        # Ours comes back inside of one of Ray's, with a traceback for its message.
        if isinstance(error.cause, StyletxError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise workers.WorkerLost("its node or process ended") from error
