"""Results → picture files."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, cast

from torch import Tensor

from styletx import files
from styletx.errors import OutputError, told
from styletx.images import encoding
from styletx.images.pixels import quantised
from styletx.notes import Notes


def check_output(
    path: str | os.PathLike[str],
    *,
    sources: Iterable[str | os.PathLike[str]] = (),
    size: tuple[int, int] | None = None,
) -> None:
    """Find out before any long work whether a picture can be written; missing parent folders are made.

    Args:
        path: where the picture is to go; its extension names the format.
        sources: the files it is made from, none of which may be overwritten; names that are not files pass.
        size: (H, W) of the picture if it is known: some formats limit the longest side.

    Raises:
        OutputError: the extension is unknown, the picture is too large for the format, or the path is a folder, one
            of the sources, or cannot be written.
    """
    if not os.path.isdir(path):
        format = _format_of(path)
        longest = encoding.LONGEST_SIDE.get(format)
        if size and longest and max(size) > longest:
            raise OutputError(
                f"{files.shown(path)} would be {max(size)} pixels on its longest side, and {format} allows {longest}; "
                "write PNG or TIFF"
            )
    files.check(path, sources)


def write(
    target: str | os.PathLike[str] | BinaryIO,
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    metadata: Mapping[str, Any] | None = None,
    exif: bytes | None = None,
    bits: int = 8,
    format: str | None = None,
    overwrite: bool = True,
) -> Notes:
    """Write a picture with an sRGB profile and the metadata of its run.

    A path gets the whole file or none of it.

    Args:
        target: a path that ends in .png, .jpg, .jpeg, .webp, .tif or .tiff, or a binary stream.
        pixels: [1,3,H,W] or [3,H,W] in [0,1].
        alpha: [1,1,H,W] or [1,H,W] in [0,1]. JPEG has none: the picture is put on white, with a note.
        metadata: what `read_metadata` returns later; values that JSON cannot express become text.
        exif: an EXIF block to embed, such as `Picture.exif`.
        bits: 8, or 16 for PNG and TIFF; JPEG and WebP are always 8.
        format: "PNG", "JPEG", "WEBP" or "TIFF"; by default as the path's extension says, or PNG for a stream.
        overwrite: whether a file that is there already is replaced.

    Returns:
        Notes on what the format could not hold.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    path = target if isinstance(target, str | os.PathLike) else None
    if path is None and not hasattr(target, "write"):
        raise TypeError(f"a picture is written to a path or a stream, not {type(target)}")
    name = getattr(target, "name", "<stream>") if path is None else path
    if format is None:
        format = "PNG" if path is None else _format_of(path)
    format = str(format).upper()
    if not isinstance(bits, int) or bits not in (8, 16):
        raise OutputError(f"{files.shown(str(name))}: {told(bits)} bits cannot be written; choose 8 or 16")
    if format not in encoding.FORMATS.values():
        known = ", ".join(sorted(set(encoding.FORMATS.values())))
        raise OutputError(f"{files.shown(str(name))}: {files.shown(format)} cannot be written; choose one of {known}")
    deep = bits == 16 and format in ("PNG", "TIFF")
    with files.output_errors(str(name)):
        data, notes = encoding.encode(quantised(pixels, alpha, 16 if deep else 8), format, metadata, exif)
        if path is None:
            cast(BinaryIO, target).write(data)
        else:
            files.write(path, data, overwrite=overwrite)
    return notes


def _format_of(path: str | os.PathLike[str]) -> str:
    extension = os.path.splitext(os.fspath(path))[1].lower()
    if extension not in encoding.FORMATS:
        known = ", ".join(encoding.FORMATS)
        ending = f"the extension {files.shown(extension)}" if extension else "no extension"
        raise OutputError(f"{files.shown(path)} has {ending}, which is not a picture format; use one of {known}")
    return encoding.FORMATS[extension]
