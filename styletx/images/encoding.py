"""Pixels → the bytes of a PNG, JPEG, WebP or TIFF file, with an sRGB profile and the run's metadata.

The metadata is JSON, in ASCII so that it survives everywhere: in PNG the text chunk `styletx`, elsewhere a private
EXIF (or TIFF) entry. 16-bit colour PNG and TIFF with EXIF, which Pillow cannot write, are assembled here.
"""

import io
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin

from styletx.images import exif
from styletx.images.pixels import on_white
from styletx.images.profiles import srgb_profile
from styletx.notes import Note, Notes

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}
_OPTIONS: dict[str, dict[str, Any]] = {
    # Brush strokes have no repeats for zlib to find: this takes half the time and gives the same size.
    "PNG": {"compress_type": zlib.Z_RLE},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
}
_KEY = "styletx"
_EXIF_LIMIT = 65000  # bytes; a JPEG segment holds 65533

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def encode(
    pixels: Pixels, format: str, metadata: Mapping[str, Any] | None, photograph: bytes | None = None
) -> tuple[bytes, Notes]:
    """Encode a picture.

    Args:
        pixels: [H,W,3] RGB or [H,W,4] RGBA; 16-bit values for PNG and TIFF only.
        format: "PNG", "JPEG", "WEBP" or "TIFF". JPEG has no alpha: the picture is put on white, with a note.
        metadata: what to embed; values that JSON cannot express are written as text.
        photograph: the EXIF block that is kept of it.

    Returns:
        The file's bytes, and notes on what the format could not hold.
    """
    payload = json.dumps(metadata, default=str) if metadata is not None else None
    block = photograph if format == "PNG" else exif.block(photograph, payload)
    if format == "TIFF":
        return _tiff(pixels, block), ()
    if pixels.dtype == np.uint16:
        return _deep_png(pixels, payload, block), ()
    notes: list[Note] = []
    image = Image.fromarray(pixels)
    if format == "JPEG" and image.mode == "RGBA":
        notes.append(
            Note("JPEG has no transparency, so the picture was put on white. PNG, WebP and TIFF keep transparency.")
        )
        image = on_white(image)
    options = dict(_OPTIONS[format])
    if payload is not None and format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text(_KEY, payload)
    if block is not None and format == "JPEG" and len(block) > _EXIF_LIMIT:
        block, dropped = exif.shortened(block, _EXIF_LIMIT)
        if len(block) > _EXIF_LIMIT:
            block = None
            notes.append(Note("The metadata is too long for a JPEG file and was left out. PNG keeps it."))
        else:
            entries = "one entry" if dropped == 1 else f"{dropped} entries"
            notes.append(
                Note(
                    f"The photograph's EXIF data is too long for JPEG, so {entries} of it were left out. PNG keeps all."
                )
            )
    if block is not None:
        options["exif"] = block
    stream = io.BytesIO()
    image.save(stream, format, icc_profile=srgb_profile(), **options)
    return stream.getvalue(), tuple(notes)


def embedded(image: Image.Image) -> dict[str, Any] | None:
    """The metadata that `encode` embedded in a picture that has been opened; None if it has none of ours."""
    payload = image.info.get(_KEY)
    if not payload:
        return exif.metadata(image)
    try:
        found = json.loads(payload)
    except (ValueError, TypeError, RecursionError):  # somebody else's text
        return None
    return found if isinstance(found, dict) else None


def _deep_png(pixels: Pixels, payload: str | None, block: bytes | None) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)  # filter 2: difference from the row above
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2 if channels == 3 else 6, 0, 0, 0)),
        chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile())),
        chunk(b"tEXt", f"{_KEY}\0{payload}".encode("ascii")) if payload is not None else b"",
        chunk(b"eXIf", block.removeprefix(b"Exif\0\0")) if block is not None else b"",
        chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6)),
        chunk(b"IEND", b""),
    ]
    return b"".join(parts)


def _tiff(pixels: Pixels, block: bytes | None) -> bytes:
    height, width, channels = pixels.shape
    differences = pixels.astype("<u2" if pixels.itemsize == 2 else "u1")
    differences[:, 1:] -= pixels[:, :-1]  # predictor 2: difference from the pixel to the left
    data = zlib.compress(differences.tobytes(), 6)
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    tags: dict[int, Any] = {
        256: width,
        257: height,
        258: (8 * pixels.itemsize,) * channels,
        259: 8,  # deflate
        262: 2,  # RGB
        273: 0,  # where the only strip starts, which Pillow counts from the directory's end
        277: channels,
        278: height,
        279: len(data),
        317: 2,  # predictor
        34675: srgb_profile(),
    }
    if channels == 4:
        tags[338] = 2  # the extra channel is straight alpha
    for tag, value in (tags | exif.entries(block)).items():
        directory[tag] = value
    return b"II*\0" + struct.pack("<I", 8) + directory.tobytes(8) + data
