"""Which place of a painting belongs where in a picture, found by what a network sees at each place.

Places are positions of a grid of a quarter of the picture's size. A *hypercolumn* is what all layers see at one.
Nearest neighbours of hypercolumns know what belongs where (Kolkin et al. 2022, "Neural Neighbor Style Transfer",
arXiv:2203.13215; Li & Wand 2016, doi:10.1109/CVPR.2016.272). Alone, they repeat one patch over every empty area. So
a place prefers to continue the patch of a neighbour where that is about as near (Ashikhmin 2001, "Synthesizing
natural textures", doi:10.1145/364338.364405), and empty areas are filled with whole stretches of the painting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 4  # pixels of the picture to a position of the grid, across and down
COMPONENTS = 96  # of hypercolumns that similarities are taken from; the rest says next to nothing
PART = 1 << 13  # positions whose neighbours, or whose targets, are looked at at a time
CHUNK = 1 << 25  # similarities that are held at a time
LARGEST_SEARCH = 1 << 29  # similarities that a search of all places may take; beyond, the coarser scale's match leads
SWEEPS = 4  # over all positions
CONTINUITY = 0.05  # what continuing a neighbour of the same kind is worth, as a cosine; twice that at most
UNLIKE = 0.05  # one minus the cosine from which two positions are of different kinds
REPETITION = 0.3  # what showing the same place as a neighbour costs, as a cosine
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
BEYOND = ((-2, 0), (2, 0), (0, -2), (0, 2))
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
AROUND = (*SIDES, *CORNERS)
SAME_REGION = 0.5  # what a place in the region that a position belongs to is worth, as a cosine
VISIBLE = 0.5  # of a place, as a share of what is visible of any, for others to be like it
TINY = 1e-6
NOWHERE = -1

Size = tuple[int, int]


def grid(size: Size) -> Size:
    """Positions (h, w) of the grid of a picture of a size (H, W) in px."""
    return max(1, size[0] // CELL), max(1, size[1] // CELL)


def cells(area: tuple[slice, slice]) -> tuple[slice, slice]:
    """Rows and columns of the grid, of rows and columns of the picture that begin and end with one."""
    rows, columns = (slice(one.start // CELL, None if one.stop is None else one.stop // CELL) for one in area)
    return rows, columns


def resampled(features: Tensor, size: Size) -> Tensor:
    """A layer's activations `[B, C, h, w]` on a grid of a size: finer layers are averaged, coarser ones repeated."""
    # By the longer side, whose rounding says less. A side shorter than the pool is averaged as it is.
    doublings = round(math.log2(max(features.shape[-2:]) / max(size)))
    step = 2**doublings
    if doublings > 0 and all(extent >= step * count for extent, count in zip(features.shape[-2:], size, strict=True)):
        return cast(Tensor, _Averaged.apply(features, size, step))
    if doublings > 0:
        features = F.avg_pool2d(features, step, ceil_mode=True)
    elif doublings < 0:
        features = F.interpolate(features, scale_factor=float(2**-doublings))
    missing = [max(0, extent - there) for extent, there in zip(size, features.shape[-2:], strict=True)]
    if any(missing):  # a pool drops the last row or column of an odd number
        features = F.pad(features, (0, missing[1], 0, missing[0]), mode="replicate")
    return features[..., : size[0], : size[1]]


class _Averaged(torch.autograd.Function):
    """The means of squares of a layer's positions, and nothing of what is left over at its end.

    Its backward pass writes the gradient once; torch's own for a pool copies it first.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, size: Size, step: int) -> Tensor:
        ctx.shape, ctx.step = features.shape, step
        return F.avg_pool2d(features[..., : size[0] * step, : size[1] * step], step)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        step, (height, width) = ctx.step, gradient.shape[-2:]
        spread = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)
        spread[..., height * step :, :] = 0
        spread[..., width * step :] = 0
        across, down = spread.stride(3), spread.stride(2)
        shape, strides = (height, step, width, step), (step * down, down, step * across, across)
        squares = spread.as_strided((*spread.shape[:2], *shape), (*spread.stride()[:2], *strides))
        squares.copy_((gradient / step**2)[..., :, None, :, None])
        return spread, None, None


def scales(features: Sequence[Tensor]) -> list[Tensor]:
    """The root mean square norm of each layer's activations `[1, C, h, w]`, by which hypercolumns weigh the layer."""
    return [layer.float().square().sum(1).mean().sqrt().clamp_min(TINY) for layer in features]


def hypercolumns(features: Sequence[Tensor], size: Size, scales: Sequence[Tensor]) -> Tensor:
    """What all layers see at each position of a grid.

    Args:
        features: each layer's activations, `[B, C, h, w]`.
        size: (h, w) of the grid.
        scales: what each layer is divided by.

    Returns:
        `[B, D, h, w]`, where D is the sum of all layers' channels, float32 or wider.
    """
    layers = [resampled(layer, size) for layer in features]
    wide = [layer if layer.itemsize >= 4 else layer.float() for layer in layers]
    return torch.cat([layer / scale for layer, scale in zip(wide, scales, strict=True)], dim=1)


class Piece(NamedTuple):
    """Some channels of some of a picture's hypercolumns.

    Attributes:
        columns: what they are, `[1, d, h, w]`.
        channels: which of all D.
        place: rows and columns of the grid.
    """

    columns: Tensor
    channels: slice
    place: tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Query:
    """A picture's hypercolumns, which are computed piece by piece each time they are looked at.

    Attributes:
        size: (h, w) of the grid.
        pieces: computes all of them.
    """

    size: Size
    pieces: Callable[[], Iterable[Piece]]

    @classmethod
    def of(cls, columns: Tensor) -> Query:
        """Those `[1, D, h, w]` that are known."""
        piece = Piece(columns, slice(None), (slice(None), slice(None)))
        return cls((columns.shape[-2], columns.shape[-1]), lambda: [piece])

    def wanted(self, candidates: Candidates, region: Tensor | None) -> Tensor:
        """Each position's direction from their mean, in the candidates' components, `[h, w, K]`.

        Args:
            candidates: to match with.
            region: how much each position counts for the mean, `[1, 1, h, w]`; None for all alike.
        """
        like = candidates.columns
        mean = like.new_zeros(like.shape[1])
        for columns, channels, (rows, across) in self.pieces():
            here = _rows(columns)
            some = None if region is None else _rows(region[..., rows, across])
            mean[channels] += here.sum(0) if some is None else (here.mT @ some).flatten()
        mean /= math.prod(self.size) if region is None else region.sum().clamp_min(TINY)
        wanted, squares = like.new_zeros(*self.size, candidates.components.shape[1]), like.new_zeros(*self.size, 1)
        for columns, channels, (rows, across) in self.pieces():
            away = (columns[0] - mean[channels, None, None]).movedim(0, -1)
            wanted[rows, across] += away @ candidates.components[channels]
            squares[rows, across] += away.square().sum(-1, keepdim=True)
        return wanted.div_(squares.sqrt_().clamp_min_(TINY))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Places that a position may be matched with: those of one or several pictures.

    Attributes:
        columns: their hypercolumns `[N, D]`, picture after picture, row by row.
        sizes: (h, w) of each picture's grid.
        shares: how much of each place is visible, `[N, 1]`; None if all of them are.
        handicaps: what a likeness to each place counts less, as a cosine, `[N]`; None for nothing.
        regions: how much of each place is in each region, `[N, K]`; None for no regions.
    """

    columns: Tensor
    sizes: tuple[Size, ...]
    shares: Tensor | None = None
    handicaps: Tensor | None = None
    regions: Tensor | None = None

    @classmethod
    def of(
        cls, columns: Sequence[Tensor], shares: Sequence[Tensor | None] = (), regions: Sequence[Tensor] = ()
    ) -> Candidates:
        """All places of pictures, from their hypercolumns `[1, D, h, w]`.

        Args:
            columns: of each picture.
            shares: how much of each place is visible, `[1, 1, h, w]`; none, or None, for pictures that are opaque.
            regions: how much of each place is in each region, `[1, K, h, w]`; none for no regions.
        """
        sizes = tuple((one.shape[-2], one.shape[-1]) for one in columns)
        seen = [_rows(one) for one in shares if one is not None]
        inside = torch.cat(list(map(_rows, regions))) if regions else None
        return cls(torch.cat(list(map(_rows, columns))), sizes, torch.cat(seen) if seen else None, regions=inside)

    @cached_property
    def mean(self) -> Tensor:
        """The mean hypercolumn, `[D]`."""
        if self.shares is None:
            return self.columns.mean(0)
        return (self.columns * self.shares).sum(0) / self.shares.sum()

    @cached_property
    def components(self) -> Tensor:
        """The principal components `[D, K]` of the hypercolumns' directions from their mean."""
        away = F.normalize(self.columns - self.mean, dim=1)
        away = away if self.shares is None else away * self.shares
        # On the CPU: a small matrix, and not every device can.
        _, vectors = torch.linalg.eigh((away.mT @ away).cpu().double())
        return torch.as_tensor(vectors[:, -COMPONENTS:]).to(away)

    @cached_property
    def directions(self) -> Tensor:
        """Each hypercolumn's direction from the mean, in components, and its regions, `[N, K]`."""
        directions: Tensor = F.normalize(self.columns - self.mean, dim=1) @ self.components
        return directions if self.regions is None else torch.cat([directions, self.regions], 1)

    @cached_property
    def handicap(self) -> Tensor | None:
        """What a likeness to each place counts less, `[N]`: infinitely where it shows nothing; None for nothing."""
        if self.shares is None:
            return self.handicaps
        visible = self.shares[:, 0]
        hidden = torch.zeros_like(visible).masked_fill_(visible <= VISIBLE * visible.max(), math.inf)
        return hidden if self.handicaps is None else hidden + self.handicaps

    @cached_property
    def places(self) -> Tensor:
        """Of each place its row and column, the height and width of its picture's grid, and which picture, `[5, N]`."""
        parts = []
        for picture, (height, width) in enumerate(self.sizes):
            here = torch.cartesian_prod(torch.arange(height), torch.arange(width)).mT
            about = torch.tensor([[height], [width], [picture]]).expand(3, height * width)
            parts.append(torch.cat([here, about]))
        return torch.cat(parts, 1).to(self.columns.device)

    def beside(self, index: Tensor, down: int, right: int) -> Tensor:
        """The places so far from those of an index of any shape; `NOWHERE` beyond the picture's edge."""
        row, column, height, width, _ = self.places[:, index.clamp_min(0)]
        row, column = row + down, column + right
        inside = (index >= 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return torch.where(inside, index + down * width + right, NOWHERE)


class Models(NamedTuple):
    """What each position of a picture should show: directions from the painting's mean, mixed of a few places' each.

    They are mixed anew whenever they are looked at, which takes little time; for a large picture they would take more
    memory than anything else.

    Attributes:
        places: of the painting, `[h, w, M]`.
        shares: of each of them, such that the directions are of length 1, `[h, w, M]`.
        tables: of each layer, the places' activations from their mean, `[N, C]`.
    """

    places: Tensor
    shares: Tensor
    tables: tuple[Tensor, ...]

    def cut(self, layer: int, rows: slice, columns: slice) -> Tensor:
        """A layer's channels of the directions at some positions, `[1, C, h, w]`."""
        places, shares = (one[rows, columns].flatten(0, 1) for one in self[:2])
        mixed = F.embedding_bag(places, self.tables[layer], mode="sum", per_sample_weights=shares)
        return mixed.view(1, *self.places[rows, columns].shape[:2], -1).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Match:
    """Where each position of a picture has its model.

    Attributes:
        index: of the candidate, `[h, w]`.
        candidates: the places of the painting.
        alike: how much each position is of one kind with each of its neighbours, in the order of `AROUND`, from 0 to 1:
            `[8, h, w]`.
    """

    index: Tensor
    candidates: Candidates
    alike: Tensor

    def models(self, widths: Sequence[int], dtype: torch.dtype | None = None) -> Models:
        """What each position should show: the mean of what its match and those of neighbours of its kind propose.

        So stretches of the painting pass into one another.

        Args:
            widths: channels of each layer of a hypercolumn.
            dtype: in which they are kept; None for the candidates' own.
        """
        candidates = self.candidates
        away = (candidates.columns - candidates.mean).to(dtype or candidates.columns.dtype)
        tables = tuple(one.contiguous() for one in torch.split(away, list(widths), 1))
        size = (*self.index.shape, 1 + len(AROUND))
        found = Models(away.new_empty(size, dtype=torch.int32), away.new_empty(size), tables)
        del away
        for rows in _bands(self.index):
            steps = ((0, 0), *AROUND)
            near = [candidates.beside(_neighbour(self.index, *step)[rows], -step[0], -step[1]) for step in steps]
            proposed, alike = torch.stack(near, -1), self.alike[:, rows]
            votes = candidates.columns.new_tensor([4, *[2] * len(SIDES), *[1] * len(CORNERS)])
            shares = torch.cat([torch.ones_like(alike[:1]), alike]).movedim(0, -1) * votes * (proposed >= 0)
            if candidates.shares is not None:
                shares = shares * candidates.shares[proposed.clamp_min(0), 0].clamp_min(TINY)
            found.places[rows], found.shares[rows] = proposed.clamp_min(0), shares / shares.sum(-1, keepdim=True)
            layers = (found.cut(layer, rows, slice(None)) for layer in range(len(tables)))
            length = torch.stack([layer.float().square().sum(1)[0] for layer in layers]).sum(0).sqrt().clamp_min(TINY)
            found.shares[rows] /= length.unsqueeze(-1)
        return found

    def enlarged(self, size: Size, candidates: Candidates) -> Tensor:
        """The same places among a finer scale's candidates, for a finer grid of a size (h, w): their index there."""
        down, right = (torch.arange(extent, device=self.index.device) for extent in size)
        above, left = (
            (positions >> 1).clamp_max(extent - 1)
            for positions, extent in zip((down, right), self.index.shape, strict=True)
        )
        row, column, height, width, picture = self.candidates.places[:, self.index[above][:, left]]
        sizes = torch.tensor(candidates.sizes, device=self.index.device)
        firsts = sizes.prod(1).cumsum(0) - sizes.prod(1)
        new_height, new_width = sizes[picture].unbind(-1)
        row = (row * new_height // height + (down & 1).unsqueeze(1)).minimum(new_height - 1)
        column = (column * new_width // width + (right & 1)).minimum(new_width - 1)
        index: Tensor = firsts[picture] + row * new_width + column
        return index


def match(
    wanted: Tensor,
    candidates: Candidates,
    earlier: Match | None = None,
    *,
    regions: Tensor | None = None,
    is_near: bool = False,
) -> Match:
    """Find for each position the place of the painting that fits it.

    Similarity is the cosine between hypercolumns, the picture's and the painting's both centred by their own mean.
    Where a search of all places would take too long, only those around the coarser scale's match are tried.

    Args:
        wanted: each position's direction, `[h, w, K]`; see `Query.wanted`.
        candidates: the places to choose from.
        earlier: the match at the coarser scale, of half the size.
        regions: which of the candidates' regions each position belongs to, `[1, K, h, w]`; None for any.
        is_near: try only places around the coarser scale's match, which is quick.
    """
    size = (wanted.shape[0], wanted.shape[1])
    wanted = wanted.flatten(0, 1)
    if candidates.regions is not None:
        any_of_them = wanted.new_zeros(len(wanted), candidates.regions.shape[1])
        wanted = torch.cat([wanted, any_of_them if regions is None else SAME_REGION * _rows(regions)], 1)
    is_patchy = earlier is None or not (is_near or len(wanted) * len(candidates.columns) > LARGEST_SEARCH)
    if earlier is None or is_patchy:
        found = _nearest(wanted, candidates)
    else:
        found = _nearest_around(wanted, candidates, earlier.enlarged(size, candidates).flatten())
    alike = _alike(wanted.view(*size, -1))
    return Match(_continued(wanted, candidates, found.view(size), alike, is_patchy=is_patchy), candidates, alike)


def _nearest(wanted: Tensor, candidates: Candidates) -> Tensor:
    directions = candidates.directions.mT
    step = max(1, CHUNK // directions.shape[1])
    found = []
    for start in range(0, len(wanted), step):
        similarity = wanted[start : start + step] @ directions
        if candidates.handicap is not None:
            similarity -= candidates.handicap
        found.append(similarity.argmax(1))
    return torch.cat(found)


def _nearest_around(wanted: Tensor, candidates: Candidates, start: Tensor) -> Tensor:
    found = []
    for some, here in zip(torch.split(wanted, PART), torch.split(start, PART), strict=True):
        options = torch.stack([candidates.beside(here, *step) for step in ((0, 0), *AROUND)])
        found.append(options.gather(0, _similarity(some, candidates, options).argmax(0, keepdim=True))[0])
    return torch.cat(found)


def _similarity(wanted: Tensor, candidates: Candidates, options: Tensor) -> Tensor:
    """Cosines `[M, n]` between n positions' directions and M options for each, less handicaps; -inf for `NOWHERE`."""
    found = torch.stack([(wanted * candidates.directions[option.clamp_min(0)]).sum(1) for option in options])
    if candidates.handicap is not None:
        found -= candidates.handicap[options.clamp_min(0)]
    return found.masked_fill(options < 0, -math.inf)


def _continued(wanted: Tensor, candidates: Candidates, nearest: Tensor, alike: Tensor, *, is_patchy: bool) -> Tensor:
    """Let positions continue their neighbours' patches where that costs little.

    The first sweep goes diagonal by diagonal, from one corner to the opposite one, so that a patch may grow all the
    way; what comes from a coarser match has its patches. The others do every third diagonal at once, as none of its
    positions looks at another: for what is left to gain, that is as good, and much quicker.
    """
    height, width = nearest.shape
    # With a rim of two positions of nowhere, so that every position has neighbours.
    current = F.pad(nearest, (2, 2, 2, 2), value=NOWHERE).flatten()
    stride = width + 4
    nearest = nearest.flatten()
    alike = alike[: len(SIDES)].flatten(1)
    down, right = (one.flatten() for one in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    order = (down + right).argsort(stable=True).to(current.device)
    around = torch.tensor([one * stride + other for one, other in (*SIDES, *BEYOND)], device=current.device)
    diagonals = torch.tensor_split(order, torch.bincount(down + right).cumsum(0)[:-1].tolist())
    thirds = [torch.cat(part) for third in range(3) if (part := diagonals[third::3])]
    for sweep in range(0 if is_patchy else 1, SWEEPS):
        for some in thirds[:: (-1) ** sweep] if sweep else diagonals:
            here = (some // width + 2) * stride + some % width + 2
            near = current[here + around.unsqueeze(1)]
            proposed = torch.stack(
                [candidates.beside(one, -step[0], -step[1]) for one, step in zip(near, SIDES, strict=False)]
            )
            options = torch.cat([current[here].unsqueeze(0), nearest[some].unsqueeze(0), proposed])
            score = _similarity(wanted[some], candidates, options)
            score += CONTINUITY * (alike[:, some] * (options.unsqueeze(1) == proposed)).sum(1).clamp_max(2)
            score -= REPETITION * (options.unsqueeze(1) == near).sum(1)
            current[here] = options.gather(0, score.argmax(0, keepdim=True))[0]
    return current.view(height + 4, stride)[2:-2, 2:-2]


def _alike(wanted: Tensor) -> Tensor:
    """How much each position is of one kind with its neighbours, from what is wanted there, `[h, w, K]`."""
    height = len(wanted)
    found = wanted.new_empty(len(AROUND), *wanted.shape[:2])
    for rows in _bands(wanted):
        here, positions = wanted[rows], torch.arange(rows.start, rows.stop, device=wanted.device)
        for (down, right), alike in zip(AROUND, found, strict=True):
            cosines = F.cosine_similarity(here, wanted[(positions + down) % height].roll(-right, 1), dim=-1)
            alike[rows] = (1 - (1 - cosines) / UNLIKE).clamp_min_(0)
    return found


def _neighbour(index: Tensor, down: int, right: int) -> Tensor:
    """What each position's neighbour so far away has, `[h, w]`; `NOWHERE` beyond the edge."""
    height, width = index.shape
    padded = F.pad(index, (2, 2, 2, 2), value=NOWHERE)
    return padded[2 + down : 2 + down + height, 2 + right : 2 + right + width]


def _bands(index: Tensor) -> Iterator[slice]:
    """Rows of a grid, of `PART` positions or so at a time."""
    height, width = index.shape[:2]
    band = max(1, PART // width)
    return (slice(top, min(height, top + band)) for top in range(0, height, band))


def _rows(columns: Tensor) -> Tensor:
    return columns[0].flatten(1).mT
