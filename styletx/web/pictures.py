"""Pictures as the page shows them, and results as files."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
from torch import Tensor

from styletx import images
from styletx.errors import PictureError
from styletx.feedforward import models

SCREEN = 1024  # px of the long side of what is shown
QUALITY = 85  # of JPEG
GALLERY = 240  # px of a painting in the gallery
TYPES = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF"}
MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff"}
_DECODING = anyio.CapacityLimiter(1)


async def decoded(function: Callable[..., bytes], *arguments: Any) -> bytes:
    """Call what decodes a picture, in a thread; few at once, as a large one takes much memory."""
    return await anyio.to_thread.run_sync(function, *arguments, limiter=_DECODING)


def plain(name: str) -> str:
    """A name for a file that every system and header takes."""
    return "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "_" for one in name) or "picture"


@functools.lru_cache(maxsize=64)
def gallery(name: str) -> bytes:
    """A bundled style's painting, small, as JPEG."""
    path = models.painting(models.bundled()[name])
    assert path is not None
    return _shrunk(path, GALLERY, "JPEG")


@functools.lru_cache(maxsize=24)
def screen(path: Path) -> bytes:
    """A picture at a screen's size, as PNG."""
    return _shrunk(path, SCREEN, "PNG")


def jpeg(pixels: Tensor) -> bytes:
    """Pixels `[1, 3, H, W]` at a screen's size."""
    size = (pixels.shape[-2], pixels.shape[-1])
    stream = io.BytesIO()
    small = images.resize(pixels, images.fit(size, min(SCREEN, max(size))))
    images.to_pil(small).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _shrunk(path: Path, side: int, format: str) -> bytes:
    picture = images.read(path)
    size = (picture.pixels.shape[-2], picture.pixels.shape[-1])
    to = images.fit(size, min(side, max(size)))
    alpha = None if picture.alpha is None else images.resize(picture.alpha, to)
    stream = io.BytesIO()
    images.to_pil(images.resize(picture.pixels, to), alpha if format == "PNG" else None).save(stream, format)
    return stream.getvalue()


def converted(path: Path, format: str) -> bytes:
    """A result in another format, with its metadata.

    Raises:
        PictureError: it is gone.
    """
    if format == "PNG":
        try:
            return path.read_bytes()
        except OSError:
            raise PictureError("the result is gone") from None
    picture, metadata = images.read(path), images.read_metadata(path)
    stream: BinaryIO = io.BytesIO()
    images.write(
        stream,
        picture.pixels,
        alpha=picture.alpha,
        metadata=metadata,
        exif=picture.exif,
        bits=picture.bits if format == "TIFF" else 8,
        format=format,
    )
    stream.seek(0)
    return stream.read()
