"""What a layer keeps of a picture, made visible: its maps, its Gram matrix, and pictures made from either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from styletx import backbones, images, losses, optimization
from styletx.losses import Content, Gram, Objective, Variation, Weighted, layer_terms
from styletx.optimization import Step

TV_WEIGHT = 1.0  # of total variation beside the content loss, when a picture is found again from its features


def feature_maps(network: nn.Module, pixels: Tensor, layer: str) -> Tensor:
    """A layer's activations.

    Args:
        network: called with pixels, returns layer name to `[1, C, h, w]`.
        pixels: `[1, 3, H, W]` in [0, 1].
        layer: which.

    Returns:
        `[C, h, w]`, float32, on the CPU.
    """
    with torch.no_grad():
        features: Tensor = network(pixels)[layer]
    return features[0].float().cpu()


def gram(network: nn.Module, pixels: Tensor, layer: str) -> Tensor:
    """A layer's Gram matrix `[C, C]`, float32, on the CPU; arguments as for `feature_maps`."""
    with torch.no_grad():
        return losses.gram_matrix(network(pixels)[layer])[0].cpu()


def invert(
    network: nn.Module,
    pixels: Tensor,
    layer: str,
    *,
    iterations: int,
    generator: torch.Generator,
    tv_weight: float = TV_WEIGHT,
) -> Iterator[Step]:
    """Find a picture that gives a layer the same activations (Mahendran & Vedaldi 2015).

    What was lost on the way to that layer cannot be found again; it is filled smoothly.

    Args:
        network: called with pixels, returns layer name to `[1, C, h, w]`.
        pixels: `[1, 3, H, W]` in [0, 1]; only that layer's activations are used.
        layer: which.
        iterations: evaluations at full size; smaller scales get three times as many.
        generator: of the noise that the search starts from.
        tv_weight: of the total variation, which settles what the layer leaves open; the content loss weighs 1.

    Yields:
        A `Step` after each evaluation, with losses "total", "content" and "tv".
    """

    def objective_at(size: tuple[int, int]) -> Objective:
        with torch.no_grad():
            content = Content(layer, network(images.resize(pixels, size))[layer])
        return Objective(network, [Weighted("content", 1.0, content), Weighted("tv", tv_weight, Variation())])

    yield from _from_noise(objective_at, pixels, iterations, generator)


def texture(
    network: nn.Module,
    pixels: Tensor,
    layers: Sequence[str],
    *,
    iterations: int,
    generator: torch.Generator,
) -> Iterator[Step]:
    """Find a picture with the same Gram matrices: the same strokes, elsewhere (Gatys et al. 2015).

    Args:
        network: called with pixels, returns layer name to `[1, C, h, w]`.
        pixels: `[1, 3, H, W]` in [0, 1]; only those matrices are used.
        layers: whose; `texture_layers` chooses them.
        iterations: evaluations at full size; smaller scales get three times as many.
        generator: of the noise that the search starts from.

    Yields:
        A `Step` after each evaluation, with losses "total" and "style".
    """

    def objective_at(size: tuple[int, int]) -> Objective:
        with torch.no_grad():
            features = network(images.resize(pixels, size))
        style = {layer: losses.gram_statistics(features[layer]) for layer in layers}
        return Objective(
            network, layer_terms("style", 1.0, dict.fromkeys(layers, 1.0), lambda layer: Gram(layer, style[layer]))
        )

    yield from _from_noise(objective_at, pixels, iterations, generator)


def texture_layers(architecture: backbones.Architecture, layer: str) -> tuple[str, ...]:
    """The network's style layers as deep as `layer`, and that layer.

    Raises:
        OptionError: it has no layer of that name.
    """
    backbones.check(architecture, [layer])
    depth = architecture.layers.index(layer)
    above = tuple(one for one in architecture.style_layers if architecture.layers.index(one) < depth)
    return (*above, layer)


def _from_noise(
    objective_at: Callable[[tuple[int, int]], Objective],
    pixels: Tensor,
    iterations: int,
    generator: torch.Generator,
) -> Iterator[Step]:
    sizes = optimization.pyramid_sizes((pixels.shape[-2], pixels.shape[-1]))
    # Faint noise on grey: a layer that does not see the finest grain would leave strong noise in the picture.
    noise = (0.45 + 0.1 * torch.rand(1, 3, *sizes[0], generator=generator)).to(pixels.device)
    yield from optimization.coarse_to_fine(lambda size, _: objective_at(size), noise, sizes, iterations=iterations)
