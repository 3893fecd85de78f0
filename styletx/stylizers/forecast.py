"""How much memory the optimisation of a picture will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from styletx import devices
from styletx.matching import CELL

# L-BFGS remembers ten steps of two pictures each; photograph, best picture, gradient and so on make up the rest.
PICTURES_KEPT = 32
# Hypercolumns: targets, what is seen, their difference and its gradient.
COLUMNS_KEPT = 5


def bytes_per_pixel(network: nn.Module, matching_layers: Sequence[str], device: torch.device) -> tuple[float, float]:
    """What a pixel of the canvas costs with everything the search keeps, and what one of the painting costs."""
    with torch.no_grad():
        features: Mapping[str, Tensor] = network(torch.zeros(1, 3, devices.TRIAL, devices.TRIAL, device=device))
    channels = sum(features[layer].shape[1] for layer in matching_layers)
    evaluation = devices.bytes_per_pixel(network, device) + COLUMNS_KEPT * channels * 4 / CELL**2
    return evaluation + PICTURES_KEPT * 3 * 4, evaluation
