"""Regular patterns in pictures: a weave over a smooth sky, a lattice, strokes that do not move with the picture."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

from styletx import images

BANDS = ((2, 4), (4, 8), (8, 16))  # periods in px
STRONGEST = 16  # bins of a band's spectrum
NOISE = 2 / 255  # standard deviation of a sensor's noise
BORDER = 16  # px along the edges that do not count
SKIES = {
    "bright": ((0.35, 0.55, 0.90), (0.80, 0.90, 1.00)),
    "night": ((0.02, 0.03, 0.08), (0.08, 0.10, 0.20)),
    "grey": ((0.60, 0.61, 0.63), (0.75, 0.75, 0.76)),
}


def sky(name: str, side: int = 640) -> Tensor:
    """A photograph `[1, 3, side, side]` of a smooth sky, with a sensor's noise."""
    top, bottom = (torch.tensor(colour).view(1, 3, 1, 1) for colour in SKIES[name])
    down = torch.linspace(0, 0.8, side).view(1, 1, -1, 1) + torch.linspace(0, 0.2, side).view(1, 1, 1, -1)
    noise = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(5))
    return (torch.lerp(top, bottom, down) + NOISE * noise).clamp(0, 1)


def weave(pixels: Tensor) -> list[float]:
    """Which share of each band's energy its strongest bins hold: near 0 for strokes, near 1 for a woven pattern."""
    brightness = luminance(pixels).double()
    height, width = brightness.shape
    windows = (torch.hann_window(side, periodic=False, dtype=torch.float64) for side in (height, width))
    down, right = windows
    spectrum = torch.fft.fft2((brightness - brightness.mean()) * torch.outer(down, right)).abs().square()
    frequency = torch.hypot(torch.fft.fftfreq(height).unsqueeze(1), torch.fft.fftfreq(width))
    shares = []
    for shortest, longest in BANDS:
        energy = spectrum[(frequency > 1 / longest) & (frequency <= 1 / shortest)]
        shares.append(float(energy.topk(STRONGEST).values.sum() / energy.sum()))
    return shares


def lattice(pixels: Tensor, side: int) -> float:
    """How far, in units of 1/255, the phases of a grid of `side` px are from the mean of all, on average."""
    brightness = luminance(pixels) * 255
    height, width = (extent // side for extent in brightness.shape)
    cells = brightness[: height * side, : width * side].reshape(height, side, width, side)
    phases = cells.mean((0, 2))
    return float((phases - phases.mean()).abs().mean())


def restlessness(paint: Callable[[Tensor], Tensor], photograph: Tensor) -> float:
    """How much a painting changes when the photograph moves by a pixel, moved back, beside how much that changes."""
    still, worst = photograph[..., 1:, 1:], 0.0
    for down, right in ((0, 1), (1, 0), (1, 1)):
        height, width = photograph.shape[-2:]
        moved = photograph[..., 1 - down : height - down, 1 - right : width - right]
        back = paint(moved)[..., down:, right:]
        own = paint(still)[..., : back.shape[-2], : back.shape[-1]]
        worst = max(worst, inner(back - own) / inner(moved - still))
    return worst


def inner(difference: Tensor) -> float:
    return float(difference[..., BORDER:-BORDER, BORDER:-BORDER].abs().mean())


def luminance(pixels: Tensor) -> Tensor:
    """`[H, W]` of a picture `[1, 3, H, W]`."""
    return (pixels[0] * torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(0)


def photograph(path: str | os.PathLike[str], size: tuple[int, int]) -> Tensor:
    """A photograph `[1, 3, H, W]` of a size (H, W)."""
    return images.resize(images.read(path).pixels, size)
