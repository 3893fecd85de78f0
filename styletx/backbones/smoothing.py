"""Smoothed activations, which let networks other than VGG carry style (Wang et al. 2021, arXiv:2104.05623)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# In root mean squares of a layer's activations. Wang et al. take the activations as they are, and if those are large,
# little but the largest is left after the softmax. In these units it does the same to any network.
TEMPERATURE = 3.0


def smooth(features: Tensor) -> Tensor:
    """Softmax over all channels and positions (Wang et al. 2021).

    In a residual network a few activations are far larger than all others, and they dominate a Gram matrix, which
    consists of products. A softmax bounds their lead, so the weak ones count as well.

    Args:
        features: `[B, C, H, W]`.

    Returns:
        The same shape, float32 or wider, positive, with a mean of 1 for each picture, whatever its size.
    """
    flat = features.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    scale = flat.square().mean(1, keepdim=True).clamp_min(1e-12).sqrt()
    return ((flat / (TEMPERATURE * scale)).softmax(1) * flat.shape[1]).view(features.shape)


class Smoothed(nn.Module):
    """A network that returns smoothed activations.

    Args:
        module: called with pixels, returns layer name to `[B, C, h, w]`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Smoothed activations of the layers asked for: layer name to `[B, C, h, w]`."""
        return {name: smooth(features) for name, features in self.module(pixels).items()}
