"""Opening picture files with a limit on their pixels that belongs to the caller.

Pillow's own limit is a global that other threads rely on. So `identify` opens pictures as `PIL.Image.open` does, but
without that limit, and `check_size` holds them to the caller's.
"""

import contextlib
import re
import struct
import threading
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from styletx.errors import PictureError, field
from styletx.files import shown
from styletx.images import kinds

MIN_SIDE = 16
# Formats that Pillow knows by name only, or hands to another program, such as Ghostscript.
UNREADABLE = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
_limit_lock = threading.RLock()
_TRUNCATED = re.compile(r"truncat|broken data|unexpected end|end of file|not enough|incomplete", re.IGNORECASE)


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Refuse a picture that is too small to style or larger than the limit.

    Raises:
        PictureError: a side is under `MIN_SIDE`, or there are more than `max_pixels` pixels.
    """
    if width * height > max_pixels:
        raise PictureError(
            f"{shown(name)} is {width} × {height}, {width * height:,} pixels, over the limit of {max_pixels:,}; "
            f"shrink it, or raise {field('max_pixels')}"
        )
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            f"{shown(name)} is {width} × {height}, too small to style; use one of at least {MIN_SIDE} pixels a side"
        )


def identify(stream: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Open a picture without decoding it, as `PIL.Image.open` does; the caller checks its size.

    Raises:
        PictureError: it is empty, not a picture, or its header is damaged.
    """
    with pillow_errors(name):
        try:
            return _opened_by_its_plugin(stream, name)
        except Image.DecompressionBombError:  # some plugins apply Pillow's limit by themselves
            with pillow_limit(max_pixels):
                return _opened_by_its_plugin(stream, name)


@contextlib.contextmanager
def pillow_limit(max_pixels: int) -> Iterator[None]:
    """Replace Pillow's global limit for as long as it takes, one thread at a time."""
    with _limit_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def pillow_errors(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on bad data, which may be any exception, into a `PictureError`."""
    try:
        yield
    except (PictureError, Warning):
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{shown(name)} has more pixels than allowed; shrink it") from error
    except MemoryError as error:
        raise PictureError(f"{shown(name)} needs more memory than there is; shrink it") from error
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, EOFError) or _TRUNCATED.search(detail):
            raise truncated(name) from error
        message = f"{shown(name)} is damaged or of a kind that cannot be decoded ({detail}); convert it to PNG"
        raise PictureError(message) from error


def truncated(name: str) -> PictureError:
    """The refusal of a file that breaks off."""
    return PictureError(f"{shown(name)} is truncated; get a complete copy")


def _opened_by_its_plugin(stream: BinaryIO, name: str) -> Image.Image:
    Image.preinit()  # the common formats first
    Image.init()
    stream.seek(0)
    prefix = stream.read(16)
    if not prefix:
        raise PictureError(f"{shown(name)} is empty; get a complete copy")
    if kinds.is_raw(name, prefix):  # Pillow would take the small preview in it for the picture
        raise kinds.refusal(name, prefix)
    kinds.enable(prefix)
    recognised = False
    for format in Image.ID:
        if format in UNREADABLE:
            continue
        factory, accept = Image.OPEN[format]
        accepted = accept(prefix) if accept else True
        if not accepted or isinstance(accepted, str):  # a string names what Pillow was built without
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            recognised = recognised or accept is not None
    if recognised:
        raise PictureError(
            f"{shown(name)} is damaged or of a kind that cannot be decoded; get a complete copy, or convert it"
        )
    stream.seek(0)
    raise kinds.refusal(name, stream.read(kinds.HEADER))
