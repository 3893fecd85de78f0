"""A film of a run: GIF, MP4 or WebP, written frame by frame beside its place and renamed at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import imageio.v2 as imageio
import numpy as np
from torch import Tensor

from styletx import images
from styletx.errors import OutputError

FORMATS = (".gif", ".mp4", ".webp")
LONGEST_SIDE = 1280  # px; a film is to be shown on a screen
EVERY = 3  # evaluations a frame
RATE = 12  # frames a second
LAST = 24  # frames for which the finished picture stands still


def check(path: str | os.PathLike[str], sources: Sequence[str | os.PathLike[str]]) -> None:
    """Find out before any long work whether a film can be written.

    Raises:
        OutputError: unknown extension, no permission, or a file that must not be overwritten.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise OutputError(f"{path}: cannot film to '{target.suffix}'; end it in one of {', '.join(FORMATS)}")
    if target in map(Path, sources):
        raise OutputError(f"{path} is another file of this run; name another for the film")
    # The folder is what matters now, and a picture's name is what can be asked about.
    images.check_output(target.with_name(target.name + ".png"), sources=sources)


class Film:
    """A film being made; a context manager.

    Args:
        path: where it goes.
        size: (H, W) of the pictures at their largest.
    """

    def __init__(self, path: str | os.PathLike[str], size: tuple[int, int]) -> None:
        self.path = Path(path)
        self.unfinished = self.path.with_name(f".{self.path.name}-{os.getpid()}{self.path.suffix}")
        height, width = images.fit(size, min(LONGEST_SIDE, max(size)))
        # Video codecs take even sides only.
        self.size = (max(2, height // 2 * 2), max(2, width // 2 * 2))
        self.count = 0
        self.last: np.ndarray | None = None

    def __enter__(self) -> Film:
        film = (
            {"macro_block_size": 2, "fps": RATE}
            if self.path.suffix.lower() == ".mp4"
            else {"duration": 1000 / RATE, "loop": 0}
        )
        self.writer = imageio.get_writer(self.unfinished, mode="I", **film)
        return self

    def add(self, pixels: Tensor) -> None:
        """Film a picture `[1, 3, h, w]`; only every third of those given becomes a frame."""
        self.last = np.asarray(images.to_pil(images.resize(pixels, self.size)))
        if self.count % EVERY == 0:
            self.writer.append_data(self.last)
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.last is not None:
                for _ in range(LAST):
                    self.writer.append_data(self.last)
            self.writer.close()
            if kind is None:
                os.replace(self.unfinished, self.path)
        finally:
            self.unfinished.unlink(missing_ok=True)
