"""What a loss term is: a sum over positions, which any part of a picture can contribute to, and a loss of that sum.

So one piece of code serves a whole picture, a picture in tiles, a masked region and several devices: their sums are
added up, and the loss is taken of the total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

PIXELS = "pixels"  # the name under which a term asks for the picture itself, as for a layer

Area: TypeAlias = tuple[slice, slice]
"""Rows and columns. The stop of the last tile of a row or column is None: to the end, wherever that is."""

WHOLE: Area = (slice(0, None), slice(0, None))


@dataclass(frozen=True)
class Tile:
    """A part of a picture that is evaluated by itself.

    Attributes:
        seen: rows and columns of the pixels that the network is given: those of the tile, and around them what the
            positions that it counts also see.
        counted: layer name to the rows and columns of the whole picture's layer that this tile counts. Over all
            tiles, each position is counted once.
        strides: layer name to the pixels from one position to the next, down and across.
    """

    seen: Area
    counted: Mapping[str, Area]
    strides: Mapping[str, tuple[int, int]]

    def cut(self, layer: str, features: Tensor) -> Tensor:
        """The counted positions `[B, C, h, w]` of a layer that was computed from the pixels in `seen`.

        Of `PIXELS`, with one more row and column where the picture goes on; see `Part.features`.
        """
        more = 1 if layer == PIXELS else 0
        rows, columns = (
            slice(
                counted.start - seen.start // stride,
                None if counted.stop is None else counted.stop - seen.start // stride + more,
            )
            for counted, seen, stride in zip(self.counted[layer], self.seen, self.strides[layer], strict=True)
        )
        return features[..., rows, columns]


@dataclass(frozen=True)
class Part:
    """What a term is given: some positions of each layer, and where they are.

    Attributes:
        features: layer name to the activations `[B, C, h, w]` of the counted positions. Under `PIXELS`, the counted
            pixels with one more row and column where the picture goes on, so that each pixel meets its neighbours.
        places: layer name to the rows and columns of those positions in the whole picture's layer.
    """

    features: Mapping[str, Tensor]
    places: Mapping[str, Area]


class Term(Protocol):
    """One loss term, made for one target at one scale."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that it looks at; `PIXELS` stands for the picture itself."""
        ...

    def statistics(self, part: Part) -> Tensor:
        """A sum over the part's positions: sums of parts add up to that of the whole. Float32 or wider."""
        ...

    def loss(self, statistics: Tensor) -> Tensor:
        """The loss, a scalar, of the whole picture's statistics. Dimensionless: about 1 far from the target."""
        ...


def whole(features: Mapping[str, Tensor]) -> Part:
    """A whole picture as a part of itself."""
    return Part(features, dict.fromkeys(features, WHOLE))


def wide(values: Tensor) -> Tensor:
    """Float32, or float64 as it is: sums of squares overflow float16 and lose small differences in bfloat16."""
    return values if values.itemsize >= 4 else values.float()
