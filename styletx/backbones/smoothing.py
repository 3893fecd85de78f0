"""Smoothed activations, with which networks other than VGG carry style too (Wang et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Root mean squares of a layer's activations. Wang et al. take the activations as they are, which for a network whose
# activations are large leaves little but the largest of them; so measured, the softmax does the same to any network.
TEMPERATURE = 3.0


def smooth(features: Tensor) -> Tensor:
    """Softmax over all channels and positions (Wang et al. 2021).

    In a residual network a few activations lie far above all others, and a Gram matrix, made of products, is then about
    those few. After a softmax, what they are more than the others is bounded, and the weak ones count too.

    Args:
        features: `[B, C, H, W]`.

    Returns:
        The same shape, float32 or wider, positive; the mean of each picture's is 1, whatever its size.
    """
    flat = features.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    scale = flat.square().mean(1, keepdim=True).clamp_min(1e-12).sqrt()
    return ((flat / (TEMPERATURE * scale)).softmax(1) * flat.shape[1]).view(features.shape)


class Smoothed(nn.Module):
    """A network whose activations are smoothed before anything is measured by them.

    Args:
        module: called with pixels, returns layer name to `[B, C, h, w]`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Smoothed activations of the layers asked for: layer name to `[B, C, h, w]`."""
        return {name: smooth(features) for name, features in self.module(pixels).items()}
