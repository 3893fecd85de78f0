"""Strokes that move with the photograph: what is painted must not depend on where a network's grid lies.

Nothing else asks for that in a single picture, and a network that may paint by its grid leaves a lattice. The same
makes a film steady.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MOVED = 8  # px that a photograph moves at most, as many as a network's coarsest grid repeats after
EDGE = 8  # px along the edges of a crop, which are painted otherwise


def window(pixels: Tensor, down: int = 0, right: int = 0) -> Tensor:
    """The part of pixels `[B, 3, H, W]` that is `MOVED` px smaller and begins so far down and right."""
    height, width = (extent - MOVED for extent in pixels.shape[-2:])
    part = pixels[..., down : down + height, right : right + width]
    return part.contiguous(memory_format=torch.channels_last)


def unsteadiness(paint: Callable[[Tensor], Tensor], photograph: Tensor, output: Tensor, seed: int) -> Tensor:
    """How much the same place is painted otherwise after the photograph has moved by a few pixels.

    Args:
        paint: gives what a network makes of `[B, 3, h, w]`.
        photograph: `[B, 3, H, W]`, `MOVED` px larger.
        output: what it gave for its first `window`.
        seed: decides how far it moves.

    Returns:
        The mean absolute difference, a scalar with its graph.
    """
    generator = torch.Generator().manual_seed(seed)
    down, right = (int(number) for number in torch.randint(MOVED + 1, (2,), generator=generator))
    moved = paint(window(photograph, down, right))
    height, width = output.shape[-2] - down, output.shape[-1] - right
    difference: Tensor = output[..., down:, right:] - moved[..., :height, :width]
    return difference[..., EDGE:-EDGE, EDGE:-EDGE].abs().mean()
