"""Paint the style pictures in ``assets/styles`` from nothing but arithmetic and a seed.

Usage: ``python assets/paint.py [NAME ...] [-o assets/styles] [--size 1024]``. Without names it paints all of them, in
about a minute. It needs NumPy, SciPy and Pillow.

Each style is a module in ``painters``. Its ``paint`` takes the long side in pixels and a random generator, and returns
an ``[H, W, 3]`` array, RGB in [0, 1]. Lengths in the code are for a picture of 1024 pixels, scaled by ``size / 1024``;
x and y are in units of the picture's height.
"""

import argparse
import pathlib
import zlib

import numpy as np
from painters import impasto, ink_wash, mosaic, pen, pointillism, poster, stained_glass, watercolor, woodcut
from PIL import Image

STYLES = {
    "impasto": impasto.paint,
    "ink-wash": ink_wash.paint,
    "mosaic": mosaic.paint,
    "pen": pen.paint,
    "pointillism": pointillism.paint,
    "poster": poster.paint,
    "stained-glass": stained_glass.paint,
    "watercolor": watercolor.paint,
    "woodcut": woodcut.paint,
}


def paint(name: str, size: int = 1024) -> Image.Image:
    """The style picture ``name``, ``size`` pixels on its long side; equal arguments give equal pictures."""
    pixels = STYLES[name](size, np.random.default_rng(zlib.crc32(name.encode())))
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


def main() -> None:
    """Paint the styles named on the command line."""
    parser = argparse.ArgumentParser(description="Paint the style pictures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"styles to paint: {', '.join(STYLES)} (default: all)")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path(__file__).parent / "styles")
    parser.add_argument("--size", type=int, default=1024, help="long side in pixels")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(STYLES):
        parser.error(f"unknown style {', '.join(sorted(unknown))}; choose from {', '.join(STYLES)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or STYLES:
        path = arguments.output / f"{name}.jpg"
        paint(name, arguments.size).save(path, quality=87, subsampling=0, progressive=True)


if __name__ == "__main__":
    main()
