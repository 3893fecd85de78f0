"""A painting as the optimisation sees it: what its pictures are measured against, scale by scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from styletx import colors, images
from styletx.colors import Colors
from styletx.losses import gram_statistics, moments, relative_distance
from styletx.matching import Candidates, grid, hypercolumns, scales

SMALL = 256  # long side in px at which a painting is looked at as a whole
PARTS = 3  # across and down, whose statistics are compared with the whole's
TONES = 8  # of each colour channel, that colours are counted by
# A painting leads where its parts are alike and its colours are many. Between these figures it leads a little.
SPREAD = (0.30, 0.24)
ENTROPY = (3.3, 3.6)


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
        """How far, from 0 to 1, the painting's own shapes may lead at the coarsest scale, before anything is matched.

        A painting whose strokes are everywhere alike fills empty skies with its shapes. One of empty paper or of a few
        large objects would put those objects into the sky. One that is cut out is an object.
        """
        if self.alpha is not None:
            return 0.0
        features = self._see(self._small.to(self.device))
        spreads = torch.stack([_spread(features[layer]) for layer in self._matching_layers])
        return _ramp(float(spreads.mean()), *SPREAD) * _ramp(_entropy(self._small), *ENTROPY)

    @cached_property
    def _small(self) -> Tensor:
        return images.resize(self.pixels, images.fit(self.size, min(SMALL, max(self.size))))


def _spread(features: Tensor) -> Tensor:
    """Mean relative distance of the Gram matrices of parts of a layer from the whole's."""
    whole = moments(gram_statistics(features)).gram
    rows = features.tensor_split(PARTS, dim=2)
    parts = [part for row in rows for part in row.tensor_split(PARTS, dim=3) if part.numel()]
    distances = [relative_distance(moments(gram_statistics(part)).gram, whole) for part in parts]
    return torch.stack(distances).mean()


def _entropy(pixels: Tensor) -> float:
    """Entropy in nats of a picture's colours, counted by `TONES` tones of each channel."""
    tones = (pixels[0] * TONES).long().clamp_max(TONES - 1)
    counts = torch.bincount((tones[0] * TONES**2 + tones[1] * TONES + tones[2]).flatten()).double()
    shares = counts[counts > 0] / counts.sum()
    return -float((shares * shares.log()).sum())


def _ramp(value: float, zero: float, one: float) -> float:
    """0 at and beyond `zero`, 1 at and beyond `one`, and straight between."""
    return min(1.0, max(0.0, (value - zero) / (one - zero))) if math.isfinite(value) else 0.0
