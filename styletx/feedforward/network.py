"""The second engine's network, which repaints a picture in one pass (Johnson et al. 2016).

A stem makes the picture smaller and its channels more, residual blocks repaint it, and resize-convolutions bring it
back to its size. Every layer is normalised over the picture (Ulyanov et al. 2017), so contrast is a matter of the
style and not of the photograph.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletx.errors import OptionError

EPSILON = 1e-5
LARGEST = 512  # channels or blocks: four times what anybody published
MARGIN = 16  # px of reflected picture around the picture, so that what a border does stays outside of it


@dataclass(frozen=True)
class Layout:
    """How a `Transformer` is built.

    Attributes:
        widths: channels of each stage of the stem, of which the first is `stride` and each next half the size of
            the one before; the residual blocks have those of the last, the way back those of the stem.
        blocks: how many residual blocks there are.
        kernel: side of the first convolution's kernel, and with a stride of 1 of the last one's; odd.
        stride: of the first convolution; 2 does all the work at half the picture's size or less.
        expansion: 0 for blocks of two 3×3 convolutions (He et al. 2016); from 1 on, blocks that widen so many times,
            convolve each channel by itself, and narrow again (Sandler et al. 2018).
        smooth: enlarge with bilinear interpolation instead of the nearest pixel.
        skip: whether a block's input is added to what the block makes of it, F(x) + x.
    """

    widths: tuple[int, ...] = (16, 48, 96)
    blocks: int = 5
    kernel: int = 5
    stride: int = 2
    expansion: int = 0
    smooth: bool = True
    skip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        whole = (*self.widths, self.blocks, self.kernel, self.stride, self.expansion)
        if not (
            self.widths
            and all(type(number) is int and 0 <= number <= LARGEST for number in whole)
            and min(self.widths) > 0
            and self.kernel % 2 == 1
            and self.kernel < MARGIN
            and self.stride in (1, 2)
            and len(self.widths) <= 4
            and type(self.smooth) is type(self.skip) is bool
        ):
            raise OptionError(
                f"a network of this layout cannot be built; it takes 1 to 4 widths from 1 to {LARGEST}, an odd kernel "
                f"below {MARGIN}, and a stride of 1 or 2."
            )

    @property
    def multiple(self) -> int:
        """What the sides of a picture are made a multiple of, in px."""
        return self.stride << (len(self.widths) - 1)


DEFAULT = Layout()
# As published, with instance normalisation: 1,679,235 parameters.
JOHNSON = Layout(widths=(32, 64, 128), kernel=9, stride=1, smooth=False)

Normalise = Callable[[Any, Tensor], Tensor]  # called with an InstanceNorm and features [B, C, H, W]


class InstanceNorm(nn.Module):
    """Scale and shift of a normalised layer, a pair a channel; how it is normalised is the caller's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))


def instance_norm(norm: InstanceNorm, features: Tensor) -> Tensor:
    """Normalise each picture of `[B, C, H, W]` by its own statistics (Ulyanov et al. 2017)."""
    if features.device.type != "cpu":
        return F.instance_norm(features, weight=norm.weight, bias=norm.bias, eps=EPSILON)
    # For one picture the same as batch normalisation, whose kernel is seven times as fast on a CPU.
    normalised = [
        F.batch_norm(one, None, None, norm.weight, norm.bias, training=True, eps=EPSILON)
        for one in torch.split(features, 1)
    ]
    return normalised[0] if len(normalised) == 1 else torch.cat(normalised)


class Convolution(nn.Conv2d):
    """A convolution that keeps the size (or divides it by its stride) and sees the picture reflected at its edge."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C', H / stride, W / stride]`."""
        margin = self.kernel_size[0] // 2
        return super().forward(F.pad(features, [margin] * 4, mode="reflect") if margin else features)


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


class ResizeConvolution(nn.Conv2d):
    """A 3×3 convolution of features made twice as large, which leaves no checkerboard (Odena et al. 2016).

    Enlarging is linear too, so both are done at once by four convolutions of the small features, one for each pixel
    of a square of 2×2: the same result for a quarter of the work.
    """

    def __init__(self, inputs: int, outputs: int, smooth: bool) -> None:
        super().__init__(inputs, outputs, 3)
        self.smooth = smooth

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C', 2 H, 2 W]`."""
        weight, bias = self.phases()
        weight = weight.contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(F.conv2d(F.pad(features, (1, 1, 1, 1), mode="reflect"), weight, bias), 2)

    def phases(self) -> tuple[Tensor, Tensor]:
        """Weight `[4 C', C, 3, 3]` and bias of the four convolutions, whose results are shuffled into one."""
        assert self.bias is not None
        taps = (SMOOTH if self.smooth else NEAREST).to(self.weight)
        weight = torch.einsum("oiyx,pya,qxb->opqiab", self.weight, taps, taps)
        return weight.reshape(-1, self.in_channels, 3, 3), self.bias.repeat_interleave(4)


class ResidualBlock(nn.Module):
    """F(x) + x (He et al. 2016): what a block learns is a change, and without one to make it hands on what it got."""

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


class Transformer(nn.Module):
    """The image transformation network of Johnson et al. (2016).

    Args:
        layout: its widths and so on; `JOHNSON` is the published one.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        widths = layout.widths
        self.stem = nn.ModuleList(
            Convolution(inputs, outputs, layout.kernel if index == 0 else 3, layout.stride if index == 0 else 2)
            for index, (inputs, outputs) in enumerate(zip((3, *widths), widths, strict=False))
        )
        self.stem_norms = nn.ModuleList(InstanceNorm(width) for width in widths)
        self.blocks = nn.ModuleList(
            ResidualBlock(widths[-1], layout.expansion, layout.skip) for _ in range(layout.blocks)
        )
        back = widths[::-1]
        self.head = nn.ModuleList(
            ResizeConvolution(inputs, outputs, layout.smooth) for inputs, outputs in itertools.pairwise(back)
        )
        self.head_norms = nn.ModuleList(InstanceNorm(width) for width in back[1:])
        self.last = (
            Convolution(widths[0], 3, layout.kernel)
            if layout.stride == 1
            else ResizeConvolution(widths[0], 3, layout.smooth)
        )

    def forward(self, pixels: Tensor, normalise: Normalise = instance_norm) -> Tensor:
        """Repaint pictures of any size.

        Args:
            pixels: `[B, 3, H, W]`, RGB in [0, 1], from 16 px a side on.
            normalise: called with a norm and its features at each normalised layer; the default takes each
                picture's own statistics.

        Returns:
            `[B, 3, H, W]`, about [0, 1] but not clamped to it.
        """
        height, width = pixels.shape[-2:]
        left, right, top, bottom = self.padding(height, width)
        padded = F.pad(pixels, (left, right, top, bottom), mode="reflect")
        return self.paint(padded, normalise)[..., top : top + height, left : left + width]

    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """How many px of its reflection `forward` puts around a picture: left, right, top and bottom."""
        multiple = self.layout.multiple
        down, right = -height % multiple, -width % multiple
        # A reflection cannot be larger than what it reflects.
        margin = min(MARGIN, height - 1 - down, width - 1 - right) // multiple * multiple
        return margin, margin + right, margin, margin + down

    def paint(self, pixels: Tensor, normalise: Normalise = instance_norm) -> Tensor:
        """As `forward`, of pictures whose sides are a multiple of `layout.multiple`, without a margin around them."""
        features = self.down(pixels, normalise)
        for block in self.blocks:
            features = block(features, normalise)
        return self.back(features, normalise)

    def down(self, pixels: Tensor, normalise: Normalise = instance_norm) -> Tensor:
        """From what `paint` takes to what the blocks take."""
        features = (pixels - 0.5) * 4
        for convolution, norm in zip(self.stem, self.stem_norms, strict=True):
            features = F.relu_(normalise(norm, convolution(features)))
        return features

    def back(self, features: Tensor, normalise: Normalise = instance_norm) -> Tensor:
        """From what the blocks give to what `paint` gives."""
        for convolution, norm in zip(self.head, self.head_norms, strict=True):
            features = F.relu_(normalise(norm, convolution(features)))
        # Not added to the photograph, whose contrast the normalised layers no longer know and could not take away.
        painted: Tensor = self.last(features)
        return painted + 0.5
