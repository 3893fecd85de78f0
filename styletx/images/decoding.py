"""Picture files → floating-point RGB and alpha, whatever mode, depth, rotation and profile they come in.

Pillow does the decoding, but its limit on the number of pixels is a global that other threads rely on. So
`identify` opens pictures as `PIL.Image.open` does, without that limit, and `check_size` holds them to the
caller's.
"""

import contextlib
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from styletx.errors import PictureError
from styletx.images import deep, profiles

Array = npt.NDArray[np.float32]

MIN_SIDE = 16
_ORIENTATION_TAG = 0x0112
_limit_lock = threading.RLock()
_MANY_FRAMES_BUT_ONE_PICTURE = {"MPO", "PSD"}  # previews and gain maps of a phone, layers
_CUT_OFF = re.compile(r"truncat|broken data|unexpected end|end of file|not enough|incomplete", re.IGNORECASE)


class Decoded(NamedTuple):
    """RGB [H,W,3] and alpha [H,W] in [0,1], upright and in sRGB; bits per channel in the file (8 or 16)."""

    colour: Array
    alpha: Array | None
    bits: int


def shown(name: str) -> str:
    """A name as messages show it: always one line."""
    return name if name and name.isprintable() else repr(name)


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Refuses what is too small to style or larger than the limit.

    Raises:
        PictureError: a side is under `MIN_SIDE`, or there are more than `max_pixels` pixels.
    """
    if width * height > max_pixels:
        raise PictureError(
            f"{shown(name)} is {width} × {height}, {width * height:,} pixels, over the limit of "
            f"{max_pixels:,}; shrink it, or raise --max-pixels"
        )
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            f"{shown(name)} is {width} × {height}, too small to style; give one of at least {MIN_SIDE} pixels a side"
        )


def identify(stream: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Opens a picture without decoding it, as `PIL.Image.open` does; the caller checks its size.

    Raises:
        PictureError: it is empty, no picture, or its header is damaged.
    """
    with pillow_errors(name):
        try:
            return _opened_by_its_plugin(stream, name)
        except Image.DecompressionBombError:  # some plugins apply Pillow's limit by themselves
            with _pillow_limit(max_pixels):
                return _opened_by_its_plugin(stream, name)


@contextlib.contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    with _limit_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _opened_by_its_plugin(stream: BinaryIO, name: str) -> Image.Image:
    Image.preinit()  # the common formats first
    Image.init()
    stream.seek(0)
    prefix = stream.read(16)
    if not prefix:
        raise PictureError(f"{shown(name)} is empty; get a whole copy of it")
    recognised = False
    for format in Image.ID:
        factory, accept = Image.OPEN[format]
        accepted = accept(prefix) if accept else True
        if not accepted or isinstance(accepted, str):  # a string says what Pillow was built without
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            recognised = recognised or accept is not None
    if recognised:
        raise PictureError(f"{shown(name)} is cut off or damaged; get a whole copy of it")
    raise PictureError(f"{shown(name)} is no picture that can be read; give a PNG, JPEG, WebP or TIFF file")


@contextlib.contextmanager
def pillow_errors(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises on bad data, which may be any exception, into a `PictureError`."""
    try:
        yield
    except (PictureError, Warning):
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{shown(name)} holds more pixels than allowed; shrink it") from error
    except MemoryError as error:
        raise PictureError(f"{shown(name)} needs more memory than there is; shrink it") from error
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, EOFError) or _CUT_OFF.search(detail):
            raise PictureError(f"{shown(name)} is cut off; get a whole copy of it") from error
        message = f"{shown(name)} is damaged or of a kind that cannot be decoded ({detail}); convert it to PNG"
        raise PictureError(message) from error


def decode_stream(stream: BinaryIO, name: str, max_pixels: int) -> Decoded:
    """Reads a picture file's bytes; see `decode_image`."""
    image = identify(stream, name, max_pixels)
    return decode_image(image, name, max_pixels, reopen=lambda: identify(stream, name, max_pixels))


def decode_image(
    image: Image.Image, name: str, max_pixels: int, reopen: Callable[[], Image.Image] | None = None
) -> Decoded:
    """Reads a Pillow picture in any mode; warns of what cannot be honoured.

    Args:
        image: the picture; nothing about it is changed but that it gets loaded.
        name: what messages call it.
        max_pixels: most pixels allowed.
        reopen: opens the same file afresh, for a second pass over 16-bit colour.

    Raises:
        PictureError: it is too small, too large, cut off, damaged, or holds values that are no colours.
    """
    check_size(*image.size, name, max_pixels)
    animated = False
    with contextlib.suppress(Exception):  # looking for a second frame in a file cut off within the first
        animated = getattr(image, "is_animated", False)
    if animated and image.format not in _MANY_FRAMES_BUT_ONE_PICTURE:
        warnings.warn(f"{shown(name)} has more than one frame; the first is used", stacklevel=4)

    large = image.width * image.height > (Image.MAX_IMAGE_PIXELS or max_pixels)
    with pillow_errors(name), _pillow_limit(max_pixels) if large else contextlib.nullcontext():
        if reopen and deep.is_deep(image):
            colour, alpha, bits = *deep.load(image, reopen), 16
        else:
            image.load()
            colour, alpha, bits = _split(image, name)
        orientation = _orientation(image)
    check_size(colour.shape[1], colour.shape[0], name, max_pixels)  # icons tell their true size only now

    profile = image.info.get("icc_profile")
    managed = isinstance(profile, bytes) and profile and image.mode not in ("LAB", "HSV")
    colour = _to_srgb(colour, profile if managed else None, name)
    return Decoded(_upright(colour, orientation), None if alpha is None else _upright(alpha, orientation), bits)


def _to_srgb(colour: Array, profile: bytes | None, name: str) -> Array:
    if profile:
        try:
            return profiles.to_srgb(colour, profile)
        except profiles.ProfileError as error:
            warnings.warn(f"{shown(name)}: {error}, so it was ignored", stacklevel=5)
    if colour.shape[-1] == 4:  # ink without a profile: the textbook formula, which is Pillow's too
        return (1 - colour[..., :3]) * (1 - colour[..., 3:])
    return np.repeat(colour, 3, axis=-1) if colour.shape[-1] == 1 else colour


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # EXIF is often broken, and a picture is worth more than its EXIF
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    return 1


def _upright(values: Array, orientation: int) -> Array:
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def _split(image: Image.Image, name: str) -> tuple[Array, Array | None, int]:
    """Colour [H,W,1|3|4], alpha and depth of a loaded picture."""
    mode = image.mode
    if mode.startswith("I;16"):
        return *deep.split_grey(image), 16
    if mode in ("I", "F"):
        return _scaled(np.asarray(image, dtype=np.float64), mode, name)[..., None], None, 16
    if mode in ("LA", "RGBA", "CMYK") or (mode in ("1", "L", "RGB") and not image.has_transparency_data):
        plain = image
    elif mode == "La" or (mode in ("1", "L") and image.has_transparency_data):
        plain = image.convert("LA")
    elif mode in ("RGBa", "PA") or image.has_transparency_data:
        plain = image.convert("RGBA")
    else:  # P, RGBX, YCbCr, LAB, HSV and what else Pillow can turn into RGB
        plain = image.convert("RGB")
    plain = plain.convert("L") if plain.mode == "1" else plain
    stored = np.asarray(plain)
    stored = stored if stored.ndim == 3 else stored[..., None]
    # Channel by channel in memory, as it will be wanted, so that a large picture is not copied once more.
    values = np.empty((stored.shape[-1], *stored.shape[:2]), np.float32).transpose(1, 2, 0)
    np.divide(stored, np.float32(255), out=values, dtype=np.float32)
    if plain.mode in ("LA", "RGBA"):
        return values[..., :-1], values[..., -1], 8
    return values, None, 8


def _scaled(values: npt.NDArray[np.float64], mode: str, name: str) -> Array:
    """32-bit grey, which has no agreed range: [0,65535] for integers, [0,1] or else [0,255] for floats."""
    if not np.isfinite(values).all():
        raise PictureError(f"{shown(name)} holds values that are not finite; mend it or save it as 16-bit PNG")
    low, high = float(values.min()), float(values.max())
    peaks = (65535.0,) if mode == "I" else (1.0, 255.0)
    for peak in peaks:
        if low >= 0 and high <= peak:
            return (values / peak).astype(np.float32)
    warnings.warn(f"{shown(name)} ranges from {low:g} to {high:g}, which is stretched to black and white", stacklevel=6)
    return ((values - low) / ((high - low) or 1)).astype(np.float32)
