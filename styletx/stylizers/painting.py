"""A painting as the optimisation sees it: what its pictures are measured against, scale by scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from styletx import colors, images
from styletx.colors import Colors
from styletx.losses import gram_statistics, leading
from styletx.matching import Candidates, grid, hypercolumns, scales


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
    """

    def __init__(
        self,
        picture: images.Picture,
        see: Callable[[Tensor], Mapping[str, Tensor]],
        device: torch.device,
        style_layers: Mapping[str, float],
        matching_layers: tuple[str, ...],
        rotations: bool = False,
    ) -> None:
        seen = images.visible(picture)
        self.pixels, self.alpha = seen.pixels, seen.alpha
        self.size = (self.pixels.shape[-2], self.pixels.shape[-1])
        self._see = see
        self.device = device
        self._style_layers = style_layers
        self._matching_layers = matching_layers
        self._turns = range(4 if rotations else 1)
        self._moved: tuple[int, Tensor] | None = None
        self._scales: dict[int, Scale] = {}

    @cached_property
    def colors(self) -> Colors:
        """Its colours."""
        return colors.colors(self._small, images.shares(self.alpha, self._small))

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
            features = self._see(pixels)
            grams = {
                layer: gram_statistics(features[layer], images.shares(self.alpha, features[layer]))
                for layer in self._style_layers
            }
            candidates, weights = None, list[Tensor]()
            if self._matching_layers:
                columns, shares = [], []
                for turn in self._turns:
                    turned = pixels.rot90(turn, (2, 3))
                    seen = self._see(turned) if turn else features
                    layers = [seen[layer] for layer in self._matching_layers]
                    size = grid((turned.shape[-2], turned.shape[-1]))
                    weights = weights or scales(layers)
                    columns.append(hypercolumns(layers, size, weights))
                    alpha = None if self.alpha is None else self.alpha.rot90(turn, (2, 3))
                    shares.append(images.shares(alpha, columns[-1]))
                candidates = Candidates.of(columns, shares)
            self._scales[long_side] = Scale(grams, candidates, weights)
        return self._scales[long_side]

    @cached_property
    def lead(self) -> float:
        """How far its own shapes may lead; see `losses.leading`. A painting that is cut out is an object."""
        if self.alpha is not None:
            return 0.0
        features = self._see(self._small.to(self.device))
        return leading.lead(self._small, [features[layer] for layer in self._matching_layers])

    @cached_property
    def _small(self) -> Tensor:
        return leading.small(self.pixels)
