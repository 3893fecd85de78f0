"""Style as what belongs where: each place looks like the place of the painting that was matched with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from styletx.losses.terms import PIXELS, Part, Placed, wide
from styletx.matching import TINY, Models, cells, resampled


class Matching:
    """Mean cosine distance of each position's hypercolumn to its model in the painting (Kolkin et al. 2022).

    Args:
        layers: that make up a hypercolumn.
        models: the directions of each position's model, on the grid of a quarter of the picture's size.
        mean: the painting's mean hypercolumn, `[D]`, by which the picture's are centred, too.
        scales: what each layer is divided by.
    """

    def __init__(self, layers: Sequence[str], models: Models, mean: Tensor, scales: Sequence[Tensor]) -> None:
        self.layers, self.models = tuple(layers), models
        self.size = (models.places.shape[0], models.places.shape[1])
        self.means = torch.split(mean.view(1, -1, 1, 1), [table.shape[1] for table in models.tables], 1)
        self.gains = [1 / scale for scale in scales]

    def statistics(self, part: Part) -> Placed:
        """What layers add to each position's product with its model and to its squared length, `[2, B, h, w]`."""
        rows, columns = cells(part.places[PIXELS])
        found: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            if layer in part.features:
                models = self.models.cut(index, rows, columns)
                seen = resampled(part.features[layer], (models.shape[-2], models.shape[-1]))
                found.append(_Likeness.apply(seen, models, self.means[index], self.gains[index], part.is_known))
        return Placed(sum(found[1:], found[0]), rows, columns, self.size)

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 where each position points where its model does, 1 where it has nothing of it, 2 opposite."""
        products, squares = statistics
        distances: Tensor = 1 - products / squares.clamp_min(TINY**2).sqrt()
        return distances.mean()


class _Likeness(torch.autograd.Function):
    """Products with models, and squared lengths, of a layer's activations `[B, C, h, w]` from their mean.

    In the network's own dtype, which the gradient has to have anyway, and in a fraction of autograd's passes.
    """

    @staticmethod
    def forward(ctx: Any, seen: Tensor, models: Tensor, mean: Tensor, gain: Tensor, is_known: bool) -> Tensor:
        away = torch.addcmul(-mean.to(seen.dtype), seen, gain)
        ctx.save_for_backward(away, models, gain)
        if is_known:
            return wide(away[:, 0].expand(2, -1, -1, -1))
        return torch.stack([wide((away * models).sum(1)), wide((away * away).sum(1))])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        away, models, gain = ctx.saved_tensors
        of_products, of_squares = (gain * gradient).to(away.dtype).unsqueeze(2)
        return (models * of_products).addcmul_(away, of_squares, value=2), None, None, None, None
