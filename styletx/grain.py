"""Clouds and grain for the flat parts of a photograph.

Strokes begin at something. Where a photograph shows nothing at all, as in a logo, a page or a clear sky, a network
paints a regular pattern or leaves the part bare: so it is given grain. And where a painting's shapes are everywhere
alike, as the swirls of The Starry Night are, clouds that are hardly to be seen grow into them, by either method.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import images

BLOCK = 4  # px of the blocks that are flat or not, a side
FLAT = 1.5 / 255  # standard deviation of luminance in a block up to which it gets all of the grain
LIVELY = 3 / 255  # from which it gets none
DEVIATION = 0.02  # of the grain
# Of its mottle, and the sizes that it has in blocks: strokes are as large, and a network that makes the picture smaller
# sees nothing of finer grain.
MOTTLE, CELLS = 0.03, (2, 4, 8)
CANVAS = 224  # px of the long side of a picture in which clouds are laid out, of the same sizes in blocks
CLOUDS = 0.03  # standard deviation of clouds: more would be seen as blots
ROOM = 7  # blocks, a side, that should be mostly flat where there are clouds
MOSTLY = (0.3, 0.7)  # how flat they are, on average, where there are no clouds yet, and where there are all
TABLE = 65_521  # values that it is made of; a prime, so that rows do not repeat each other
BAND = 64  # blocks, down, that are worked on at a time
STEP = 2  # every so many rows are looked at: a flat part shows in half of them, in half the time


@torch.no_grad()
def added(pixels: Tensor, seed: int, *, in_place: bool = False) -> Tensor:
    """Pictures with grain in their flat parts.

    The grain is grey, the same at a position whatever the picture, and fades out towards what is not flat.

    Args:
        pixels: `[B, 3, H, W]` in [0, 1].
        seed: of the grain.
        in_place: write into `pixels`.

    Returns:
        `[B, 3, H, W]`, a little outside [0, 1] where white or black got grain; `pixels` itself if nothing is flat.
    """
    share = flatness(pixels)
    if not bool(share.any()):
        return pixels
    canvas = pixels if in_place else torch.empty_like(pixels)
    height, width = pixels.shape[-2:]
    runs, starts = _table(seed, height, width, pixels)
    clouds = _clouds(seed, share.shape[-2] + 2, share.shape[-1] + 2, pixels)  # a block more all round
    for top in range(0, share.shape[-2], BAND):
        rows = slice(top * BLOCK, (top + BAND) * BLOCK)
        given, part = pixels[..., rows, :], share[..., top : top + BAND, :]
        if bool(part.any()):
            grown = F.interpolate(clouds[..., top : top + BAND + 2, :], scale_factor=float(BLOCK), mode="bilinear")
            here = grown[..., BLOCK:, BLOCK:][..., : given.shape[-2], :width]
            some = F.interpolate(part, scale_factor=float(BLOCK))[..., : given.shape[-2], :width]
            torch.add(
                given,
                some.to(given.dtype) * (MOTTLE * here + DEVIATION * runs[starts[rows]]),
                out=canvas[..., rows, :],
            )
        elif canvas is not pixels:
            canvas[..., rows, :] = given
    return canvas


@torch.no_grad()
def clouded(pixels: Tensor, seed: int, share: float, *, in_place: bool = False) -> Tensor:
    """Pictures with clouds where they are flat far and wide.

    Clouds are grey, and their size is relative to the picture's, so that a picture has the same ones at any size.

    Args:
        pixels: `[B, 3, H, W]` in [0, 1].
        seed: of the clouds.
        share: how much of them, from 0 to 1; see `losses.leading`.
        in_place: write into `pixels`.

    Returns:
        `[B, 3, H, W]` in [0, 1]; `pixels` itself if nothing changes.
    """
    if not share:
        return pixels
    size = (pixels.shape[-2], pixels.shape[-1])
    flat = flatness(images.resize(pixels, images.fit(size, min(CANVAS, max(size)))))
    least, most = MOSTLY
    flat *= ((_around(flat, ROOM) - least) / (most - least)).clamp_(0, 1)
    if not bool(flat.any()):
        return pixels
    layer = share * CLOUDS * _around(flat, 3) * _clouds(seed, flat.shape[-2], flat.shape[-1], pixels)
    grown = F.interpolate(layer, size=size, mode="bicubic").to(pixels.dtype)
    return (pixels.add_(grown) if in_place else pixels + grown).clamp_(0, 1)


def _around(share: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(share, side, stride=1, padding=side // 2, count_include_pad=False)


def _table(seed: int, height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Random numbers by position: runs of them, and which run a row is. The same whatever the size."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(TABLE, generator=generator)
    starts = torch.randint(TABLE, (height,), generator=generator).to(like.device)
    # Each row begins elsewhere in the table, which goes round.
    return values.repeat(1 + math.ceil(width / TABLE)).to(like).unfold(0, width, 1), starts


def _clouds(seed: int, height: int, width: int, like: Tensor) -> Tensor:
    """Smooth random numbers `[1, 1, height, width]` of blocks, with a deviation of about 1, by position as above."""
    found = like.new_zeros(1, 1, height, width)
    for cell in CELLS:
        rows, columns = height // cell + 5, width // cell + 5  # cubic interpolation sees two more all round
        runs, starts = _table(seed ^ cell, rows, columns, like)
        grown = F.interpolate(runs[starts][None, None], scale_factor=float(cell), mode="bicubic")
        found += grown[..., 2 * cell :, 2 * cell :][..., :height, :width]
    return found / math.sqrt(len(CELLS))


def flatness(pixels: Tensor) -> Tensor:
    """How flat each block of pictures `[B, 3, H, W]` is, less beside one that is not: `[B, 1, h, w]`, from 0 to 1."""
    found = []
    for top in range(0, pixels.shape[-2], BAND * BLOCK):
        luminance = pixels[..., top : top + BAND * BLOCK : STEP, :].mean(1, keepdim=True, dtype=torch.float32)
        mean = F.avg_pool2d(luminance, (BLOCK // STEP, BLOCK), ceil_mode=True)
        square = F.avg_pool2d(luminance.square_(), (BLOCK // STEP, BLOCK), ceil_mode=True)
        found.append((square - mean.square()).clamp_min_(0).sqrt_())
    share = ((LIVELY - torch.cat(found, 2)) / (LIVELY - FLAT)).clamp_(0, 1)
    return share * _around(share, 3)
