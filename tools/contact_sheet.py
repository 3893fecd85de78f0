"""Draws a table of pictures: photographs down, paintings across, and each photograph in each painting's style.

    python tools/contact_sheet.py -o docs/results.jpg
    python tools/contact_sheet.py -o docs/styles.jpg --trained
    python tools/contact_sheet.py -o docs/looks.jpg --looks --photographs cat --paintings watercolor
    python tools/contact_sheet.py -o docs/one-pass.jpg --fast --photographs cat coffee
    python tools/contact_sheet.py -o docs/compact.jpg --against ../shared/weights/vgg19-relu3_1.safetensors

Each picture is made by the shipped command with its defaults, in outputs/, unless it is there already.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from styletx.feedforward import models
from styletx.options import LOOKS

ASSETS = Path(__file__).resolve().parents[1] / "assets"
COMPACT = ("--backbone", "compact")
GAP = 6  # between pictures, px


def repainted(content: Path, style: Path, folder: Path, *options: str) -> Image.Image:
    """A photograph in a style."""
    words = [Path(word).stem.lstrip("-") for word in options]
    output = folder / f"{'-'.join([content.stem, style.name, *words])}.png"
    if not output.exists():
        command = [sys.executable, "-m", "styletx", "run", str(content), str(style), "-q", "-o", str(output), *options]
        subprocess.run(command, check=True)
    return picture(output)


def picture(path: Path) -> Image.Image:
    """A picture in RGB."""
    with Image.open(path) as file:
        return file.convert("RGB")


def sheet(rows: Sequence[Sequence[Image.Image | None]], width: int, height: int) -> Image.Image:
    """The table, with each picture cut to the same size; None leaves a gap."""
    page = Image.new("RGB", (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for y, row in enumerate(rows):
        for x, found in enumerate(row):
            if found is not None:
                page.paste(ImageOps.fit(found, (width, height)), (x * (width + GAP), y * (height + GAP)))
    return page


def names(folder: Path) -> list[str]:
    """The names of a folder's pictures."""
    return [path.stem for path in sorted(folder.glob("*.jpg"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--photographs", nargs="*", default=names(ASSETS / "content"), metavar="NAME")
    parser.add_argument("--paintings", nargs="*", default=names(ASSETS / "styles"), metavar="NAME")
    parser.add_argument("--trained", action="store_true", help="the trained styles instead of paintings")
    parser.add_argument("--looks", action="store_true", help="each picture in each look, a column each")
    parser.add_argument("--fast", action="store_true", help="add a row for each photograph in one pass")
    parser.add_argument(
        "--against", metavar="FILE", help="by Gram alone, add a row for each photograph with these VGG-19 weights"
    )
    parser.add_argument("--folder", type=Path, default=Path("outputs"), help="where the single pictures go")
    parser.add_argument("--width", type=int, default=300, help="of a picture, px")
    arguments = parser.parse_args()

    rows: list[list[Image.Image | None]] = []
    if arguments.trained:
        styles = list(map(Path, models.bundled()))
    else:
        styles = [ASSETS / "styles" / f"{name}.jpg" for name in arguments.paintings]
        if not arguments.looks:
            rows.append([None, *map(picture, styles)])
    for name in arguments.photographs:
        content = ASSETS / "content" / f"{name}.jpg"
        if arguments.looks:
            for style in styles:
                looks = [repainted(content, style, arguments.folder, *COMPACT, "--look", look) for look in LOOKS]
                rows.append([picture(content), *looks])
            continue
        ways: list[Sequence[str]] = [() if arguments.trained else COMPACT]
        if arguments.fast:
            ways.append(["--fast"])
        if arguments.against:  # both by Gram alone, whose figures the networks are compared by
            ways = [(*COMPACT, "--match", "0"), ("--weights", arguments.against, "--match", "0")]
        for way in ways:
            rows.append([picture(content), *(repainted(content, style, arguments.folder, *way) for style in styles)])
    sheet(rows, arguments.width, arguments.width * 2 // 3).save(arguments.output, quality=88)


if __name__ == "__main__":
    main()
