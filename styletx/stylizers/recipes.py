"""Looks that are kept in a file: a style, and every option that says how a picture is painted in it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from styletx import files
from styletx.errors import OptionError, field, hint
from styletx.feedforward import models
from styletx.files import shown
from styletx.options import PLACES, Options, defaults, paths, specs
from styletx.stylizers import mixing
from styletx.stylizers.mixing import Part

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION = 1
KEYS = ("version", "style", "style_sha256", "options")
# What belongs to the machine, to one person or to one photograph, and not to a look.
ELSEWHERE = ("max_pixels", "embed_paths", "strip_metadata", "offline", "init")


class _Beside:
    """The names of the files that are reached from a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __contains__(self, name: object) -> bool:
        return os.path.exists(os.path.join(self.folder, str(name)))


class Recipe(NamedTuple):
    """A look.

    Attributes:
        style: as `mixing.parts` reads it.
        options: fields of `Options` that are not as by default.
        sha256: of the style's files, as `Stylizer.sha256`; None if one came from none.
    """

    style: str
    options: dict[str, Any]
    sha256: str | None


def read(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe, which names files as they are reached from its folder.

    Raises:
        OptionError: it is none, or a newer version's.
    """
    name = shown(path)
    try:
        files.check_readable(path)
        found = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"{name}: {files.reason(error)}") from None
    except RecursionError:
        raise OptionError(f"{name} is not a recipe: it is nested too deeply") from None
    except ValueError as error:
        why = "it is not text" if isinstance(error, UnicodeDecodeError) else error
        raise OptionError(f"{name} is not a recipe: {why}") from None
    version = found.get("version")
    if type(version) is not int or not isinstance(found.get("style"), str):
        raise OptionError(f"{name} is not a recipe; write one with {field('save_recipe')}, or give another file")
    if version > VERSION:
        raise OptionError(f"{name} was written by a newer styletx; update yours by pip")
    options, known = found.get("options", {}), defaults(Options)
    if not isinstance(options, dict):
        raise OptionError(f"{name}: options should be a table, [options]")
    for keys, names in ((found, KEYS), (options, known)):
        for key in keys:
            if key not in names:
                raise OptionError(f"{name}: {key!r} means nothing in a recipe; {hint(key, names)}")
    try:
        Options(**options)
    except OptionError as error:
        raise OptionError(f"{name}: {error.args[0]}") from None
    beside = os.path.dirname(os.path.abspath(path))
    options |= {key: _found(place, beside) for key, place in paths(options).items()}
    parts = [_moved(part, beside, _found) for part in mixing.parts(found["style"], _Beside(beside))]
    return Recipe(_text(parts), options, found.get("style_sha256"))


def write(path: str | os.PathLike[str], style: mixing.Style, options: Options, sha256: str | None) -> None:
    """Write a recipe, which names files as they are reached from its folder.

    Raises:
        OptionError: a part of the style has no name, since it came from no file.
        OutputError: it cannot be written there.
    """
    beside = os.path.dirname(os.path.abspath(path))
    parts = mixing.parts(style)
    for part in parts:
        for source in part.sources:
            if not isinstance(source, str | os.PathLike):
                raise OptionError("a picture that is in no file cannot be in a recipe; write it to a file first")
    facts: dict[str, Any] = {"version": VERSION, "style": _text([_moved(part, beside, _named) for part in parts])}
    if sha256 is not None:
        facts["style_sha256"] = sha256
    plain = defaults(Options)
    chosen = {
        name: _named(value, beside) if name in PLACES and isinstance(value, str) else value
        for name, value in dataclasses.asdict(options).items()
        if value != plain[name] and name not in ELSEWHERE and specs(Options)[name].group != "Machine"
    }
    lines = [*map(_line, facts.items()), "", "[options]", *map(_line, chosen.items()), ""]
    files.write(path, "\n".join(lines).encode())


def _line(fact: tuple[str, Any]) -> str:
    return f"{fact[0]} = {json.dumps(fact[1], ensure_ascii=False)}"


def _text(parts: list[Part]) -> str:
    return "+".join(part.label(str(part.source)) for part in parts)


def _moved(part: Part, beside: str, by: Any) -> Part:
    places = {name: by(str(place), beside) for name in ("source", "region", "seen") if (place := getattr(part, name))}
    return part._replace(**places)


def _named(place: str, beside: str) -> str:
    """A file as it is reached from a folder."""
    if "://" in place or place in models.bundled() or not os.path.exists(place):
        return place
    name = os.path.basename(place)
    if models.paintings().get(name) == Path(place) and not os.path.exists(os.path.join(beside, name)):
        return name
    try:
        there = Path(os.path.relpath(place, beside)).as_posix()
    except ValueError:  # on another drive
        return os.path.abspath(place)
    return there if "/" in there or os.path.splitext(there)[1] else f"./{there}"


def _found(place: str, beside: str) -> str:
    """A file that is named as it is reached from a folder; a word, such as `auto`, stays one."""
    is_word = "://" in place or place in models.bundled() or not (os.path.splitext(place)[1] or "/" in place)
    return place if is_word else os.path.normpath(os.path.join(beside, place))
