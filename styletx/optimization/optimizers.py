"""Optimisers of pixels: each proposes a step from a picture and its gradient, and never makes the host wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


class LBFGS:
    """Limited-memory BFGS steps without a line search (Nocedal 1980).

    On losses near one, its steps are well scaled as they are, and a line search would spend evaluations on finding
    that out. `optimize` undoes a step that does go wrong.

    Args:
        history: how many earlier steps it remembers, each two pictures large.
        first: root mean square change of a pixel at the first step, when no curvature is known yet.
    """

    def __init__(self, history: int = 10, first: float = 0.02) -> None:
        self.first = first
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
        self.previous: tuple[Tensor, Tensor] | None = None
        self.scale = torch.tensor(0.0)

    def step(self, pixels: Tensor, gradient: Tensor) -> Tensor:
        """What to add to the picture `[B, C, H, W]`, whose gradient this is."""
        position, slope = _flat(pixels), _flat(gradient)
        if self.previous is None:
            self.scale = self.first / slope.square().mean().sqrt().clamp_min(1e-30)
        else:
            self._remember(position - self.previous[0], slope - self.previous[1])
        self.previous = position, slope

        direction = slope.clone()
        projections = []
        for moved, bent, inverse in reversed(self.pairs):
            projection = inverse * moved.dot(direction)
            direction.addcmul_(bent, projection, value=-1)
            projections.append(projection)
        direction.mul_(self.scale)
        for (moved, bent, inverse), projection in zip(self.pairs, reversed(projections), strict=True):
            direction.addcmul_(moved, projection - inverse * bent.dot(direction))
        return _unflat(direction.neg_(), pixels)

    def _remember(self, moved: Tensor, bent: Tensor) -> None:
        curvature = moved.dot(bent)
        sharpness = bent.dot(bent)
        usable = curvature > 1e-10 * sharpness
        # Pairs without positive curvature get weight zero: dropping them would make the host wait.
        self.pairs.append((moved, bent, torch.where(usable, 1 / curvature, 0)))
        self.scale = torch.where(usable, curvature / sharpness, self.scale)


class Adam:
    """Adam steps (Kingma & Ba 2015).

    Args:
        rate: size of a step, in units of pixel values.
    """

    def __init__(self, rate: float = 0.03) -> None:
        self.rate = rate
        self.count = 0
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None

    def step(self, pixels: Tensor, gradient: Tensor) -> Tensor:
        """What to add to the picture `[B, C, H, W]`, whose gradient this is."""
        self.count += 1
        if self.mean is None or self.variance is None:
            self.mean, self.variance = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.mean.lerp_(gradient, 0.1)
        self.variance.lerp_(gradient.square(), 0.01)
        mean = self.mean / (1 - 0.9**self.count)
        deviation = (self.variance / (1 - 0.99**self.count)).sqrt_()
        return mean.div_(deviation.add_(1e-12)).mul_(-self.rate)


class Toned:
    """Steps of an optimiser that sees the pixels in other axes of colour.

    Args:
        method: the optimiser.
        axes: what its steps are multiplied by, `[3, 3]`, symmetric, on the pixels' device. Where they are singular, no
            step leaves the colours that they reach.
        inverse: their pseudo-inverse, likewise.
    """

    def __init__(self, method: LBFGS | Adam, axes: Tensor, inverse: Tensor) -> None:
        self.method, self.axes, self.inverse = method, axes, inverse

    def step(self, pixels: Tensor, gradient: Tensor) -> Tensor:
        """What to add to the picture `[B, 3, H, W]`, whose gradient this is."""
        return toned(self.method.step(toned(pixels, self.inverse), toned(gradient, self.axes)), self.axes)


def toned(pixels: Tensor, axes: Tensor) -> Tensor:
    """Each colour of `[B, 3, H, W]` multiplied by a matrix `[3, 3]`."""
    return F.conv2d(pixels, axes.to(pixels).view(3, 3, 1, 1))


OPTIMIZERS: dict[str, Callable[[], LBFGS | Adam]] = {"lbfgs": LBFGS, "adam": Adam}


def optimizer_in(axes: Tensor | None, pixels: Tensor, name: str) -> Callable[[], LBFGS | Adam | Toned]:
    """What makes an optimiser of `OPTIMIZERS` in axes of colour, if there are any, for pixels like these."""
    if axes is None:
        return OPTIMIZERS[name]
    here, inverse = axes.to(pixels), torch.linalg.pinv(axes).to(pixels)
    return lambda: Toned(OPTIMIZERS[name](), here, inverse)


def _flat(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 2, 3, 1).reshape(-1)


def _unflat(vector: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return vector.view(batch, height, width, channels).permute(0, 3, 1, 2)
