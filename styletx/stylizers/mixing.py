"""A style that is made of several, as a person writes it: `a.jpg+b.jpg:0.3`."""

from __future__ import annotations

import math
import os
from collections.abc import Container, Sequence
from typing import Any, NamedTuple, TypeAlias

from styletx import files, images
from styletx.errors import OptionError
from styletx.feedforward import models
from styletx.files import shown

Style: TypeAlias = images.Source | Sequence[images.Source | tuple[images.Source, float]]


class Part(NamedTuple):
    """A painting or a trained style, and how much of it is in a style.

    Attributes:
        source: as for `load_stylizer`.
        weight: 0 or more, relative to the others.
    """

    source: images.Source
    weight: float = 1.0

    @property
    def is_trained(self) -> bool:
        """Whether it is a trained style."""
        return isinstance(self.source, str | os.PathLike) and models.find(files.local(self.source)) is not None

    def label(self, name: str) -> str:
        """A name with the weight, as `parts` reads it."""
        return name if self.weight == 1 else f"{name}:{self.weight:g}"


def parts(style: Style, known: Container[str] = ()) -> list[Part]:
    """The paintings and trained styles that a style is made of, with weights.

    Text is one of them, or several with a "+" between two, each with a weight after a colon if that is not 1. A name
    that exists is never taken apart.

    Args:
        style: what was asked for.
        known: names that exist though there are no such files here.

    Raises:
        OptionError: a weight is none, or all of them are 0.
    """
    given: Sequence[Any] = style if isinstance(style, list | tuple) else [style]
    found = [part for one in given for part in _parts(one, known)]
    if not found:
        raise OptionError("there is no style; give at least one")
    if not any(part.weight for part in found):
        raise OptionError("every style has a weight of 0; give one of them more")
    return found


def _parts(one: images.Source | tuple[images.Source, float], known: Container[str]) -> list[Part]:
    if isinstance(one, tuple):
        source, weight = one
        return [Part(source, _weight(str(weight), "a style"))]
    if not isinstance(one, str | os.PathLike):
        return [Part(one)]
    name = files.local(one)
    if _exists(name, known):
        return [Part(name)]
    pieces = name.split("+")
    for end in range(len(pieces) - 1, 0, -1):  # names may have a "+" of their own
        if _is_part("+".join(pieces[:end]), known):
            return [_weighed("+".join(pieces[:end]), known), *_parts("+".join(pieces[end:]), known)]
    return [_weighed(name, known)]


def _is_part(text: str, known: Container[str]) -> bool:
    return _exists(text, known) or _exists(text.rpartition(":")[0], known)


def _exists(name: str, known: Container[str]) -> bool:
    return name in known or "://" in name or os.path.exists(name) or name in models.bundled()


def _weighed(text: str, known: Container[str]) -> Part:
    name, colon, weight = text.rpartition(":")
    is_weight = bool(colon) and (_exists(name, known) or not math.isnan(_number(weight)))
    return Part(name, _weight(weight, name)) if is_weight and not _exists(text, known) else Part(text)


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
