"""Style as what belongs where: each place looks like the place of the painting that was matched with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx.losses.terms import PIXELS, Part
from styletx.matching import CELL, TINY, hypercolumns


class Matching:
    """Mean cosine distance of each position's hypercolumn to its model in the painting (Kolkin et al. 2022).

    Args:
        layers: that make up a hypercolumn.
        targets: the models, `[1, D, h, w]` on the grid of a quarter of the picture's size; see `matching.Match`.
        mean: the painting's mean hypercolumn, `[D]`, by which both are centred.
        scales: what each layer is divided by.
    """

    def __init__(self, layers: Sequence[str], targets: Tensor, mean: Tensor, scales: Sequence[Tensor]) -> None:
        self.layers = (*layers, PIXELS)
        self.mean = mean.view(1, -1, 1, 1)
        self.targets = F.normalize(targets - self.mean, dim=1)
        self.scales = scales

    def statistics(self, part: Part) -> Tensor:
        """Sum of the positions' distances, and their number, `[2]`."""
        rows, columns = (
            slice(area.start // CELL, None if area.stop is None else area.stop // CELL) for area in part.places[PIXELS]
        )
        targets = self.targets[..., rows, columns]
        features = [part.features[layer] for layer in self.layers if layer != PIXELS]
        seen = hypercolumns(features, (targets.shape[-2], targets.shape[-1]), self.scales) - self.mean
        cosines = (seen * targets).sum(1) / seen.norm(dim=1).clamp_min(TINY)
        return torch.stack([(1 - cosines).sum(), cosines.new_full((), cosines.numel())])

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 where each position points where its model does, 1 where it has nothing of it, 2 opposite."""
        return statistics[0] / statistics[1]
