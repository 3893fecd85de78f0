"""Likeness to another picture, pixel by pixel and in the colours of its parts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from styletx.losses.terms import PIXELS, Part, wide

# Side in px of the squares whose mean colours are compared, and what they count for beside the pixels.
SQUARES = {8: 2.0, 32: 2.0}


class Difference:
    """Mean absolute difference to a picture, which blurs less than a squared one (Zhao et al. 2017).

    Where strokes lie is chance, and pixels that lie otherwise say little about colour: a drawing may come out violet.
    The means over squares do not depend on where in them a stroke lies, so they count too.

    doi:10.1109/TCI.2016.2644865

    Args:
        target: the picture, `[1, C, H, W]` or `[B, C, H, W]`.
    """

    layers = (PIXELS,)

    def __init__(self, target: Tensor) -> None:
        self.target = wide(target)

    def statistics(self, part: Part) -> Tensor:
        """The differences where they lie in the whole picture, `[B, C, H, W]`, and 0 elsewhere."""
        rows, columns = part.places[PIXELS]
        target = self.target[..., rows, columns]
        pixels = wide(part.features[PIXELS])[..., : target.shape[-2], : target.shape[-1]]
        height, width = self.target.shape[-2:]
        below, right = height - rows.start - target.shape[-2], width - columns.start - target.shape[-1]
        return F.pad(pixels - target, (columns.start, right, rows.start, below))

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 at the target, and 1 from pixels and 2 from squares of either size for black beside white."""
        found = statistics.abs().mean()
        for side, share in SQUARES.items():
            means = F.avg_pool2d(statistics, side, ceil_mode=True, count_include_pad=False)
            found = found + share * means.abs().mean()
        return found
