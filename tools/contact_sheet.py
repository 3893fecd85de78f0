"""Draws a table of pictures: photographs down, paintings across, and where they meet the one in the other's style.

    python tools/contact_sheet.py -o docs/results.jpg
    python tools/contact_sheet.py -o docs/styles.jpg --trained
    python tools/contact_sheet.py -o docs/compact.jpg --against ../shared/weights/vgg19-relu3_1.safetensors

Each picture is made by the shipped command with its defaults, in outputs/, and only if it is not there yet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from styletx.feedforward import models

ASSETS = Path(__file__).resolve().parents[1] / "assets"
GAP = 6


def repainted(content: Path, style: Path, folder: Path, weights: str | None) -> Image.Image:
    output = folder / f"{content.stem}-{style.name}{'-' + Path(weights).stem if weights else ''}.png"
    if not output.exists():
        flags = ["--weights", weights] if weights else ["--backbone", "compact"] if style.suffix == ".jpg" else []
        subprocess.run([sys.executable, "-m", "styletx", "run", content, style, "-q", "-o", output, *flags], check=True)
    return Image.open(output).convert("RGB")


def sheet(rows: Sequence[Sequence[Image.Image | None]], width: int, height: int) -> Image.Image:
    page = Image.new("RGB", (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            if picture is not None:
                page.paste(ImageOps.fit(picture, (width, height)), (x * (width + GAP), y * (height + GAP)))
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--styles", nargs="*", default=[path.stem for path in sorted((ASSETS / "styles").glob("*.jpg"))]
    )
    parser.add_argument(
        "--contents", nargs="*", default=[path.stem for path in sorted((ASSETS / "content").glob("*.jpg"))]
    )
    parser.add_argument("--trained", action="store_true", help="the trained styles instead of paintings")
    parser.add_argument("--against", metavar="FILE", help="also show what a VGG-19 with these weights makes of each")
    parser.add_argument("--folder", type=Path, default=Path("outputs"), help="where the single pictures go")
    parser.add_argument("--width", type=int, default=300, help="of a picture, px")
    arguments = parser.parse_args()

    styles = [ASSETS / "styles" / f"{name}.jpg" for name in arguments.styles]
    rows: list[list[Image.Image | None]] = []
    if arguments.trained:
        styles = list(models.bundled().values())
    else:
        rows.append([None, *(Image.open(style).convert("RGB") for style in styles)])
    for name in arguments.contents:
        content = ASSETS / "content" / f"{name}.jpg"
        for weights in (None, arguments.against) if arguments.against else (None,):
            photograph = Image.open(content).convert("RGB")
            rows.append([photograph, *(repainted(content, style, arguments.folder, weights) for style in styles)])
    sheet(rows, arguments.width, arguments.width * 2 // 3).save(arguments.output, quality=88)
