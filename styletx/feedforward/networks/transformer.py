"""The network that repaints a picture in one pass (Johnson et al. 2016).

A stem makes the picture smaller and adds channels, residual blocks repaint it, and resize-convolutions bring it back
to its size. Every layer is normalised over the picture (Ulyanov et al. 2017), so contrast depends on the style and
not on the photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletx.colors import Colors
from styletx.errors import OptionError
from styletx.feedforward.networks.descriptor import Descriptor, Network
from styletx.feedforward.networks.layers import (
    Convolution,
    InstanceNorm,
    LowpassConvolution,
    Normalise,
    ResidualBlock,
    ResizeConvolution,
    instance_norm,
)

LARGEST = 512  # channels or blocks: four times what anybody published
MARGIN = 16  # px of reflected picture around the picture, which keep the effects of its border out of it
MINIMUM = 16  # px a side
MIDDLE = 0.5  # the colour that is 0 to the layers


@dataclass(frozen=True)
class Layout:
    """How a `Transformer` is built.

    Attributes:
        widths: channels of each stage of the stem. The first stage divides the size by `stride`, each further one by
            2. The residual blocks have as many channels as the last stage, the way back as many as the stem.
        blocks: number of residual blocks.
        kernel: side of the first convolution's kernel, and with a stride of 1 of the last one's; odd.
        stride: of the first convolution; 2 does all the work at half the picture's size or less.
        expansion: 0 for blocks of two 3×3 convolutions (He et al. 2016); from 1 on, blocks that widen so many times,
            convolve each channel by itself, and narrow again (Sandler et al. 2018).
        smooth: enlarge with bilinear interpolation instead of the nearest pixel.
        skip: whether a block's input is added to its output, F(x) + x.
        lowpass: whether features are blurred before they are made smaller and after they are enlarged, so that strokes
            move with the picture and no lattice is left.
        bridges: whether details go past the residual blocks. The network takes photographs in the painting's colours,
            adds what it paints to them, gives each stage of the way back, from the second on, what the stem had at its
            scale too (Ronneberger et al. 2015), and ends with a stage at full size that sees the photograph. Takes a
            stride of 2.
        full: channels of that stage.
        collage: whether the network is given a picture that has a coarser painting in it, a collage of a painting, and
            the photograph. It says for each pixel how much of the collage shows over the picture, how much of the
            photograph over both, and how much lighter or darker that becomes. Then it can paint any painting. Takes
            bridges.
    """

    widths: tuple[int, ...] = (16, 48, 96)
    blocks: int = 5
    kernel: int = 5
    stride: int = 2
    expansion: int = 0
    smooth: bool = True
    skip: bool = True
    lowpass: bool = False
    bridges: bool = False
    full: int = 8
    collage: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        whole = (*self.widths, self.blocks, self.kernel, self.stride, self.expansion, self.full)
        flags = (self.smooth, self.skip, self.lowpass, self.bridges, self.collage)
        if not (
            all(type(flag) is bool for flag in flags)
            and self.widths
            and all(type(number) is int and 0 <= number <= LARGEST for number in whole)
            and min(*self.widths, self.full) > 0
            and self.kernel % 2 == 1
            and self.kernel < MARGIN
            and self.stride in ((2,) if self.bridges else (1, 2))
            and len(self.widths) <= 4
            and self.bridges >= self.collage
        ):
            raise OptionError(
                f"a network of this layout cannot be built; it takes 1 to 4 widths from 1 to {LARGEST}, an odd kernel "
                f"below {MARGIN}, and a stride of 1, or of 2, which bridges need, which a collage needs"
            )

    @property
    def inputs(self) -> int:
        """Channels of what the network is given."""
        return 9 if self.collage else 3

    @property
    def multiple(self) -> int:
        """The sides of a picture are enlarged to a multiple of this, in px."""
        return self.stride << (len(self.widths) - 1)


# As published, with instance normalisation: 1,679,235 parameters.
JOHNSON = Layout(widths=(32, 64, 128), kernel=9, stride=1, smooth=False)


class Transformer(Network):
    """The image transformation network of Johnson et al. (2016).

    Args:
        layout: its widths and so on; `JOHNSON` is the published one.

    Attributes:
        palette: with bridges and no collage, mean and covariance of the painting's colours, `[4, 3]`.
    """

    layout: Layout
    palette: Tensor | None

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.register_buffer("palette", torch.zeros(4, 3) if layout.bridges and not layout.collage else None)
        widths = layout.widths
        thinning = LowpassConvolution if layout.lowpass else Convolution
        self.stem = nn.ModuleList(
            thinning(inputs, outputs, layout.kernel if index == 0 else 3, layout.stride if index == 0 else 2)
            for index, (inputs, outputs) in enumerate(zip((layout.inputs, *widths), widths, strict=False))
        )
        self.stem_norms = nn.ModuleList(InstanceNorm(width) for width in widths)
        self.blocks = nn.ModuleList(
            ResidualBlock(widths[-1], layout.expansion, layout.skip) for _ in range(layout.blocks)
        )
        back = widths[::-1]
        given = [back[0], *((1 + layout.bridges) * width for width in back[1:])]
        self.head = nn.ModuleList(
            ResizeConvolution(inputs, outputs, layout.smooth, layout.lowpass)
            for inputs, outputs in zip(given, back[1:], strict=False)
        )
        self.head_norms = nn.ModuleList(InstanceNorm(width) for width in back[1:])
        if layout.bridges:
            self.full = ResizeConvolution(given[-1], layout.full, layout.smooth)
            self.detail = Convolution(layout.inputs, layout.full, 3)
            self.last: Convolution = Convolution(layout.full, 3, 3)
            for convolution in (self.full, self.detail, self.last):
                convolution.reflects = False  # nothing is normalised any more, so no border is felt beyond the margin
            # What `detail` adds has a bias already, which bfloat16 does not round.
            assert self.full.bias is not None
            self.full.bias.requires_grad_(False).zero_()
        elif layout.stride == 1:
            self.last = Convolution(given[-1], 3, layout.kernel)
        else:
            self.last = ResizeConvolution(given[-1], 3, layout.smooth)

    @property
    def descriptor(self) -> Descriptor:
        """As `Network.descriptor`."""
        multiple = self.layout.multiple
        # The features need two rows and columns to be reflected.
        minimum = max(MINIMUM, multiple + 1)
        palette = None if self.palette is None else self.palette.cpu().double()
        colors = None if palette is None else Colors(palette[0], palette[1:])
        collage = self.layout.collage
        return Descriptor(
            "transformer", multiple, minimum, colors, collage, strips=True, bfloat16=True, onnx=not collage
        )

    def use(self, precision: torch.dtype) -> None:
        """As `Network.use`: the convolutions between the stem and the last layers take the precision.

        The stem stays in float32, since its normalisation enlarges what little contrast a dark or foggy photograph
        has, and the rounding with it. So do normalisation, the sums of the residual blocks, and what is done at the
        picture's full size.
        """
        blocks: list[Any] = list(self.blocks)
        back: list[Any] = [*self.head, *([self.full] if self.layout.bridges else [])]
        for convolution in (*(one for block in blocks for one in block.convolutions), *back):
            convolution.precision = None if precision == torch.float32 else precision

    @torch.no_grad()
    def confine(self, point: Tensor, direction: Tensor) -> None:
        """Change the last layer and the palette, so that only colours on a line are painted.

        Args:
            point: of the line, RGB in [0, 1], `[3]`.
            direction: of length 1, `[3]`.
        """
        weight, bias = self.last.weight, self.last.bias
        assert bias is not None
        along = torch.outer(direction, direction).to(weight)
        weight.copy_(torch.einsum("ij,jcyx->icyx", along, weight))
        if self.palette is None:
            middle = (point - MIDDLE).to(weight)
            bias.copy_(middle + along @ (bias - middle))
        else:
            bias.copy_(along @ bias)
            covariance = self.palette[1:]
            self.palette.copy_(torch.cat([point[None].to(weight), along @ covariance @ along]))

    def forward(self, pixels: Tensor, normalise: Normalise = instance_norm) -> Tensor:
        """Repaint pictures.

        Args:
            pixels: `[B, 3, H, W]`, RGB in [0, 1], no side shorter than `descriptor.minimum`; moved to
                `descriptor.colors`, if there are any. With a collage `[B, 9, H, W]`, see `collages.together`.
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
        *stages, features = self.down(pixels, normalise)
        if not self.layout.bridges:
            stages.clear()  # they are large
        for block in self.blocks:
            features = block(features, normalise)
        return self.back(features, pixels, stages, normalise)

    def down(self, pixels: Tensor, normalise: Normalise = instance_norm) -> list[Tensor]:
        """The features of each stage of the stem, from the pixels that `paint` takes; the blocks take the last."""
        features, stages = seen(pixels), []
        for convolution, norm in zip(self.stem, self.stem_norms, strict=True):
            features = F.relu_(normalise(norm, convolution(features)))
            stages.append(features)
        return stages

    def back(
        self, features: Tensor, pixels: Tensor, stages: Sequence[Tensor], normalise: Normalise = instance_norm
    ) -> Tensor:
        """The pixels that `paint` gives.

        Args:
            features: what the blocks give.
            pixels: that `paint` takes; without bridges, they do not matter.
            stages: with bridges, the features of the stem's stages but the last.
            normalise: as for `forward`.
        """
        bridges = self.layout.bridges
        for index, convolution in enumerate((*self.head, self.full if bridges else self.last)):
            if index:
                features = F.relu_(normalise(self.head_norms[index - 1], features))
                features = torch.cat([features, stages[-index]], dim=1) if bridges else features
            features = convolution(features)
        if bridges:
            change: Tensor = self.last(F.relu_(self.detail(seen(pixels)) + features))
            if self.layout.collage:
                picture, collage, photograph = pixels.chunk(3, 1)
                # Lighter or darker: what could paint colours left violet edges.
                change, of_collage, of_photograph = change.chunk(3, 1)
                pixels = torch.lerp(picture, collage, torch.sigmoid(of_collage))
                pixels = torch.lerp(pixels, photograph, torch.sigmoid(of_photograph))
            return pixels + change
        # Not added to the photograph, whose contrast the normalised layers no longer know and could not take away.
        return features + MIDDLE


def seen(pixels: Tensor) -> Tensor:
    """Pixels as the layers take them, around 0 and about as large as 1."""
    return (pixels - MIDDLE) * 4
