"""Regions of a photograph, found without any mask: places that a network sees alike, of like colours, side by side.

Hypercolumns, colours and places are clustered by k-means, the clusters are smoothed, and their edges moved to the
photograph's by a guided filter (He et al. 2013, doi:10.1109/TPAMI.2012.213).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import colors, images
from styletx.matching import grid, hypercolumns, scales

WORK, QUICK = 384, 256  # px of the long side on which regions are sought
COMPONENTS = 24  # of hypercolumns; the rest are textures that differ within a region
SEEN, COLOR, DOWN, RIGHT = 0.4, 0.8, 0.5, 0.15  # what a hypercolumn's component, a colour and a place count
AROUND = 3  # positions on each side that are seen and smoothed together
SMOOTHING = 1.5  # what another region around a position costs, in mean squared distances to a region
SMOOTHINGS, ROUNDS, TRIES = 3, 20, 6  # of smoothing, and of k-means, and how often that begins
HEIGHT = 0.3  # what the whole height of a picture between two regions counts less in their likeness, half of it
GUIDED, EVEN = 8, 3e-4  # px on each side and variance of light, from which a filter keeps edges


class Regions(NamedTuple):
    """Regions of a picture, and what tells them from one another.

    Attributes:
        masks: `[1, K, h, w]` from 0 to 1.
        seen: the mean direction of a hypercolumn in each, from the picture's mean, `[K, D]`.
        colors: the mean colour, in OKLab, `[K, 3]`.
        down: the mean place, from -1 at the top to 1 at the bottom, `[K]`.
    """

    masks: Tensor
    seen: Tensor
    colors: Tensor
    down: Tensor


@torch.no_grad()
def described(
    picture: Tensor, see: Callable[[Tensor], Mapping[str, Tensor]], layers: Sequence[str], count: int
) -> Regions:
    """Regions as `found`, quicker and without their exact edges, and what tells them from one another."""
    small = _small(picture, QUICK)
    masks, columns, lab = _clustered(small, see, layers, count)
    shares = masks[0].flatten(1)
    shares = shares / shares.sum(1, keepdim=True)
    height, width = masks.shape[-2:]
    down = torch.linspace(-1, 1, height, device=shares.device).repeat_interleave(width)
    return Regions(masks, F.normalize(shares @ columns, dim=1), shares @ lab, shares @ down)


def assigned(regions: Regions, others: Regions) -> Tensor:
    """How much of each part of a picture belongs to regions of another one, `[1, K, h, w]`.

    Each of its regions goes to the one that is most like it: in what a network sees, in colour and in height.
    """
    likeness = regions.seen @ others.seen.mT - torch.cdist(regions.colors, others.colors)
    likeness -= HEIGHT * (regions.down.unsqueeze(1) - others.down).abs()
    to = F.one_hot(likeness.argmax(1), len(others.down)).to(regions.masks)
    return torch.einsum("bihw,ij->bjhw", regions.masks, to)


@torch.no_grad()
def found(
    photo: Tensor, see: Callable[[Tensor], Mapping[str, Tensor]], layers: Sequence[str], count: int
) -> list[Tensor]:
    """The regions of a photograph.

    Args:
        photo: `[1, 3, H, W]` in [0, 1].
        see: called with pixels, returns a network's activations.
        layers: whose hypercolumns tell regions apart.
        count: of regions, from 2.

    Returns:
        A mask of each, `[1, 1, h, w]` from 0 to 1, the largest first; they add up to 1. Fewer, if not so many differ.
    """
    small = _small(photo, WORK)
    masks, _, _ = _clustered(small, see, layers, count)
    shares = _guided(F.interpolate(masks, size=small.shape[-2:], mode="bilinear"), colors.light(small))
    shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-6)
    order = shares.mean((0, 2, 3)).argsort(descending=True)
    return [shares[:, one : one + 1] for one in order.tolist() if float(shares[:, one].max()) > 0.5]


def _small(picture: Tensor, side: int) -> Tensor:
    size = (picture.shape[-2], picture.shape[-1])
    return images.resize(picture, images.fit(size, min(side, max(size))))


def _clustered(
    small: Tensor, see: Callable[[Tensor], Mapping[str, Tensor]], layers: Sequence[str], count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth regions of a grid, `[1, K, h, w]` of 0 and 1, none of them empty, and its positions' `_looks`."""
    columns, lab = _looks(small, see, layers)
    height, width = grid((small.shape[-2], small.shape[-1]))
    points = _points(columns, lab, (height, width))
    distances = torch.cdist(points, _centres(points, count)).square().mT.view(1, -1, height, width)
    for _ in range(SMOOTHINGS):
        distances = distances + SMOOTHING * distances.mean() * (1 - images.box_blur(_chosen(distances), AROUND))
    chosen = _chosen(distances)
    return chosen[:, chosen.flatten(2).any(2)[0]], columns, lab


def _looks(
    small: Tensor, see: Callable[[Tensor], Mapping[str, Tensor]], layers: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """The direction of each position's hypercolumn from the mean, `[N, D]`, and its colour in OKLab, `[N, 3]`."""
    size = grid((small.shape[-2], small.shape[-1]))
    features = see(small)
    layered = [features[layer] for layer in layers]
    columns = images.box_blur(hypercolumns(layered, size, scales(layered)), AROUND)[0].flatten(1).mT
    lab = colors.oklab(images.resize(small, size))[0].flatten(1).mT
    return F.normalize(columns - columns.mean(0), dim=1), lab


def _points(columns: Tensor, lab: Tensor, size: tuple[int, int]) -> Tensor:
    """What tells positions of a grid of a size (h, w) apart, `[N, D]`."""
    # On the CPU: a small matrix, and not every device can.
    _, vectors = torch.linalg.eigh((columns.mT @ columns).cpu().double())
    seen = columns @ torch.as_tensor(vectors[:, -COMPONENTS:]).to(columns)
    down, right = torch.meshgrid(*(torch.linspace(-1, 1, extent) for extent in size), indexing="ij")
    places = torch.stack([DOWN * down.flatten(), RIGHT * right.flatten()], 1).to(seen)
    return torch.cat([_even(seen, SEEN), _even(lab, COLOR), places], 1)


def _even(values: Tensor, deviation: float) -> Tensor:
    away = values - values.mean(0)
    return deviation * away / away.std().clamp_min(1e-6)


def _centres(points: Tensor, count: int) -> Tensor:
    """By k-means, begun several times as k-means++ does (Arthur & Vassilvitskii 2007); the tightest clusters count."""
    generator = torch.Generator().manual_seed(0)
    tries = [_tried(points, count, generator) for _ in range(TRIES)]
    return min(tries, key=lambda centres: float(torch.cdist(points, centres).amin(1).square().sum()))


def _tried(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    centres = points[torch.randint(len(points), (1,), generator=generator)]
    while len(centres) < count:
        away = torch.cdist(points, centres).amin(1).square().cpu() + 1e-9
        centres = torch.cat([centres, points[torch.multinomial(away, 1, generator=generator)]])
    for _ in range(ROUNDS):
        label = F.one_hot(torch.cdist(points, centres).argmin(1), count).to(points)
        numbers = label.sum(0).unsqueeze(1)
        centres = torch.where(numbers > 0, label.mT @ points / numbers.clamp_min(1), centres)
    return centres


def _chosen(distances: Tensor) -> Tensor:
    """1 for the nearest of the regions at each position and 0 for the others, `[1, count, h, w]`."""
    return F.one_hot(distances.argmin(1), distances.shape[1]).permute(0, 3, 1, 2).to(distances)


def _guided(shares: Tensor, light: Tensor) -> Tensor:
    mean, means, products, squares = (
        images.box_blur(one, GUIDED) for one in (light, shares, light * shares, light.square())
    )
    slope = (products - mean * means) / (squares - mean.square() + EVEN)
    base = means - slope * mean
    return (images.box_blur(slope, GUIDED) * light + images.box_blur(base, GUIDED)).clamp(0, 1)
