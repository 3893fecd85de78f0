"""A painting as its pictures are measured against it, or matched with it, scale by scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import colors, images
from styletx.colors import Colors
from styletx.losses import gram_statistics, leading
from styletx.matching import Candidates, grid, hypercolumns, scales
from styletx.regions import Regions, assigned, described

KEPT = 12  # scales, more than any picture has
REGIONS = 4  # of a painting and of a photograph, that are matched
PREFERENCE = 0.05  # what a likeness to a painting counts less, as a cosine, for each e-th of the largest share it has


@dataclass(frozen=True, eq=False)
class Scale:
    """A painting at one scale.

    Attributes:
        grams: layer name to its `gram_statistics`.
        candidates: the places that a picture's are matched with; None without matching.
        scales: what each layer of a hypercolumn is divided by.
        widths: channels of each of these layers.
    """

    grams: Mapping[str, Tensor]
    candidates: Candidates | None
    scales: list[Tensor]
    widths: list[int]


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
        stroke_size: how many times as wide as that its strokes are to be.
        has_regions: whether a picture's regions are matched with its own.

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
        stroke_size: float = 1.0,
        has_regions: bool = False,
    ) -> None:
        seen = images.visible(picture)
        self.pixels, self.alpha = seen.pixels, seen.alpha
        self.size = (self.pixels.shape[-2], self.pixels.shape[-1])
        self.see = see
        self.style_size, self.stroke_size = style_size, stroke_size
        self.device = device
        self._style_layers = style_layers
        self.matching_layers = matching_layers
        self._has_regions = has_regions and bool(matching_layers)
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
            return max(1, round(self.style_size * self.stroke_size * share))
        thinner = max(self.size) / min(self.size) * min(size) / max(size)
        side = round(max(size) * max(1.0, min(thinner / 2, math.sqrt(thinner))))
        largest = round(max(self.size) * max(1.0, self.stroke_size))
        return max(1, min(largest, round(side * self.stroke_size * share)))

    def scale(self, size: tuple[int, int], share: float) -> Scale:
        """What it is at a scale that is a share of a result of a size (H, W)."""
        return self.at(self.side(size, share), self.side(size))

    @cached_property
    def is_grey(self) -> bool:
        """Whether it shows no colour."""
        return colors.is_grey(self.pixels)

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
            candidates, weights, widths = None, list[Tensor](), list[int]()
            if self.matching_layers:
                columns, shares, inside = [], [], []
                for turn in self._turns:
                    turned = pixels.rot90(turn, (2, 3))
                    seen = self.see(turned) if turn else features
                    layers = [seen[layer] for layer in self.matching_layers]
                    size = grid((turned.shape[-2], turned.shape[-1]))
                    weights, widths = weights or scales(layers), [layer.shape[1] for layer in layers]
                    columns.append(hypercolumns(layers, size, weights))
                    alpha = None if self.alpha is None else self.alpha.rot90(turn, (2, 3))
                    shares.append(images.shares(alpha, columns[-1]))
                    if self._regions is not None:
                        inside.append(F.adaptive_avg_pool2d(self._regions.masks.rot90(turn, (2, 3)), size))
                candidates = Candidates.of(columns, shares, inside)
            if len(self._scales) == KEPT:
                del self._scales[next(iter(self._scales))]
            self._scales[long_side] = Scale(grams, candidates, weights, widths)
        return self._scales[long_side]

    def regions(self, photo: Tensor) -> Tensor | None:
        """How much of each part of a photograph belongs to each of its regions, `[1, K, h, w]`; None without regions.

        Args:
            photo: `[1, 3, H, W]`, in its colours.
        """
        if self._regions is None:
            return None
        found = described(photo, self.see, self.matching_layers, REGIONS)
        return assigned(found, self._regions)

    @cached_property
    def _regions(self) -> Regions | None:
        if not self._has_regions:
            return None
        return described(self.pixels.to(self.device), self.see, self.matching_layers, REGIONS)

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


class Mixture:
    """Several paintings as one: their statistics add up, and the places of all of them are matched.

    Args:
        paintings: on one device, with the same layers.
        shares: of each of them, more than 0; they add up to 1.
    """

    def __init__(self, paintings: Sequence[Painting], shares: Sequence[float]) -> None:
        self.paintings, self.shares = paintings, shares
        self.pixels = paintings[0].pixels
        self.is_grey = all(one.is_grey for one in paintings)
        self._scales: dict[tuple[int, ...], Scale] = {}

    @cached_property
    def colors(self) -> Colors:
        """Their colours, those of each as often as its share says."""
        found = [one.colors for one in self.paintings]
        mean = self._mixed([one.mean for one in found])
        spread = [one.covariance + torch.outer(one.mean - mean, one.mean - mean) for one in found]
        return Colors(mean, self._mixed(spread))

    @cached_property
    def lead(self) -> float:
        """How far their own shapes may lead, on average."""
        return sum(share * one.lead for one, share in zip(self.paintings, self.shares, strict=True))

    def scale(self, size: tuple[int, int], share: float) -> Scale:
        """As `Painting.scale`."""
        key = tuple(one.side(size, share) for one in self.paintings)
        if key not in self._scales:
            if len(self._scales) == KEPT:
                del self._scales[next(iter(self._scales))]
            self._scales[key] = self._together([one.scale(size, share) for one in self.paintings])
        return self._scales[key]

    def regions(self, photo: Tensor) -> Tensor | None:
        """As `Painting.regions`, those of one painting after another."""
        found = [here for one in self.paintings if (here := one.regions(photo)) is not None]
        return torch.cat(found, 1) if found else None

    def _together(self, parts: Sequence[Scale]) -> Scale:
        grams = {
            layer: self._mixed([one.grams[layer] / one.grams[layer][:, -1:, -1:] for one in parts])
            for layer in parts[0].grams
        }
        layers = zip(*(part.scales for part in parts), strict=True)
        weights = [self._mixed([one.square() for one in of_layer]).sqrt() for of_layer in layers]
        return Scale(grams, self._candidates(parts, weights), weights, parts[0].widths)

    def _candidates(self, parts: Sequence[Scale], weights: list[Tensor]) -> Candidates | None:
        found = [one.candidates for one in parts if one.candidates is not None]
        if not found:
            return None
        columns, shares, handicaps = [], [], []
        inside = [one.regions for one in found if one.regions is not None]
        for part, one, share in zip(parts, found, self.shares, strict=True):
            layers = zip(part.scales, weights, part.widths, strict=True)
            columns.append(one.columns * torch.cat([(own / mixed).expand(width) for own, mixed, width in layers]))
            here = one.columns[:, :1]
            shares.append(torch.ones_like(here) if one.shares is None else one.shares / one.shares.max())
            handicaps.append(torch.full_like(here[:, 0], PREFERENCE * math.log(max(self.shares) / share)))
        return Candidates(
            torch.cat(columns),
            sum((one.sizes for one in found), start=()),
            None if all(one.shares is None for one in found) else torch.cat(shares),
            torch.cat(handicaps),
            torch.block_diag(*inside) if inside else None,  # type: ignore[no-untyped-call]
        )

    def _mixed(self, values: Sequence[Tensor]) -> Tensor:
        return torch.stack([share * one for one, share in zip(values, self.shares, strict=True)]).sum(0)
