"""The objective of a training: the losses of the optimisation, of each batch of photographs as it was repainted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from styletx import backbones, devices, images
from styletx.errors import field
from styletx.files import shown
from styletx.losses import Objective, gatys_terms, gram_statistics
from styletx.options import TrainingOptions


class TrainingObjective:
    """Measures repainted photographs against the photographs and one painting.

    Args:
        painting: as it was read; what is transparent does not count.
        options: of the training.
        device: where to compute.

    Attributes:
        backbone: the network that compares the pictures.

    Raises:
        OptionError: there is no such backbone.
        WeightsError: no weights, or unusable ones.
        MemoryLimitError: the painting is too large to be seen.
    """

    def __init__(self, painting: images.Picture, options: TrainingOptions, device: torch.device) -> None:
        self.options = options
        self.backbone = backbones.load(options.backbone, weights=options.weights, seed=options.seed)
        self.network = self.backbone.module.to(device).to(memory_format=torch.channels_last)
        seen = images.visible(painting)
        size = images.fit((seen.pixels.shape[-2], seen.pixels.shape[-1]), options.style_size)
        devices.check_memory(
            math.prod(size) * devices.bytes_per_pixel(self.network, device),
            device,
            f"{shown(painting.name)}: {size[1]}×{size[0]} px",
            f"reduce {field('style_size')}",
        )
        features = self._features(images.resize(seen.pixels, size).to(device))
        self.style = {
            layer: gram_statistics(features[layer], images.shares(seen.alpha, features[layer]))
            for layer in self.backbone.style_layers
        }

    def of(self, photographs: Tensor, share: float = 1.0) -> Objective:
        """The objective of repaintings of these photographs.

        Args:
            photographs: `[B, 3, H, W]` in [0, 1].
            share: of the style weight that counts.
        """
        options, content = self.options, self._features(photographs)
        terms = gatys_terms(
            content,
            self.style,
            self.backbone.content_layers,
            self.backbone.style_layers,
            content_weight=options.content_weight,
            style_weight=share * options.style_weight,
            tv_weight=options.tv_weight,
        )
        return Objective(self.network, terms)

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> dict[str, Tensor]:
        features: dict[str, Tensor] = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return features
