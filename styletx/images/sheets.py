"""Many small pictures on one, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

EDGE = 12  # px between pictures
LINE = 16  # px of a caption
COLORS = "#333333", "#777777"  # of a caption's first line, and of the others


def sheet(
    cells: Sequence[tuple[PIL.Image.Image | None, Sequence[str]]],
    columns: int,
    size: tuple[int, int],
    title: str | None = None,
) -> PIL.Image.Image:
    """Draw pictures row by row.

    Args:
        cells: a picture, None for an empty place, and the lines of its caption.
        columns: how many pictures a row has.
        size: (width, height) of the largest picture, px.
        title: what stands above them.
    """
    lines = max(len(caption) for _, caption in cells)
    width, height = size[0] + EDGE, size[1] + EDGE + lines * LINE + 6
    top = 0 if title is None else 2 * LINE + 6
    drawn = PIL.Image.new("RGB", (columns * width, top + -(-len(cells) // columns) * height), "white")
    draw, font = PIL.ImageDraw.Draw(drawn), _font(12)
    if title is not None:
        draw.text((drawn.width / 2, top / 2), title, COLORS[0], font, "mm")
    for index, (picture, caption) in enumerate(cells):
        left, upper = index % columns * width, top + index // columns * height
        if picture is not None:
            drawn.paste(picture, (left + (width - picture.width) // 2, upper + (size[1] + EDGE - picture.height) // 2))
        for line, text in enumerate(caption):
            while draw.textlength(text, font) > size[0]:
                text = f"{text.rstrip('…')[:-1]}…"
            draw.text((left + width / 2, upper + size[1] + EDGE + LINE * line), text, COLORS[line > 0], font, "ma")
    return drawn


def _font(size: int) -> Any:
    """A font with letters of most languages if the machine has it, else Pillow's own, which has English ones."""
    try:
        return PIL.ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return PIL.ImageFont.load_default(size)
