"""What skip connections do: the trunk of the one-pass network, trained with and without them at several depths.

A deeper trunk can do whatever a shallower one can, so it should fit at least as well. Without skip connections it fits
worse, even on the pictures it is trained on: the degradation problem (He et al. 2016, arXiv:1512.03385).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx.feedforward.networks import Layout, Transformer
from styletx.feedforward.networks.layers import InstanceNorm

WIDTHS = (8, 16)  # channels of the stem; the blocks have the last
BATCH = 8
SIDE = 32  # px of the pictures; the blocks work at half of it
RATE = 0.003
SETTLED = 0.2  # share of the steps, at the end, over which the final error is averaged


@dataclass(frozen=True)
class TrunkStep:
    """One step of training one trunk.

    Attributes:
        blocks: how many residual blocks it has.
        skip: whether it has skip connections.
        step: from 1.
        error: mean squared difference between its output and the target.
        gradients: norm of the gradient of each block's weights, in order from the picture.
    """

    blocks: int
    skip: bool
    step: int
    error: float
    gradients: tuple[float, ...]


@dataclass(frozen=True)
class Trunk:
    """How the training of one trunk went.

    Attributes:
        blocks: how many residual blocks it has.
        skip: whether it has skip connections.
        errors: the error at each step.
        error: the mean of the last ones.
        gradients: norm of the gradient of each block's weights at the first step, in order from the picture.
    """

    blocks: int
    skip: bool
    errors: tuple[float, ...]
    error: float
    gradients: tuple[float, ...]


def train_trunks(
    depths: Sequence[int], *, steps: int, seed: int = 0, device: torch.device | None = None
) -> Iterator[TrunkStep]:
    """Train a trunk of each depth, first without and then with skip connections.

    Every trunk sees the same synthetic pictures in the same order, and its weights are drawn in the same way. It learns
    to repaint them: blurred, with other colours and dark outlines.

    Args:
        depths: how many residual blocks each trunk has.
        steps: training steps of each trunk.
        seed: of weights and pictures.
        device: where to train; None is the CPU.

    Yields:
        A `TrunkStep` after each step.
    """
    device = device or torch.device("cpu")
    for blocks in depths:
        for skip in (False, True):
            network = _trunk(blocks, skip, seed).to(device)
            optimizer = torch.optim.Adam(network.parameters(), RATE)
            generator = torch.Generator().manual_seed(seed)
            for step in range(1, steps + 1):
                pixels = pictures(BATCH, SIDE, generator).to(device)
                with torch.enable_grad():
                    error = F.mse_loss(network.paint(pixels, _normalised), repainted(pixels))
                    optimizer.zero_grad()
                    error.backward()  # type: ignore[no-untyped-call]
                norms = [
                    torch.cat([one.grad.flatten() for one in block.parameters() if one.grad is not None]).norm()
                    for block in network.blocks
                ]
                optimizer.step()
                found, *gradients = torch.stack([error.detach(), *norms]).tolist()
                yield TrunkStep(blocks, skip, step, found, tuple(gradients))


def trunks(steps: Iterable[TrunkStep]) -> list[Trunk]:
    """How the training of each trunk went, in order."""
    runs: dict[tuple[int, bool], list[TrunkStep]] = {}
    for step in steps:
        runs.setdefault((step.blocks, step.skip), []).append(step)
    found = []
    for (blocks, skip), run in runs.items():
        errors = tuple(step.error for step in run)
        last = errors[-max(1, round(SETTLED * len(errors))) :]
        found.append(Trunk(blocks, skip, errors, sum(last) / len(last), run[0].gradients))
    return found


def pictures(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Clouds of colour from coarse to fine, `[count, 3, side, side]` in [0, 1]."""
    clouds = torch.zeros(count, 3, side, side)
    for cells in (2, 4, 8, 16):
        noise = torch.randn(count, 3, cells, cells, generator=generator)
        clouds += F.interpolate(noise, size=(side, side), mode="bilinear", align_corners=False) * 2 / cells**0.5
    return torch.sigmoid(2 * clouds)


def repainted(pixels: Tensor) -> Tensor:
    """The target for pictures: blurred, with exchanged channels and dark edges; the same shape, in [0, 1]."""
    padded = F.pad(pixels, (2, 2, 2, 2), mode="reflect")
    blurred = F.avg_pool2d(padded, 5, 1)
    grey = F.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="reflect")
    across = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
    down = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    return (blurred[:, [2, 0, 1]] - (across.square() + down.square()).sqrt()).clamp(0, 1)


def _normalised(norm: InstanceNorm, features: Tensor) -> Tensor:
    return F.instance_norm(features, weight=norm.weight, bias=norm.bias)


def _trunk(blocks: int, skip: bool, seed: int) -> Transformer:
    network = Transformer(Layout(widths=WIDTHS, blocks=blocks, kernel=3, stride=1, skip=skip))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        elif "norm" not in name:
            torch.nn.init.zeros_(parameter)
    return network
