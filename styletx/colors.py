"""Colours of one picture moved to another's, as a whole."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Added to the variance of each channel, so that the noise of a grey or flat picture is not blown up into colours.
LEAST_VARIANCE = (2 / 255) ** 2
LUMINANCE = (0.299, 0.587, 0.114)  # the share of each channel
TAILS = 0.02  # of the pixels that may be clipped at either end
SHORTEST_STEP = 0.6  # of the longest, in any direction of colour
GREY = torch.full((3, 3), 1 / 3, dtype=torch.float64)  # turns each colour into the grey that is its channels' mean
NARROW = 0.1  # breadth of colours to their length, below which they lie on a line
MIDDLE = 0.5  # about which colours are summed, which loses fewer digits than about black
BAND = 256  # rows that are summed at a time
SAMPLES = 1 << 20  # pixels that are sorted at most
ROUNDS = 3  # after which hardly any value that is moved is cut off
# What the eye's three kinds of cones make of linear RGB, and what lightness and colour are of the cube roots of that.
RGB_TO_CONES = torch.tensor(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    dtype=torch.float64,
)
CONES_TO_OKLAB = torch.tensor(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    dtype=torch.float64,
)


class Colors(NamedTuple):
    """How the colours of a picture are spread.

    Attributes:
        mean: `[3]`, float64 on the CPU.
        covariance: `[3, 3]`, likewise.
    """

    mean: Tensor
    covariance: Tensor


class Move(NamedTuple):
    """A linear map of colours.

    Attributes:
        matrix: `[3, 3]`, float64 on the CPU.
        shift: `[3]`, likewise; added to what the matrix makes of a colour.
    """

    matrix: Tensor
    shift: Tensor


class Contrast(NamedTuple):
    """How lights and darks are moved apart.

    Attributes:
        mean: the luminance that stays.
        line: how much of each channel goes with a luminance, `[3]`, float64 on the CPU.
        darker: how much further from the mean what is darker gets, as a share of how far it is.
        lighter: the same of what is lighter.
    """

    mean: float
    line: Tensor
    darker: float
    lighter: float


def colors(pixels: Tensor, alpha: Tensor | None = None) -> Colors:
    """The colours of a picture `[1, 3, H, W]`, each as often as it is visible, by alpha `[1, 1, H, W]`."""
    sums = torch.zeros(4, 4, dtype=torch.float64)
    for top in range(0, pixels.shape[-2], BAND):
        values = pixels.detach()[0, :, top : top + BAND].flatten(1).float() - MIDDLE
        shares = torch.ones_like(values[0]) if alpha is None else alpha[0, 0, top : top + BAND].flatten()
        rows = torch.cat([values, torch.ones_like(values[:1])])
        sums += (rows * shares @ rows.mT).cpu().double()
    averages = sums / sums[3, 3]
    mean = averages[:3, 3]
    return Colors(mean + MIDDLE, averages[:3, :3] - torch.outer(mean, mean))


def move(picture: Tensor, target: Colors) -> Move:
    """The map that gives a picture's `[1, 3, H, W]` colours the mean and the covariance of another's.

    Of all linear maps that do so it moves the colours least: it is the Monge–Kantorovich map of Pitié & Kokaram
    (2007), "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer",
    doi:10.1049/cp:20070055. A grey target gives a grey picture.
    """
    own = colors(picture)
    covariance = own.covariance + LEAST_VARIANCE * torch.eye(3, dtype=torch.float64)
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    matrix = inverse @ _power(root @ target.covariance @ root, 0.5) @ inverse
    return Move(matrix, target.mean - matrix @ own.mean)


def moved(pixels: Tensor, by: Move) -> Tensor:
    """Pixels `[B, 3, H, W]` with their colours moved, in float32; some may lie outside [0, 1] then."""
    matrix, shift = (values.to(pixels.device, torch.float32) for values in by)
    return F.conv2d(pixels.float(), matrix[:, :, None, None], shift)


def transferred(pixels: Tensor, target: Colors) -> Tensor:
    """A picture with the mean and the covariance of another's colours; see `move`.

    Args:
        pixels: `[1, 3, H, W]` in [0, 1].
        target: colours to take on.

    Returns:
        `[1, 3, H, W]` in [0, 1], float32.
    """
    return moved(pixels, move(pixels, target)).clamp_(0, 1)


def contrast(pixels: Tensor, photo: Tensor, target: Colors) -> Contrast | None:
    """What a photograph in another picture's colours lost of its lights and darks, and how to give it back.

    A pencil drawing is nearly all paper, and its few lines are dark. A photograph spread as narrowly about the mean
    would be grey all over. Lights and darks are moved apart, each as far as hardly any is clipped, along the line of
    the other picture's own lights and darks, so that no colour is added.

    Args:
        pixels: the photograph in the other's colours, `[1, 3, H, W]`, see `transferred`.
        photo: as it was, `[1, 3, H, W]`.
        target: the other's colours.

    Returns:
        What `contrasted` takes; None where the pixels have the photograph's contrast or more.
    """
    weights = torch.tensor(LUMINANCE, dtype=torch.float64)
    own, there = (float(weights @ one.covariance @ weights) for one in (colors(photo), target))
    if not LEAST_VARIANCE < there < own:
        return None
    luminance = _luminance(pixels)
    mean = luminance.mean()
    some = luminance.flatten()[:: math.ceil(luminance.numel() / SAMPLES)]
    dark, light = torch.quantile(some, some.new_tensor([TAILS, 1 - TAILS]))
    most = torch.stack([mean / (mean - dark), (1 - mean) / (light - mean)]).nan_to_num(1.0)
    darker, lighter = most.clamp(1, math.sqrt(own / there)) - 1
    return Contrast(float(mean), target.covariance @ weights / there, float(darker), float(lighter))


def contrasted(pixels: Tensor, by: Contrast | None) -> Tensor:
    """Pixels `[1, 3, H, W]` with more contrast, in [0, 1] and float32; with None, as they are."""
    if by is None:
        return pixels
    away = _luminance(pixels) - by.mean
    line = by.line.to(pixels).view(1, 3, 1, 1)
    return (pixels + line * torch.where(away > 0, away * by.lighter, away * by.darker)).clamp_(0, 1)


def _luminance(pixels: Tensor) -> Tensor:
    return torch.einsum("i,bihw->bhw", pixels.new_tensor(LUMINANCE), pixels)


def transferred_exactly(pixels: Tensor, target: Colors) -> Tensor:
    """As `transferred`, and nearer, as values out of range are cut off; ink on paper gets the other's widest range."""
    if line(colors(pixels)):
        values, vectors = torch.linalg.eigh(target.covariance)
        target = Colors(target.mean, values[2] * torch.outer(vectors[:, 2], vectors[:, 2]))
    for _ in range(ROUNDS):
        pixels = transferred(pixels, target)
    return pixels


def oklab(pixels: Tensor) -> Tensor:
    """Pixels `[B, 3, H, W]` in OKLab, in which equal steps look equal: lightness in [0, 1], and two axes of colour.

    Ottosson (2020), "A perceptual color space for image processing", https://bottosson.github.io/posts/oklab.
    """
    linear = torch.where(pixels <= 0.04045, pixels / 12.92, ((pixels.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    cones = _by(linear, RGB_TO_CONES)
    return _by(cones.clamp_min(0) ** (1 / 3), CONES_TO_OKLAB)


def from_oklab(lab: Tensor) -> Tensor:
    """Pixels `[B, 3, H, W]` in sRGB of such in OKLab; some may lie outside [0, 1]."""
    linear = _by(_by(lab, torch.linalg.inv(CONES_TO_OKLAB)) ** 3, torch.linalg.inv(RGB_TO_CONES))
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0) ** (1 / 2.4) - 0.055)


def recoloured(pixels: Tensor, photo: Tensor) -> Tensor:
    """Pictures `[B, 3, H, W]` in [0, 1] with their own lightness and the colours of photographs, in OKLab."""
    made = torch.empty_like(pixels)
    for own, theirs, rows in zip(*(torch.split(one, BAND, dim=-2) for one in (pixels, photo, made)), strict=True):
        lab = torch.cat([oklab(own)[:, :1], oklab(theirs)[:, 1:]], 1)
        rows.copy_(from_oklab(lab).clamp_(0, 1))
    return made


def grey(pixels: Tensor) -> Tensor:
    """Pictures `[B, 3, H, W]` in grey, as light as they were."""
    return light(pixels).expand_as(pixels).contiguous()


def light(pixels: Tensor) -> Tensor:
    """How light each pixel of pictures `[B, 3, H, W]` is, `[B, 1, H, W]`."""
    return _luminance(pixels).unsqueeze(1)


def _by(pixels: Tensor, matrix: Tensor) -> Tensor:
    return F.conv2d(pixels.float(), matrix.to(pixels.device, torch.float32)[:, :, None, None])


def is_grey(pixels: Tensor) -> bool:
    """Whether a picture `[1, 3, H, W]` shows no colour, to less than half a step of 8 bits."""
    return bool((pixels.amax(1) - pixels.amin(1)).max() < 0.5 / 255)


def axes(of: Colors) -> Tensor:
    """How far a step in each direction of colour goes, relative to the one in which a picture's colours vary most.

    Few colours vary as much as light and dark do. A search whose steps are as long in all of them leaves colours in a
    drawing that the paper does not have.

    Returns:
        `[3, 3]`, symmetric and positive, float64 on the CPU.
    """
    values, vectors = torch.linalg.eigh(of.covariance + LEAST_VARIANCE * torch.eye(3, dtype=torch.float64))
    steps = (values / values.max()).pow(0.25).clamp_min(SHORTEST_STEP)
    return torch.as_tensor(vectors * steps @ vectors.mT)


def line(of: Colors) -> tuple[Tensor, Tensor] | None:
    """Where colours lie that differ in little but light and dark, as those of ink on paper do.

    Returns:
        A point of the line and its direction, of length 1, `[3]` each, float64 on the CPU; None if the colours are as
        broad as `NARROW` of their length.
    """
    values, vectors = torch.linalg.eigh(of.covariance)  # ascending
    if values[1] >= NARROW**2 * values[2]:
        return None
    return of.mean, vectors[:, 2]


def _power(matrix: Tensor, power: float) -> Tensor:
    """A power of a symmetric matrix whose eigenvalues are not negative."""
    values, vectors = torch.linalg.eigh(matrix)
    return torch.as_tensor(vectors * values.clamp_min(0).pow(power) @ vectors.mT)
