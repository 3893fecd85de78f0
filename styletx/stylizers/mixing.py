"""A style that is made of several, as a person writes it: `a.jpg+b.jpg:0.3+sky.png=c.jpg`."""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from styletx import files, images
from styletx.errors import OptionError, told
from styletx.feedforward import models
from styletx.files import shown

Style: TypeAlias = images.Source | Sequence["images.Source | tuple[images.Source, float] | Part"]


class Part(NamedTuple):
    """A painting or a trained style, how much of it is in a style, and where.

    Attributes:
        source: as for `load_stylizer`.
        weight: 0 or more, relative to the others in its region.
        region: a mask, whose white parts of a photograph are painted so; None for what is in no region.
        seen: a mask of the painting, whose white parts are all that is seen of it; None for all of it.
    """

    source: images.Source
    weight: float = 1.0
    region: images.Source | None = None
    seen: images.Source | None = None

    @property
    def is_trained(self) -> bool:
        """Whether it is a trained style."""
        return isinstance(self.source, str | os.PathLike) and models.find(files.local(self.source)) is not None

    @property
    def sources(self) -> list[images.Source]:
        """All that is read for it."""
        return [one for one in (self.source, self.region, self.seen) if one is not None]

    def label(self, name: str) -> str:
        """A name with all the rest, as `parts` reads it."""
        region = "" if self.region is None else f"{_title(self.region)}="
        seen = "" if self.seen is None else f"@{_title(self.seen)}"
        return f"{region}{name}{seen}{'' if self.weight == 1 else f':{self.weight:g}'}"


def parts(style: Style, known: Container[str] = ()) -> list[Part]:
    """The paintings and trained styles that a style is made of, with weights and masks.

    Text is one of them, or several with a "+" between two. Each may have the mask of its region before it, with a "=",
    and after it a mask of its own, with an "@", and a weight that is not 1, with a colon. A name that exists is never
    taken apart. The painting of a bundled style is named as its file, such as `mosaic.jpg`, unless such a file is here.

    Args:
        style: what was asked for.
        known: names that exist though there are no such files here.

    Raises:
        OptionError: a weight is none, or all of them are 0; or nothing paints what is in no region.
    """
    given: Sequence[Any] = style if isinstance(style, list | tuple) and not isinstance(style, Part) else [style]
    found = [part for one in given for part in _parts(one, known)]
    if not found:
        raise OptionError("there is no style; give at least one")
    if not any(part.weight for part in found):
        raise OptionError("every style has a weight of 0; give one of them more")
    if not any(part.weight for part in found if part.region is None):
        raise OptionError("every style has a region; give one without for the rest of the photograph")
    return found


def _parts(one: images.Source | tuple[images.Source, float] | Part, known: Container[str]) -> list[Part]:
    if isinstance(one, Part):
        region, seen = (None if mask is None else _local(mask) for mask in (one.region, one.seen))
        return [Part(_source(one.source, known), _weight(str(one.weight), "a style"), region, seen)]
    if isinstance(one, tuple):
        if len(one) != 2:
            raise OptionError(f"a style cannot be {told(one)}; give a source and a weight, or a Part")
        source, weight = one
        return [Part(_source(source, known), _weight(str(weight), "a style"))]
    if not isinstance(one, str | os.PathLike):
        return [Part(one)]
    name = files.local(one)
    pieces = name.split("+")
    for end in range(len(pieces), 0, -1):  # names may have a "+" of their own
        if first := _there("+".join(pieces[:end]), known):
            return [first, *(_parts("+".join(pieces[end:]), known) if pieces[end:] else [])]
    if any("=" in piece for piece in pieces[1:]):  # a region follows, so that the first name is what is missing
        return [_missing(pieces[0], known), *_parts("+".join(pieces[1:]), known)]
    return [_missing(name, known)]


def _exists(name: str, known: Container[str]) -> bool:
    return _is_here(name, known) or name in models.bundled() or name in models.paintings()


def _is_here(name: str, known: Container[str]) -> bool:
    return name in known or "://" in name or os.path.exists(name)


def _there(text: str, known: Container[str]) -> Part | None:
    """The part that a text means, if all that it names exists."""
    if _exists(text, known):
        return Part(_source(text, known))
    name, mark, weight = text.rpartition(":")
    if mark and not math.isnan(_number(weight)) and (found := _there(name, known)):
        return found._replace(weight=_weight(weight, name))
    for name, seen in _halves(text, "@"):
        if _exists(seen, known) and (found := _there(name, known)) and found.seen is None:
            return found._replace(seen=files.local(seen))
    for region, name in _halves(text, "="):
        if _exists(region, known) and (found := _there(name, known)) and found.region is None:
            return found._replace(region=files.local(region))
    return None


def _halves(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """All that stands before a mark and after it; names may have such marks of their own."""
    return ((text[:at], text[at + 1 :]) for at, one in enumerate(text) if one == mark)


def _missing(text: str, known: Container[str]) -> Part:
    """The part that a text probably means, of which something does not exist; reading it will tell."""
    region, mark, rest = text.partition("=")
    if mark:
        return (_there(rest, known) or _missing(rest, known))._replace(region=files.local(region))
    name, mark, weight = text.rpartition(":")
    if mark and (_exists(name, known) or not math.isnan(_number(weight))):
        return Part(name, _weight(weight, name))
    name, mark, seen = text.rpartition("@")
    return Part(name, seen=files.local(seen)) if mark and seen and _exists(name, known) else Part(text)


def _local(source: images.Source) -> images.Source:
    return files.local(source) if isinstance(source, str | os.PathLike) else source


def _source(source: images.Source, known: Container[str]) -> images.Source:
    """What a name means: the painting of a bundled style, if there is nothing else that is called so."""
    name = _local(source)
    return str(models.paintings().get(name, name)) if isinstance(name, str) and not _is_here(name, known) else name


def _title(mask: images.Source) -> str:
    return str(mask) if isinstance(mask, str | os.PathLike) else "mask"


def _weight(text: str, name: str) -> float:
    weight = _number(text)
    if not 0 <= weight < math.inf:
        raise OptionError(f"{shown(name)}: its weight {text!r} is not a number from 0 on; give one, such as {name}:0.5")
    return weight


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
