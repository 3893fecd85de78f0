"""What a picture is measured by: content, style and smoothness.

Each loss is relative to its target, so it has no unit: one weight means the same at any picture size, on any
layer and on any network, and the optimiser sees numbers near one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Guards the division when a target is all zero, such as the features of a black picture.
TINY = 1e-12


class _Gram(torch.autograd.Function):
    """Gram matrix whose backward pass is one product; autograd's own for `F.T @ F` takes two."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        rows = features.permute(0, 2, 3, 1).flatten(1, 2)
        ctx.save_for_backward(rows)
        ctx.shape = features.shape
        rows = _wide(rows)
        gram: Tensor = rows.mT @ rows / rows.shape[1]
        return gram

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (rows,) = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        symmetric = ((gradient + gradient.mT) / rows.shape[1]).to(rows.dtype)
        bent: Tensor = (rows @ symmetric).view(batch, height, width, channels)
        return bent.permute(0, 3, 1, 2)


def gram_matrix(features: Tensor) -> Tensor:
    """Which channels are active together, wherever in the picture (Gatys et al. 2016, equation 3).

    Args:
        features: `[B, C, H, W]`, any float dtype.

    Returns:
        `[B, C, C]`, float32 or wider: products of all pairs of channels, averaged over positions, so that it does not
        depend on the picture's size.
    """
    gram: Tensor = _Gram.apply(features)
    return gram


def relative_distance(value: Tensor, target: Tensor) -> Tensor:
    """‖value − target‖² / ‖target‖², a scalar; 0 where they are equal, 1 for a value of zero.

    Args:
        value: any shape.
        target: the same shape, or one that broadcasts to it.
    """
    value, target = _wide(value), _wide(target)
    size = target.square().sum() * (value.numel() / target.numel())
    return (value - target).square().sum() / size.clamp_min(TINY)


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Relative squared distance of a layer's activations `[B, C, H, W]`; a scalar (Gatys et al. 2016, equation 1)."""
    return relative_distance(features, target)


def style_loss(features: Tensor, target: Tensor) -> Tensor:
    """Relative squared distance of a layer's Gram matrix to a target's; a scalar (Gatys et al. 2016, equation 4).

    Args:
        features: `[B, C, H, W]`.
        target: Gram matrix, `[1, C, C]` or `[B, C, C]`.
    """
    return relative_distance(gram_matrix(features), target)


def total_variation_loss(pixels: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, a scalar (Mahendran & Vedaldi 2015, with β = 2).

    Args:
        pixels: `[B, C, H, W]` in [0, 1].
    """
    across = (pixels[..., :, 1:] - pixels[..., :, :-1]).square().mean()
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).square().mean()
    return across + down


class PerceptualLoss(nn.Module):
    """The objective of Gatys et al. (2016): how far a picture is from one picture's content and another's style.

    Args:
        network: called with pixels `[B, 3, H, W]`, returns the activations of at least the layers named below.
        content_targets: layer name to the content picture's activations `[1, C, h, w]`.
        style_targets: layer name to the style picture's Gram matrix `[1, C, C]`.
        content_weight: of the content loss.
        style_weight: of the style loss.
        tv_weight: of the total variation loss.
        content_layers: layer name to its share of the content loss; only the proportions matter. None: all alike.
        style_layers: layer name to its share of the style loss, likewise.
    """

    def __init__(
        self,
        network: nn.Module,
        content_targets: Mapping[str, Tensor],
        style_targets: Mapping[str, Tensor],
        *,
        content_weight: float,
        style_weight: float,
        tv_weight: float = 0.0,
        content_layers: Mapping[str, float] | None = None,
        style_layers: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.content_targets = content_targets
        self.style_targets = style_targets
        self.content_shares = _shares(content_layers or dict.fromkeys(content_targets, 1.0))
        self.style_shares = _shares(style_layers or dict.fromkeys(style_targets, 1.0))
        weights = _shares({"content": content_weight, "style": style_weight, "tv": tv_weight})
        self.content_weight, self.style_weight, self.tv_weight = weights.values()

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """The losses of a picture.

        Args:
            pixels: `[B, 3, H, W]`, of the content's size.

        Returns:
            Scalars: "content" and "style", each a weighted mean over its layers; "tv"; and "total", the weighted
            mean of the three, so that no weight, however large, makes it overflow.
        """
        features = self.network(pixels)
        zero = pixels.new_zeros(())
        content = sum(
            (
                share * content_loss(features[layer], self.content_targets[layer])
                for layer, share in self.content_shares.items()
            ),
            zero,
        )
        style = sum(
            (
                share * style_loss(features[layer], self.style_targets[layer])
                for layer, share in self.style_shares.items()
            ),
            zero,
        )
        variation = total_variation_loss(pixels) if self.tv_weight else zero
        total = self.content_weight * content + self.style_weight * style + self.tv_weight * variation
        return {"total": total, "content": content, "style": style, "tv": variation}


@torch.no_grad()
def content_targets(network: nn.Module, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Activations of a content picture `[1, 3, H, W]`: layer name to `[1, C, h, w]`, float32 or wider."""
    features = network(pixels)
    return {layer: _wide(features[layer]) for layer in layers}


@torch.no_grad()
def style_targets(network: nn.Module, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Gram matrices of a style picture `[1, 3, H, W]`: layer name to `[1, C, C]`."""
    features = network(pixels)
    return {layer: gram_matrix(features[layer]) for layer in layers}


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    # By the largest first, since the sum of very large weights is infinite.
    largest = max(weights.values())
    whole = sum(weight / largest for weight in weights.values())
    return {name: weight / largest / whole for name, weight in weights.items()}


def _wide(values: Tensor) -> Tensor:
    # Sums of squares overflow float16 and lose the small differences in bfloat16; float64 stays, for checks.
    return values if values.dtype == torch.float64 else values.float()
