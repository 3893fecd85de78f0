"""Optimisers of pixels: each proposes a step from a picture and its gradient, and never makes the host wait."""

from __future__ import annotations

from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 6_000_000  # values of a picture of which few steps are remembered
LARGE_HISTORY = 2


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
            self.scale = self.first / toned(gradient, self.axes).square().mean().sqrt().clamp_min(1e-30)
        else:
            self._remember(position - self.previous[0], slope - self.previous[1], pixels)
        self.previous = position, slope

        direction = slope.clone()
        projections = []
        for moved, bent, inverse in reversed(self.pairs):
            projection = inverse * moved.to(slope).dot(direction)
            direction.addcmul_(bent.to(slope), projection, value=-1)
            projections.append(projection)
        # Steps in other axes are those of a search that begins with their square as the inverse of the curvature.
        direction = _flat(toned(toned(_unflat(direction, pixels), self.axes), self.axes)).mul_(self.scale)
        for (moved, bent, inverse), projection in zip(self.pairs, reversed(projections), strict=True):
            direction.addcmul_(moved.to(slope), projection - inverse * bent.to(slope).dot(direction))
        return _unflat(direction.neg_(), pixels)

    def _remember(self, moved: Tensor, bent: Tensor, like: Tensor) -> None:
        curvature = moved.dot(bent)
        seen = _flat(toned(_unflat(bent, like), self.axes))
        sharpness = seen.dot(seen)
        usable = curvature > 1e-10 * sharpness
        is_large = moved.numel() > LARGE
        while len(self.pairs) >= (min(self.history, LARGE_HISTORY) if is_large else self.history):
            self.pairs.popleft()
        kept = torch.bfloat16 if is_large else moved.dtype
        # Pairs without positive curvature get weight zero: dropping them would make the host wait.
        self.pairs.append((moved.to(kept), bent.to(kept), torch.where(usable, 1 / curvature, 0)))
        self.scale = torch.where(usable, curvature / sharpness, self.scale)


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


def _flat(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 2, 3, 1).reshape(-1)


def _unflat(vector: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return vector.view(batch, height, width, channels).permute(0, 3, 1, 2)
