"""What a photograph's EXIF block (CIPA DC-008) says that is still true of the picture painted from it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD

LONGEST = 1 << 20  # bytes of what is kept of a photograph
DESCRIPTION = 0x010E
OURS = 65_000  # of TIFF's numbers for private use; other programs show descriptions, but not this
# Description, make, model, software, date, artist, host, rating, copyright, and Windows' title to subject.
_KEPT = (DESCRIPTION, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x8298, *range(0x9C9B, 0x9CA0))
# How the pixels were stored, where on the picture the subject was, and the maker's note, which points into its file.
_FALSE = (0x9101, 0x9102, 0x9214, 0x927C, 0xA000, 0xA001, 0xA002, 0xA003, 0xA004, 0xA005, 0xA214, 0xA40B)


def kept(image: Image.Image) -> bytes | None:
    """The EXIF block for a picture painted from an opened one; None if it has none, or a broken one."""
    with contextlib.suppress(Exception):  # EXIF data is often broken, and no reason to refuse a picture
        found = _entries(image.getexif())
        if found.pop(OURS, None) is None and metadata(image):
            del found[DESCRIPTION]  # version 0.1's
        data = _written(found)
        return data if found and len(data) <= LONGEST else None
    return None


def block(given: bytes | None, payload: str | None) -> bytes | None:
    """An EXIF block with metadata of ours, in ASCII, added to what was kept."""
    return given if payload is None else _written(entries(given) | {OURS: payload})


def shortened(data: bytes, longest: int) -> tuple[bytes, int]:
    """A block without the longest entries of the photograph, and how many were left out, so that it fits."""
    found, dropped = entries(data), 0
    while len(data) > longest:
        parts = [found, *(found[part] for part in (IFD.Exif, IFD.GPSInfo) if part in found)]
        lengths = [
            (len(_written({tag: value})), index, tag)
            for index, part in enumerate(parts)
            for tag, value in part.items()
            if not isinstance(value, dict) and tag != OURS
        ]
        if not lengths:
            break
        _, index, tag = max(lengths)
        del parts[index][tag]
        data, dropped = _written(found), dropped + 1
    return data, dropped


def entries(data: bytes | None) -> dict[int, Any]:
    """What a block says: tags and values, which are dictionaries for its parts."""
    exif = Image.Exif()
    if data is not None:
        exif.load(data)
    return _entries(exif)


def metadata(image: Image.Image) -> dict[str, Any] | None:
    """The metadata that `block` added; None if there is none."""
    with contextlib.suppress(Exception):  # anything may be in another program's block
        exif = image.getexif()
        # Version 0.1 wrote it as the description.
        found = json.loads(exif[OURS]) if OURS in exif else json.loads(exif[DESCRIPTION])["styletx"]
        return found if isinstance(found, dict) else None
    return None


def _entries(exif: Image.Exif) -> dict[int, Any]:
    found: dict[int, Any] = _sound({tag: exif[tag] for tag in (*_KEPT, OURS) if tag in exif})
    for part in (IFD.Exif, IFD.GPSInfo):
        if values := _sound({tag: value for tag, value in exif.get_ifd(part).items() if tag not in _FALSE}):
            found[part] = values
    return found


def _sound(values: dict[int, Any]) -> dict[int, Any]:
    """Those that can be written; a camera's odd entry is no reason to lose the others."""
    found = {}
    for tag, value in values.items():
        with contextlib.suppress(Exception):
            _written({tag: (encoded := _encoded(value))})
            found[tag] = encoded
    return found


def _encoded(value: Any) -> Any:
    """A value as Pillow writes it unchanged: it reads text by bytes and would write ASCII only."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _written(found: dict[int, Any]) -> bytes:
    exif = Image.Exif()
    for tag, value in found.items():
        exif[tag] = value
    return exif.tobytes()
