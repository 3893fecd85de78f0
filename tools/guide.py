"""Draws the pictures of docs/guide.md: a row for each control.

    python tools/guide.py [-o docs/guide]

Each picture is made by the library, as the command under it makes it, but smaller.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

import styletx
from styletx import Part, images
from styletx.feedforward import models
from styletx.stylizers.mixing import Style

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PHOTO = ASSETS / "content" / "coffee.jpg"
IMPASTO, MOSAIC, WATERCOLOR, GLASS = (
    ASSETS / "styles" / f"{name}.jpg" for name in ("impasto", "mosaic", "watercolor", "stained-glass")
)
SCREAM = models.painting(models.bundled()["scream"])
SIZE = 320  # px
GAP = 6  # between pictures, px

Cell = tuple[Style, dict[str, Any]]


def rows(mask: Path, sky: Path) -> dict[str, list[Cell]]:
    """The pictures of each control, by the name of its file; masks of the cup and of the painting's sky."""
    assert SCREAM is not None
    shares = (0, 0.3, 1, 3)
    return {
        "styles": [*(([(IMPASTO, 1), (MOSAIC, share)], {}) for share in shares), (MOSAIC, {})],
        "colors": [(IMPASTO, {"colors": whose}) for whose in ("painting", "photo", "match", "luminance")]
        + [(IMPASTO, {"palette": WATERCOLOR})],
        "strokes": [(MOSAIC, {"stroke_size": size}) for size in (0.5, 1, 2, 3)],
        "keep": [(MOSAIC, {}), (MOSAIC, {"keep": mask})],
        "regions": [
            (IMPASTO, {}),
            ([IMPASTO, Part(MOSAIC, region=mask)], {}),
            ([MOSAIC, Part("pen", region=mask)], {}),
            ([Part(IMPASTO, seen=sky)], {}),
        ],
        "matched": [(SCREAM, {}), (SCREAM, {"regions": "auto"})],
        "details": [(GLASS, {}), (GLASS, {"detail": "edges"}), (GLASS, {"detail": "auto"})],
        "outline": [("starry-night", {}), ("starry-night", {"paint_alpha": True})],
        "seamless": [(WATERCOLOR, {}), (WATERCOLOR, {"seamless": "xy"})],
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


def sign(path: Path) -> Image.Image:
    """The photograph with text in it, which is also written to a file."""
    with Image.open(PHOTO) as photo:
        drawn = photo.convert("RGB").resize((640, 427))
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((24, 300, 276, 408), fill=(235, 228, 210))
    for line, (text, size) in enumerate((("ESPRESSO", 36), ("Open daily 7 to 19 h", 20), ("Rue des Fleurs 12", 20))):
        draw.text((38, 306 + 34 * line + 6 * (line > 0)), text, fill=(60, 35, 30), font=ImageFont.load_default(size))
    drawn.save(path)
    return drawn


def logo(path: Path) -> None:
    """Write a cat in a disc, transparent elsewhere."""
    with Image.open(ASSETS / "content" / "cat.jpg") as photo:
        drawn = photo.convert("RGBA").resize((480, 320))
    disc = Image.new("L", drawn.size)
    ImageDraw.Draw(disc).ellipse((100, 20, 380, 300), fill=255)
    drawn.putalpha(disc)
    drawn.save(path)


def tiled(picture: Image.Image) -> Image.Image:
    """A picture four times, half as large."""
    width, height = picture.size
    page = Image.new("RGB", (2 * width, 2 * height))
    for left in (0, width):
        for top in (0, height):
            page.paste(picture, (left, top))
    return page.resize((width, height))


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
    parser.add_argument("rows", nargs="*", help="names of files; all of them by default")
    arguments = parser.parse_args()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        place, sky, text, cut = (Path(room) / name for name in ("mask.png", "sky.png", "sign.png", "cut.png"))
        logo(cut)
        mask, written = drawn_mask(place), sign(text)
        half = Image.new("L", (96, 72))
        half.paste(255, (0, 0, 96, 32))
        half.save(sky)
        for name, cells in rows(place, sky).items():
            if arguments.rows and name not in arguments.rows:
                continue
            photo, size = {"details": (text, 3 * SIZE // 2), "outline": (cut, SIZE)}.get(name, (PHOTO, SIZE))
            results = [styletx.stylize(photo, style, size=size, **options) for style, options in cells]
            pictures = [images.on_white(result.image) for result in results]
            if name in ("keep", "regions"):
                pictures.insert(1, mask.resize(pictures[0].size))
            if name == "details":
                pictures.insert(0, written)
            if name == "seamless":
                pictures = list(map(tiled, pictures))
            row(pictures).save(folder / f"{name}.jpg", quality=88)
    if not arguments.rows or "found" in arguments.rows:
        with tempfile.TemporaryDirectory() as room:
            sheet = Path(room) / "found.png"
            subprocess.run(
                [sys.executable, "-m", "styletx", "regions", str(PHOTO), "-o", str(sheet), "--json"], check=True
            )
            Image.open(sheet).convert("RGB").save(folder / "found.jpg", quality=88)


if __name__ == "__main__":
    main()
