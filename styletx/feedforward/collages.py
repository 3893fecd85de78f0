"""Collages of a painting, which show a network what belongs where in a photograph.

Each piece of the photograph is matched with the place of the painting that is most like it, coarse to fine, and gets
the painting's own pixels from there (style swap, Chen & Schmidt 2016, arXiv:1612.04337). A collage is rough, but its
colours and strokes are real ones. So a network that fuses it with the photograph can paint any painting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import colors, context, grain, images
from styletx.matching import CELL, Match, Query, grid, hypercolumns, match
from styletx.painting import Painting

SHARES = (0.5, 1.0)  # of a picture's size, at which its pieces are matched
LARGEST_MATCHED = 512  # px of the long side at which they are matched at most
LARGEST = 2048  # px of the long side of a collage, which is enlarged for a larger picture
MIX = 0.5  # how much of the coarser collage, and not of the picture, is in what is matched next
LIVELY = 0.08  # standard deviation of the light of 5×5 pixels from which they are as lively as any
AROUND = 2  # pixels on each side, of those 5×5
CALMED = 0.6  # how much of a sketch's change of lights and darks is taken back where the photograph is lively
UNLIKE = 0.18  # how far a piece's pixel may be from the picture's, in RGB, for half of its share to count
EVENED = 0.9  # how far a collage's lights, darks and colours over three positions, and more, are moved to the picture's
BAND = 128  # rows that are pasted at a time
SAMPLE = 1024  # px of the long side of what a picture's colours are measured on

Size = tuple[int, int]


class Guide:
    """Shows what belongs where, for pictures that are repainted after one painting.

    A region `[1, 1, H, W]` says how much each part of pictures counts for colours and style; None is all alike.

    Args:
        painting: which sees hypercolumns.
        sketch: paints one picture `[1, 3, H, W]`, after `prepare`, small; called with its region too.
    """

    def __init__(self, painting: Painting, sketch: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        self.painting = painting
        self._sketch = sketch
        self._resized: dict[Size, Tensor] = {}

    # A sketch enlarges what rounding it is given, so all of it is computed in one order.

    @context.one_thread()
    def prepare(self, pixels: Tensor, seed: int, region: Tensor | None = None) -> None:
        """Give pictures `[B, 3, H, W]` the painting's colours, and clouds if the painting leads, in place."""
        target = self.painting.colors
        grain.clouded(pixels, seed, self.painting.lead, in_place=True)
        for one in torch.split(pixels, 1):
            size = (one.shape[-2], one.shape[-1])
            sample = images.resize(one, images.fit(size, min(SAMPLE, max(size))))
            sample = images.within(sample, images.shares(region, sample))
            move = colors.move(sample, target)
            contrast = colors.contrast(colors.moved(sample, move).clamp_(0, 1), sample, target)
            for rows in torch.split(one, colors.BAND, dim=-2):  # little memory
                rows.copy_(colors.contrasted(colors.moved(rows, move).clamp_(0, 1), contrast))

    def confine(self, painted: Tensor) -> None:
        """Keep pictures `[B, 3, H, W]` to the painting's range, and to its colours' line if there is one, in place."""
        if line := colors.line(self.painting.colors):
            point, direction = line
            along = torch.outer(direction, direction)
            move = colors.Move(along, point - along @ point)
            for rows in torch.split(painted, colors.BAND, dim=-2):
                rows.copy_(colors.moved(rows, move).clamp_(0, 1))
        least, most = self._range
        painted.clamp_(least.to(painted), most.to(painted))

    @context.one_thread()
    def sketches(self, pixels: Tensor, region: Tensor | None = None) -> Tensor:
        """A sketch `[B, 3, h, w]` of each picture `[B, 3, H, W]`, after `prepare`."""
        region = images.shares(region, pixels)
        return torch.cat([calmed(self._sketch(one, region), one) for one in torch.split(pixels, 1)])

    def beside(self, photographs: Tensor, painted: Tensor, region: Tensor | None = None) -> Tensor:
        """What a network is given beside photographs, for `together`.

        Args:
            photographs: `[B, 3, H, W]` in [0, 1], after `prepare`.
            painted: sketches or coarser paintings of them, `[B, 3, h, w]`.
            region: as above.

        Returns:
            `[B, 6, h, w]`: collages, and what the paintings change in the photographs. They are smaller than those if
            these are longer than `LARGEST`.
        """
        pairs = zip(torch.split(photographs, 1), torch.split(painted, 1), strict=True)
        return torch.cat([self._beside(*pair, region) for pair in pairs])

    @cached_property
    def _range(self) -> tuple[Tensor, Tensor]:
        """The least and the most that the painting has of each channel, `[1, 3, 1, 1]`."""
        shown = self.painting.pixels
        return shown.amin((0, 2, 3), keepdim=True), shown.amax((0, 2, 3), keepdim=True)

    def largest_side(self, size: Size) -> int:
        """The painting's long side in px where it is seen largest for a picture of a size (H, W)."""
        return self.painting.side(size, SHARES[-1] * min(max(size), LARGEST_MATCHED) / max(size))

    def _beside(self, photograph: Tensor, painted: Tensor, region: Tensor | None) -> Tensor:
        size = (photograph.shape[-2], photograph.shape[-1])
        long_sides = [round(share * min(max(size), LARGEST_MATCHED)) for share in SHARES]
        sizes = [images.fit(size, max(CELL, side)) for side in long_sides]
        largest = images.fit(size, min(max(size), LARGEST))
        # Between 0 and 1, as what is resized has to be.
        halved = (painted - images.resize(photograph, (painted.shape[-2], painted.shape[-1])) + 1) / 2
        changes = {to: images.resize(halved, to) * 2 - 1 for to in {*sizes, largest}}
        pictures = {to: (images.resize(photograph, to) + changes[to]).clamp_(0, 1) for to in changes}
        earlier, collage, regions = None, photograph, self.painting.regions(photograph)
        for at, to in zip(sizes, [*sizes[1:], largest], strict=True):
            seen = pictures[at] if earlier is None else pictures[at].lerp(collage, MIX)
            long_side = self.painting.side(size, max(at) / max(size))
            scale = self.painting.at(long_side, long_side)
            assert scale.candidates is not None
            features = self.painting.see(seen)
            columns = hypercolumns([features[layer] for layer in self.painting.matching_layers], grid(at), scale.scales)
            earlier = match(
                Query.of(columns).wanted(scale.candidates, images.shares(region, columns)),
                scale.candidates,
                earlier,
                regions=images.shares(regions, columns),
                is_near=earlier is not None,
            )
            painting = self._painting(images.fit(self.painting.size, long_side), at, to)
            collage = pasted(earlier, painting, at, pictures[to])
        return torch.cat([evened(collage, pictures[largest], grid(sizes[-1])), changes[largest]], 1)

    def _painting(self, size: Size, at: Size, to: Size) -> Tensor:
        """The painting, which has a size where it is matched, where a picture grows from one size to another."""
        wanted = round(size[0] * to[0] / at[0]), round(size[1] * to[1] / at[1])
        if wanted not in self._resized:
            if len(self._resized) == 2 * len(SHARES):
                self._resized.clear()
            self._resized[wanted] = images.resize(self.painting.pixels, wanted).to(self.painting.device)
        return self._resized[wanted]


def calmed(sketch: Tensor, photograph: Tensor) -> Tensor:
    """A sketch that changes less of a photograph's lights and darks where these differ from place to place.

    A sketch shows a face in a few pixels and gets its shading wrong. The optimisation puts that right at finer scales.

    Args:
        sketch: `[1, 3, h, w]`.
        photograph: `[1, 3, H, W]`.
    """
    small = images.resize(photograph, (sketch.shape[-2], sketch.shape[-1]))
    change = (sketch - small).mean(1, keepdim=True)
    return sketch.sub(images.box_blur(lively(small), AROUND) * change, alpha=CALMED).clamp_(0, 1)


def lively(photographs: Tensor) -> Tensor:
    """How much the light of photographs `[B, 3, H, W]` differs around each pixel: `[B, 1, H, W]` from 0 to 1."""
    light = photographs.mean(1, keepdim=True)
    spread = (images.box_blur(light.square(), AROUND) - images.box_blur(light, AROUND).square()).clamp_min(0).sqrt()
    return (spread / LIVELY).clamp_max(1)


def pasted(found: Match, painting: Tensor, at: Size, picture: Tensor) -> Tensor:
    """A collage of a picture.

    Pieces are three times as long as a position, and fade into one another. Two that are neighbours in the painting too
    join without a seam. Of the nine that a pixel is in, those count most that are like the picture there, so that edges
    are where the picture has them.

    Args:
        found: where each position of a picture has its model.
        painting: `[1, 3, h, w]`, as much larger than where it was matched as the collage is.
        at: (H, W) of the picture where it was matched.
        picture: `[1, 3, H, W]`.

    Returns:
        `[1, 3, H, W]`.
    """
    to, (height, width) = (picture.shape[-2], picture.shape[-1]), painting.shape[-2:]
    source, places = painting[0].flatten(1), found.candidates.places
    blocks = [CELL * there / here for here, there in zip(at, to, strict=True)]
    rows, columns = (torch.arange(extent, device=painting.device) for extent in to)
    collage = torch.zeros_like(picture)
    across = list(_pieces(columns, blocks[1], found.index.shape[1]))
    bands = (torch.split(collage[0], BAND, 1), torch.split(picture[0], BAND, 1), torch.split(rows, BAND))
    for band, wanted, here in zip(*bands, strict=True):
        shares = torch.zeros_like(band[0])
        for row, row_share in _pieces(here, blocks[0], found.index.shape[0]):
            for column, column_share in across:
                index = found.index[row][:, column]
                down = _moved(here.unsqueeze(1), places[0, index] - row.unsqueeze(1), blocks[0], height)
                right = _moved(columns, places[1, index] - column, blocks[1], width)
                pieces = source[:, (down * width + right).flatten()].view_as(band)
                away = (pieces - wanted).square_().sum(0) / UNLIKE**2
                share = row_share.unsqueeze(1) * column_share / (1 + away.square_())
                band.addcmul_(pieces, share)
                shares += share
        band /= shares
    return collage


def evened(collage: Tensor, picture: Tensor, positions: Size) -> Tensor:
    """A collage whose patches are about as light, and of the colour, as the picture is there.

    The optimisation's pictures are so: seen from afar, they are seven parts photograph and three parts collage.

    Args:
        collage: `[1, 3, H, W]`.
        picture: the same, what it is a collage of.
        positions: (h, w) of the grid on which it was matched.
    """
    away = F.interpolate(picture - collage, size=positions, mode="area")
    away = F.avg_pool2d(away, 3, stride=1, padding=1, count_include_pad=False)
    grown = F.interpolate(away, size=collage.shape[-2:], mode="bilinear")
    return collage.add(grown, alpha=EVENED).clamp_(0, 1)


def together(photographs: Tensor, beside: Tensor, height: int, first: int) -> Tensor:
    """All that a network is given.

    Args:
        photographs: rows of them from `first` on, `[B, 3, rows, W]`.
        beside: as `Guide.beside` gives it, `[B, 6, h, w]`; it is enlarged.
        height: of the whole photographs.
        first: a row.

    Returns:
        `[B, 9, rows, W]`: the pictures that have coarser paintings in them, the collages, the photographs.
    """
    rows, width = photographs.shape[-2:]
    collages, changes = enlarged(beside, (height, width), first, first + rows).to(photographs.dtype).chunk(2, 1)
    return torch.cat([(photographs + changes).clamp_(0, 1), collages, photographs], 1)


def enlarged(beside: Tensor, size: Size, first: int, last: int) -> Tensor:
    """The rows from `first` to `last` of maps `[B, C, h, w]` that are enlarged to a size (H, W)."""
    height, width = beside.shape[-2:]
    if size == (height, width):
        return beside[..., first:last, :]
    at = (torch.arange(first, last, device=beside.device) + 0.5) * (height / size[0]) - 0.5
    above = at.floor().clamp(0, height - 1)
    share = (at - above).clamp(0, 1).view(-1, 1)
    index = above.long()
    rows = torch.lerp(beside[..., index, :], beside[..., (index + 1).clamp_max(height - 1), :], share)
    return F.interpolate(rows, size=(last - first, size[1]), mode="bilinear")


def _pieces(positions: Tensor, block: float, count: int) -> list[tuple[Tensor, Tensor]]:
    """The three pieces that positions are in, and each one's share of them: a quadratic B-spline's."""
    at = (positions + 0.5) / block - 0.5
    own = at.round()
    away, index = at - own, own.long()
    shares = (0.5 * (0.5 - away).square(), 0.75 - away.square(), 0.5 * (0.5 + away).square())
    return [((index + step).clamp(0, count - 1), share) for step, share in zip((-1, 0, 1), shares, strict=True)]


def _moved(positions: Tensor, blocks: Tensor, block: float, extent: int) -> Tensor:
    """Positions so many blocks further on, mirrored at both ends."""
    found = (positions + (blocks * block).round().long()).abs()
    return torch.where(found < extent, found, 2 * extent - 1 - found).clamp(0, extent - 1)
