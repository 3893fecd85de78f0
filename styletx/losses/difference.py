"""Likeness to another picture, pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from styletx.losses.terms import PIXELS, Part, wide


class Difference:
    """Mean absolute difference to a picture, which blurs less than a squared one (Zhao et al. 2017).

    doi:10.1109/TCI.2016.2644865

    Args:
        target: the picture, `[1, C, H, W]` or `[B, C, H, W]`.
    """

    layers = (PIXELS,)

    def __init__(self, target: Tensor) -> None:
        self.target = wide(target)

    def statistics(self, part: Part) -> Tensor:
        """Sum of the absolute differences, and their number, `[2]`."""
        rows, columns = part.places[PIXELS]
        target = self.target[..., rows, columns]
        pixels = wide(part.features[PIXELS])[..., : target.shape[-2], : target.shape[-1]]
        differences = (pixels - target).abs().sum()
        return torch.stack([differences, differences.new_full((), pixels.numel())])

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 at the target, at most 1 for pixels in [0, 1]."""
        return statistics[0] / statistics[1]
