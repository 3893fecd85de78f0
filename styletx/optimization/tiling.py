"""A picture in tiles: what each of them sees, and which positions of each layer it counts.

A deep layer sees far, so tiles of a whole network overlap by much. A VGG is cut into stages at its pools: what one
gives to the next is kept for the whole picture, and the tiles of a stage overlap by a few positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product

from torch import nn

from styletx.backbones import NEXT, VGG, Sight, Span, sights
from styletx.losses import PIXELS, Stage, Tile
from styletx.matching import CELL

SMALLEST = 64  # positions of a tile's side: of smaller ones, most is overlap


def stages(network: nn.Module, size: tuple[int, int], side: int) -> list[Stage]:
    """A network in stages, each in tiles.

    Args:
        network: called with pixels `[B, 3, H, W]`, returns layer name to activations.
        size: (H, W) of the picture in px.
        side: of a tile's own square in px at the first stage; a position of the others takes more memory, so theirs are
            half as long as those before.

    Raises:
        ValueError: as `tiles`.
    """
    parts = network.stages() if isinstance(network, VGG) else [network]
    made, within = list[Stage](), 1
    for part in parts:
        seen = sights(part, getattr(part, "channels", 3))
        own = tiles(size, max(SMALLEST, side >> len(made)), seen, within)
        if NEXT in seen:
            stride = seen[NEXT].stride or 1
            size, within = (size[0] // stride, size[1] // stride), within * stride
        made.append(Stage(part, own, size if NEXT in seen else None))
    return made


def tiles(size: tuple[int, int], side: int, sights: Mapping[str, Sight], within: int = 1) -> list[Tile]:
    """Tiles that together count every position of every layer once.

    Each tile is given so many pixels around its own that the positions it counts see nothing beyond: what is
    computed for them is what the whole picture would give.

    Args:
        size: (H, W) of the picture in px, or of what a stage of a network takes.
        side: of a tile's own square, likewise; it is rounded up to a multiple of the coarsest layer's stride and of
            matching's cells, and the last tile of a row or column is up to half as large again.
        sights: layer name to what its positions see.
        within: pixels of the picture from one position of the size to the next.

    Raises:
        ValueError: a layer's positions depend on the whole picture, as squeeze-and-excitation's do; such a network
            cannot be evaluated in tiles.
    """
    if whole := [layer for layer, sight in sights.items() if not sight.is_local]:
        raise ValueError(f"{', '.join(whole)}: depends on the whole picture, so it cannot be evaluated in tiles")
    spans = {layer: sight.spans for layer, sight in sights.items() if sight.spans is not None}
    down, across = (
        list(_cuts(extent, side, {layer: both[axis] for layer, both in spans.items()}, within))
        for axis, extent in enumerate(size)
    )
    strides = {layer: (both[0].stride, both[1].stride) for layer, both in spans.items()}
    if within == 1:
        strides[PIXELS] = (1, 1)
    return [
        Tile((seen_rows, seen_columns), {layer: (rows[layer], columns[layer]) for layer in rows}, strides)
        for (seen_rows, rows), (seen_columns, columns) in product(down, across)
    ]


def _cuts(extent: int, side: int, spans: Mapping[str, Span], within: int) -> Iterator[tuple[slice, dict[str, slice]]]:
    """Along one axis, for each tile what it sees and the positions of each layer that it counts."""
    step = math.lcm(max(1, CELL // within), *(span.stride for span in spans.values()))
    side = math.ceil(side / step) * step
    starts = list(range(0, max(1, extent - side // 2), side))
    seeing = {PIXELS: Span(0, 1, 1), **spans} if within == 1 else spans  # a pixel is compared with the next
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        counted = {
            layer: slice(start // span.stride, None if stop is None else stop // span.stride)
            for layer, span in seeing.items()
        }
        counted[PIXELS] = slice(start * within, None if stop is None else stop * within)
        first = min(span.first + start for span in seeing.values())
        last = extent if stop is None else max(span.last + 1 + stop - span.stride for span in seeing.values())
        # Starting on a multiple of the coarsest stride, pools and strided convolutions fall as they do in the whole.
        yield slice(max(0, first // step * step), min(extent, last)), counted
