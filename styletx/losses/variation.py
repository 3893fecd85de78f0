"""Smoothness as the total variation of the pixels (Mahendran & Vedaldi 2015)."""

from __future__ import annotations

import torch
from torch import Tensor

from styletx.losses.terms import PIXELS, Part, whole, wide


class Variation:
    """Mean squared difference of neighbouring pixels (Mahendran & Vedaldi 2015, with β = 2)."""

    layers = (PIXELS,)

    def statistics(self, part: Part) -> Tensor:
        """Squared differences across and down: `[2, 2]`, a row each, of their sum and their number."""
        pixels = wide(part.features[PIXELS])
        rows, columns = (slice(None if area.stop is None else area.stop - area.start) for area in part.places[PIXELS])
        sums = []
        for differences in (pixels[..., rows, :].diff(dim=-1), pixels[..., :, columns].diff(dim=-2)):
            total = differences.square().sum()
            sums.append(torch.stack([total, total.new_full((), differences.numel())]))
        return torch.stack(sums)

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 for a flat picture."""
        return (statistics[:, 0] / statistics[:, 1].clamp_min(1)).sum()


def total_variation_loss(pixels: Tensor) -> Tensor:
    """`Variation`'s loss as a function, of pixels `[B, C, H, W]` in [0, 1]; a scalar."""
    term = Variation()
    return term.loss(term.statistics(whole({PIXELS: pixels})))
