"""Files, once for all: how a name is shown, a file's hash, and writing that never leaves half a file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from styletx.errors import OutputError

CHUNK = 1 << 20  # bytes


def shown(name: str | os.PathLike[str]) -> str:
    """A name as messages show it: always one line, and never empty."""
    text = os.fspath(name)
    return text if text and text.isprintable() else repr(text)


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all; its folder is made if need be.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    with replacing(path) as beside, open(beside, "xb") as file:  # "xb" as open() would: the umask decides who may read
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """A name beside `path` to write to; at the end of the block, what is there replaces `path`.

    The folder is made if need be. If the block raises, nothing is replaced and nothing is left over.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    with output_errors(path):
        target, mode = _resolved(path)
        beside = _beside(target)
        try:
            yield beside
            if mode is not None:
                os.chmod(beside, mode)
            os.replace(beside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise


def check(path: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Find out before any long work whether a file can be written; its folder is made if need be.

    Args:
        path: where the file shall go.
        sources: what it is made from, none of which may be overwritten; names of no file pass.

    Raises:
        OutputError: it is a folder, one of the sources, or cannot be written.
    """
    if os.path.isdir(path):
        raise OutputError(f"{shown(path)} is a folder; name a file in it")
    for source in sources:
        with contextlib.suppress(OSError, ValueError):
            if os.path.samefile(source, path):
                raise OutputError(
                    f"{shown(path)} is one of the inputs, which are never overwritten; choose another name"
                )
    with output_errors(path):
        target, _ = _resolved(path)
        beside = _beside(target)
        try:
            with open(beside, "xb"):
                pass
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)


def numbered(path: Path) -> Path:
    """`path` if nothing is there, else the first free one with -2, -3, ... before the suffix."""
    candidate, number = path, 2
    while os.path.lexists(candidate):
        candidate = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return candidate


@contextlib.contextmanager
def output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the system says of a file that cannot be written into an `OutputError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        reason = (getattr(error, "strerror", None) or "").lower() or str(error)
        raise OutputError(f"{shown(path)} cannot be written ({reason}); choose another place") from error


def _beside(target: str) -> str:
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
        raise OSError(errno.EINVAL, "it is not an ordinary file")
    with open(target, "r+b"):  # renaming over it would get round a write protection
        pass
    return target, stat.S_IMODE(mode)
