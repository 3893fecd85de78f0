"""`styletx regions`: what could be painted in a style of its own."""

from __future__ import annotations

import json
from pathlib import Path

import click

from styletx import files
from styletx.cli import outputs, terminal
from styletx.errors import OptionError

SIDE = 256  # px of a picture on the sheet


@click.command()
@click.argument("content")
@click.option("-n", "--count", type=click.IntRange(2, 12), default=4, show_default=True, help="Number of regions.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    show_default="outputs/CONTENT-regions.png",
    help="Output file, a sheet of the regions; their masks are written beside it, FILE-1.png and so on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the names of the masks as JSON.")
def command(content: str, count: int, output: str | None, as_json: bool) -> None:
    """Find regions in the photograph CONTENT, and write a mask of each, the largest first.

    A mask may be edited, and given to `styletx run --region MASK=STYLE`.
    """
    from styletx import backbones, images, regions

    content = files.local(content)
    target = outputs.FOLDER / f"{Path(content).stem}-regions.png" if output is None else Path(files.local(output))
    place = files.numbered(target) if output is None else target
    if place.suffix.lower() != ".png":
        raise OptionError(f"{files.shown(place)}: masks are PNG files; end the name in .png")
    masks = [place.with_stem(f"{place.stem}-{number}") for number in range(1, count + 1)]
    for one in (place, *masks):
        images.check_output(one, sources=[content])
    photo = images.read(content).pixels
    backbone = backbones.load(backbones.BUNDLED, matching=True)
    found = regions.found(photo, backbone.module, backbone.matching_layers, count)
    size = (photo.shape[-2], photo.shape[-1])
    cells = []
    for number, (mask, path) in enumerate(zip(found, masks, strict=False), 1):
        whole = images.resize(mask, size)
        images.write(path, whole.expand(1, 3, -1, -1))
        shown = images.resize(0.15 * photo + 0.85 * whole * photo, images.fit(size, SIDE))
        cells.append((images.to_pil(shown), [f"{number}: {mask.mean():.0%}"]))
    drawn = images.sheet(cells, min(4, len(cells)), cells[0][0].size)
    images.write(place, images.read(drawn).pixels)
    names = [str(path) for path in masks[: len(found)]]
    if as_json:
        terminal.say(json.dumps({"sheet": str(place), "masks": names}))
        return
    terminal.say(f"{place}: {len(found)} regions; their masks are {names[0]} to {names[-1]}", aside=True)
