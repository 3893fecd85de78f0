"""What every part does with files: show a name, hash, and write so that an interruption never leaves half a file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from styletx.errors import OptionError, OutputError, StyletxError

if sys.platform != "win32":
    import fcntl

CHUNK = 1 << 20  # bytes
LARGEST = 2**32  # bytes of a file that are taken into memory
_UNFINISHED = (".styletx-", ".tmp")  # what the name of a file that is being written begins and ends with

# What is taken for a picture in a folder, in lower case.
PICTURE_EXTENSIONS = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl"),
    *(".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
# Endings of pictures that a folder may hold and that are not taken from it.
RAW = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".kdc", ".mos", ".mrw", ".nef", ".nrw"),
    *(".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
DRAWINGS = (".ai", ".eps", ".pdf", ".ps", ".svg", ".svgz")
PASSED_OVER = (*RAW, *DRAWINGS, ".exr", ".hdr", ".jxr", ".psd", ".xcf")


def local(name: str | os.PathLike[str], error: type[StyletxError] = OptionError) -> str:
    """A name as text; a file:// address becomes the path that it names.

    Args:
        name: a path or an address.
        error: what is raised if no file can be called that.
    """
    text = os.fsdecode(name)
    if text.lower().startswith(("file:///", "file://localhost/")):
        text = url2pathname(urlsplit(text).path)
    if not is_possible(text):
        raise error(f"no file can be called {shown(text)}; check the name")
    return text


def is_possible(name: str) -> bool:
    """Whether the system can be asked for a file of that name."""
    with contextlib.suppress(UnicodeEncodeError):
        return b"\0" not in os.fsencode(name)
    return False


def shown(name: str | os.PathLike[str]) -> str:
    """A name as messages show it: always on one line, and never empty."""
    text = os.fspath(name)
    return text if text and text.isprintable() else repr(text)


def printable(text: str) -> str:
    """Text with every character that is not to be seen escaped: ends of lines, control and direction marks."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def reason(error: Exception) -> str:
    """Why something failed, on one line; if the system says why, in its words: "permission denied"."""
    text = (getattr(error, "strerror", None) or "").lower() or str(error) or type(error).__name__
    return " ".join(text.split())


def check_readable(path: str | os.PathLike[str], largest: int = LARGEST) -> None:
    """Find out whether a file can be read to its end: a pipe or a device might have none.

    Raises:
        OSError: it is not there, not an ordinary file, or has more bytes than `largest`.
    """
    about = os.stat(path)
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is not an ordinary file")
    if about.st_size > largest:
        size, most = about.st_size / 1e6, largest / 1e6
        raise OSError(errno.EFBIG, f"it has {size:,.0f} megabytes, and at most {most:,.0f} are read")


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(source: str | os.PathLike[str] | BinaryIO) -> str:
    """The SHA-256 of a file, or of what an open one holds from here on, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return sha256_of(file)
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def write(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = True) -> None:
    """Write a whole file or nothing; its folder is made if necessary.

    Args:
        path: where to.
        data: all of it.
        overwrite: whether a file that is there already is replaced.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    with replacing(path, overwrite=overwrite) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Give a new file to write to; at the end of the block, it replaces the one at `path`.

    The folder is made if necessary. A file that is replaced keeps its permissions, and a link stays a link: what it
    points to is replaced. If the block raises, nothing is replaced and nothing is left behind; `tidy` removes what a
    killed process left. Only the writing itself belongs in the block, since an `OSError` or `ValueError` from it is
    taken to say that `path` cannot be written.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    with output_errors(path):
        target, mode = _resolved(path)
        with _beside(target) as file:
            yield file
            file.flush()
            if mode is not None:
                os.chmod(file.name, mode)
            if sys.platform == "win32":
                file.close()
            (_claim if overwrite is False else os.replace)(file.name, target)


def check(path: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Find out before any long work whether a file can be written; its folder is made if necessary.

    Args:
        path: where the file is to go.
        sources: the files it is made from, none of which may be overwritten, "-" for stdin; names that are not files
            pass.

    Raises:
        OutputError: it is a folder, one of the sources, or cannot be written.
    """
    if os.path.isdir(path):
        raise OutputError(f"{shown(path)} is a folder; name a file in it")
    for source in sources:
        with contextlib.suppress(OSError, ValueError):
            about = os.fstat(0) if source == "-" else os.stat(source)
            if os.path.samestat(about, os.stat(path)):
                raise OutputError(
                    f"{shown(path)} is one of the inputs, which are never overwritten; choose another name"
                )
    with output_errors(path):
        target, _ = _resolved(path)
        with _beside(target):
            pass
    tidy(os.path.dirname(target))


def tidy(folder: str | os.PathLike[str]) -> None:
    """Remove from a folder what killed writers left unfinished there."""
    for left in Path(folder).glob(f"{_UNFINISHED[0]}*{_UNFINISHED[1]}"):
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                left.unlink()  # fails while a writer has it open
            elif stat.S_ISREG(left.lstat().st_mode):
                with open(left, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()


def numbered(path: Path) -> Path:
    """`path` if it is free, else the first free one of the names with -2, -3, ... before the suffix."""
    candidate, number = path, 2
    while os.path.lexists(candidate):
        candidate = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return candidate


@contextlib.contextmanager
def output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the system's errors while `path` is written into an `OutputError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, StyletxError):
            raise
        raise OutputError(f"{shown(path)} cannot be written ({reason(error)}); choose another place") from error


def _claim(beside: str, target: str) -> None:
    """Give a whole file a name that is free, in one step.

    Raises:
        FileExistsError: it is not free.
    """
    try:
        os.link(beside, target)
        os.unlink(beside)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name is taken first
        with open(target, "xb"):
            pass
        os.replace(beside, target)


@contextlib.contextmanager
def _beside(target: str) -> Iterator[BinaryIO]:
    """A new file in a target's folder. It is locked until it has another name or the block ends, when it goes."""
    while True:
        name = os.path.join(os.path.dirname(target), secrets.token_hex(8).join(_UNFINISHED))
        file = open(name, "xb")  # noqa: SIM115
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.exists(name):  # else it was tidied up before it was locked
            break
        file.close()
    try:
        with file:
            yield file
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _resolved(path: str | os.PathLike[str]) -> tuple[str, int | None]:
    """The real file behind a path and its permissions, None if it does not exist yet; its folder is made."""
    target = os.path.realpath(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not an ordinary file")
    with open(target, "r+b"):  # renaming over a write-protected file would succeed
        pass
    return target, stat.S_IMODE(mode)
