"""Smoothed activations, with which networks other than VGG carry style too (Wang et al. 2021)."""

from __future__ import annotations

from torch import Tensor, nn


def smooth(features: Tensor) -> Tensor:
    """Softmax over all channels and positions (Wang et al. 2021, equation 8).

    In a residual network a few channels carry activations far above all others, and a Gram matrix, made of products,
    is then about those few. The softmax of values near one is nearly the same for all; what stands out beyond that is
    no more than one activation's share.

    Args:
        features: `[B, C, H, W]`.

    Returns:
        The same shape, float32 or wider, positive; the mean of a picture is 1, so that it depends on no size.
    """
    flat = features.flatten(1)
    flat = flat if flat.element_size() == 8 else flat.float()
    return (flat.softmax(1) * flat.shape[1]).view(features.shape)


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
