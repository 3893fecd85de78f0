"""Places of pictures: paths on this machine, and addresses that fsspec understands (s3://, gs://, https://, …)."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styletx import files
from styletx.errors import OptionError, OutputError, PictureError, field
from styletx.files import reason, shown

# The beginnings of addresses that are opened.
SCHEMES = (
    *("abfs", "abfss", "adl", "az", "ftp", "gcs", "gs", "hdfs", "hf", "http", "https", "memory", "s3", "s3a", "sftp"),
    *("smb", "webhdfs"),
)


@dataclass(frozen=True)
class Found:
    """A file in a folder.

    Attributes:
        path: the folder as it was given, and the way from there.
        relative: the way from the folder, with forward slashes.
        problem: why what is there cannot be opened; None for a file.
    """

    path: str
    relative: str
    problem: str | None = None


def is_url(path: str) -> bool:
    """Whether a path is an address for fsspec rather than a path on this machine.

    Only what begins with one of `SCHEMES` is, and no chain of addresses: a name such as `reference::a.json` would have
    fsspec open what is in the file, and run what that says.
    """
    scheme, mark, _ = path.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES and "::" not in path


def check_offline(path: str) -> None:
    """Refuse an address in a network.

    Raises:
        OptionError: the path is such an address.
    """
    if is_url(path) and not path.lower().startswith("memory://"):
        raise OptionError(
            f"{shown(path)} is in a network, which {field('offline')} or STYLETX_OFFLINE forbids; use a copy on this "
            "machine"
        )


def join(folder: str, relative: str) -> str:
    """The path of a file in a folder; `relative` has forward slashes."""
    return posixpath.join(folder, relative) if is_url(folder) else os.path.join(folder, *relative.split("/"))


def exists(path: str) -> bool:
    """Whether anything is there.

    Raises:
        OptionError: the address cannot be reached.
    """
    if is_url(path):
        return _asked(path, "exists")
    return os.path.lexists(path)


def is_folder(path: str) -> bool:
    """Whether it is a folder.

    Raises:
        OptionError: the address cannot be reached.
    """
    if is_url(path):
        return _asked(path, "isdir")
    return os.path.isdir(path)


def whole(path: str) -> str | None:
    """The folder that a path leads to if it is the root of a file system, a home folder, or what holds that; else None.

    A slip is enough to name one, and hardly anyone means everything in it.
    """
    if is_url(path):
        return None
    real, home = Path(os.path.realpath(path)), Path(os.path.realpath(os.path.expanduser("~")))
    is_anyones = len(real.parts) == 3 and real.parts[1] in ("home", "Users")
    is_whole = real == Path(real.anchor) or real == home or real in home.parents or is_anyones
    return str(real) if is_whole and real.is_dir() else None


def is_written_out(path: str) -> bool:
    """Whether a path names what `whole` finds by itself, and not by a link or from where one is."""
    return path.rstrip(os.sep) in {str(name).rstrip(os.sep) for name in (whole(path), os.path.expanduser("~"))}


def read(path: str) -> bytes:
    """The contents of a file.

    Raises:
        PictureError: it cannot be read.
    """
    name = shown(path)
    if is_url(path):
        system, place = _remote(path)
        try:
            return bytes(system.cat_file(place))
        except FileNotFoundError as error:
            raise PictureError(f"{name}: file not found; check the address") from error
        except Exception as error:  # each of fsspec's file systems has exceptions of its own
            raise PictureError(f"{name} cannot be read ({reason(error)}); check the address") from error
    try:
        files.check_readable(path)
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise PictureError(f"{name}: file not found; check the name") from error
    except (OSError, ValueError) as error:
        raise PictureError(f"{name} cannot be read ({reason(error)}); check the file and its permissions") from error


def write(path: str, data: bytes, *, overwrite: bool = True) -> None:
    """Write a file whole or not at all; its folder is made if need be.

    Args:
        path: where to.
        data: all of it.
        overwrite: whether a file that is there already is replaced.

    Raises:
        OutputError: it cannot be written; a file that was there is left as it was.
    """
    if not is_url(path):
        files.write(path, data, overwrite=overwrite)
        return
    system, place = _remote(path)
    try:
        if not overwrite and system.exists(place):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        system.makedirs(posixpath.dirname(place), exist_ok=True)
        system.pipe_file(place, data)
    except Exception as error:  # each of fsspec's file systems has exceptions of its own
        raise OutputError(f"{shown(path)} cannot be written ({reason(error)}); choose another place") from error


class Guard:
    """Knows which places in a folder may be written.

    Args:
        folder: for the results.
        inputs: paths and addresses of what the results are made from; names that are not files pass.
    """

    def __init__(self, folder: str, inputs: Iterable[str]) -> None:
        self.folder = folder
        self._root = folder if is_url(folder) else os.path.realpath(folder)
        self._inputs = {one for path in inputs for one in _identities(path)}

    def check(self, path: str) -> None:
        """Find out whether a file may be written.

        Raises:
            OutputError: it is one of the inputs or a link, or leads out of the folder.
        """
        self.check_input(path)
        if is_url(path):
            return
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder)
        if os.path.islink(os.path.join(folder, name)):
            raise OutputError(f"{shown(path)} is a link, which is never written through; remove it")
        if not Path(folder).is_relative_to(self._root):
            raise OutputError(f"{shown(path)} leads out of {shown(self.folder)}; remove the link on its way")

    def check_input(self, path: str) -> None:
        """Find out whether a place is none of the inputs.

        Raises:
            OutputError: it is one of them.
        """
        if not self._inputs.isdisjoint(_identities(path)):
            raise OutputError(f"{shown(path)} is one of the inputs, which are never overwritten; choose another place")


def relative(path: str, folder: str) -> str:
    """The way from a folder to what is in it, with forward slashes."""
    if is_url(folder):
        return path.removeprefix(folder.rstrip("/") + "/")
    return os.path.relpath(path, folder).replace(os.sep, "/")


def inside(relative: str) -> str:
    """A way from a folder, with forward slashes, that cannot lead out of it."""
    parts = (part if part not in ("", ".", "..") else "_" for part in relative.split("/"))
    return "/".join(part.replace(os.sep, "_") for part in parts)


def walk(folder: str, without: str) -> Iterator[Found]:
    """The files in a folder and the folders in it, sorted by name, without hidden ones.

    Links to folders are followed, but each folder is visited only once, so that links may form a loop.

    Args:
        folder: where to look.
        without: a folder to leave out.
    """
    found = _walk_remote(folder, without) if is_url(folder) else _walk_local(folder, without)
    yield from sorted(found, key=lambda one: one.relative)


def _walk_local(folder: str, without: str) -> Iterator[Found]:
    seen = {os.path.realpath(without)}
    # Links come last, so that a file is named by its own place if it has one.
    folders, links = [(folder, "")], list[tuple[str, str]]()
    while folders or links:
        path, relative = folders.pop() if folders else links.pop(0)
        if (real := os.path.realpath(path)) in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            problem = f"{shown(path)} cannot be opened ({reason(error)}); change its permissions"
            yield Found(path, relative, problem)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not os.path.isdir(entry.path):  # the entry's own is_dir fails on a link to itself
                yield Found(entry.path, relative + entry.name)
            elif entry.is_symlink() and (everything := whole(entry.path)):
                problem = (
                    f"{shown(entry.path)} leads to all of {shown(everything)}, which is never followed; remove the link"
                )
                yield Found(entry.path, relative + entry.name, problem)
            elif entry.is_symlink():
                links.append((entry.path, f"{relative}{entry.name}/"))
            else:
                folders.append((entry.path, f"{relative}{entry.name}/"))


def _walk_remote(folder: str, without: str) -> Iterator[Found]:
    system, root = _remote(folder)
    root = root.rstrip("/")
    excluded = _remote(without)[1].rstrip("/") + "/" if is_url(without) else None
    try:
        places = system.find(root)
    except Exception as error:
        problem = f"{shown(folder)} cannot be listed ({reason(error)}); check the address"
        yield Found(folder, "", problem)
        return
    for place in places:
        relative = place[len(root) :].lstrip("/")
        hidden = any(part.startswith(".") for part in relative.split("/"))
        if not hidden and not (excluded and place.startswith(excluded)):
            yield Found(posixpath.join(folder, relative), relative)


def _identities(path: str) -> Iterator[object]:
    """What two names of one file have in common."""
    if is_url(path):
        yield path
        return
    with contextlib.suppress(OSError, ValueError):
        yield os.path.realpath(path)
        about = os.stat(path)
        yield about.st_dev, about.st_ino


def _asked(url: str, question: str) -> bool:
    system, place = _remote(url)
    try:
        return bool(getattr(system, question)(place))
    except Exception as error:  # each of fsspec's file systems has exceptions of its own
        raise OptionError(f"{shown(url)} cannot be reached ({reason(error)}); check the address and network") from error


def _remote(url: str) -> tuple[Any, str]:
    """Fsspec's file system for an address, and the place in it."""
    try:
        import fsspec
    except ImportError as error:
        raise OptionError(
            f"{shown(url)} is an address, which needs fsspec; run: pip install 'styletx[cluster]'"
        ) from error
    try:
        system, place = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise OptionError(f"{shown(url)} cannot be reached ({reason(error)}); check its beginning") from error
    except Exception as error:  # some connect at once, and each has exceptions of its own
        raise OptionError(f"{shown(url)} cannot be reached ({reason(error)}); check the address and network") from error
    return system, place
