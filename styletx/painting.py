"""A painting as its pictures are measured against it, or matched with it, scale by scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from styletx import colors, images
from styletx.colors import Colors
from styletx.losses import gram_statistics, leading
from styletx.matching import Candidates, grid, hypercolumns, scales

KEPT = 12  # scales, more than any picture has


@dataclass(frozen=True, eq=False)
class Scale:
    """A painting at one scale.

    Attributes:
        grams: layer name to its `gram_statistics`.
        candidates: the places that a picture's are matched with; None without matching.
        scales: what each layer of a hypercolumn is divided by.
    """

    grams: Mapping[str, Tensor]
    candidates: Candidates | None
    scales: list[Tensor]


class Painting:
    """A painting, and what was found of it at each scale, kept from one picture to the next.

    Args:
        picture: as it was read.
        see: called with pixels on the device, returns layer name to activations.
        device: where `see` computes.
        style_layers: layers that carry style.
        matching_layers: layers of a hypercolumn; none for no matching.
        rotations: whether places are also those of the painting turned by 90, 180 and 270 degrees.
        style_size: long side in px at which it is seen for a whole picture; None goes by the picture's size.

    Attributes:
        pixels: of the part that is visible, `[1, 3, H, W]`.
        alpha: how much each of them is, `[1, 1, H, W]`; None if it is opaque.
        size: (H, W) of that part.
        see: as given.
        matching_layers: likewise.
    """

    def __init__(
        self,
        picture: images.Picture,
        see: Callable[[Tensor], Mapping[str, Tensor]],
        device: torch.device,
        style_layers: Mapping[str, float],
        matching_layers: tuple[str, ...],
        rotations: bool = False,
        style_size: int | None = None,
    ) -> None:
        seen = images.visible(picture)
        self.pixels, self.alpha = seen.pixels, seen.alpha
        self.size = (self.pixels.shape[-2], self.pixels.shape[-1])
        self.see = see
        self.style_size = style_size
        self.device = device
        self._style_layers = style_layers
        self.matching_layers = matching_layers
        self._turns = range(4 if rotations else 1)
        self._moved: tuple[int, Tensor] | None = None
        self._scales: dict[int, Scale] = {}

    @cached_property
    def colors(self) -> Colors:
        """Its colours."""
        return colors.colors(self._small, images.shares(self.alpha, self._small))

    def side(self, size: tuple[int, int], share: float = 1.0) -> int:
        """Its long side, in px, at a scale of a result of a size (H, W), of which that scale is a share.

        It shrinks with the scale, so that its strokes keep their size relative to the picture. It is as long as the
        result. One that is more than four times as thin is as large in area, so that there is as much of it to see;
        from twice as thin on, it gets there. It is not enlarged unless asked for: what it has no pixels for, it cannot
        show.
        """
        if self.style_size is not None:
            return max(1, round(self.style_size * share))
        thinner = max(self.size) / min(self.size) * min(size) / max(size)
        side = round(max(size) * max(1.0, min(thinner / 2, math.sqrt(thinner))))
        return max(1, min(max(self.size), round(side * share)))

    def at(self, long_side: int, largest: int) -> Scale:
        """What the painting is at one scale of a run.

        Args:
            long_side: of the painting at this scale, in px.
            largest: of the painting at the run's last scale.
        """
        if long_side not in self._scales:
            if self._moved is None or self._moved[0] != largest:
                # Made small before it is moved, and moved once for all scales.
                small = images.resize(self.pixels, images.fit(self.size, min(largest, max(self.size))))
                self._moved = largest, small.to(self.device)
            pixels = images.resize(self._moved[1], images.fit(self.size, long_side))
            features = self.see(pixels)
            grams = {
                layer: gram_statistics(features[layer], images.shares(self.alpha, features[layer]))
                for layer in self._style_layers
            }
            candidates, weights = None, list[Tensor]()
            if self.matching_layers:
                columns, shares = [], []
                for turn in self._turns:
                    turned = pixels.rot90(turn, (2, 3))
                    seen = self.see(turned) if turn else features
                    layers = [seen[layer] for layer in self.matching_layers]
                    size = grid((turned.shape[-2], turned.shape[-1]))
                    weights = weights or scales(layers)
                    columns.append(hypercolumns(layers, size, weights))
                    alpha = None if self.alpha is None else self.alpha.rot90(turn, (2, 3))
                    shares.append(images.shares(alpha, columns[-1]))
                candidates = Candidates.of(columns, shares)
            if len(self._scales) == KEPT:
                del self._scales[next(iter(self._scales))]
            self._scales[long_side] = Scale(grams, candidates, weights)
        return self._scales[long_side]

    @cached_property
    def lead(self) -> float:
        """How far its own shapes may lead; see `losses.leading`. A painting that is cut out is an object."""
        if self.alpha is not None:
            return 0.0
        features = self.see(self._small.to(self.device))
        return leading.lead(self._small, [features[layer] for layer in self.matching_layers])

    @cached_property
    def _small(self) -> Tensor:
        return leading.small(self.pixels)
