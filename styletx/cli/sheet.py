"""`styletx sheet`: one photograph in many ways, to choose from."""

from __future__ import annotations

import html
import itertools
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from styletx import files
from styletx.cli import outputs, progress, terminal
from styletx.cli.flags import GroupedCommand, option_flags, recipe_flag, region_flag, value_of
from styletx.cli.flags import command as repeated
from styletx.errors import OptionError, field, hint
from styletx.options import Options, defaults, paths

SIZE = 256  # px
MOST = 100  # pictures on a sheet
STYLE = "style"  # what may be varied that is no option

Way = tuple[tuple[str, str], ...]  # names of what varies, with values as they were written


@click.command(cls=GroupedCommand, context_settings={"default_map": {"size": SIZE}})
@click.argument("content")
@click.argument("styles", nargs=-1, metavar="STYLE[:WEIGHT]...")
@click.option(
    "--vary",
    "varied",
    multiple=True,
    required=True,
    metavar="OPTION=V,V…",
    help="Paint once with each of these values; a second option that varies is tried with each value of the first. "
    "style=A,B,… varies the style.",
)
@region_flag
@recipe_flag
@click.option("-o", "--output", metavar="FILE", show_default="outputs/CONTENT-sheet.png", help="Output file.")
@click.option("--open", "is_opened", is_flag=True, help="Also write a page with the commands, and open it.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@option_flags()
def command(
    content: str,
    styles: tuple[str, ...],
    varied: tuple[str, ...],
    region: tuple[str, ...],
    recipe: str | None,
    output: str | None,
    is_opened: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Repaint the photograph CONTENT in many ways, small, on one sheet.

    \b
    styletx sheet photo.jpg mosaic.jpg --vary match=0,0.5,1 --vary stroke-size=0.5,1,2

    `styletx info SHEET --cell N` tells the command that paints picture N.
    """  # noqa: D301
    from styletx import images
    from styletx._version import __version__
    from styletx.stylizers import load_stylizer, mixing

    axes = [_axis(one) for one in varied]
    names = [name for name, _ in axes]
    if not styles and STYLE not in names:
        raise OptionError(f"there is no style; name one, or several by {field('vary')} style=A,B")
    if len(set(names)) < len(names):
        raise OptionError(f"{field('vary')} names the same option twice; put all its values behind one")
    ways: list[Way] = [tuple(zip(names, values, strict=True)) for values in itertools.product(*(of for _, of in axes))]
    if len(ways) > MOST:
        raise OptionError(f"{len(ways)} pictures are more than a sheet shows; vary less, so that there are {MOST}")
    made = [((*_style(way, styles), *region), Options(**options | _options(way))) for way in ways]
    target = outputs.FOLDER / f"{Path(content).stem}-sheet.png" if output is None else Path(files.local(output))
    place = files.numbered(target) if output is None else target
    content = files.local(content)
    read = [str(one) for style, _ in made for part in mixing.parts(style) for one in part.sources]
    read += [files.local(one) for _, chosen in made for one in paths(vars(chosen)).values()]
    images.check_output(place, sources=[content, *read])
    page = files.numbered(place.with_suffix(".html"))
    if is_opened:
        files.check(page)

    photo = images.read(content, max_pixels=options["max_pixels"])
    cells, told, notes = [], [], dict[Any, None]()
    with progress.Count(len(ways), "pictures", quiet) as count:
        for number, (way, (style, chosen)) in enumerate(zip(ways, made, strict=True), 1):
            stylizer = load_stylizer(style, chosen)
            run = stylizer.start(photo)
            for _ in run:
                pass
            notes |= dict.fromkeys((*stylizer.notes, *run.notes))
            image = images.on_white(run.result.image)
            image.thumbnail((chosen.size,) * 2 if isinstance(chosen.size, int) else image.size)
            captions = [f"{name.replace('_', '-')} {value}" for name, value in way]
            cells.append((image, [f"{number}: {captions[0]}", *captions[1:]]))
            told.append({} if chosen.strip_metadata else run.metadata)
            count.update()
    progress.notes(notes, quiet)
    widths, heights = zip(*(image.size for image, _ in cells), strict=True)
    drawn = images.sheet(cells, len(axes[-1][1]), (max(widths), max(heights)))
    metadata = {"styletx": __version__, "cells": told} if all(told) else None
    pixels = images.read(drawn).pixels
    if output is None:
        target, _ = outputs.saved(target, lambda free: images.write(free, pixels, metadata=metadata, overwrite=False))
    else:
        images.write(target, pixels, metadata=metadata)
    if not quiet:
        terminal.say(
            f"{target}: {len(ways)} pictures; styletx info {target} --cell N tells how to paint one", aside=True
        )
    if is_opened:
        files.write(page, _page(target, told).encode())
        webbrowser.open(page.resolve().as_uri())


def _axis(text: str) -> tuple[str, list[str]]:
    """What varies, and its values, of "stroke-size=0.5,1,2"."""
    name, mark, values = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if name not in (known := (STYLE, *defaults(Options))):
        names = [one.replace("_", "-") for one in known]
        raise OptionError(f"{field('vary')}: no option is called {name.replace('_', '-')!r}; {hint(name, names)}")
    found = [value.strip() for value in values.split(",")]
    if not mark or not all(found):
        raise OptionError(f"{field('vary')} {text!r} has no values; write for example stroke-size=0.5,1,2")
    return name, found


def _style(way: Way, styles: tuple[str, ...]) -> tuple[str, ...]:
    return (dict(way)[STYLE],) if STYLE in dict(way) else styles


def _options(way: Way) -> dict[str, Any]:
    return {name: value_of(name, text) for name, text in way if name != STYLE}


def _page(sheet: Path, told: Sequence[dict[str, Any]]) -> str:
    commands = (repeated(str(one["content"]), str(one["style"]), one["options"]) for one in filter(None, told))
    rows = "".join(f"<li><code>{html.escape(one)}</code></li>" for one in commands)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(sheet.name)}</title>'
        "<style>body{font:15px sans-serif;margin:2em}img{max-width:100%}code{user-select:all}</style>"
        f'<img src="{html.escape(sheet.name)}" alt="The sheet"><ol>{rows}</ol></html>\n'
    )
