"""An optimiser for the weights of convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024).

    Every direction of a weight, taken as a matrix of outputs by inputs, moves alike, also those of small gradients.

    Args:
        parameters: weights of two or more dimensions, outputs first.
        lr: how far each singular direction moves a step.
        momentum: how much of the last steps' average is kept.
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
    """A matrix of the same singular vectors, whose singular values are between about 0.7 and 1.2."""
    update = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    update = update / (update.norm() + 1e-12)
    for _ in range(5):
        # Newton-Schulz: all singular values go towards 1 without a decomposition.
        square = update @ update.mT
        update = 3.4445 * update + (-4.7750 * square + 2.0315 * square @ square) @ update
    result: Tensor = update.mT if matrix.shape[0] > matrix.shape[1] else update
    return result
