"""Style as statistics of activations: Gram matrices (Gatys et al. 2016), with the channels' means along."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from styletx.losses.terms import Part, whole, wide

TINY = 1e-12  # guards the division when a target is all zero, such as the features of a black picture
FAINT = 0.1  # of the squares' mean size, which is added to the size that a square's distance is relative to
CHUNK = 2**14  # positions that are made wide and multiplied at a time: they stay in the processor's cache


class Gram:
    """Relative squared distance of a layer's Gram matrix to a painting's (Gatys et al. 2016, equation 4).

    With the channels' means and standard deviations beside it (Li et al. 2017), empty paper stays empty.

    Args:
        layer: whose.
        target: the painting's `gram_statistics`, `[1, C + 1, C + 1]` or `[B, C + 1, C + 1]`.
        share: of the means' and the standard deviations' distances, beside the matrix's.
        weights: how much each position of the picture counts, `[1, 1, h, w]`; None for all alike.
    """

    def __init__(self, layer: str, target: Tensor, share: float = 0.0, weights: Tensor | None = None) -> None:
        self.layers = (layer,)
        self.target = moments(target)
        self.share = share
        self.weights = weights

    def statistics(self, part: Part) -> Tensor:
        """As `gram_statistics`."""
        (layer,) = self.layers
        rows, columns = part.places[layer]
        weights = None if self.weights is None else self.weights[..., rows, columns]
        return gram_statistics(part.features[layer], weights, part.is_known)

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 at the target's matrix, 1 for a matrix of zeros, and more with moments."""
        if not self.share:
            return relative_distance(_average(statistics)[:, :-1, :-1], self.target.gram)
        gram, mean, deviation = map(relative_distance, moments(statistics), self.target)
        return gram + self.share * (mean + deviation)


class LocalGram:
    """`Gram`, with moments, of each square of a picture by itself, as Sajjadi et al. (2017) did for enlarging.

    The matrix of a whole picture is that of its edges, and hardly tells strokes in a sky from a bare one. Here each
    square counts as much as any other, and where in it the strokes lie does not matter.

    doi:10.1109/ICCV.2017.481

    Args:
        layer: whose.
        target: activations `[B, C, h, w]` of the picture that is to be met.
        rows: of squares, which cover the picture but for a rest that is narrower than a position a row.
        columns: of squares.
        share: as in `Gram`.
    """

    def __init__(self, layer: str, target: Tensor, rows: int, columns: int, share: float) -> None:
        self.layers = (layer,)
        self.grid = rows, columns
        self.share = share
        self.target = moments(self._statistics(target))

    def statistics(self, part: Part) -> Tensor:
        """`gram_statistics` of each square, `[B × squares, C + 1, C + 1]`; only of a whole picture."""
        (layer,) = self.layers
        return self._statistics(part.features[layer])

    def _statistics(self, features: Tensor) -> Tensor:
        rows, columns = self.grid
        height, width = (extent // count for extent, count in zip(features.shape[-2:], self.grid, strict=True))
        cut = features[..., : rows * height, : columns * width]
        squares = cut.reshape(*cut.shape[:2], rows, height, columns, width).permute(0, 2, 4, 1, 3, 5)
        return gram_statistics(squares.flatten(0, 2))

    def loss(self, statistics: Tensor) -> Tensor:
        """A scalar; 0 at the target's statistics, and more with moments."""
        gram, mean, deviation = map(_mean_distance, moments(statistics), self.target)
        return gram + self.share * (mean + deviation)


class Moments(NamedTuple):
    """What `gram_statistics` say of a layer, whatever its size.

    Attributes:
        gram: `[B, C, C]`, products of each two channels, averaged over positions.
        mean: `[B, C]`, of each channel.
        deviation: `[B, C]`, standard deviation of each channel.
    """

    gram: Tensor
    mean: Tensor
    deviation: Tensor


def gram_statistics(features: Tensor, weights: Tensor | None = None, is_known: bool = False) -> Tensor:
    """Sums over positions of the products of each two channels, where a channel of ones is added as the last one.

    So the last row and column hold each channel's sum, and their corner the number of positions.

    Args:
        features: `[B, C, h, w]`, any float dtype.
        weights: how much each position counts, `[B, 1, h, w]`; None for all alike.
        is_known: as of a `Part`.

    Returns:
        `[B, C + 1, C + 1]`, float32 or wider.
    """
    if weights is not None:
        root = weights.sqrt()
        rows = torch.cat([wide(features) * root, root.to(wide(features))], 1).flatten(2)
        return rows @ rows.mT
    statistics: Tensor = _Statistics.apply(features, is_known)
    return statistics


def moments(statistics: Tensor) -> Moments:
    """Gram matrix, means and standard deviations of the features that `[B, C + 1, C + 1]` are the statistics of."""
    averages = _average(statistics)
    gram, mean = averages[:, :-1, :-1], averages[:, :-1, -1]
    variance = gram.diagonal(dim1=1, dim2=2) - mean.square()
    return Moments(gram, mean, variance.clamp_min(TINY).sqrt())


def gram_matrix(features: Tensor) -> Tensor:
    """Which channels are active together, wherever in the picture (Gatys et al. 2016, equation 3).

    Args:
        features: `[B, C, H, W]`, any float dtype.

    Returns:
        `[B, C, C]`, float32 or wider: products of all pairs of channels, averaged over positions, so that it does not
        depend on the picture's size.
    """
    return _average(gram_statistics(features))[:, :-1, :-1]


def relative_distance(value: Tensor, target: Tensor) -> Tensor:
    """‖value − target‖² / ‖target‖², a scalar; 0 where they are equal, 1 for a value of zero.

    Args:
        value: any shape.
        target: the same shape, or one that broadcasts to it.
    """
    value, target = wide(value), wide(target)
    size = target.square().sum() * (value.numel() / target.numel())
    return (value - target).square().sum() / size.clamp_min(TINY)


def _mean_distance(values: Tensor, targets: Tensor) -> Tensor:
    """The mean of relative squared distances `[N, …]` to targets; targets of little size are not blown up."""
    sizes = targets.flatten(1).square().sum(1)
    distances = (values - targets).flatten(1).square().sum(1)
    return (distances / (sizes + FAINT * sizes.mean()).clamp_min(TINY)).mean()


def style_loss(features: Tensor, target: Tensor) -> Tensor:
    """`Gram`'s loss as a function: of features `[B, C, H, W]`, and a painting's `gram_statistics`; a scalar."""
    term = Gram("", target)
    return term.loss(term.statistics(whole({"": features})))


def _average(statistics: Tensor) -> Tensor:
    return statistics / statistics[:, -1:, -1:].clamp_min(TINY)


class _Statistics(torch.autograd.Function):
    """Its backward pass is one product; autograd's own for `F.T @ F` takes two."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, is_known: bool) -> Tensor:
        rows = features.permute(0, 2, 3, 1).flatten(1, 2)
        ctx.save_for_backward(rows)
        ctx.shape = features.shape
        batch, count, channels = rows.shape
        sums = wide(rows[:, :0]).new_zeros(batch, channels + 1, channels + 1)
        if is_known:
            return sums
        sums[:, -1, -1] = count
        for start in range(0, count, CHUNK):
            some = wide(rows[:, start : start + CHUNK])
            sums[:, :-1, :-1].baddbmm_(some.mT, some)
            sums[:, -1:, :-1].baddbmm_(some.new_ones(batch, 1, some.shape[1]), some)
        sums[:, :-1, -1] = sums[:, -1, :-1]
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (rows,) = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        symmetric = (gradient + gradient.mT).to(rows.dtype)
        bent: Tensor = torch.baddbmm(symmetric[:, -1:, :-1], rows, symmetric[:, :-1, :-1])
        return bent.view(batch, height, width, channels).permute(0, 3, 1, 2), None
