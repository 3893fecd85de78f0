"""Sizes, and Lanczos resizing on any device.

Each output pixel is a weighted sum of neighbouring input pixels, so resizing one axis is a product with a banded
matrix. A band of rows of that matrix touches only a slice of the input, which makes it a small dense product: several
times as fast as Pillow on a CPU, without a copy of the input. Duchon, "Lanczos filtering in one and two
dimensions" (1979), doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2.
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LOBES = 3  # of the kernel, on each side
BAND = 16  # rows of a band when shrinking, twice as many when enlarging: the fastest on CPUs
BAND_SPAN = 1 << 14  # input pixels that the outputs of one band may span: fewer rows when shrinking a thousandfold
LONGEST_KEPT = 1 << 16  # pixels a side; for longer sides the bands take too much memory to keep

Band = tuple[int, int, Tensor]


def fit(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Scale a size (H, W) so that its longer side is `long_side`; the shorter is rounded, and at least 1."""
    longest = max(size)
    height, width = (max(1, (2 * side * long_side + longest) // (2 * longest)) for side in size)
    return height, width


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize pictures with the Lanczos kernel, as Pillow does (to float32's rounding), on the device they are on.

    Sharpness is part of a style: bicubic resizing blurs a painting so much more that its Gram matrix at relu1_1
    changes.

    Args:
        pixels: [B,C,H,W].
        size: (h, w), each at least 1.

    Returns:
        [B,C,h,w], contiguous, clamped to [0,1] and detached; float64 for float64, else float32. `pixels` itself if it
        already has that size.
    """
    height, width = size
    if pixels.shape[-2:] == (height, width):
        return pixels
    resized = pixels.detach()
    # The axis that leaves less for the other one comes first.
    if height * pixels.shape[-1] <= pixels.shape[-2] * width:
        resized = _along(-1, width, _along(-2, height, resized))
    else:
        resized = _along(-2, height, _along(-1, width, resized))
    return resized.clamp_(0, 1)


def detailed(painted: Tensor, picture: Tensor, *, in_place: bool = False) -> Tensor:
    """Enlarge a small painting of a picture, and add the detail of the picture that it has no pixels for.

    Args:
        painted: `[B, C, h, w]` in [0, 1].
        picture: `[B, C, H, W]` in [0, 1], no smaller.
        in_place: write into `picture`.

    Returns:
        `[B, C, H, W]` in [0, 1].
    """
    small, (height, width) = (painted.shape[-2], painted.shape[-1]), picture.shape[-2:]
    # Channel by channel, and then band by band: a large picture leaves little memory.
    change = painted.detach() - torch.cat([resize(channel, small) for channel in torch.split(picture, 1, 1)], 1)
    found = picture if in_place else picture.clone()
    first = 0
    for start, stop, weights in _matrix(change.shape[-2], height, change.device, change.dtype):
        rows = _along(-1, width, weights @ change[..., start:stop, :])
        found[..., first : first + len(weights), :].add_(rows).clamp_(0, 1)
        first += len(weights)
    return found


def box_blur(pixels: Tensor, reach: int) -> Tensor:
    """The mean around each pixel of `[B, C, H, W]`, so many on each side; beyond the edge nothing counts."""
    return F.avg_pool2d(pixels, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)


def _along(axis: int, length: int, pixels: Tensor) -> Tensor:
    """Resize one axis, -1 or -2, band by band: one band's share of the input is all that is ever copied."""
    old = pixels.shape[axis]
    if old == length:
        return pixels
    dtype = torch.float64 if pixels.dtype == torch.float64 else torch.float32
    shape = (*pixels.shape[:-1], length) if axis == -1 else (*pixels.shape[:-2], length, pixels.shape[-1])
    resized = torch.empty(shape, dtype=dtype, device=pixels.device)
    first = 0
    for start, stop, weights in _matrix(old, length, pixels.device, dtype):
        part = pixels.narrow(axis, start, stop - start).to(dtype)
        resized.narrow(axis, first, len(weights)).copy_(part @ weights.T if axis == -1 else weights @ part)
        first += len(weights)
    return resized


def _matrix(old: int, new: int, device: torch.device, dtype: torch.dtype) -> tuple[Band, ...] | Iterator[Band]:
    return (_kept if max(old, new) <= LONGEST_KEPT else _bands)(old, new, device, dtype)


@functools.lru_cache(32)
def _kept(old: int, new: int, device: torch.device, dtype: torch.dtype) -> tuple[Band, ...]:
    return tuple(_bands(old, new, device, dtype))


def _bands(old: int, new: int, device: torch.device, dtype: torch.dtype) -> Iterator[Band]:
    """The rows of the matrix [new,old]: where each band's columns start and stop, and its weights [rows,stop-start]."""
    scale = old / new
    stretch = max(scale, 1.0)  # when shrinking, the kernel covers more pixels of the input
    rows = 2 * BAND if scale < 1 else max(1, min(BAND, int(BAND_SPAN / scale)))
    for first in range(0, new, rows):
        centre = (np.arange(first, min(first + rows, new))[:, None] + 0.5) * scale
        # Pillow truncates these to whole pixels, which decides whether a pixel at the very end counts.
        left = np.maximum((centre - LOBES * stretch + 0.5).astype(np.int64), 0)
        right = np.minimum((centre + LOBES * stretch + 0.5).astype(np.int64), old)
        start, stop = int(left.min()), int(right.max())
        column = np.arange(start, stop)
        distance = (column + 0.5 - centre) / stretch
        weights = np.sinc(distance) * np.sinc(distance / LOBES) * ((left <= column) & (column < right))
        weights /= weights.sum(1, keepdims=True)
        yield start, stop, torch.from_numpy(weights).to(device, dtype)
