"""Layers of networks that repaint pictures: convolutions that reflect the picture at its border, and normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-5

Normalise = Callable[[Any, Tensor], Tensor]  # called with an InstanceNorm and features [B, C, H, W]


class InstanceNorm(nn.Module):
    """Scale and shift of a normalised layer, a pair for each channel; how it is normalised is up to the caller."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))


def instance_norm(norm: InstanceNorm, features: Tensor) -> Tensor:
    """Normalise each picture of `[B, C, H, W]` by its own statistics (Ulyanov et al. 2017), computed in float32."""
    if features.device.type != "cpu":
        features = features.to(norm.weight.dtype)
        return F.instance_norm(features, weight=norm.weight, bias=norm.bias, eps=EPSILON)
    # The same for one picture, and seven times as fast on a CPU. It computes in float32 from bfloat16 features too.
    normalised = [
        F.batch_norm(one, None, None, norm.weight, norm.bias, training=True, eps=EPSILON)
        for one in torch.split(features, 1)
    ]
    return normalised[0] if len(normalised) == 1 else torch.cat(normalised)


class Convolution(nn.Conv2d):
    """A convolution that keeps the size (or divides it by its stride) and reflects the picture at its border.

    Attributes:
        reflects: whether it does so; else there is 0 beyond the border, which takes no time and is for layers whose
            border is cut off.
        precision: of its arithmetic and its result; None is that of the weights.
    """

    reflects = True
    precision: torch.dtype | None = None

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C', H / stride, W / stride]`."""
        assert self.bias is not None
        return self.convolved(features, self.weight, self.bias)

    def convolved(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The features, with their margin, convolved with a weight in this layer's precision."""
        precision = self.precision or weight.dtype
        margin = self.kernel_size[0] // 2
        features = features.to(precision)
        if self.reflects and margin:
            features, margin = F.pad(features, [margin] * 4, mode="reflect"), 0
        return F.conv2d(features, weight.to(precision), bias.to(precision), self.stride, margin, groups=self.groups)


# Binomial: of features that are thinned out next, and of features that were enlarged.
THINNING = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
ENLARGING = torch.tensor([1.0, 2.0, 1.0]) / 4


def blurred(features: Tensor, taps: Tensor) -> Tensor:
    """Features `[B, C, H, W]`, each channel by itself under a kernel of these taps across and down."""
    margin = len(taps) // 2
    features = F.pad(features, [margin] * 4, mode="reflect")
    return F.conv2d(features, blur_kernel(taps, features.shape[1]).to(features), groups=features.shape[1])


def blur_kernel(taps: Tensor, channels: int) -> Tensor:
    """The weight `[C, 1, k, k]` of the convolution that blurs each of C channels by itself."""
    return torch.outer(taps, taps).expand(channels, 1, -1, -1)


class LowpassConvolution(Convolution):
    """A convolution that thins out features that are blurred first.

    What is finer than the positions that are left would pass for something coarse, and for something else once the
    picture moves by a pixel (Zhang 2019).
    """

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C', H / stride, W / stride]`."""
        return super().forward(blurred(features, THINNING))


# Where a row of the enlarged features comes from: [phase, tap of the large kernel, tap of the small one].
SMOOTH = torch.tensor(
    [
        [[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 0.75, 0.25]],
        [[0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]],
    ]
)
NEAREST = torch.tensor(
    [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
)


class ResizeConvolution(Convolution):
    """A 3×3 convolution of features enlarged to twice their size, which leaves no checkerboard (Odena et al. 2016).

    Enlarging is linear too, so both are done at once by four convolutions of the small features, one for each pixel
    of a square of 2×2: the same result for a quarter of the work.

    Attributes:
        smooth: enlarge with bilinear interpolation instead of the nearest pixel.
        lowpass: blur the result. Interpolation leaves pairs of pixels more alike than others, and what follows would
            make a lattice of that.
    """

    def __init__(self, inputs: int, outputs: int, smooth: bool, lowpass: bool = False) -> None:
        super().__init__(inputs, outputs, 3)
        self.smooth = smooth
        self.lowpass = lowpass

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C', 2 H, 2 W]`."""
        weight, bias = self.phases()
        weight = weight.contiguous(memory_format=torch.channels_last)
        large = F.pixel_shuffle(self.convolved(features, weight, bias), 2)
        return blurred(large, ENLARGING) if self.lowpass else large

    def phases(self) -> tuple[Tensor, Tensor]:
        """Weight `[4 C', C, 3, 3]` and bias of the four convolutions, whose results are shuffled into one."""
        assert self.bias is not None
        taps = (SMOOTH if self.smooth else NEAREST).to(self.weight)
        weight = torch.einsum("oiyx,pya,qxb->opqiab", self.weight, taps, taps)
        return weight.reshape(-1, self.in_channels, 3, 3), self.bias.repeat_interleave(4)


class ResidualBlock(nn.Module):
    """F(x) + x (He et al. 2016): a block learns a change, and hands on what it is given if there is none to make."""

    def __init__(self, channels: int, expansion: int, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        if expansion:
            wide = channels * expansion
            convolutions = [
                Convolution(channels, wide, 1),
                Convolution(wide, wide, 3, groups=wide),
                Convolution(wide, channels, 1),
            ]
        else:
            convolutions = [Convolution(channels, channels, 3), Convolution(channels, channels, 3)]
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(InstanceNorm(convolution.out_channels) for convolution in convolutions)

    def forward(self, features: Tensor, normalise: Normalise = instance_norm) -> Tensor:
        """`[B, C, H, W]` to the same shape."""
        change = features
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            change = normalise(norm, convolution(F.relu(change) if index else change))
        return change + features if self.skip else change
