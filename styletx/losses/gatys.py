"""The terms of neural style transfer, which the optimisation and the training share (Gatys et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from styletx.losses.content import Content
from styletx.losses.gram import Gram
from styletx.losses.objective import Weighted, layer_terms
from styletx.losses.variation import Variation

MOMENTS = 0.5  # share of the moments beside Gram, where a picture is matched or learnt place by place


def gatys_terms(
    content: Mapping[str, Tensor],
    style: Mapping[str, Tensor],
    content_layers: Mapping[str, float],
    style_layers: Mapping[str, float],
    *,
    content_weight: float,
    style_weight: float,
    tv_weight: float,
    moments: float = 0.0,
    weights: Mapping[str, Tensor] | None = None,
) -> list[Weighted]:
    """Content, style and total variation, reported as "content", "style" and "tv".

    Args:
        content: layer name to the photograph's activations, `[1, C, h, w]` or `[B, C, h, w]`.
        style: layer name to the painting's `gram_statistics`.
        content_layers: layer name to its share of the content loss; only the proportions matter.
        style_layers: likewise of the style loss.
        content_weight: of the content loss.
        style_weight: of the style loss.
        tv_weight: of the total variation.
        moments: share of the style that the channels' means and deviations have; see `Gram`.
        weights: layer name to how much each of its positions counts for the style, `[1, 1, h, w]`; None for all alike.
    """

    def gram(layer: str) -> Gram:
        return Gram(layer, style[layer], moments, None if weights is None else weights[layer])

    return [
        *layer_terms("content", content_weight, content_layers, lambda layer: Content(layer, content[layer])),
        *layer_terms("style", style_weight, style_layers, gram),
        Weighted("tv", tv_weight, Variation()),
    ]
