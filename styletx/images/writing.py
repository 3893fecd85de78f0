"""Results → files, each in one step: an interrupted run leaves the old file or the new one, never half."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from torch import Tensor

from styletx.errors import OutputError
from styletx.images import encoding
from styletx.images.decoding import shown
from styletx.images.pixels import quantised
from styletx.notes import Notes


def check_output(
    path: str | os.PathLike[str],
    *,
    sources: Iterable[str | os.PathLike[str]] = (),
    size: tuple[int, int] | None = None,
    picture: bool = True,
) -> None:
    """Finds out before any long work whether a result can be written; makes missing parent folders.

    Args:
        path: where the result shall go.
        sources: the pictures it is made from, none of which may be overwritten; names of no file pass.
        size: (H, W) of the result if it is known: some formats end at a longest side.
        picture: whether it is a picture, whose format its extension has to name.

    Raises:
        OutputError: unknown extension, a folder, no permission, no parent to be made, a source picture.
    """
    name = shown(os.fspath(path))
    if os.path.isdir(path):
        raise OutputError(f"{name} is a folder; name a file in it")
    format = _format_of(path) if picture else ""
    longest = encoding.LONGEST_SIDE.get(format)
    if size and longest and max(size) > longest:
        raise OutputError(
            f"{name}: {format} ends at {longest} pixels a side and this is {max(size)}; write PNG or TIFF"
        )
    for source in sources:
        with contextlib.suppress(OSError, ValueError):
            if os.path.samefile(source, path):
                raise OutputError(f"{name} is one of the source pictures, which are never overwritten; name another")
    with _output_errors(name):
        target, _ = _resolved(path)
        temporary = _temporary_beside(target)
        try:
            with open(temporary, "xb"):
                pass
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def write(
    target: str | os.PathLike[str] | BinaryIO,
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    metadata: Mapping[str, Any] | None = None,
    bits: int = 8,
    format: str | None = None,
) -> Notes:
    """Writes a picture with an sRGB profile and the metadata of its run.

    A path gets the whole file or none of it: it is written beside its place and renamed.

    Args:
        target: a path ending in .png, .jpg, .jpeg, .webp, .tif or .tiff, or a binary stream.
        pixels: [1,3,H,W] or [3,H,W] in [0,1].
        alpha: [1,1,H,W] or [1,H,W] in [0,1]. JPEG has none: the picture is put on white, with a warning.
        metadata: what `read_metadata` shall give back; must be fit for JSON.
        bits: 8, or 16 for PNG and TIFF; JPEG and WebP are always 8.
        format: "PNG", "JPEG", "WEBP" or "TIFF", for a stream; a path's extension says it otherwise.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    path = target if isinstance(target, str | os.PathLike) else None
    name = shown(os.fspath(path)) if path is not None else str(getattr(target, "name", "<stream>"))
    format = (format or (_format_of(path) if path is not None else "PNG")).upper()
    if format not in encoding.FORMATS.values():
        raise OutputError(
            f"{name}: cannot write {format}; choose from {', '.join(sorted(set(encoding.FORMATS.values())))}"
        )
    deep = bits == 16 and format in ("PNG", "TIFF")
    with _output_errors(name):
        data = encoding.encode(quantised(pixels, alpha, 16 if deep else 8), format, metadata)
        if path is None:
            cast(BinaryIO, target).write(data)
        else:
            _replace(path, data)
    return ()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file whole or not at all: beside its place, then renamed.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    with _output_errors(shown(os.fspath(path))):
        _replace(path, data)


def _replace(path: str | os.PathLike[str], data: bytes) -> None:
    target, mode = _resolved(path)
    temporary = _temporary_beside(target)
    try:
        with open(temporary, "xb") as file:  # as open() would: the umask decides who may read it
            file.write(data)
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _temporary_beside(target: str) -> str:
    return os.path.join(os.path.dirname(target), f".styletx-{secrets.token_hex(8)}.tmp")


def _resolved(path: str | os.PathLike[str]) -> tuple[str, int | None]:
    """The real file behind a path, writable or yet to be made, and its permissions; makes its folder."""
    target = os.path.realpath(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
    with open(target, "r+b"):  # renaming over it would get round a write protection
        pass
    return target, stat.S_IMODE(mode)


@contextlib.contextmanager
def _output_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "").lower() or str(error)
        raise OutputError(f"{name} cannot be written ({reason}); choose another place") from error


def _format_of(path: str | os.PathLike[str]) -> str:
    extension = os.path.splitext(os.fspath(path))[1].lower()
    if extension not in encoding.FORMATS:
        name, extension = shown(os.fspath(path)), extension and shown(extension)
        known = ", ".join(encoding.FORMATS)
        raise OutputError(f"{name}: cannot write a file that ends in '{extension}'; end it in one of {known}")
    return encoding.FORMATS[extension]


def numbered(path: Path) -> Path:
    """`path` if nothing is there, else the first free one with -2, -3, ... before the suffix."""
    candidate, number = path, 2
    while os.path.lexists(candidate):
        candidate = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return candidate
