"""Draws the pictures of docs/guide.md: a row for each control.

    python tools/guide.py [-o docs/guide]

Each picture is made by the library, as the command under it makes it, but smaller.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import styletx
from styletx.stylizers.mixing import Style

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PHOTO = ASSETS / "content" / "coffee.jpg"
IMPASTO, MOSAIC, WATERCOLOR = (ASSETS / "styles" / f"{name}.jpg" for name in ("impasto", "mosaic", "watercolor"))
SIZE = 320  # px
GAP = 6  # between pictures, px

Cell = tuple[Style, dict[str, Any]]


def rows(mask: Path) -> dict[str, list[Cell]]:
    """The pictures of each control, by the name of its file."""
    shares = (0, 0.3, 1, 3)
    return {
        "styles": [*(([(IMPASTO, 1), (MOSAIC, share)], {}) for share in shares), (MOSAIC, {})],
        "colors": [(IMPASTO, {"colors": whose}) for whose in ("painting", "photo", "match", "luminance")]
        + [(IMPASTO, {"palette": WATERCOLOR})],
        "strokes": [(MOSAIC, {"stroke_size": size}) for size in (0.5, 1, 2, 3)],
        "keep": [(MOSAIC, {}), (MOSAIC, {"keep": mask})],
        "strength": [(MOSAIC, {"strength": strength}) for strength in (0.25, 0.5, 0.75, 1)],
    }


def drawn_mask(path: Path) -> Image.Image:
    """A mask of the cup, white on black, which is also written to a file."""
    with Image.open(PHOTO) as photo:
        mask = Image.new("L", photo.size)
    width, height = mask.size
    ImageDraw.Draw(mask).ellipse((0.28 * width, 0.02 * height, 0.72 * width, 0.58 * height), fill=255)
    mask.save(path)
    return mask


def row(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size side by side."""
    width, height = pictures[0].size
    page = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), "white")
    for index, picture in enumerate(pictures):
        page.paste(picture.convert("RGB").resize((width, height)), (index * (width + GAP), 0))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/guide"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        place = Path(room) / "mask.png"
        mask = drawn_mask(place)
        for name, cells in rows(place).items():
            pictures = [styletx.stylize(PHOTO, style, size=SIZE, **options).image for style, options in cells]
            if name == "keep":
                pictures.insert(1, mask.resize(pictures[0].size))
            row(pictures).save(folder / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
