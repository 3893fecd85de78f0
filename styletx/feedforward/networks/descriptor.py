"""What a network that repaints pictures can do, said by the network itself, so that no caller asks which kind it is."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from styletx.colors import Colors


@dataclass(frozen=True)
class Descriptor:
    """What a network can do.

    Attributes:
        name: of its kind, as in the registry and in model files.
        multiple: px; the network enlarges sides to a multiple of this and cuts the result to size.
        minimum: shortest side that it takes, px.
        colors: of the painting, that pictures are to be given before the network takes them; None for their own.
        collage: whether it is also given a collage of the painting; see `collages.together`.
        strips: whether `strips.repaint` can take a large picture through it in strips.
        bfloat16: whether most of its convolutions can run in bfloat16; see `Network.use`.
        onnx: whether `onnx.convert` can write it.
    """

    name: str
    multiple: int = 1
    minimum: int = 16
    colors: Colors | None = None
    collage: bool = False
    strips: bool = False
    bfloat16: bool = False
    onnx: bool = False


class Repainter(Protocol):
    """Anything that repaints pictures: a network, a compiled one, or one that ONNX Runtime runs."""

    @property
    def descriptor(self) -> Descriptor:
        """What it can do."""
        ...

    def __call__(self, pixels: Tensor) -> Tensor:
        """`[B, 3, H, W]` float32, RGB in [0, 1], to the same shape, about [0, 1] but not clamped to it.

        What it is given has `descriptor.colors`, if there are any; see `colors.move`. With `descriptor.collage`, it is
        `[B, 9, H, W]`.
        """
        ...


class Network(nn.Module, abc.ABC):
    """A network in torch that repaints pictures.

    Attributes:
        layout: a dataclass that says how it is built.
    """

    layout: Any

    @property
    @abc.abstractmethod
    def descriptor(self) -> Descriptor:
        """What it can do."""

    def use(self, precision: torch.dtype) -> None:
        """Choose the precision, float32 or bfloat16, of the layers that can do with less than float32.

        Weights, pixels and result stay float32. A network whose descriptor denies bfloat16 ignores this.
        """
