"""What happens to a painted picture before it is a result."""

from __future__ import annotations

import torch
from torch import Tensor

from styletx import colors, images
from styletx.colors import Colors
from styletx.options import Options
from styletx.stylizers import details


def finish(
    painted: Tensor,
    photo: Tensor,
    options: Options,
    palette: Colors | None = None,
    kept: Tensor | None = None,
    detail: Tensor | None = None,
) -> Tensor:
    """Bring a painted picture to its size and off the device, give it its colours, and let the photograph show through.

    Args:
        painted: `[1, 3, h, w]` in [0, 1], on any device.
        photo: the photograph at the result's size, `[1, 3, H, W]`, on the CPU.
        options: whose colours it gets, and how much of it shows over the photograph.
        palette: the colours of another picture that it gets; None goes by the options.
        kept: how much of each part stays photograph, `[1, 1, h, w]` in [0, 1]; None for nothing.
        detail: how much of the photograph's details each part has, likewise; None for nothing.

    Returns:
        `[1, 3, H, W]` float32 in [0, 1], contiguous, on the CPU.
    """
    size = (photo.shape[-2], photo.shape[-1])
    pixels = images.resize(painted, size).cpu().contiguous()
    if detail is not None:
        pixels = details.shown(pixels, photo, detail)
    if palette is None and options.colors == "match":
        palette = colors.colors(photo)
    if palette is not None:
        pixels = colors.transferred_exactly(pixels, palette)
    elif options.colors in ("photo", "luminance"):
        pixels = colors.recoloured(pixels, photo)
    strength = 1.0 if isinstance(options.strength, str) else options.strength  # its mask is in what is kept
    if kept is not None:
        return torch.lerp(photo, pixels, strength * (1 - images.resize(kept, size)))
    return pixels if strength == 1 else torch.lerp(photo, pixels, strength)
