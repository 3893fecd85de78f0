"""Optimisers of pixels: each proposes a step from a picture and its gradient, and never makes the host wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 6_000_000  # values of a picture of which few steps are remembered
LARGE_HISTORY = 2
PART = 3 << 18  # values that are worked on at a time, so that nothing else takes as much memory as a picture


class LBFGS:
    """Limited-memory BFGS steps without a line search (Nocedal 1980).

    On losses near one, its steps are well scaled as they are, and a line search would spend evaluations on finding
    that out. `optimize` undoes a step that does go wrong.

    Args:
        axes: of colour, `[3, 3]`, symmetric, on the pixels' device: it steps as if pixels were measured in them. Where
            they are singular, no step leaves the colours that they reach. None for those of the channels.
        history: how many earlier steps it remembers, each two pictures large; of large pictures, it remembers few, in
            half precision.
        first: root mean square change of a pixel at the first step, when no curvature is known yet.
    """

    def __init__(self, axes: Tensor | None = None, history: int = 10, first: float = 0.02) -> None:
        self.axes, self.history, self.first = axes, history, first
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque()
        self.previous: tuple[Tensor, Tensor] | None = None
        self.scale = torch.tensor(0.0)

    def step(self, pixels: Tensor, gradient: Tensor) -> Tensor:
        """What to add to the picture `[B, C, H, W]`, whose gradient this is."""
        position, slope = _flat(pixels), _flat(gradient)
        if self.previous is None:
            squares = torch.stack([self._toned(slope[part]).square().sum() for part in _parts(slope)]).sum()
            self.scale = self.first / (squares / len(slope)).sqrt().clamp_min(1e-30)
        else:
            self._remember(position, slope, *self.previous)
        self.previous = position, slope

        direction = slope.clone()
        projections = []
        for moved, bent, inverse in reversed(self.pairs):
            projection = inverse * _dot(moved, direction)
            _add(direction, bent, -projection)
            projections.append(projection)
        # Steps in other axes are those of a search that begins with their square as the inverse of the curvature.
        for part in _parts(direction):
            direction[part] = self._toned(self._toned(direction[part])).mul(self.scale)
        for (moved, bent, inverse), projection in zip(self.pairs, reversed(projections), strict=True):
            _add(direction, moved, projection - inverse * _dot(bent, direction))
        return _unflat(direction.neg_(), pixels)

    def _remember(self, position: Tensor, slope: Tensor, earlier: Tensor, slope_earlier: Tensor) -> None:
        is_large = len(position) > LARGE
        while len(self.pairs) >= (min(self.history, LARGE_HISTORY) if is_large else self.history):
            self.pairs.popleft()
        moved, bent = (torch.empty_like(position, dtype=torch.bfloat16 if is_large else None) for _ in range(2))
        curvature = sharpness = position.new_zeros(())
        for part in _parts(position):
            step, change = position[part] - earlier[part], slope[part] - slope_earlier[part]
            seen = self._toned(change)
            curvature, sharpness = curvature + step.dot(change), sharpness + seen.dot(seen)
            moved[part], bent[part] = step, change
        usable = curvature > 1e-10 * sharpness
        # Pairs without positive curvature get weight zero: dropping them would make the host wait.
        self.pairs.append((moved, bent, torch.where(usable, 1 / curvature, 0)))
        self.scale = torch.where(usable, curvature / sharpness, self.scale)

    def _toned(self, values: Tensor) -> Tensor:
        """Flat pixels in the axes."""
        return values if self.axes is None else (values.view(-1, 3) @ self.axes.to(values)).flatten()


class Adam:
    """Adam steps (Kingma & Ba 2015).

    Args:
        axes: as for `LBFGS`.
        rate: size of a step, in units of pixel values.
    """

    def __init__(self, axes: Tensor | None = None, rate: float = 0.03) -> None:
        self.axes, self.rate = axes, rate
        self.count = 0
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None

    def step(self, pixels: Tensor, gradient: Tensor) -> Tensor:
        """What to add to the picture `[B, C, H, W]`, whose gradient this is."""
        gradient = toned(gradient, self.axes)
        self.count += 1
        if self.mean is None or self.variance is None:
            self.mean, self.variance = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.mean.lerp_(gradient, 0.1)
        self.variance.lerp_(gradient.square(), 0.01)
        mean = self.mean / (1 - 0.9**self.count)
        deviation = (self.variance / (1 - 0.99**self.count)).sqrt_()
        return toned(mean.div_(deviation.add_(1e-12)).mul_(-self.rate), self.axes)


def toned(pixels: Tensor, axes: Tensor | None) -> Tensor:
    """Each colour of `[B, 3, H, W]` multiplied by a matrix `[3, 3]`; with None, as they are."""
    return pixels if axes is None else F.conv2d(pixels, axes.to(pixels).view(3, 3, 1, 1))


OPTIMIZERS: dict[str, type[LBFGS | Adam]] = {"lbfgs": LBFGS, "adam": Adam}


def _parts(values: Tensor) -> Iterator[slice]:
    return (slice(start, start + PART) for start in range(0, len(values), PART))


def _dot(kept: Tensor, values: Tensor) -> Tensor:
    return torch.stack([kept[part].to(values).dot(values[part]) for part in _parts(values)]).sum()


def _add(values: Tensor, kept: Tensor, factor: Tensor) -> None:
    for part in _parts(values):
        values[part].addcmul_(kept[part].to(values), factor)


def _flat(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 2, 3, 1).reshape(-1)


def _unflat(vector: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return vector.view(batch, height, width, channels).permute(0, 3, 1, 2)
