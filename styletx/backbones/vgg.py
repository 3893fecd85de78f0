"""VGG networks (Simonyan & Zisserman 2015) as feature extractors.

A VGG is a stack of 3×3 convolutions and pools without side paths. Layers near the input respond to edges and colours,
deeper ones to strokes and objects.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ImageNet statistics, which every network trained by torchvision's recipe expects.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
TOGETHER = 2  # blocks that make the first stage: what lies between them is large, and not worth keeping
NEXT = "next"  # the name under which a stage gives what the next one takes
BATCH_NORM_EPSILON = 1e-5  # torch's own, with which torchvision's networks were trained


class VGG(nn.Module):
    """A VGG's convolutions, built only as deep as the deepest layer asked for.

    Args:
        blocks: output channels of each convolution, one sequence per block, with a pool between blocks; VGG-19 is
            `(64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4`.
        layers: names of the layers to return, `relu{block}_{convolution}`, both counted from 1.
        pooling: "max" as in the paper, or "average" as Gatys et al. (2016) suggest.
        padding: "reflect", which leaves no frame in an optimised picture, or "zeros" as in the paper.
        readouts: layers whose activations go through a 1×1 convolution of their own before they are returned, so
            that distances between them equal another network's; the layers below get the plain activations.
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
        built = list(self.convolutions)
        self.pooled = {name for name, after in itertools.pairwise(built) if name[4] != after[4]}
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
        return self.part(pixels, tuple(self.convolutions))

    def stages(self) -> list[nn.Module]:
        """The network in parts, each of which takes what the one before gives as `NEXT`."""
        blocks = [tuple(names) for _, names in itertools.groupby(self.convolutions, lambda name: name[4])]
        return [VGGStage(self, names) for names in (sum(blocks[:TOGETHER], ()), *blocks[TOGETHER:])]

    def part(self, features: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """As `forward`, of some successive convolutions, and as `NEXT` what the one after them takes.

        Args:
            features: pixels, or what the convolutions before them give.
            names: of the convolutions.
        """
        if names[0] == next(iter(self.convolutions)):
            features = (features - self.mean) / self.std
        features = features.to(next(self.parameters()).dtype)
        found = {}
        for name in names:
            # In place, since a convolution's backward pass does not need its output: this saves a third of the memory.
            features = F.relu_(self.convolutions[name](pad(features, (1, 1, 1, 1), self.padding)))
            if name in self.layers:
                found[name] = self.readouts[name](features) if name in self.readouts else features
            if name in self.pooled:
                features = self._pool(features)
        return found | {NEXT: features} if names[-1] in self.pooled else found

    def _pool(self, features: Tensor) -> Tensor:
        # A side of one pixel stays as it is, so that even tiny pictures reach the deep layers.
        window = [min(2, side) for side in features.shape[-2:]]
        pool = F.max_pool2d if self.pooling == "max" else F.avg_pool2d
        return pool(features, window)


class VGGStage(nn.Module):
    """Some of a VGG's convolutions; called as `VGG.part` is."""

    def __init__(self, network: VGG, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, names
        self.channels = network.convolutions[names[0]].in_channels

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """As `VGG.part`."""
        return self.network.part(features, self.names)


def layer_names(blocks: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Names of all layers, from the picture down: `relu1_1`, `relu1_2`, `relu2_1` and so on."""
    return tuple(
        f"relu{block}_{convolution}"
        for block, widths in enumerate(blocks, 1)
        for convolution in range(1, len(widths) + 1)
    )


def pad(features: Tensor, margins: Sequence[int], padding: str) -> Tensor:
    """Features `[B, C, H, W]` with margins left, right, above and below, filled as `padding` says."""
    # A margin must be narrower than what it reflects; the few positions of a tiny picture are repeated instead.
    small = min(features.shape[-2:]) <= max(margins)
    mode = "constant" if padding == "zeros" else "replicate" if small else "reflect"
    return F.pad(features, list(margins), mode=mode)


def torchvision_indices(blocks: Sequence[Sequence[int]], batch_norm: bool = False) -> dict[str, int]:
    """Layer name to its convolution's index in torchvision's `features`, which also counts ReLUs and pools."""
    pools_before = [block for block, widths in enumerate(blocks) for _ in widths]
    names = layer_names(blocks)
    modules = 3 if batch_norm else 2
    return {name: modules * i + pools for i, (name, pools) in enumerate(zip(names, pools_before, strict=True))}


def torchvision_modules(blocks: Sequence[Sequence[int]], batch_norm: bool = False) -> dict[str, str]:
    """The paper's names of layers, pools and fully connected layers to the names of torchvision's modules."""
    after = 2 if batch_norm else 1
    modules = {}
    for name, index in torchvision_indices(blocks, batch_norm).items():
        modules[name] = f"features.{index + after}"
        block, convolution = name.removeprefix("relu").split("_")
        if int(convolution) == len(blocks[int(block) - 1]):
            modules[f"pool{block}"] = f"features.{index + after + 1}"
    return modules | {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}


def from_torchvision(
    state: Mapping[str, Tensor], blocks: Sequence[Sequence[int]], batch_norm: bool = False
) -> dict[str, Tensor]:
    """The convolutions of a torchvision state dict under this module's names, without the classifier.

    A batch normalisation that no longer learns is a scale and a shift, so it is folded into its convolution.
    """
    found: dict[str, Tensor | None] = {}
    for name, index in torchvision_indices(blocks, batch_norm).items():
        weight, bias = state.get(f"features.{index}.weight"), state.get(f"features.{index}.bias")
        if batch_norm and weight is not None and bias is not None:
            weight, bias = _folded(state, f"features.{index + 1}", weight, bias)
        found |= {f"convolutions.{name}.weight": weight, f"convolutions.{name}.bias": bias}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _folded(
    state: Mapping[str, Tensor], norm: str, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    kinds = ("weight", "bias", "running_mean", "running_var")
    scale, shift, mean, variance = (state.get(f"{norm}.{kind}") for kind in kinds)
    if scale is None or shift is None or mean is None or variance is None:
        return None, None
    if not scale.shape == shift.shape == mean.shape == variance.shape == bias.shape == weight.shape[:1]:
        return None, None
    gain = scale.double() / (variance.double() + BATCH_NORM_EPSILON).sqrt()
    bias = (bias.double() - mean.double()) * gain + shift.double()
    return (weight.double() * gain.view(-1, 1, 1, 1)).to(weight.dtype), bias.to(weight.dtype)
