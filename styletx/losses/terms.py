"""What a loss term is: a sum over positions, which any part of a picture can contribute to, and a loss of that sum.

So one piece of code serves a whole picture, a picture in tiles, a masked region and several devices: their sums are
added up, and the loss is taken of the total.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from torch import Tensor, nn

PIXELS = "pixels"  # the name under which a term asks for the picture itself, as for a layer

Area: TypeAlias = tuple[slice, slice]
"""Rows and columns. The stop of the last tile of a row or column is None: to the end, wherever that is."""

WHOLE: Area = (slice(0, None), slice(0, None))


@dataclass(frozen=True)
class Tile:
    """A part of a picture, or of what a stage of a network takes, that is evaluated by itself.

    Attributes:
        seen: rows and columns of what the stage is given: those of the tile, and around them what the positions that
            it counts also see.
        counted: layer name to the rows and columns of the whole picture's layer that this tile counts, and always those
            of `PIXELS`. Over all tiles, each position is counted once.
        strides: layer name to the steps in what is given from one position to the next, down and across.
    """

    seen: Area
    counted: Mapping[str, Area]
    strides: Mapping[str, tuple[int, int]]

    def cut(self, layer: str, features: Tensor) -> Tensor:
        """The counted positions `[B, C, h, w]` of a layer that was computed from what is in `seen`.

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


class Stage(NamedTuple):
    """A part of a network, which goes through a picture tile by tile.

    Attributes:
        network: called with pixels, or with what the stage before gives, returns layer name to activations, and under
            `backbones.NEXT` what the next stage takes.
        tiles: which together count every position once.
        size: (h, w) of what the next stage takes; None for the last.
    """

    network: nn.Module
    tiles: Sequence[Tile]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Part:
    """What a term is given: some positions of some layers, and where they are.

    Attributes:
        features: layer name to the activations `[B, C, h, w]` of the counted positions. Under `PIXELS`, the counted
            pixels with one more row and column where the picture goes on, so that each pixel meets its neighbours.
        places: layer name to the rows and columns of those positions in the whole picture's layer; always those of
            `PIXELS`, too.
        is_known: whether its sums were taken before. Then only their gradient is asked for, and what they are is never
            looked at.
    """

    features: Mapping[str, Tensor]
    places: Mapping[str, Area]
    is_known: bool = False


class Placed(NamedTuple):
    """Statistics that each place of a picture has for itself.

    Attributes:
        values: of the part's places, `[..., h, w]`; what several layers say of one place adds up.
        rows: that they have among those of the whole picture.
        columns: likewise.
        size: (h, w) of the whole picture's.
    """

    values: Tensor
    rows: slice
    columns: slice
    size: tuple[int, int]


class Term(Protocol):
    """One loss term, made for one target at one scale."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that it looks at; `PIXELS` stands for the picture itself."""
        ...

    def statistics(self, part: Part) -> Tensor | Placed:
        """A sum over the part's positions: sums of parts add up to that of the whole. Float32 or wider.

        A part may have only some of the term's layers; what these say adds up, too.
        """
        ...

    def loss(self, statistics: Tensor) -> Tensor:
        """The loss, a scalar, of the whole picture's statistics. Dimensionless: about 1 far from the target."""
        ...


def whole(features: Mapping[str, Tensor]) -> Part:
    """A whole picture as a part of itself."""
    return Part(features, dict.fromkeys((*features, PIXELS), WHOLE))


def wide(values: Tensor) -> Tensor:
    """Float32, or float64 as it is: sums of squares overflow float16 and lose small differences in bfloat16."""
    return values if values.itemsize >= 4 else values.float()
