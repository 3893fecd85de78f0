"""A timelapse of a run, as GIF, MP4 or WebP.

It is encoded in memory and then written in one step, so that a full disk leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from torch import Tensor

from styletx import files, images
from styletx.errors import OutputError

FORMATS = {".gif": "GIF", ".mp4": "MP4", ".webp": "WebP"}
LONGEST_SIDE = 1280  # px, as large as a screen shows it
EVERY = 3  # evaluations per frame at first
DENSE = 60  # frames after which they come half as often, because all are in memory until the end
RATE = 12  # frames per second
LAST = 24  # frames for which the finished picture stands still


def check(path: str | os.PathLike[str], others: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Find out before any long work whether a timelapse can be encoded and written.

    Args:
        path: where the timelapse should go.
        others: the other files of the run, none of which may be overwritten. They need not exist yet.

    Raises:
        OutputError: unknown extension, no encoder, no permission, or a file that must not be overwritten.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            f"{files.shown(path)}: a timelapse cannot end in '{suffix}'; end it in one of {', '.join(FORMATS)}"
        )
    if any(_is_same(path, other) for other in others):
        raise OutputError(f"{files.shown(path)} is another file of this run; choose another name for the timelapse")
    files.check(path)
    # Only a trial tells whether an encoder that is listed also works.
    _encoded(path, [PIL.Image.new("RGB", (64, 64))])


def _is_same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    with contextlib.suppress(OSError, ValueError):
        if os.path.samefile(one, other):
            return True
    return os.path.realpath(one) == os.path.realpath(other)


class Timelapse:
    """The frames of a timelapse.

    Args:
        size: (H, W) of the largest picture in px.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = images.fit(size, min(LONGEST_SIDE, max(size)))
        # Video codecs need even sides.
        self.size = (max(2, height // 2 * 2), max(2, width // 2 * 2))
        self.frames: list[PIL.Image.Image] = []
        self._count = 0
        self._last: Tensor | None = None

    def add(self, pixels: Tensor) -> None:
        """Take the next picture, `[1, 3, h, w]` in [0, 1]. Every third becomes a frame, and fewer in a long run."""
        if self._count % (EVERY * 2 ** (len(self.frames) // DENSE)) == 0:
            self.frames.append(self._frame(pixels))
        self._count += 1
        self._last = pixels

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it in the format of the path's extension; at its end, the last picture stands still.

        Raises:
            OutputError: it cannot be encoded or written; a file that was there is left as it was.
            ValueError: no picture was added.
        """
        if self._last is None:
            raise ValueError("no picture was added to the timelapse")
        files.write(path, _encoded(path, [*self.frames, *[self._frame(self._last)] * LAST]))

    def _frame(self, pixels: Tensor) -> PIL.Image.Image:
        return images.to_pil(images.resize(pixels, self.size))


def _encoded(path: str | os.PathLike[str], frames: Sequence[PIL.Image.Image]) -> bytes:
    suffix = Path(path).suffix.lower()
    try:
        return _video(frames) if suffix == ".mp4" else _animation(frames, FORMATS[suffix])
    except Exception as error:  # each encoder has errors of its own
        others = " or ".join(other for other in FORMATS if other != suffix)
        raise OutputError(
            f"{files.shown(path)}: {FORMATS[suffix]} cannot be encoded here ({files.reason(error)}); end it in {others}"
        ) from error


def _animation(frames: Sequence[PIL.Image.Image], format: str) -> bytes:
    stream = io.BytesIO()
    frames[0].save(stream, format, save_all=True, append_images=frames[1:], duration=1000 // RATE, loop=0)
    return stream.getvalue()


def _video(frames: Sequence[PIL.Image.Image]) -> bytes:
    import imageio.v3 as imageio  # with PyAV it takes a tenth of a second

    stream = io.BytesIO()
    video: Any
    with imageio.imopen(stream, "w", plugin="pyav", extension=".mp4") as video:
        # Every player shows H.264 with colour at half the resolution.
        video.init_video_stream("h264", fps=RATE, pixel_format="yuv420p")
        for frame in frames:
            video.write_frame(np.asarray(frame))
    return stream.getvalue()
