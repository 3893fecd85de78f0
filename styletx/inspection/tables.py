"""A network in numbers: what each layer sees of the picture, how many parameters it has, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from styletx import backbones, images
from styletx.errors import OptionError, field
from styletx.inspection.tracing import trace

SIDE = 224  # px, the size for which classifiers are published
SIDES = (64, 128, 256, 512, 1024)  # px that are tried to tell which would do
STACKS = ((2, 3), (3, 3), (1, 5), (1, 7))  # number of layers and side of their kernels


@dataclass(frozen=True)
class Layer:
    """One row of a table.

    Attributes:
        name: the layer's; pools and the classifier's layers have names too.
        channels: how many.
        size: (h, w) of each channel's map; (1, 1) in the classifier.
        stride: pixels from one position to the next; None in the classifier, which has no positions.
        receptive_field: side of the square of pixels that one position sees; None if it sees the whole picture,
            whatever its size.
        window: side of the square that it sees through convolutions and pools. It differs from the receptive field
            where a mean over the picture weighs the channels (squeeze and excitation, Hu et al. 2018): each position
            then sees the whole picture, but only this square in detail.
        parameters: since the row above, including those of batch normalisations.
        macs: multiply-adds since the row above.
    """

    name: str
    channels: int
    size: tuple[int, int]
    stride: int | None
    receptive_field: int | None
    window: int | None
    parameters: int
    macs: int


@dataclass(frozen=True)
class Table:
    """A network's layers and their sums.

    Attributes:
        backbone: its name.
        size: (H, W) of the picture in px.
        layers: from the picture down.
        parameters: of the whole network.
        classifier_parameters: of those, how many come after the last layer with a feature map.
        macs: multiply-adds for one picture.
    """

    backbone: str
    size: tuple[int, int]
    layers: tuple[Layer, ...]
    parameters: int
    classifier_parameters: int
    macs: int


@dataclass(frozen=True)
class Stack:
    """Convolutions in sequence, each with as many output as input channels.

    Attributes:
        layers: how many.
        kernel: side of each kernel.
        receptive_field: side of the square that the last one sees.
        weights: in units of channels².
    """

    layers: int
    kernel: int
    receptive_field: int
    weights: int


def table(name: str, size: tuple[int, int] = (SIDE, SIDE)) -> Table:
    """Measure a network; neither weights nor the internet are needed.

    Args:
        name: of a backbone.
        size: (H, W) of the picture in px.

    Raises:
        OptionError: no backbone has that name, or a picture of that size is too small for it.
    """
    architecture = backbones.architecture(name)
    with torch.device("meta"):
        whole = architecture.whole or partial(architecture.build, architecture.layers)
        module = whole().eval()
    parts = architecture.parts if architecture.whole else {}
    try:
        found = trace(module, parts, size)
    except RuntimeError as error:
        enough = next((side for side in SIDES if _fits(module, parts, images.fit(size, side))), None)
        what = f"give {field('size')} {enough}" if enough else "choose another picture"
        raise OptionError(f"{size[1]}×{size[0]} px is too small for {architecture.name}; {what}") from error
    rows = []
    before = 0
    for part, seen in found.parts.items():
        shape, sight = seen.shape, seen.sight
        rows.append(
            Layer(
                part,
                shape[1],
                (shape[2], shape[3]) if len(shape) == 4 else (1, 1),
                sight.stride,
                None if sight.everything else sight.width,
                sight.width,
                sum(found.parameters[before : seen.time]),
                sum(found.macs[before : seen.time]),
            )
        )
        before = seen.time
    last = max(seen.time for part, seen in found.parts.items() if part in architecture.layers)
    return Table(
        architecture.name,
        size,
        tuple(rows),
        sum(parameter.numel() for parameter in module.parameters()),
        sum(found.parameters[last:]),
        sum(found.macs),
    )


def stacks() -> tuple[Stack, ...]:
    """Stacks of small kernels beside single large ones (Simonyan & Zisserman 2015, section 2.3)."""
    found = []
    for count, kernel in STACKS:
        with torch.device("meta"):
            module = nn.Sequential(*(nn.Conv2d(3, 3, kernel, padding=kernel // 2, bias=False) for _ in range(count)))
        sight = trace(module, {"last": str(count - 1)}, (SIDE, SIDE)).parts["last"].sight
        weights = sum(parameter.numel() for parameter in module.parameters()) // 9
        found.append(Stack(count, kernel, sight.width or 0, weights))
    return tuple(found)


def _fits(module: nn.Module, parts: Any, size: tuple[int, int]) -> bool:
    try:
        trace(module, parts, size)
    except RuntimeError:
        return False
    return True
