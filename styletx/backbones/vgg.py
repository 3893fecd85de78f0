"""VGG networks (Simonyan & Zisserman 2015) as feature extractors.

A VGG is a stack of 3×3 convolutions and pools with nothing beside them, so each layer's activations are a
clean function of the picture: near the input they see edges and colour, deeper down strokes and objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ImageNet statistics, which every network trained by torchvision's recipe expects.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class VGG(nn.Module):
    """A VGG's convolutions, built only as deep as the deepest layer asked for.

    Args:
        blocks: output channels of each convolution, a sequence a block, with a pool between blocks; VGG-19 is
            `(64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4`.
        layers: names of the layers to return, `relu{block}_{convolution}`, both counted from 1.
        pooling: "max" as in the paper, or "average" as Gatys et al. (2016) suggest.
        padding: "reflect", which leaves no frame in an optimised picture, or "zeros" as in the paper.
        readouts: layers whose activations go through a 1×1 convolution of their own before they are returned, so
            that distances between them are another network's; the layers below see the plain activations.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        blocks: Sequence[Sequence[int]],
        layers: Sequence[str],
        pooling: str = "max",
        padding: str = "reflect",
        readouts: Sequence[str] = (),
    ) -> None:
        super().__init__()
        names = layer_names(blocks)
        self.layers = tuple(layers)
        self.pooling = pooling
        self.padding = padding
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        deepest = max((names.index(layer) for layer in layers), default=0)
        widths = [width for block in blocks for width in block]
        self.convolutions = nn.ModuleDict()
        channels = 3
        for name, width in list(zip(names, widths, strict=True))[: deepest + 1]:
            self.convolutions[name] = nn.Conv2d(channels, width, 3)
            channels = width
        self.readouts = nn.ModuleDict(
            {
                name: nn.Conv2d(width, width, 1, bias=False)
                for name, width in zip(names, widths, strict=True)
                if name in readouts and name in self.layers
            }
        )

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Activations of the layers asked for.

        Args:
            pixels: `[B, 3, H, W]`, RGB in [0, 1].

        Returns:
            Layer name to `[B, C, h, w]`, in the dtype of the network's weights; h and w halve at each pool.
        """
        features = (pixels - self.mean) / self.std
        features = features.to(next(self.parameters()).dtype)
        found = {}
        block = "1"
        for name, convolution in self.convolutions.items():
            if name[4] != block:
                block = name[4]
                features = self._pool(features)
            # In place, as a convolution's backward pass does not look at its output: a third of the memory.
            features = F.relu_(convolution(self._pad(features)))
            if name in self.layers:
                found[name] = self.readouts[name](features) if name in self.readouts else features
        return found

    def _pad(self, features: Tensor) -> Tensor:
        # Reflection needs two pixels to reflect; what a deep layer has left of a tiny picture is repeated.
        small = min(features.shape[-2:]) < 2
        mode = "constant" if self.padding == "zeros" else "replicate" if small else "reflect"
        return F.pad(features, (1, 1, 1, 1), mode=mode)

    def _pool(self, features: Tensor) -> Tensor:
        # A side of one pixel stays as it is, so that tiny pictures reach the deep layers too.
        window = [min(2, side) for side in features.shape[-2:]]
        pool = F.max_pool2d if self.pooling == "max" else F.avg_pool2d
        return pool(features, window)


def layer_names(blocks: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Names of all layers, from the picture down: `relu1_1`, `relu1_2`, `relu2_1` and so on."""
    return tuple(
        f"relu{block}_{convolution}"
        for block, widths in enumerate(blocks, 1)
        for convolution in range(1, len(widths) + 1)
    )


def torchvision_indices(blocks: Sequence[Sequence[int]]) -> dict[str, int]:
    """Layer name to its convolution's index in torchvision's `features`, where ReLUs and pools count too."""
    pools_before = [block for block, widths in enumerate(blocks) for _ in widths]
    names = layer_names(blocks)
    return {name: 2 * i + pools for i, (name, pools) in enumerate(zip(names, pools_before, strict=True))}


def from_torchvision(state: Mapping[str, Tensor], blocks: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """The convolutions of a torchvision state dict, under this module's names; the classifier is left out."""
    return {
        f"convolutions.{name}.{kind}": state[f"features.{index}.{kind}"]
        for name, index in torchvision_indices(blocks).items()
        for kind in ("weight", "bias")
        if f"features.{index}.{kind}" in state
    }
