"""How a network paints photographs that it does not learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from styletx import colors, images
from styletx.feedforward import scales
from styletx.feedforward.training.objective import TrainingObjective
from styletx.losses import Objective


class Measured(NamedTuple):
    """How the held-out photographs were painted.

    Attributes:
        losses: their mean losses.
        photographs: what they would be if the photographs were left as they are.
        rows: for each of them, what a picture `[1, 3, H, W]` is, and the picture.
    """

    losses: dict[str, float]
    photographs: dict[str, float]
    rows: list[dict[str, Tensor]]


@torch.no_grad()
def measured(
    network: Any,
    objective: TrainingObjective,
    photographs: Mapping[Path, Tensor],
    painted: Mapping[Path, Path] | None,
    *,
    own_size: int,
    label: str,
    seed: int,
    device: torch.device,
) -> Measured:
    """Let a network paint photographs.

    Args:
        network: in eval mode.
        objective: what the pictures are measured by.
        photographs: file to pixels `[1, 3, H, W]`.
        painted: file to the file that shows how it was painted by the optimisation; None if it was not.
        own_size: long side in px of a picture in which its strokes are as wide as they should be.
        label: what the network's pictures are called.
        seed: of grain and clouds.
        device: of the network.

    Raises:
        FloatingPointError: it paints values that are not finite numbers.
    """
    found, before, rows = [], [], []
    for path, pixels in photographs.items():
        row = {"photograph": pixels}
        if painted is not None:
            row["optimisation"] = images.read(painted[path]).pixels
            row["photograph"] = images.resize(pixels, (row["optimisation"].shape[-2], row["optimisation"].shape[-1]))
        photograph, *like = (picture.to(device) for picture in row.values())
        size = (photograph.shape[-2], photograph.shape[-1])
        at = scales.sizes(size, max(size) / own_size, network.descriptor.minimum)
        *_, (_, output) = scales.repaint(network, photograph, at, seed, clouds=objective.clouds)
        if network.descriptor.colors:
            photograph = colors.transferred(photograph, network.descriptor.colors)
        wanted = objective.like(*like) if like else objective.of(photograph)
        found.append(_losses(objective, wanted, output))
        before.append(_losses(objective, wanted, photograph))
        rows.append(row | {label: output.cpu()})
    return Measured(_mean(found), _mean(before), rows)


def total(losses: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
    """The mean of losses by their weights; a loss that is not there does not count."""
    there = {name: weight for name, weight in weights.items() if name in losses}
    return sum(weight * losses[name] for name, weight in there.items()) / sum(there.values())


def _losses(objective: TrainingObjective, wanted: Objective, pixels: Tensor) -> dict[str, float]:
    losses = {name: float(loss) for name, loss in wanted.losses(pixels).items()}
    return losses | {"total": total(losses, objective.weights())}


def _mean(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in losses) / len(losses) for name in losses[0]}
