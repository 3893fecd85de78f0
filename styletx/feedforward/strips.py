"""Repainting a picture with a trained network: whole where it fits, else in strips, in little memory.

A strip alone would be normalised by its own statistics and differ from the next one. The statistics of a thumbnail
(Chen et al. 2022), of a sample of tiles or of an earlier pass are no remedy, for each layer enlarges the error of the
one before. So the strips go through the network layer by layer: all of them through one layer, whose exact statistics
are then known, before any goes through the next. In between, only the features that the residual blocks work on are
kept, in half precision, which is a quarter of the picture. The layers before and after them, which have many pixels
and little work, are run again.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletx.feedforward.collages import together
from styletx.feedforward.networks import Repainter
from styletx.feedforward.networks.layers import ENLARGING, EPSILON, THINNING, Normalise

WHOLE = 2**23  # pixels: 4K, which takes about one and a half gigabytes
STRIP = 2**19  # pixels
SHORTEST = 64  # px of a strip, several times the margin around a picture
KEPT = torch.float16  # of features between layers: half the memory, and four times as exact as bfloat16


@torch.no_grad()
def repaint(
    network: Repainter,
    pixels: Tensor,
    beside: Tensor | None = None,
    *,
    share: float = 1,
    whole_pixels: int = WHOLE,
    tile_pixels: int = STRIP,
    in_place: bool = False,
) -> Iterator[tuple[float, Tensor]]:
    """Repaint pictures of any size.

    Args:
        network: in eval mode. If its descriptor denies strips, it must take a picture of any size at once.
        pixels: `[B, 3, H, W]`, RGB in about [0, 1], with the colours that the network wants, on its device, no side
            shorter than its minimum; of any precision.
        beside: for a network that takes collages, what `Guide.beside` gives.
        share: of what the network paints, which shows over the picture that it was given.
        whole_pixels: pixels that may go through the network at once; a larger picture is done in strips.
        tile_pixels: about how many pixels a strip has.
        in_place: write into `pixels`, which saves the memory of a second picture.

    Yields:
        The share of the work done, and the canvas `[B, 3, H, W]` in the precision of `pixels`: the pictures, which
        get repainted, large ones at the very end. With the last share, 1.0, it is finished and in [0, 1].
    """
    canvas = pixels if in_place else pixels.clone()
    count, _, height, width = pixels.shape
    if height * width > whole_pixels and network.descriptor.strips:
        uncompiled = getattr(network, "_orig_mod", network)
        for index in range(count):
            one = slice(index, index + 1)
            guided = None if beside is None else beside[one]
            for done in _LargePicture(uncompiled, canvas[one], tile_pixels, guided, share).repaint():
                yield (index + done) / count, canvas
        return
    at_once = max(1, whole_pixels // (height * width))
    for start in range(0, count, at_once):
        some = slice(start, start + at_once)
        given = pixels[some]
        if beside is not None:
            given = together(given, beside[some], height, 0)
        given = given.to(torch.float32, memory_format=torch.channels_last)
        painted = network(given).clamp(0, 1)
        canvas[some] = painted if share == 1 else torch.lerp(given[:, :3], painted, share)
        yield min(some.stop / count, 1.0), canvas


class _Strip(NamedTuple):
    """Rows [start, stop) of the features, computed from the rows [first, last)."""

    start: int
    stop: int
    first: int
    last: int

    def core(self, output: Tensor) -> Tensor:
        """The strip's own part of what was computed from all its rows, at any scale."""
        scale = output.shape[-2] // (self.last - self.first)
        return output[..., (self.start - self.first) * scale : (self.stop - self.first) * scale, :]


class _LargePicture:
    """A picture on its way through a network, in strips.

    Args:
        network: in eval mode; one of stem, residual blocks and head, like `Transformer`.
        canvas: `[1, 3, H, W]`, the picture, which is repainted in place.
        tile_pixels: about how many pixels a strip has.
        beside: for a network that takes a collage, `[1, 6, h, w]`.
        share: as `repaint` takes it.
    """

    def __init__(
        self, network: Any, canvas: Tensor, tile_pixels: int, beside: Tensor | None = None, share: float = 1
    ) -> None:
        self.network = network
        self.canvas = canvas
        self.beside = beside
        self.share = share
        self.tile_pixels = tile_pixels
        self.statistics = _Statistics()
        self.scale = network.descriptor.multiple
        self.padding = left, right, top, bottom = network.padding(canvas.shape[-2], canvas.shape[-1])
        height, width = top + canvas.shape[-2] + bottom, left + canvas.shape[-1] + right
        self.size = (height // self.scale, width // self.scale)  # of what the residual blocks work on
        self.features = self._room(network.layout.widths[-1])
        self.done = 0  # rows of the canvas that are painted
        self.above = canvas[..., :0, :]  # the photograph's rows just above the others, as far as they are needed

    def repaint(self) -> Iterator[float]:
        """Repaint the canvas; yields the share of the work done."""
        blocks: list[Any] = list(self.network.blocks)
        passes = len(self.network.stem) + 1 + sum(len(block.norms) + 1 for block in blocks) + len(self.network.head) + 1
        work = itertools.chain(self._down(), *map(self._through, blocks), self._back())
        total = passes * len(list(self._strips(0)))
        for done, _ in enumerate(work, 1):
            yield done / total

    def _room(self, channels: int) -> Tensor:
        shape = (1, channels, *self.size)
        return torch.empty(shape, dtype=KEPT, device=self.canvas.device, memory_format=torch.channels_last)

    def _strips(self, reach: int) -> Iterator[_Strip]:
        height, width = self.size
        shortest = SHORTEST // self.scale
        rows = max(shortest, self.tile_pixels // (width * self.scale**2))
        # Too few rows left for a strip of their own go to the last one.
        starts = range(0, max(1, height - shortest + 1), rows)
        for start, stop in itertools.pairwise((*starts, height)):
            yield _Strip(start, stop, max(0, start - reach), min(stop + reach, height))

    def _down(self) -> Iterator[None]:
        for norm in self.network.stem_norms:
            for strip in self._strips(self._stem_reach):
                given = self.statistics.given_to(norm, functools.partial(self.network.down, self._photograph(strip)))
                self.statistics.add(norm, strip.core(given))
                if norm is self.network.stem_norms[-1]:
                    self.features[..., strip.start : strip.stop, :] = strip.core(given)
                yield
        for strip in self._strips(0):
            rows = self.features[..., strip.start : strip.stop, :]
            rows.copy_(F.relu_(self.statistics.normalise(self.network.stem_norms[-1], rows.float())))
            yield

    @property
    def _stem_reach(self) -> int:
        """How many rows of features around its own the stem needs for a strip."""
        layout = self.network.layout
        # Of the first convolution and then of 3×3 ones, each at the scale of its input, and of the blur before each.
        strides = [1, *(layout.stride << index for index in range(len(layout.widths) - 1))]
        blurs = layout.lowpass * (len(THINNING) // 2) * sum(strides)
        rows: int = math.ceil((layout.kernel // 2 + sum(strides[1:]) + blurs) / self.scale)
        return rows

    def _photograph(self, strip: _Strip) -> Tensor:
        left, right, top, _ = self.padding
        height = self.canvas.shape[-2]
        first, last = strip.first * self.scale - top, strip.last * self.scale - top
        return F.pad(
            self._given(max(0, first), last), (left, right, max(0, -first), max(0, last - height)), mode="reflect"
        )

    def _given(self, first: int, last: int) -> Tensor:
        window = self._rows(first, last)
        if self.beside is not None:
            window = together(window, self.beside, self.canvas.shape[-2], first)
        return window.to(torch.float32, memory_format=torch.channels_last)

    def _rows(self, first: int, last: int) -> Tensor:
        """Rows of the photograph, of which the first may be painted by now."""
        above = self.above[..., self.above.shape[-2] - max(0, self.done - first) :, :]
        below = self.canvas[..., max(self.done, first) : last, :]
        return torch.cat([above, below], dim=-2) if len(above[0, 0]) else below

    def _through(self, block: Any) -> Iterator[None]:
        change = self.features
        for index, (convolution, norm) in enumerate(zip(block.convolutions, block.norms, strict=True)):
            reach = convolution.kernel_size[0] // 2
            source = change
            if index == 0 or convolution.in_channels != convolution.out_channels:
                change = self._room(convolution.out_channels)
            kept = source[..., :0, :]
            for strip in self._strips(reach):
                window = torch.cat([kept, source[..., strip.start : strip.last, :]], dim=-2).float()
                # The next strip needs these rows too, and they may soon be overwritten.
                kept = source[..., strip.stop - reach : strip.stop, :].clone()
                if index:
                    window = F.relu_(self.statistics.normalise(block.norms[index - 1], window))
                made = strip.core(convolution(window))
                self.statistics.add(norm, made)
                change[..., strip.start : strip.stop, :] = made
                yield
        for strip in self._strips(0):
            rows = self.features[..., strip.start : strip.stop, :]
            made = change[..., strip.start : strip.stop, :].float()
            made = self.statistics.normalise(block.norms[-1], made)
            rows.copy_(rows + made if block.skip else made)
            yield

    def _back(self) -> Iterator[None]:
        layout = self.network.layout
        scales = [self.scale >> index for index in range(len(self.network.head))]
        reach = sum(scales) + layout.lowpass * (len(ENLARGING) // 2) * sum(scales) // 2  # after it was enlarged
        reach += layout.stride if layout.stride > 1 else layout.kernel // 2
        reach = math.ceil((reach + 2 * layout.bridges) / self.scale)  # two 3×3 convolutions more at full size
        for norm in self.network.head_norms:
            for strip in self._strips(reach):
                given = self.statistics.given_to(norm, functools.partial(self._painted, strip))
                self.statistics.add(norm, strip.core(given))
                yield
        left, _, top, _ = self.padding
        height, width = self.canvas.shape[-2:]
        needed = (reach + self._stem_reach) * self.scale if layout.bridges else 0
        for strip in self._strips(reach):
            painted = strip.core(self._painted(strip, self.statistics.normalise))
            first, last = strip.start * self.scale - top, min(strip.stop * self.scale - top, height)
            painted = painted[..., max(0, -first) : height - first, left : left + width].clamp(0, 1)
            above = self._rows(max(0, last - needed), last).clone()
            first = max(0, first)
            if self.share < 1:
                painted = torch.lerp(self._given(first, last)[:, :3], painted, self.share)
            self.canvas[..., first:last, :] = painted
            self.above, self.done = above, last
            yield

    def _painted(self, strip: _Strip, normalise: Normalise) -> Tensor:
        """What the way back makes of a strip, with the rows around it."""
        features = self.features[..., strip.first : strip.last, :].float()
        pixels, stages = features, []
        if self.network.layout.bridges:
            first, last = strip.first - self._stem_reach, strip.last + self._stem_reach
            wide = _Strip(strip.first, strip.last, max(0, first), min(last, self.size[0]))
            photograph = self._photograph(wide)
            below = self.network.down(photograph, self.statistics.normalise)[:-1]
            pixels, *stages = (wide.core(one) for one in (photograph, *below))
        painted: Tensor = self.network.back(features, pixels, stages, normalise)
        return painted


class _Statistics:
    """Mean and variance of each norm's channels, pooled over strips in float64 (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.pooled: dict[nn.Module, tuple[int, Tensor, Tensor]] = {}  # count, mean, sum of squared differences

    def add(self, norm: Any, features: Tensor) -> None:
        """Add a strip's features `[1, C, h, w]`."""
        statistics = torch.zeros((2, features.shape[1]), device=features.device)
        # Three times as fast as torch.var_mean on a CPU; the variance is the unbiased one.
        F.batch_norm(features, statistics[0], statistics[1], training=True, momentum=1)
        mean, variance = statistics.cpu().double()
        count = features.shape[-2] * features.shape[-1]
        squares = variance * (count - 1)
        if norm in self.pooled:
            before, mean_before, squares_before = self.pooled[norm]
            difference = mean - mean_before
            total = before + count
            mean = mean_before + difference * count / total
            squares = squares_before + squares + difference.square() * before * count / total
            count = total
        self.pooled[norm] = count, mean, squares

    def normalise(self, norm: Any, features: Tensor) -> Tensor:
        """Normalise a strip's features by the whole picture's statistics."""
        count, mean, squares = self.pooled[norm]
        mean, variance = torch.stack([mean, squares / count]).to(features.device, torch.float32)
        return F.batch_norm(features, mean, variance, norm.weight.float(), norm.bias.float(), eps=EPSILON)

    def given_to(self, norm: Any, part: Callable[[Normalise], Any]) -> Tensor:
        """The features that a norm is given when a part of the network is called; the norms before it are known."""

        def normalise(reached: Any, features: Tensor) -> Tensor:
            if reached is norm:
                raise _Reached(features)
            return self.normalise(reached, features)

        try:
            part(normalise)
        except _Reached as reached:
            return reached.features
        raise AssertionError("a norm is not in the part that it was sought in")


class _Reached(Exception):
    """Ends a call whose rest is not needed."""

    def __init__(self, features: Tensor) -> None:
        self.features = features
