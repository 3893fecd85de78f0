"""What runs on a node of the cluster: a painter, which uses the files that were sent along."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from styletx import files, images
from styletx.batches import places
from styletx.batches.manifest import Recipe
from styletx.batches.painting import Loader, NamedBytes, Painted, Task
from styletx.batches.pipeline import pipeline
from styletx.errors import StyletxError
from styletx.feedforward import models
from styletx.options import Options, paths
from styletx.stylizers import Stylizer, mixing


class Painter:
    """Repaints on a node.

    Args:
        sent: files of the machine where the batch was started: path to Ray's reference to the contents.
    """

    def __init__(self, sent: Mapping[str, Any]) -> None:
        self._load = SentLoader(sent)

    def ready(self) -> None:
        """Answer as soon as the node runs it."""

    def close(self) -> None:
        """Remove what was put on this node's disk."""
        self._load.close()

    def check(self, styles: Sequence[Recipe]) -> None:
        """As `Worker.check`."""
        for recipe in styles:
            self._load(recipe)

    def paint(self, tasks: Sequence[tuple[Task, bytes | None]]) -> Iterator[Painted]:
        """As `Worker.paint`, for tasks with their sources' files where those were sent."""
        yield from pipeline(tasks, self._load, lambda painted: painted)


class SentLoader(Loader):
    """A `Loader` for styles, weights and pictures that may be on another machine."""

    def __init__(self, sent: Mapping[str, Any]) -> None:
        super().__init__()
        self._sent = self.known = sent
        self._folder = tempfile.TemporaryDirectory(prefix="styletx-")
        self._placed: dict[str, str] = {}

    def close(self) -> None:
        """Remove the files that were placed."""
        self._folder.cleanup()

    def _prepare(self, recipe: Recipe) -> Stylizer:
        try:
            return super()._prepare(recipe)
        except StyletxError as error:
            # The message should name the file that a person can put right, and not the copy of it.
            message = str(error.args[0])
            for place, path in self._placed.items():
                message = message.replace(place, path)
            raise type(error)(message) from error

    def found(self, style: str, options: dict[str, Any]) -> tuple[mixing.Style, Options]:
        """As `Loader.found`; a file that is missing or different on this node is taken from what was sent."""
        for name, path in paths(options).items():
            if path in self._sent:
                options[name] = self._place(path)
        return super().found(style, options)

    def _source(self, name: str) -> images.Source:
        if name not in self._sent:
            return super()._source(name)
        is_model = name in models.bundled() or Path(name).suffix in models.SUFFIXES
        return self._place(name) if is_model else NamedBytes(self._fetched(name), name)

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


def needed(recipes: Sequence[Recipe]) -> dict[str, bytes]:
    """The files on this machine that styles need: path, or name of a bundled style, to contents."""
    contents = {}
    for recipe in recipes:
        styles = [str(one) for part in mixing.parts(recipe.style) for one in part.sources]
        for name in (*styles, *paths(recipe.options).values()):
            if name and name not in contents and not places.is_url(name):
                with contextlib.suppress(StyletxError):
                    path = models.find(name) if name in styles else None
                    contents[name] = places.read(str(path or name))
    return contents
