"""Content as a layer's activations, place by place (Gatys et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from styletx.losses.gram import TINY
from styletx.losses.terms import Part, whole, wide

ROWS = 64  # of a target that are made wide at a time


class Content:
    """Relative squared distance of a layer's activations to a photograph's (Gatys et al. 2016, equation 1).

    Args:
        layer: whose.
        target: the photograph's activations, `[1, C, h, w]` or `[B, C, h, w]`.
    """

    def __init__(self, layer: str, target: Tensor) -> None:
        self.layers = (layer,)
        self.target = target
        # Row by row, so that a large target in half precision is not made wide as a whole.
        sums = torch.stack([wide(rows).square().sum() for rows in torch.split(target, ROWS, 2)]).sum()
        self.size = (sums / target[:, 0].numel()).clamp_min(TINY)

    def statistics(self, part: Part) -> Tensor:
        """Sum of the positions' squared distances, and their number, `[2]`."""
        (layer,) = self.layers
        features = wide(part.features[layer])
        rows, columns = part.places[layer]
        distances = (features - self.target[..., rows, columns]).square().sum()
        return torch.stack([distances, distances.new_full((), features[:, 0].numel())])

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 at the target, 1 for activations of zero."""
        return statistics[0] / (statistics[1] * self.size)


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """`Content`'s loss as a function, of activations `[B, C, h, w]` and their target; a scalar."""
    term = Content("", target)
    return term.loss(term.statistics(whole({"": features})))
