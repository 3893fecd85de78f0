"""How much memory the optimisation of a picture will take."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from styletx.matching import CELL

SIDE = 128  # px of the picture that the network is tried with
# The peak of an evaluation over what it keeps for its backward pass. With it, the estimate for VGG-19 to relu3_1 at
# 1024×768 was 1.97 GiB where 2.0 were measured.
EVALUATION_PEAK = 1.4
# L-BFGS remembers ten steps of two pictures each; photograph, best picture, gradient and so on make up the rest.
PICTURES_KEPT = 32
# Hypercolumns: targets, what is seen, their difference and its gradient.
COLUMNS_KEPT = 5


def bytes_per_pixel(network: nn.Module, matching_layers: Sequence[str], device: torch.device) -> tuple[float, float]:
    """What a pixel of the canvas costs with everything the search keeps, and what one of the painting costs."""
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    pixels = torch.zeros(1, 3, SIDE, SIDE, device=device).to(memory_format=torch.channels_last)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        features = network(pixels.requires_grad_())
    channels = sum(features[layer].shape[1] for layer in matching_layers)
    del features
    parameters: int = sum(parameter.nbytes for parameter in network.parameters())
    evaluation = EVALUATION_PEAK * max(0, sum(kept.values()) - parameters) / SIDE**2
    evaluation += COLUMNS_KEPT * channels * 4 / CELL**2
    return evaluation + PICTURES_KEPT * 3 * 4, evaluation
