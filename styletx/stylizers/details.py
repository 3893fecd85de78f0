"""Details of the photograph, such as text and edges, that show through a painted picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import colors, images

EDGES, AUTO = "edges", "auto"  # what may be asked for instead of a mask
COARSE = 64  # px of the long side on which what is no detail is seen
WORK = 768  # px of the long side on which edges are sought
FAINT, CLEAR = 0.1, 0.3  # change of the light from a pixel to the next but one: no edge yet, and an edge
CROWD = 24  # px of a square in which edges are counted
FEW, MANY = 0.2, 0.4  # share of its pixels: no text yet, and text


def sought(photo: Tensor, what: str) -> Tensor:
    """Where the edges of a photograph `[1, 3, H, W]` are, and its text if asked for: `[1, 1, h, w]` from 0 to 1."""
    size = (photo.shape[-2], photo.shape[-1])
    light = colors.light(images.resize(photo, images.fit(size, min(WORK, max(size)))))
    around = F.pad(light, (1, 1, 1, 1), mode="replicate")
    across = around[..., 1:-1, 2:] - around[..., 1:-1, :-2]
    down = around[..., 2:, 1:-1] - around[..., :-2, 1:-1]
    edges = _between(torch.hypot(across, down), FAINT, CLEAR)
    found = F.avg_pool2d(F.max_pool2d(edges, 3, 1, 1), 3, 1, 1, count_include_pad=False)
    if what == AUTO:
        crowd = F.avg_pool2d(edges, CROWD + 1, 1, CROWD // 2, count_include_pad=False)
        found = found.maximum(_between(crowd, FEW, MANY))
    return found


def shown(painted: Tensor, photo: Tensor, share: Tensor) -> Tensor:
    """A painted picture whose light and dark details are the photograph's where asked for.

    Args:
        painted: `[1, 3, H, W]` in [0, 1].
        photo: the same.
        share: of the photograph's details, `[1, 1, h, w]` from 0 to 1.

    Returns:
        `[1, 3, H, W]` in [0, 1].
    """
    size = (photo.shape[-2], photo.shape[-1])
    change = _details(colors.light(photo)) - _details(colors.light(painted))
    return (painted + images.resize(share, size) * change).clamp_(0, 1)


def _details(light: Tensor) -> Tensor:
    size = (light.shape[-2], light.shape[-1])
    return light - images.resize(images.resize(light, images.fit(size, min(COARSE, max(size)))), size)


def _between(values: Tensor, none: float, all_: float) -> Tensor:
    return ((values - none) / (all_ - none)).clamp(0, 1)
