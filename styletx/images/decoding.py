"""Picture files → floating-point RGB and alpha, whatever their mode, depth, rotation and profile."""

import contextlib
import io
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from styletx import devices
from styletx.errors import PictureError
from styletx.files import shown
from styletx.images import deep, exif, jpeg, profiles
from styletx.images.opening import check_size, identify, pillow_errors, pillow_limit, truncated
from styletx.notes import Note, Notes

Array = npt.NDArray[np.float32]

_ORIENTATION_TAG = 0x0112
BRIGHTEST = 16  # of floating-point values that count from black to white as 0 to 1; what is above 1 is clipped
OVER = 1.02  # times a range's end that values may reach and are clipped, as resizing makes them
DARK = 8  # a picture that reaches so small a part of its range is nearly black
LARGE = 2**24  # pixels from which it is found out whether they fit into memory
READING = 16  # bytes a pixel
SIXTEEN_BITS = ("PNG", "PPM")  # formats whose values Pillow spreads over 16 bits where it has no mode for them
_MANY_FRAMES_BUT_ONE_PICTURE = {"MPO", "PSD"}  # previews and gain maps of a phone, layers


class Decoded(NamedTuple):
    """A picture's content, upright and in sRGB.

    Attributes:
        colour: [H,W,3] in [0,1].
        alpha: [H,W] in [0,1]; None if the picture has none.
        bits: per channel in the source, 8 or 16.
        notes: what could not be honoured.
        exif: what of its EXIF block holds for a picture painted from it; None if there is nothing.
    """

    colour: Array
    alpha: Array | None
    bits: int
    notes: Notes = ()
    exif: bytes | None = None


def decode_stream(stream: BinaryIO, name: str, max_pixels: int) -> Decoded:
    """Read a picture file; see `decode_image`. A JPEG file may lack its end marker."""
    image = identify(stream, name, max_pixels)
    is_jpeg = image.format == "JPEG"
    try:
        decoded = decode_image(image, name, max_pixels, reopen=lambda: identify(stream, name, max_pixels))
    except PictureError:
        whole = _without_its_end(stream, name, max_pixels) if is_jpeg else None
        if whole is None:
            raise
        return whole
    if not (is_jpeg and jpeg.ends_in_zeros(stream)):
        return decoded
    whole = _without_its_end(stream, name, max_pixels)  # zeros decode too, to rows of one colour
    if whole is None:
        raise truncated(name)
    return whole


def _without_its_end(stream: BinaryIO, name: str, max_pixels: int) -> Decoded | None:
    """Read a JPEG file that breaks off; None if more than its end marker is missing."""
    stream.seek(0)
    data = jpeg.unended(stream.read())
    ended = decode_image(identify(io.BytesIO(data + jpeg.END), name, max_pixels), name, max_pixels)
    # Where rows are missing, they would be made of whatever follows.
    for filler in jpeg.FILLERS:
        longer = identify(io.BytesIO(data + filler + jpeg.END), name, max_pixels)
        if not np.array_equal(ended.colour, decode_image(longer, name, max_pixels).colour):
            return None
    if not jpeg.has_all_scans(data):
        return None
    note = Note(f"{shown(name)} has no end marker; nothing else of the picture is missing.")
    return ended._replace(notes=(*ended.notes, note))


def decode_image(
    image: Image.Image, name: str, max_pixels: int, reopen: Callable[[], Image.Image] | None = None
) -> Decoded:
    """Read a Pillow picture in any mode.

    Args:
        image: the picture; it gets loaded, and is otherwise left unchanged.
        name: what messages call it.
        max_pixels: most pixels allowed.
        reopen: opens the same file again, for a second pass over 16-bit colour.

    Raises:
        PictureError: it is too small, too large, truncated, damaged, or has values that are not colours.
        MemoryLimitError: there is too little memory to read it.
    """
    check_size(*image.size, name, max_pixels)
    if (pixels := image.width * image.height) > LARGE:
        what = f"{shown(name)}: reading {image.width}×{image.height} px"
        devices.check_memory(pixels * READING, torch.device("cpu"), what, "shrink it first")
    notes = []
    if _has_frames(image):
        notes.append(Note(f"{shown(name)} has more than one frame; the first is used."))
    large = image.width * image.height > (Image.MAX_IMAGE_PIXELS or max_pixels)
    with pillow_errors(name), pillow_limit(max_pixels) if large else contextlib.nullcontext():
        if reopen and deep.is_deep(image):
            colour, alpha, bits = *deep.load(image, reopen), 16
        else:
            image.load()
            colour, alpha, bits = _split(image, name, notes)
        orientation = _orientation(image)
    check_size(colour.shape[1], colour.shape[0], name, max_pixels)  # an icon's true size is known only now

    profile = image.info.get("icc_profile")
    managed = isinstance(profile, bytes) and profile and image.mode not in ("LAB", "HSV")
    colour = _to_srgb(colour, profile if managed else None, name, notes)
    alpha = None if alpha is None else _upright(alpha, orientation)
    return Decoded(_upright(colour, orientation), alpha, bits, tuple(notes), exif.kept(image))


def _has_frames(image: Image.Image) -> bool:
    animated = False
    with contextlib.suppress(Exception):  # the file may be truncated where a second frame is looked for
        animated = getattr(image, "is_animated", False)
    return animated and image.format not in _MANY_FRAMES_BUT_ONE_PICTURE


def _to_srgb(colour: Array, profile: bytes | None, name: str, notes: list[Note]) -> Array:
    if profile:
        try:
            return profiles.to_srgb(colour, profile)
        except profiles.ProfileError as error:
            notes.append(Note(f"{shown(name)}: {error}, so it was ignored."))
    if colour.shape[-1] == 4:  # ink without a profile: the textbook formula, which is Pillow's too
        return (1 - colour[..., :3]) * (1 - colour[..., 3:])
    return np.repeat(colour, 3, axis=-1) if colour.shape[-1] == 1 else colour


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # EXIF data is often broken, and no reason to refuse a picture
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


def _split(image: Image.Image, name: str, notes: list[Note]) -> tuple[Array, Array | None, int]:
    """Colour [H,W,1|3|4], alpha and depth of a loaded picture."""
    mode = image.mode
    if mode.startswith("I;16"):
        return *deep.split_grey(image), 16
    if mode in ("I", "F"):
        return _scaled(np.asarray(image, dtype=np.float64), image, name, notes)[..., None], None, 16
    if mode in ("LA", "RGBA", "CMYK") or (mode in ("1", "L", "RGB") and not image.has_transparency_data):
        plain = image
    elif mode == "La" or (mode in ("1", "L") and image.has_transparency_data):
        plain = image.convert("LA")
    elif mode in ("RGBa", "PA") or image.has_transparency_data:
        plain = image.convert("RGBA")
    else:  # P, RGBX, YCbCr, LAB, HSV and whatever else Pillow converts to RGB
        plain = image.convert("RGB")
    plain = plain.convert("L") if plain.mode == "1" else plain
    stored = np.asarray(plain)
    stored = stored if stored.ndim == 3 else stored[..., None]
    # Channels are kept apart in memory, as tensors have them, which saves another copy of a large picture.
    values = np.empty((stored.shape[-1], *stored.shape[:2]), np.float32).transpose(1, 2, 0)
    np.divide(stored, np.float32(255), out=values, dtype=np.float32)
    if plain.mode in ("LA", "RGBA"):
        return values[..., :-1], values[..., -1], 8
    return values, None, 8


def _scaled(values: npt.NDArray[np.float64], image: Image.Image, name: str, notes: list[Note]) -> Array:
    """32-bit grey, whose range no format tells: what its values fit, with a note wherever that is a guess."""
    if not np.isfinite(values).all():
        raise PictureError(f"{shown(name)} has values that are not finite; repair it, or save it as a 16-bit PNG")
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        # Light may be brighter than white, by a little or, in a scene, by a few stops.
        ranges = ((1, BRIGHTEST), (255, 255 * OVER), (65535, 65535 * OVER))
        peak = next((peak for peak, most in ranges if high <= most), None)
        is_known = high <= 1 and low >= 0
    else:
        is_known = image.format in SIXTEEN_BITS
        peak = 65535 if is_known else next((peak for peak in (255, 65535) if high <= peak), None)
    if peak is None or low < (1 - OVER) * min(peak, high):
        notes.append(
            Note(f"{shown(name)} has values from {low:g} to {high:g}, which were stretched to black and white.")
        )
        return ((values - low) / ((high - low) or 1)).astype(np.float32)
    if not is_known:
        said = f"does not tell the range of its values and was read as 0–{peak}"
        if high > peak or low < 0:
            said += f"; what is outside, from {low:g} to {high:g}, was clipped"
        elif high < peak / DARK:
            said += f", of which it reaches {high:g}, so that it is nearly black"
        notes.append(Note(f"{shown(name)} {said}."))
    return (values / peak).clip(0, 1).astype(np.float32)
