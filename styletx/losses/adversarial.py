"""Likeness to what the optimisation paints, as far as a discriminator can tell (Goodfellow et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from styletx.losses.terms import Part, wide

WIDTH = 64  # channels of a discriminator's hidden layers


class Discriminator(nn.Module):
    """Tells paintings from imitations, by four places of each layer of a fixed network at a time (Sauer et al. 2021).

    It looks at activations that the other losses look at too, so it costs little, and it knows no more of a picture
    than what four places see. Spectral normalisation (Miyato et al. 2018) keeps it from being too sure.

    Args:
        channels: layer name to its number of channels.
    """

    def __init__(self, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.layers = tuple(channels)
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(count, WIDTH, 2, stride=2)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(WIDTH, WIDTH, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(WIDTH, 1, 1)),
            )
            for count in channels.values()
        )

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """How sure it is in each layer, `[B, 1, h / 2, w / 2]`: above 0 of a painting, below 0 of an imitation."""
        return [head(features[layer]) for head, layer in zip(self.heads, self.layers, strict=True)]


class Adversarial:
    """The hinge loss of a discriminator, whose gradient is reversed on its way to the picture (Ganin et al. 2016).

    So one step makes the discriminator better at telling the two apart, and the picture harder to tell.

    Args:
        discriminator: a `Discriminator`, maybe wrapped.
        real: layer name to the activations of paintings, `[B, C, h, w]`.
    """

    def __init__(self, discriminator: Any, real: Mapping[str, Tensor]) -> None:
        self.discriminator = discriminator
        self.layers = tuple(real)
        self.real = {layer: wide(features) for layer, features in real.items()}
        self.sizes = {layer: features.square().mean().sqrt().clamp_min(1e-6) for layer, features in self.real.items()}

    def statistics(self, part: Part) -> Tensor:
        """Of each layer, the sum of the picture's losses and their number, `[L, 2]`."""
        fake = {layer: _Reversed.apply(wide(part.features[layer])) / self.sizes[layer] for layer in self.layers}
        losses = [F.relu(1 + sure) for sure in self.discriminator(fake)]
        return torch.stack([torch.stack([loss.sum(), loss.new_tensor(loss.numel())]) for loss in losses])

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar: 2 if nothing can be told, 0 if everything can."""
        real = {layer: features / self.sizes[layer] for layer, features in self.real.items()}
        of_real = [F.relu(1 - sure).mean() for sure in self.discriminator(real)]
        return torch.stack(of_real).mean() + (statistics[:, 0] / statistics[:, 1]).mean()


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return -gradient
