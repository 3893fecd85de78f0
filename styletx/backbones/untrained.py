"""Random weights, which show what a network sees by its architecture alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from styletx.backbones.registry import Architecture

CALIBRATION = (2, 3, 128, 128)  # shape of the noise from which batch normalisations get their statistics


def state(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """Random weights for all layers of a network, the same for the same seed.

    Convolutions are drawn as by He et al. (2015), so that activations neither fade nor explode. A network with batch
    normalisation also needs statistics for that; they are taken from noise, as a first step of training would.

    Args:
        architecture: the network.
        seed: from 0.
    """
    generator = torch.Generator().manual_seed(seed)
    module = architecture.build(architecture.layers)
    module.eval().requires_grad_(False)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    norms = [one for one in module.modules() if hasattr(one, "running_var")]
    if norms:
        for norm in norms:
            norm.register_forward_pre_hook(_settle)
        with torch.no_grad():
            module(torch.rand(CALIBRATION, generator=generator))
    return dict(module.state_dict())


def _settle(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
    norm.running_mean, norm.running_var = mean, variance
