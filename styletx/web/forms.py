"""What a request asks for, from the fields and files of a form; and what a form may offer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import FormData, UploadFile

from styletx.errors import OptionError, hint
from styletx.feedforward import models
from styletx.options import PLACES, Options, Spec, defaults, specs, takes_fractions
from styletx.stylizers import Part
from styletx.web.jobs import Task
from styletx.web.store import Store, Upload

# Not for a page to choose: the machine's own, and what would read or fetch something.
HIDDEN = (
    *("backbone", "weights", "offline", "device", "precision", "tile", "runtime", "compile", "max_pixels"),
    *("embed_paths", "style_layers", "content_layers", "padding", "pooling", "smooth_activations"),
)
WORDS = {"init": ("content", "style", "noise"), "detail": ("auto", "edges")}
MOST_STYLES = 4
WHOLE = re.compile(r"-?[0-9]{1,18}")
TRUE, FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no", "")


def offered() -> dict[str, Spec]:
    """The options that a request may set."""
    return {name: spec for name, spec in specs(Options).items() if name not in HIDDEN}


def about() -> list[dict[str, Any]]:
    """What a form needs to know of each."""
    plain, fields = defaults(Options), {one.name: one for one in Options.__dataclass_fields__.values()}
    return [
        {
            "name": name,
            "label": label(name),
            "group": spec.group,
            "text": spoken(spec.text),
            "kind": _kind(name, spec, plain[name]),
            "whole": not takes_fractions(fields[name]),
            "method": spec.method,
            "minimum": spec.minimum,
            "maximum": spec.maximum,
            "choices": spec.choices or WORDS.get(name),
            "default": plain[name],
            "default_text": spoken(spec.default_text) if spec.default_text else None,
        }
        for name, spec in offered().items()
    ]


def label(name: str) -> str:
    """A field as the page calls it: `style_weight` is "Style weight"."""
    return name.replace("_", " ").capitalize()


def spoken(text: str) -> str:
    """A text with its fields as the page calls them."""
    return OptionError(text).rendered(label)


def _kind(name: str, spec: Spec, default: Any) -> str:
    if isinstance(default, bool):
        return "switch"
    if name in PLACES and spec.minimum is None:
        return "file"
    if spec.choices:
        return "choice"
    return "text" if spec.minimum is None else "number"


def task(form: FormData, store: Store, base: Mapping[str, Any], command: Callable[..., str]) -> Task:
    """The task that a form describes.

    Args:
        form: `content`, `style` (a name or a file, repeatable), `weight` and `region` of each style after its number,
            such as `region-1`, `mask`, and options.
        store: keeps its files, and knows those that were sent before, by their ids.
        base: options that the server sets.
        command: writes the command line that repeats it.

    Raises:
        StyletxError: something in it cannot work.
    """
    numbers = list(map(str, range(len(form.getlist("style")))))
    known = {"content", "style", "mask", "timelapse", *offered()}
    for name in form:
        kind, _, which = name.partition("-")
        if name not in known and not (kind in ("weight", "region") and which in numbers):
            raise OptionError(f"{name[:40]!r} is not a field; {hint(name, sorted(known))}")
    photograph = _picture(form, "content", store)
    if photograph is None:
        raise OptionError("there is no photograph; send it as the field 'content'")
    named, names, parts = [], [], []
    again: dict[str, Any] = {"content": photograph.id, "styles": [], "masks": {}}
    styles = form.getlist("style")
    if not 1 <= len(styles) <= MOST_STYLES:
        raise OptionError(f"there are {len(styles)} styles; send from 1 to {MOST_STYLES} fields 'style'")
    for number, style in enumerate(styles):
        weight = _number(form.get(f"weight-{number}", "1"), f"weight-{number}")
        if weight < 0:
            raise OptionError(f"weight-{number} cannot be {weight:g}; it must be 0 or more")
        region = _picture(form, f"region-{number}", store)
        name, source, asked = _style(style, store)
        parts.append(Part(source, weight, None if region is None else str(region.path)))
        names.append(name)
        again["styles"].append({"style": asked, "name": name, "weight": weight})
        if region is not None:
            again["masks"][f"region-{number}"] = region.id
        named.append(Part(name, weight, None if region is None else region.name).label(name))
    chosen, shown = dict[str, Any](), dict[str, Any]()
    for name in offered():
        if name in form and form[name] != "":
            chosen[name], shown[name] = _value(name, form[name], store)
    if (mask := _picture(form, "mask", store)) is not None:
        chosen["strength"], shown["strength"] = str(mask.path), mask.name
        again["masks"]["mask"] = mask.id
    if isinstance(kept := form.get("keep"), str) and store.get(kept) is not None:
        again["masks"]["keep"] = kept
    options = Options(**{**chosen, **base})
    again["options"] = {name: value for name, value in shown.items() if value == chosen[name]}  # no files
    again["timelapse"] = is_film = _switch("timelapse", form.get("timelapse", ""))
    return Task(
        photograph.path,
        photograph.name,
        tuple(parts),
        options,
        tuple(names),
        command(photograph.name, "+".join(named), shown),
        again,
        is_film,
    )


def _style(style: str | UploadFile, store: Store) -> tuple[str, str, str]:
    """What a style is called, what it is, and how it is asked for again."""
    if isinstance(style, UploadFile):
        upload = store.add(style.file, style.filename)
    elif style in models.bundled():
        return style, style, style
    elif (painting := models.paintings().get(style)) is not None:
        return style, str(painting), style
    elif (found := store.get(style)) is not None:
        upload = found
    else:
        raise OptionError(f"no style is called {style[:40]!r}; {hint(style, models.bundled())}")
    return upload.name, str(upload.path), upload.id


def _picture(form: FormData, name: str, store: Store) -> Upload | None:
    """The picture in a field: a file, or the id of one that was sent before."""
    given = form.get(name)
    if isinstance(given, UploadFile):
        return store.add(given.file, given.filename) if given.filename or given.size else None
    if not given:
        return None
    if (upload := store.get(given)) is None:
        raise OptionError(f"{name}: no picture has the id {given[:40]!r}; send the file again")
    return upload


def _value(name: str, given: str | UploadFile, store: Store) -> tuple[Any, Any]:
    """An option's value, and how it is written on a command line."""
    default, spec = defaults(Options)[name], offered()[name]
    if name in PLACES:
        if isinstance(given, str) and given in WORDS.get(name, ()):
            return given, given
        if name == "strength" and isinstance(given, str) and store.get(given) is None:
            return (number := _number(given, label(name))), number
        upload = store.add(given.file, given.filename) if isinstance(given, UploadFile) else store.get(given)
        if upload is None:
            raise OptionError(f"{label(name)}: no picture has the id {str(given)[:40]!r}; send the file again")
        return str(upload.path), upload.name
    if not isinstance(given, str):
        raise OptionError(f"{label(name)} cannot be a file")
    value: Any = given
    if isinstance(default, bool):
        value = _switch(name, given)
    elif spec.minimum is not None and given not in spec.words:
        is_whole = not takes_fractions(Options.__dataclass_fields__[name]) and WHOLE.fullmatch(given)
        value = int(given) if is_whole else _number(given, label(name))
    return value, value


def _switch(name: str, given: str | UploadFile) -> bool:
    if not isinstance(given, str):
        raise OptionError(f"{label(name)} cannot be a file")
    if given.lower() not in TRUE + FALSE:
        raise OptionError(f"{label(name)} cannot be {given[:40]!r}; it must be true or false")
    return given.lower() in TRUE


def _number(text: str | UploadFile, what: str) -> float:
    if not isinstance(text, str):
        raise OptionError(f"{what} cannot be a file")
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise OptionError(f"{what} cannot be {text[:40]!r}; it must be a number")
    return number
