"""Regions of a photograph, found without any mask: places that a network sees alike, of like colours, side by side.

Hypercolumns, colours and places are clustered by k-means, the clusters are smoothed, and their edges moved to the
photograph's by a guided filter (He et al. 2013, doi:10.1109/TPAMI.2012.213).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import colors, images
from styletx.matching import grid, hypercolumns, scales

WORK = 384  # px of the long side on which regions are sought
COMPONENTS = 24  # of hypercolumns; the rest are textures that differ within a region
SEEN, COLOR, DOWN, RIGHT = 0.4, 0.8, 0.5, 0.15  # what a hypercolumn's component, a colour and a place count
AROUND = 3  # positions on each side that are seen and smoothed together
SMOOTHING = 1.5  # what another region around a position costs, in mean squared distances to a region
SMOOTHINGS, ROUNDS, TRIES = 3, 20, 6  # of smoothing, and of k-means, and how often that begins
GUIDED, EVEN = 8, 3e-4  # px on each side and variance of light, from which a filter keeps edges


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
    size = (photo.shape[-2], photo.shape[-1])
    small = images.resize(photo, images.fit(size, min(WORK, max(size))))
    points = _points(small, see, layers)
    height, width = grid((small.shape[-2], small.shape[-1]))
    centres = _centres(points, count)
    distances = torch.cdist(points, centres).square().mT.view(1, -1, height, width)
    for _ in range(SMOOTHINGS):
        distances = distances + SMOOTHING * distances.mean() * (1 - images.box_blur(_chosen(distances), AROUND))
    shares = F.interpolate(_chosen(distances), size=small.shape[-2:], mode="bilinear")
    shares = _guided(shares, colors.light(small))
    shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-6)
    order = shares.mean((0, 2, 3)).argsort(descending=True)
    return [shares[:, one : one + 1] for one in order.tolist() if float(shares[:, one].max()) > 0.5]


def _points(small: Tensor, see: Callable[[Tensor], Mapping[str, Tensor]], layers: Sequence[str]) -> Tensor:
    """What tells positions apart, `[N, D]`."""
    size = grid((small.shape[-2], small.shape[-1]))
    features = see(small)
    layered = [features[layer] for layer in layers]
    columns = images.box_blur(hypercolumns(layered, size, scales(layered)), AROUND)[0].flatten(1).mT
    columns = F.normalize(columns - columns.mean(0), dim=1)
    # On the CPU: a small matrix, and not every device can.
    _, vectors = torch.linalg.eigh((columns.mT @ columns).cpu().double())
    seen = columns @ torch.as_tensor(vectors[:, -COMPONENTS:]).to(columns)
    lab = colors.oklab(images.resize(small, size))[0].flatten(1).mT
    down, right = torch.meshgrid(*(torch.linspace(-1, 1, extent) for extent in size), indexing="ij")
    places = torch.stack([DOWN * down.flatten(), RIGHT * right.flatten()], 1).to(seen)
    return torch.cat([_even(seen, SEEN), _even(lab, COLOR), places], 1)


def _even(values: Tensor, deviation: float) -> Tensor:
    away = values - values.mean(0)
    return deviation * away / away.std().clamp_min(1e-6)


def _centres(points: Tensor, count: int) -> Tensor:
    """By k-means, begun several times as k-means++ does (Arthur & Vassilvitskii 2007); the tightest clusters count."""
    generator = torch.Generator().manual_seed(0)
    tries = [_clustered(points, count, generator) for _ in range(TRIES)]
    return min(tries, key=lambda centres: float(torch.cdist(points, centres).amin(1).square().sum()))


def _clustered(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
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
