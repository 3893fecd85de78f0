"""The scales of a run: large shapes settle on small pictures, where an evaluation is cheap."""

from __future__ import annotations

from styletx import images

COARSEST_SIDE = 128  # long side in px below which shapes are too crude for a further scale to pay


def pyramid_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes (h, w) of the scales, coarse to fine, each twice the one before; the last is `size`."""
    sizes = [size]
    while max(sizes[0]) >= 2 * COARSEST_SIDE and min(sizes[0]) >= 2 * images.MIN_SIDE:
        height, width = sizes[0]
        sizes.insert(0, (round(height / 2), round(width / 2)))
    return sizes
