"""The optimisers of a network's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def optimisers(network: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for a network's convolutions, and Adam for its vectors and its last layer, which makes three colours.

    Args:
        network: whose last layer is called "last".
        rate: Muon's learning rate; Adam's is a tenth of it.
    """
    named = dict(network.named_parameters())
    matrices = [weight for name, weight in named.items() if weight.dim() == 4 and "last" not in name]
    others = [weight for name, weight in named.items() if weight.dim() != 4 or "last" in name]
    return [Muon(matrices, lr=rate), torch.optim.Adam(others, lr=rate / 10)]


def discriminating(discriminator: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam for a discriminator, whose momentum is small since the network that it judges changes too.

    Args:
        discriminator: to train.
        rate: Muon's for the network; Adam's is a fifth of it.
    """
    return torch.optim.Adam(discriminator.parameters(), lr=rate / 5, betas=(0.5, 0.99))


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024).

    Every direction of a weight, taken as a matrix of outputs by inputs, moves as far, even where gradients are small.
    `torch.optim.Muon` refuses the weights of convolutions, which have four dimensions, and rounds to bfloat16.

    Args:
        parameters: weights of two or more dimensions, outputs first.
        lr: how far each singular direction moves in a step.
        momentum: how much of the average of past gradients is kept in a step.
    """

    def __init__(self, parameters: Sequence[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter."""
        for group in self.param_groups:
            for parameter in group["params"]:
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonal(parameter.grad.lerp(average, group["momentum"]).flatten(1))
                tall = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * tall)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors, and singular values between about 0.7 and 1.2."""
    update = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    update = update / (update.norm() + 1e-12)
    for _ in range(5):
        # Newton-Schulz: all singular values go towards 1 without a decomposition.
        square = update @ update.mT
        update = 3.4445 * update + (-4.7750 * square + 2.0315 * square @ square) @ update
    result: Tensor = update.mT if matrix.shape[0] > matrix.shape[1] else update
    return result
