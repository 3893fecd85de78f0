"""Painting coarse to fine in one pass: small first, then that painting, enlarged, is mixed into the photograph.

A network's strokes have one width in px. What it paints at a smaller size holds the wide strokes of a picture, and
what it then makes of the mix the fine ones and the details.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import colors, grain, images
from styletx.feedforward import strips
from styletx.feedforward.collages import Guide
from styletx.feedforward.networks import Repainter

# How much of the coarser painting, and not of the photograph, a finer one repaints: at the second scale, as in
# training, and at each after that, where half would leave little of the widest strokes in a print.
MIX, LATER = 0.5, 0.75
FAINTER = 0.7  # how much of what a network paints after a collage shows at each finer scale, to the one before
LARGEST = 3840  # px of the long side up to which a network with scales paints; a larger picture gets that, enlarged
GUIDED = 400_000  # pixels that a network paints in the time that a collage takes
COARSEST = 0.5  # the first scale's size to that of the pictures that a network learns from
NEAR = 1.25  # times the width that strokes have by themselves, up to which one scale will do


def sizes(size: tuple[int, int], wider: float, minimum: int) -> list[tuple[int, int]]:
    """Sizes (h, w), coarse to fine, at which a picture is painted; the last is its own, or `LARGEST` if that is less.

    Args:
        size: of the picture.
        wider: how many times as wide as by themselves, in px of the picture, strokes should be at the coarsest scale.
        minimum: shortest side that the network takes, px; a coarser scale that is smaller is left out.
    """
    if wider <= NEAR:
        return [size]
    largest = min(max(size), LARGEST)
    wider *= largest / max(size)
    count = max(1, round(math.log2(wider))) if wider > NEAR else 0
    found = [images.fit(size, round(largest / wider ** (index / count))) for index in range(count, 0, -1)]
    return [one for one in found if min(one) >= minimum] + [images.fit(size, largest)]


@torch.no_grad()
def repaint(
    network: Repainter,
    pixels: Tensor,
    at: list[tuple[int, int]],
    seed: int,
    *,
    clouds: float = 0,
    guide: Guide | None = None,
    region: Tensor | None = None,
    in_place: bool = False,
) -> Iterator[tuple[float, Tensor]]:
    """Repaint pictures, with clouds in their flat parts, and grain where no collage shows strokes.

    Args:
        network: as `strips.repaint` takes it.
        pixels: `[B, 3, H, W]`, likewise.
        at: sizes (h, w), coarse to fine, as `sizes` gives them.
        seed: of grain and clouds.
        clouds: how much of them, from 0 to 1; without a guide.
        guide: makes the collages that the network takes; None for one that takes none.
        region: how much each part of the pictures counts for the guide, `[1, 1, H, W]`; None for all alike.
        in_place: write into `pixels`.

    Yields:
        The share of the work done, and the pictures at the size that is painted, as `strips.repaint` yields them; at
        last, with 1.0, at their own.

    Raises:
        FloatingPointError: the network paints values that are not finite numbers.
    """
    earlier, own = None, (pixels.shape[-2], pixels.shape[-1])
    pixels = pixels if in_place else pixels.clone()
    if guide is not None:
        guide.prepare(pixels, seed, region)
    else:
        grain.clouded(pixels, seed, clouds, in_place=True)
        if palette := network.descriptor.colors:
            _recolour(pixels, palette)
    # Beside a picture that only goes in strips, little else fits.
    whole = strips.WHOLE if math.prod(own) <= strips.WHOLE else strips.STRIP
    work = [(0 if guide is None else GUIDED) + height * width for height, width in at]
    for index, size in enumerate(at):
        mixed = images.resize(pixels, size)
        if guide is None:
            beside = None
            grain.added(_mix(mixed, earlier, index), seed, in_place=True)
        else:
            beside = guide.beside(mixed, guide.sketches(mixed, region) if earlier is None else earlier, region)
        earlier = None  # a quarter of the picture, which is not needed any more
        share = 1 if guide is None else FAINTER**index
        for progress, painted in strips.repaint(network, mixed, beside, share=share, whole_pixels=whole, in_place=True):
            if progress == 1:
                if not bool(painted.isfinite().all()):
                    raise FloatingPointError("values that are not finite numbers")
                if guide is not None:
                    guide.confine(painted)
            done = (sum(work[: index + 1]) - (1 - progress) * size[0] * size[1]) / sum(work)
            if done < 1 or size == own:
                yield done, painted
        earlier = painted
    if at[-1] != own:
        assert earlier is not None
        images.detailed(earlier, pixels, in_place=True)
        if guide is not None:
            guide.confine(pixels)
        yield 1.0, pixels


def repainted(network: Any, pixels: Tensor) -> Tensor:
    """What `repaint` makes of crops of pictures at two scales, with its graph.

    Args:
        network: called with `[B, 3, h, w]`.
        pixels: `[B, 3, H, W]` as the network takes them, with grain; each side even.
    """
    small = F.interpolate(pixels, scale_factor=COARSEST, mode="bicubic", antialias=True).clamp(0, 1)
    early = network(small.contiguous(memory_format=torch.channels_last)).clamp(0, 1)
    early = F.interpolate(early, size=pixels.shape[-2:], mode="bicubic")
    mixed = torch.lerp(pixels, early, MIX)
    painted: Tensor = network(mixed.contiguous(memory_format=torch.channels_last))
    return painted


def _recolour(pixels: Tensor, palette: colors.Colors) -> None:
    """Give pictures `[B, 3, H, W]` a palette's colours, in place; some pixels may lie outside [0, 1] then."""
    for one in torch.split(pixels, 1):
        by = colors.move(one, palette)
        for rows in torch.split(one, colors.BAND, dim=-2):  # little memory
            rows.copy_(colors.moved(rows, by))


def _mix(photograph: Tensor, earlier: Tensor | None, index: int) -> Tensor:
    """A photograph `[B, 3, H, W]`, for the scale of an index, in which a coarser one's painting is mixed, in place."""
    if earlier is not None:
        size = (photograph.shape[-2], photograph.shape[-1])
        for channel in range(photograph.shape[1]):  # one at a time takes a third of the memory
            part = slice(channel, channel + 1)
            photograph[:, part].lerp_(images.resize(earlier[:, part], size), MIX if index == 1 else LATER)
    return photograph
