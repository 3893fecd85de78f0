"""From sources and styles to jobs: which picture is repainted in which style, and where it goes.

The same sources and styles give the same plan, on any machine, so that a batch that was stopped goes on by being
started again.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath

from styletx.batches import files
from styletx.errors import OptionError, OutputError, PictureError

MANIFEST = "manifest.jsonl"
CONTACT_SHEET = "contact-sheet.jpg"
REPORT = "report.html"
FORMATS = ("png", "jpg", "webp", "tif")
# What is taken from a folder where no pattern is given.
PICTURES = tuple(
    f"*.{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        *("pgm", "png", "ppm", "tga", "tif", "tiff", "webp"),
    )
)


@dataclass(frozen=True)
class Job:
    """One picture to repaint in one style.

    Attributes:
        source: path or address of the photograph.
        style: the style, as it was given.
        output: path or address of the result.
        problem: why it cannot be done, where that is known already.
    """

    source: str
    style: str
    output: str
    problem: str | None = None


@dataclass(frozen=True)
class _Source:
    path: str
    relative: str
    problem: str | None = None


def make(
    sources: Sequence[str | os.PathLike[str]],
    styles: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    pattern: Sequence[str] = (),
    format: str = "png",
) -> list[Job]:
    """Plan a batch, one style after the other.

    Folders are mirrored in the output folder; several given folders have one there each, and so have several styles.
    Single files are put there by their way from the deepest folder that holds them all. A result has its source's
    name; sources that differ only in their extension keep it in the name, and what still collides is numbered.

    Args:
        sources: files, folders, addresses, and lists of them: "@list.txt" names one a line, or, as `find -print0`
            writes them, between zero bytes.
        styles: pictures, names of bundled styles, or model files.
        output: the folder where results go. Where it lies in a source folder, it is not looked into.
        pattern: what to take from folders, as "*.jpg"; one with a slash is held against the way from the folder.
        format: of the results: png, jpg, webp or tif.

    Raises:
        PictureError: a source that is not there, or a folder without pictures.
        OptionError: nothing to do, or a style given twice.
        OutputError: a result would overwrite a source.
    """
    if format not in FORMATS:
        raise OptionError(f"--format cannot be {format!r}; choose one of {', '.join(FORMATS)}.")
    if not sources or not styles:
        raise OptionError("there is nothing to do; name at least one source and one --style.")
    folder = files.local(output)
    if not folder:
        raise OptionError("the name of the output folder is empty; name one, as with -o outputs.")
    found = list(_distinct(_collect([files.local(source) for source in sources], folder, pattern or PICTURES)))
    if not found:
        raise PictureError(
            f"no picture is in {', '.join(files.shown(os.fsdecode(source)) for source in sources)}; "
            f"looked for {', '.join(pattern or PICTURES)}; --pattern takes others."
        )
    names = [files.local(style) for style in styles]
    if len(set(names)) < len(names):
        raise OptionError(f"the style {files.shown(Counter(names).most_common(1)[0][0])} is given twice.")
    suffix, reserved = f".{format}", (MANIFEST, CONTACT_SHEET, REPORT)
    places = _numbered(_told_apart([one.relative for one in found], suffix), suffix, reserved)
    rooms = _numbered(_told_apart([_name(style) for style in names], ""), reserved=reserved)
    jobs = [
        Job(source.path, style, files.join(folder, f"{room}/{place}" if len(names) > 1 else place), source.problem)
        for style, room in zip(names, rooms, strict=True)
        for source, place in zip(found, places, strict=True)
    ]
    _check_sources_stay(jobs)
    return jobs


def _collect(sources: Sequence[str], output: str, pattern: Sequence[str]) -> Iterator[_Source]:
    """All the sources, each with where it belongs in the output folder."""
    singles: list[tuple[str, bool]] = []
    folders: list[str] = []
    for source in sources:
        listed = source.startswith("@") and not files.is_url(source)
        for path in _listed(source[1:]) if listed else [source]:
            if files.is_folder(path):
                folders.append(path)
            elif not listed and not files.exists(path):
                raise PictureError(f"{files.shown(path)}: there is no such file or folder; check the name.")
            else:
                # What a list names and is not there fails alone, later: the rest of the list is worth doing.
                singles.append((path, listed))
    yield from _mirrored_files([path for path, _ in singles])
    rooms = _numbered([_name(folder if files.is_url(folder) else os.path.abspath(folder)) for folder in folders])
    for folder, room in zip(folders, rooms, strict=True):
        if _same_folder(folder, output):
            raise OutputError(f"{files.shown(output)} is a source too; name another folder for the results.")
        for one in files.walk(folder, without=output):
            if one.problem or _matches(one.relative, pattern):
                relative = f"{room}/{one.relative}" if len(folders) > 1 else one.relative
                yield _Source(one.path, relative.rstrip("/") or "unreadable", one.problem)


def _mirrored_files(paths: Sequence[str]) -> Iterator[_Source]:
    """Single files by their way from the deepest folder that holds them all."""
    full = [path if files.is_url(path) else os.path.abspath(path).replace(os.sep, "/") for path in paths]
    parents = [posixpath.dirname(path).split("/") for path in full]
    shared = list(takewhile(lambda names: len(set(names)) == 1, zip(*parents, strict=False)))
    for path, absolute in zip(paths, full, strict=True):
        yield _Source(path, "/".join(absolute.split("/")[len(shared) :]))


def _listed(path: str) -> list[str]:
    try:
        text = os.fsdecode(files.read(path))
    except PictureError as error:
        raise PictureError(f"@{error}") from error
    separator = "\0" if "\0" in text else "\n"
    lines = (line.removesuffix("\r") if separator == "\n" else line for line in text.split(separator))
    return [files.local(line) for line in lines if line.strip()]


def _matches(relative: str, pattern: Sequence[str]) -> bool:
    name = posixpath.basename(relative)
    return any(
        fnmatch.fnmatchcase((relative if "/" in one else name).lower(), one.lower().removeprefix("./"))
        for one in pattern
    )


def _distinct(sources: Iterator[_Source]) -> Iterator[_Source]:
    seen: set[str] = set()
    for source in sources:
        key = source.path if files.is_url(source.path) else os.path.abspath(source.path)
        if key not in seen:
            seen.add(key)
            yield source


def _told_apart(names: Sequence[str], suffix: str) -> list[str]:
    """Names with this extension, or with this one after their own where the first would not be different."""
    short = [posixpath.join(posixpath.dirname(name), PurePosixPath(name).stem) + suffix for name in names]
    often = Counter(map(_folded, short))
    return [one if often[_folded(one)] == 1 else name + suffix for one, name in zip(short, names, strict=True)]


def _numbered(names: Sequence[str], suffix: str = "", reserved: Sequence[str] = ()) -> list[str]:
    """Names that are different even where capitals and accents are one, and none of them another's folder."""
    taken = {_folded(name) for name in reserved}
    for name in names:
        taken |= {_folded(str(parent)) for parent in PurePosixPath(name).parents}
    chosen = []
    for name in names:
        stem, candidate, number = name.removesuffix(suffix), name, 2
        while _folded(candidate) in taken:
            candidate, number = f"{stem}-{number}{suffix}", number + 1
        taken.add(_folded(candidate))
        chosen.append(candidate)
    return chosen


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _name(path: str) -> str:
    return posixpath.basename(path.replace(os.sep, "/").rstrip("/")) or "style"


def _same_folder(folder: str, output: str) -> bool:
    if files.is_url(folder) or files.is_url(output):
        return folder.rstrip("/") == output.rstrip("/")
    return os.path.realpath(folder) == os.path.realpath(output)


def _check_sources_stay(jobs: Sequence[Job]) -> None:
    def place(path: str) -> str:
        return path if files.is_url(path) else os.path.realpath(path)

    sources = {place(job.source) for job in jobs}
    for job in jobs:
        if place(job.output) in sources:
            raise OutputError(
                f"{files.shown(job.output)} is one of the sources, which are never overwritten; name another folder."
            )
