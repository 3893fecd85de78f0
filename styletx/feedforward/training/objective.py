"""The objective of a training: the losses of the optimisation, of each batch of photographs as it was repainted."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from styletx import backbones, colors, devices, images
from styletx.errors import field
from styletx.files import shown
from styletx.losses import (
    MOMENTS,
    Adversarial,
    Content,
    Difference,
    Discriminator,
    LocalGram,
    Objective,
    Variation,
    Weighted,
    gatys_terms,
    gram_statistics,
    layer_terms,
    leading,
)
from styletx.options import TrainingOptions

ADVERSARIAL = 2.0  # weight of what the discriminator says, beside content's of 1
SQUARE = 64  # px a side of the squares whose strokes are compared: several strokes, but little of what is painted


class TrainingObjective:
    """Measures repainted photographs against the photographs and one painting.

    Args:
        painting: as it was read; what is transparent does not count.
        options: of the training.
        device: where to compute.

    Attributes:
        backbone: the network that compares the pictures.
        colors: of the painting.
        discriminator: tells apart what was painted and what a network made of it; called by `like` where it learns.
        clouds: how much of them photographs get where they are flat, from 0 to 1; see `grain.clouded`.
        line: the painting's colours if they lie on one, as `colors.line` gives it; else None.

    Raises:
        OptionError: there is no such backbone.
        WeightsError: no weights, or unusable ones.
        MemoryLimitError: the painting is too large to be seen.
    """

    def __init__(self, painting: images.Picture, options: TrainingOptions, device: torch.device) -> None:
        self.options = options
        self.backbone = backbones.load(options.backbone, matching=True, weights=options.weights, seed=options.seed)
        dtype = devices.dtype("auto", device)
        self.network = self.backbone.module.to(device, dtype).to(memory_format=torch.channels_last)
        seen = images.visible(painting)
        self.colors = colors.colors(seen.pixels, seen.alpha)
        self.line = colors.line(self.colors)
        self.clouds = 0.0 if seen.alpha is not None else self._lead(seen.pixels.to(device))
        size = images.fit((seen.pixels.shape[-2], seen.pixels.shape[-1]), options.size)
        devices.check_memory(
            math.prod(size) * devices.bytes_per_pixel(self.network, device),
            device,
            f"{shown(painting.name)}: {size[1]}×{size[0]} px",
            f"reduce {field('size')}",
        )
        features = self._features(images.resize(seen.pixels, size).to(device))
        self.style = {
            layer: gram_statistics(features[layer], images.shares(seen.alpha, features[layer]))
            for layer in self.backbone.style_layers
        }
        channels = {layer: self.style[layer].shape[-1] - 1 for layer in self.backbone.style_layers}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.discriminator: Any = Discriminator(channels).to(device)

    def _lead(self, painting: Tensor) -> float:
        small = leading.small(painting)
        features = self._features(small)
        return leading.lead(small, [features[layer] for layer in self.backbone.matching_layers])

    def weights(self, share: float = 1.0) -> dict[str, float]:
        """Loss to weight.

        Args:
            share: of the style's that counts.
        """
        options = self.options
        weights = {"content": options.content_weight, "style": share * options.style}
        return weights | {"tv": options.tv_weight, "steadiness": options.steadiness, "adversarial": share * ADVERSARIAL}

    def of(self, photographs: Tensor) -> Objective:
        """The objective of repaintings of these photographs `[B, 3, H, W]`, where nothing shows how to paint them."""
        terms = gatys_terms(
            self._features(photographs),
            self.style,
            self.backbone.content_layers,
            self.backbone.style_layers,
            content_weight=self.options.content_weight,
            style_weight=self.options.style,
            tv_weight=self.options.tv_weight,
        )
        return Objective(self.network, terms)

    def like(self, painted: Tensor, *, learns: bool = False) -> Objective:
        """The objective of pictures that should be like these `[B, 3, H, W]`: place by place, and in their strokes.

        Where strokes lie in an empty sky is chance. A network that had to know would paint their mean, a blur. So
        the statistics of each square of a picture count beside its places: they say what strokes belong there.

        Args:
            painted: the pictures.
            learns: whether the discriminator is asked too, and learns from them.
        """
        seen, backbone, half = self._features(painted), self.backbone, self.options.content_weight / 2
        rows, columns = (max(1, round(extent / SQUARE)) for extent in painted.shape[-2:])
        layers = dict.fromkeys((*backbone.style_layers, *backbone.content_layers), 1.0)
        terms = [
            *layer_terms("content", half, layers, lambda layer: Content(layer, seen[layer])),
            Weighted("content", half, Difference(painted)),
            *layer_terms(
                "style",
                self.options.style,
                backbone.style_layers,
                lambda layer: LocalGram(layer, seen[layer], rows, columns, MOMENTS),
            ),
            Weighted("tv", self.options.tv_weight, Variation()),
        ]
        if learns:
            told = {layer: seen[layer] for layer in backbone.style_layers}
            terms.append(Weighted("adversarial", ADVERSARIAL, Adversarial(self.discriminator, told)))
        return Objective(self.network, terms)

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> dict[str, Tensor]:
        features: dict[str, Tensor] = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return features
