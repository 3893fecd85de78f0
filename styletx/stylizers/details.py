"""Details of the photograph, such as text and edges, that show through a painted picture, and its painted outline."""

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
OUTLINE = 1 / 100  # of the long side, on each side of an outline, in which strokes may end
STRAY = 0.8  # how far within that a stroke moves the outline
TRANSLUCENT, OUTLINED = 0.4, 0.8  # change of alpha that is no outline yet, and one
CRISP = 6  # how many times as steep as that the outline is


def sought(photo: Tensor, what: str) -> Tensor:
    """Where the edges of a photograph `[1, 3, H, W]` are, and its text if asked for: `[1, 1, h, w]` from 0 to 1."""
    size = (photo.shape[-2], photo.shape[-1])
    light = colors.light(images.resize(photo, images.fit(size, min(WORK, max(size)))))
    around = F.pad(light, (1, 1, 1, 1), mode="replicate")
    across = around[..., 1:-1, 2:] - around[..., 1:-1, :-2]
    down = around[..., 2:, 1:-1] - around[..., :-2, 1:-1]
    edges = _between(torch.hypot(across, down), FAINT, CLEAR)
    found = images.box_blur(F.max_pool2d(edges, 3, 1, 1), 1)
    if what == AUTO:
        found = found.maximum(_between(images.box_blur(edges, CROWD // 2), FEW, MANY))
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


def outlined(alpha: Tensor, painted: Tensor) -> Tensor:
    """Transparency whose outline follows the strokes: light ones reach beyond it, dark ones stay behind.

    Args:
        alpha: `[1, 1, H, W]` in [0, 1].
        painted: `[1, 3, H, W]` in [0, 1].

    Returns:
        `[1, 1, H, W]` in [0, 1]. What is thinner than a stroke stays.
    """
    reach = max(1, round(OUTLINE * max(alpha.shape[-2:])))
    soft = images.box_blur(images.box_blur(alpha, reach), reach)
    light = colors.light(painted)
    strokes = light - images.box_blur(light, 2 * reach)
    strokes = strokes / (2 * images.box_blur(strokes.square(), 4 * reach).sqrt()).clamp_min(1 / 255)
    moved = soft + STRAY * 2 * soft * (1 - soft) * strokes.clamp(-1, 1)
    kept = -F.max_pool2d(-alpha, 2 * reach + 1, 1, reach)
    steep = F.max_pool2d(alpha, 2 * reach + 1, 1, reach) - kept  # little where a picture is translucent far and wide
    thin = (alpha - F.max_pool2d(kept, 2 * reach + 1, 1, reach)).clamp_min(0)
    found = ((moved - 0.5) * CRISP + 0.5).clamp(0, 1).maximum(thin)
    return torch.lerp(alpha, found, _between(steep, TRANSLUCENT, OUTLINED))


def _details(light: Tensor) -> Tensor:
    size = (light.shape[-2], light.shape[-1])
    return light - images.resize(images.resize(light, images.fit(size, min(COARSE, max(size)))), size)


def _between(values: Tensor, none: float, all_: float) -> Tensor:
    return ((values - none) / (all_ - none)).clamp(0, 1)
