"""A film of a run: GIF, MP4 or WebP, written after the picture is saved, beside its place, and renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
from PIL import Image
from torch import Tensor

from styletx import images
from styletx.errors import OutputError

FORMATS = (".gif", ".mp4", ".webp")
LONGEST_SIDE = 1280  # px; a film is to be shown on a screen
EVERY = 3  # evaluations a frame at first
DENSE = 60  # frames after which they come half as often, for they are kept in memory until the end
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
    if target.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    if any(_is_same(target, source) for source in sources):
        raise OutputError(f"{path} is another file of this run; name another for the film")
    # The folder is what matters now, and a picture's name is what can be asked about.
    images.check_output(target.with_name(".film.png"))
    if target.suffix.lower() == ".mp4":
        try:
            imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise OutputError(f"{path}: there is no ffmpeg here; install it, or film to .gif or .webp") from error


def _is_same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    with contextlib.suppress(OSError):
        if os.path.samefile(one, other):
            return True
    return os.path.realpath(one) == os.path.realpath(other)


class Film:
    """The frames of a film.

    Args:
        size: (H, W) of the pictures at their largest.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = images.fit(size, min(LONGEST_SIDE, max(size)))
        # Video codecs take even sides only.
        self.size = (max(2, height // 2 * 2), max(2, width // 2 * 2))
        self.count = 0
        self.frames: list[Image.Image] = []
        self.last: Tensor | None = None

    def add(self, pixels: Tensor) -> None:
        """Film a picture `[1, 3, h, w]`; every third of those given becomes a frame, later on fewer."""
        if self.count % (EVERY * 2 ** (len(self.frames) // DENSE)) == 0:
            self.frames.append(self._frame(pixels))
        self.count += 1
        self.last = pixels

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it, with the last picture standing still at its end.

        Raises:
            OutputError: it cannot be written; what was there stays.
        """
        assert self.last is not None, "nothing was filmed"
        frames = [*self.frames, *[self._frame(self.last)] * LAST]
        target = Path(os.path.realpath(path))
        unfinished = target.with_name(f".styletx-{secrets.token_hex(8)}{target.suffix.lower()}")
        try:
            if unfinished.suffix == ".mp4":
                _write_video(unfinished, frames)
            else:
                frames[0].save(unfinished, save_all=True, append_images=frames[1:], duration=1000 // RATE, loop=0)
            os.replace(unfinished, target)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(getattr(error, "strerror", None) or error).partition("\n")[0].lower()
            raise OutputError(f"the film {path} cannot be written ({reason}); choose another place") from error
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _frame(self, pixels: Tensor) -> Image.Image:
        return images.to_pil(images.resize(pixels, self.size))


def _write_video(path: Path, frames: Sequence[Image.Image]) -> None:
    video: Any
    with imageio.get_writer(path, fps=RATE, macro_block_size=2, ffmpeg_log_level="quiet") as video:
        for frame in frames:
            video.append_data(np.asarray(frame))
    # Where ffmpeg could not end a file nobody tells, but it cannot be opened either.
    imageio.get_reader(path).close()
