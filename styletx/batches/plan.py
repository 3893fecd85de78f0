"""From sources and styles to jobs: which picture is repainted in which style, and where it goes.

The same sources and styles give the same plan on every machine, so that a batch that was stopped continues when it is
started again.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath

from styletx import files
from styletx.batches import lists, places
from styletx.errors import OptionError, OutputError, PictureError, field, told
from styletx.files import PASSED_OVER, PICTURE_EXTENSIONS, shown

MANIFEST = "manifest.jsonl"
CONTACT_SHEET = "contact-sheet.jpg"
REPORT = "report.html"
COPIES = "report"  # folder of the small pictures that it shows
FORMATS = ("png", "jpg", "webp", "tif")
# What is taken from a folder if no pattern is given.
PICTURES = tuple(f"*{extension}" for extension in PICTURE_EXTENSIONS)


@dataclass(frozen=True)
class Job:
    """One picture to repaint in one style.

    Attributes:
        source: path or address of the photograph.
        style: the style, as it was given.
        output: path or address of the result.
        problem: why it cannot be done, if that is known already.
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
    offline: bool = False,
    earlier: Mapping[str, tuple[str, str]] | None = None,
    passed_over: Counter[str] | None = None,
) -> list[Job]:
    """Plan a batch, one style after another.

    Each style has a folder in the output folder, where folders are mirrored; several folders get a folder each there.
    Single files keep their path from the deepest folder that contains them all. A result has its source's name;
    sources that differ only in their extension keep it in the name, and names that still collide are numbered. What is
    there keeps its place, whatever is added.

    Args:
        sources: files, folders, addresses and lists of them. A list is given as "@list.txt"; see `lists.names`.
        styles: pictures, names of bundled styles, or model places.
        output: folder for the results. If it is inside a source folder, it is left out there.
        pattern: which files to take from folders, such as "*.jpg"; one with a slash is matched against the path from
            the folder.
        format: of the results: png, jpg, webp or tif.
        offline: refuse addresses in a network.
        earlier: what the output folder has already: the way from there, with forward slashes, to source and style.
        passed_over: is given the endings of pictures in folders that are of no kind that is taken from them, and how
            many there are.

    Raises:
        PictureError: a source that does not exist, or a folder without pictures.
        OptionError: nothing to do, or a style given twice.
        OutputError: the folder for the results is also a source.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise OptionError(f"{field('format')} cannot be {told(format)}; choose one of {', '.join(FORMATS)}")
    if not sources or not styles:
        raise OptionError("there is nothing to do; give at least one source and one style")
    folder = files.local(output)
    if not folder:
        raise OptionError(f"{field('output')} is empty; give the name of a folder")
    names = [files.local(style) for style in styles]
    for path in names if offline else ():
        places.check_offline(path)
    others = Counter[str]() if passed_over is None else passed_over
    given = [files.local(source) for source in sources]
    found = list(_distinct(_collect(given, folder, pattern or PICTURES, offline, others)))
    if not found:
        where = ", ".join(shown(os.fsdecode(source)) for source in sources)
        raise PictureError(
            f"{where}: no pictures found (looked for {', '.join(pattern or PICTURES)}); "
            f"look for other files with {field('pattern')}"
        )
    if len(set(names)) < len(names):
        raise OptionError(f"the style {shown(Counter(names).most_common(1)[0][0])} is given twice; remove one of them")
    suffix, reserved, there = f".{format}", (MANIFEST, CONTACT_SHEET, REPORT, COPIES), earlier or {}
    targets = _told_apart([places.inside(one.relative) for one in found], suffix)
    jobs = []
    for style, room in zip(names, _rooms(names, there, reserved), strict=True):
        for source, way in zip(found, _ways(found, targets, style, room, there, suffix, reserved), strict=True):
            jobs.append(Job(source.path, style, places.join(folder, way), source.problem))
    return jobs


def _ways(
    sources: Sequence[_Source],
    targets: Sequence[str],
    style: str,
    room: str,
    earlier: Mapping[str, tuple[str, str]],
    suffix: str,
    reserved: Sequence[str],
) -> list[str]:
    """The way from the output folder to each source's result in one style: where it is, or else its target's."""
    kept: dict[str, str] = {}
    wanted = {one.path for one in sources}
    for way, (source, made_in) in earlier.items():
        is_here = way.startswith(f"{room}/") and way.endswith(suffix) and places.inside(way) == way
        if is_here and source in wanted and made_in == style:
            kept[source] = way
    new = [target for one, target in zip(sources, targets, strict=True) if one.path not in kept]
    there = [way.removeprefix(f"{room}/") for way in kept.values()]
    free = iter(_numbered(new, suffix, (*reserved, *there)))
    ways = []
    for one in sources:
        if one.path in kept:
            ways.append(kept[one.path])
            continue
        target = next(free)
        # Version 0.1 had no folder for a style that was alone.
        is_bare = target in earlier and _name(earlier[target][1]) == _name(style)
        ways.append(target if is_bare else f"{room}/{target}")
    return ways


def _rooms(styles: Sequence[str], earlier: Mapping[str, tuple[str, str]], reserved: Sequence[str]) -> list[str]:
    """A folder for each style: the one that it has already, or else one of its name."""
    taken: dict[str, str] = {}  # folder to the style whose results it has
    for way, (_, made_in) in earlier.items():
        room, mark, _ = way.partition("/")
        if mark and _folded(room).startswith(_folded(PurePosixPath(made_in).stem)):
            taken[room] = made_in
    known: dict[str, str] = {}
    for told_by in (str, _name):  # by all of it, or else by the last part, if that tells them apart
        for room, made_in in taken.items():
            alike = [style for style in styles if told_by(style) == told_by(made_in)]
            if len(alike) == 1 and room not in known.values():
                known.setdefault(alike[0], room)
    new = [style for style in styles if style not in known]
    fresh = _told_apart([places.inside(_title(style)) for style in new], "")
    made = dict(zip(new, _numbered(fresh, reserved=(*reserved, *taken)), strict=True))
    return [known.get(style) or made[style] for style in styles]


def _collect(
    sources: Sequence[str], output: str, pattern: Sequence[str], offline: bool, passed_over: Counter[str]
) -> Iterator[_Source]:
    """All sources, each with its place in the output folder."""
    singles: list[str] = []
    folders: list[str] = []
    dead: dict[str, OptionError] = {}  # addresses that do not answer; each fails alone, if there is anything else
    for source in sources:
        listed = source.startswith("@") and not places.is_url(source)
        for path in lists.names(source[1:]) if listed else [source]:
            if offline:
                places.check_offline(path)
            try:
                is_folder = places.is_folder(path)
            except OptionError as error:
                dead[path] = error
                singles.append(path)
                continue
            if is_folder:
                if (whole := places.whole(path)) and (listed or not places.is_written_out(path)):
                    raise PictureError(
                        f"{shown(path)} is all of {shown(whole)}, which is taken only where it is given by that very "
                        "name and not in a list; name the folders in it instead"
                    )
                folders.append(path)
            elif not listed and not places.exists(path):
                what = "the beginning of the address" if "://" in path else "the name"
                raise PictureError(f"{shown(path)}: file or folder not found; check {what}")
            else:
                # A listed file that does not exist fails alone: the rest of the list is worth doing.
                singles.append(path)
    if len(dead) == len(singles) and dead and not folders:
        raise next(iter(dead.values()))
    for single in _mirrored_files(singles):
        problem = None
        if single.path in dead:
            problem = dead[single.path].args[0]
        elif not (places.is_url(single.path) or places.exists(single.path)):
            problem = f"{shown(single.path)}: file not found; check the name"
        yield dataclasses.replace(single, problem=problem)
    rooms = _numbered([_name(folder if places.is_url(folder) else os.path.abspath(folder)) for folder in folders])
    for folder, room in zip(folders, rooms, strict=True):
        if _same_folder(folder, output):
            raise OutputError(f"{shown(output)} is also a source; choose another folder for the results")
        for one in places.walk(folder, without=output):
            if one.problem or _matches(one.relative, pattern):
                relative = f"{room}/{one.relative}" if len(folders) > 1 else one.relative
                yield _Source(one.path, relative.rstrip("/") or "unreadable", one.problem)
            elif pattern is PICTURES and (ending := posixpath.splitext(one.relative)[1].lower()) in PASSED_OVER:
                passed_over[ending] += 1


def _mirrored_files(paths: Sequence[str]) -> Iterator[_Source]:
    """Single files by their path from the deepest folder that contains them all."""
    full = [path if places.is_url(path) else os.path.abspath(path).replace(os.sep, "/") for path in paths]
    parents = [posixpath.dirname(path).split("/") for path in full]
    shared = list(takewhile(lambda names: len(set(names)) == 1, zip(*parents, strict=False)))
    for path, absolute in zip(paths, full, strict=True):
        yield _Source(path, "/".join(absolute.split("/")[len(shared) :]))


def _matches(relative: str, pattern: Sequence[str]) -> bool:
    name = posixpath.basename(relative)
    return any(
        fnmatch.fnmatchcase((relative if "/" in one else name).lower(), one.lower().removeprefix("./"))
        for one in pattern
    )


def _distinct(sources: Iterator[_Source]) -> Iterator[_Source]:
    seen: set[str] = set()
    for source in sources:
        key = source.path if places.is_url(source.path) else os.path.abspath(source.path)
        if key not in seen:
            seen.add(key)
            yield source


def _told_apart(names: Sequence[str], suffix: str) -> list[str]:
    """Names with this extension instead of their own, or after it where the name would not be unique."""
    short = [posixpath.join(posixpath.dirname(name), PurePosixPath(name).stem) + suffix for name in names]
    often = Counter(map(_folded, short))
    return [one if often[_folded(one)] == 1 else name + suffix for one, name in zip(short, names, strict=True)]


def _numbered(names: Sequence[str], suffix: str = "", reserved: Sequence[str] = ()) -> list[str]:
    """Names that differ even where capitals and forms of accents do not count. None is the folder of another."""
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


def _title(style: str) -> str:
    """What a style's folder is named after: its file, or those that it is mixed of, with their weights."""
    if "+" not in style or os.path.exists(style):
        return _name(style)
    parts = [part.partition(":") for part in map(_name, style.split("+"))]
    return "+".join(f"{PurePosixPath(name).stem}{'-' * bool(weight)}{weight}" for name, _, weight in parts) + ".mix"


def _same_folder(folder: str, output: str) -> bool:
    if places.is_url(folder) or places.is_url(output):
        return folder.rstrip("/") == output.rstrip("/")
    return os.path.realpath(folder) == os.path.realpath(output)
