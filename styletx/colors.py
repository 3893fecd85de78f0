"""Colours of one picture moved to another's, as a whole."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Added to the variance of each channel, so that the noise of a grey or flat picture is not blown up into colours.
LEAST_VARIANCE = (2 / 255) ** 2


class Colors(NamedTuple):
    """How the colours of a picture are spread.

    Attributes:
        mean: `[3]`, float64 on the CPU.
        covariance: `[3, 3]`, likewise.
    """

    mean: Tensor
    covariance: Tensor


def colors(pixels: Tensor) -> Colors:
    """The colours of a picture `[1, 3, H, W]`."""
    values = pixels.detach().flatten(2)[0].float()
    mean = values.mean(1, keepdim=True)
    away = values - mean
    return Colors(mean[:, 0].cpu().double(), (away @ away.mT / values.shape[1]).cpu().double())


def transferred(pixels: Tensor, target: Colors) -> Tensor:
    """A picture with the mean and the covariance of another's colours.

    Of all linear maps that do so it moves the colours least: it is the Monge–Kantorovich map of Pitié & Kokaram
    (2007), "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer",
    doi:10.1049/cp:20070055. A grey target gives a grey picture.

    Args:
        pixels: `[1, 3, H, W]` in [0, 1].
        target: colours to take on.

    Returns:
        `[1, 3, H, W]` in [0, 1], float32.
    """
    own = colors(pixels)
    covariance = own.covariance + LEAST_VARIANCE * torch.eye(3, dtype=torch.float64)
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    matrix = inverse @ _power(root @ target.covariance @ root, 0.5) @ inverse
    shift = target.mean - matrix @ own.mean
    moved = torch.einsum("ij,bjhw->bihw", matrix.to(pixels.device, torch.float32), pixels.float())
    return moved.add_(shift.to(pixels.device, torch.float32).view(1, 3, 1, 1)).clamp_(0, 1)


def _power(matrix: Tensor, power: float) -> Tensor:
    """A power of a symmetric matrix whose eigenvalues are not negative."""
    values, vectors = torch.linalg.eigh(matrix)
    return torch.as_tensor(vectors * values.clamp_min(0).pow(power) @ vectors.mT)
