"""Torchvision's classifiers as feature extractors: AlexNet, ResNets, EfficientNet, and any other by its name.

A residual network adds each block's input to its output, so a layer's activations always contain those of the layers
before it. A VGG, which is in `vgg.py`, has no such sums.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletx.backbones import vgg
from styletx.errors import OptionError


class Classifier(nn.Module):
    """A torchvision classifier, built only as deep as the deepest layer asked for.

    Args:
        name: what `torchvision.models` calls it.
        layers: nodes to return, by torchvision's names; a module's name stands for its output.
        pooling: "max" as published, or "average": the mean of the same windows.
        padding: "reflect", or "zeros" as published.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: Sequence[str], pooling: str = "max", padding: str = "reflect") -> None:
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor
        from torchvision.ops import FrozenBatchNorm2d

        self.layers = tuple(layers)
        network = whole(name)
        for module in network.modules():
            # The next layer must not overwrite one that is returned.
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010
        self.network = create_feature_extractor(network, list(layers), suppress_diff_warning=True)
        self.register_buffer("mean", torch.tensor(vgg.MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(vgg.STD).view(1, 3, 1, 1), persistent=False)
        for path, module in list(self.network.named_modules()):
            if isinstance(module, nn.Conv2d) and padding != "zeros":
                _pad_before(module, padding)
            elif isinstance(module, nn.MaxPool2d):
                self.network.set_submodule(path, Pool(module, pooling))
            elif isinstance(module, nn.AvgPool2d):
                self.network.set_submodule(path, Pool(module, "average"))
            elif isinstance(module, nn.BatchNorm2d):
                # It no longer learns, so it need not count batches.
                self.network.set_submodule(path, FrozenBatchNorm2d(module.num_features, module.eps))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Activations of the layers asked for.

        Args:
            pixels: `[B, 3, H, W]`, RGB in [0, 1].

        Returns:
            Layer name to `[B, C, h, w]`, in the dtype of the network's weights.
        """
        features = (pixels - self.mean) / self.std
        found: dict[str, Tensor] = self.network(features.to(next(self.parameters()).dtype))
        return found


class Pool(nn.Module):
    """A pool that takes the maximum or the mean, and whose window shrinks to a picture that is smaller.

    Args:
        published: torchvision's pool, whose window, stride and padding it takes over.
        pooling: "max" or "average".
    """

    def __init__(self, published: nn.MaxPool2d | nn.AvgPool2d, pooling: str) -> None:
        super().__init__()
        self.window, self.stride, self.padding = (
            _side(side) for side in (published.kernel_size, published.stride, published.padding)
        )
        self.ceil = published.ceil_mode
        self.pooling = pooling

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, h, w]`."""
        window = [min(self.window, side + 2 * self.padding) for side in features.shape[-2:]]
        padding = [min(self.padding, side // 2) for side in window]
        if self.pooling == "max":
            return F.max_pool2d(features, window, self.stride, padding, ceil_mode=self.ceil)
        return F.avg_pool2d(features, window, self.stride, padding, ceil_mode=self.ceil, count_include_pad=False)


def whole(name: str) -> nn.Module:
    """A classifier of torchvision as it is published, with random weights, in eval mode.

    Args:
        name: what `torchvision.models` calls it.
    """
    from torchvision import models

    with warnings.catch_warnings():
        # GoogLeNet and Inception announce a change of their initial weights, which are not used here.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            network: nn.Module = models.get_model(name)
        except NotImplementedError:
            # RegNets compute their widths with tensors, which must then have contents.
            device = torch.get_default_device()
            with torch.device("cpu"):
                network = models.get_model(name).to(device)
    return network.eval()


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A torchvision state dict under the names of `Classifier`."""
    return {f"network.{name}": tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


@cache
def names() -> tuple[str, ...]:
    """The names of all classifiers in torchvision."""
    from torchvision import models

    return tuple(models.list_models(module=models))


def published(name: str) -> tuple[str, str, int]:
    """URL, first digits of the SHA-256, and size in bytes (rounded to 1 kB) of a classifier's trained weights."""
    from torchvision import models

    (first, *_) = models.get_model_weights(name)
    digits = re.search(r"-([0-9a-f]{8})\.", first.url)
    return first.url, digits[1] if digits else "", round(first.meta["_file_size"] * 2**20)


@cache
def layers(name: str, side: int = 224) -> dict[str, tuple[int, int]]:
    """The feature maps of any classifier, from the picture down.

    They are the outputs of its outermost modules, where a plain sequence of modules does not count as one.

    Args:
        name: what `torchvision.models` calls it.
        side: side of the picture in px.

    Returns:
        Layer name to its channels and the side of its map at that size.

    Raises:
        OptionError: it has too few, as a vision transformer has, which works on a list of patches.
    """
    with torch.device("meta"):
        network, pixels = whole(name), torch.zeros(1, 3, side, side)
    found: dict[str, tuple[int, int]] = {}

    def remember(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            # Maps are [B, C, h, w]; some transformers order them [B, h, w, C].
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] == output.shape[3] > 1:
                found[path] = (output.shape[1], output.shape[2])

        return hook

    for path, module in _outermost(network):
        module.register_forward_hook(remember(path))
    with torch.no_grad():
        network(pixels)
    if len({map_side for _, map_side in found.values()}) < 3:
        raise OptionError(f"{name} has no feature maps at several scales; choose a convolutional network")
    return found


def default_layers(found: Mapping[str, tuple[int, int]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Style and content layers for a network whose entry names none.

    Style is taken from the last layer at each scale, as Gatys et al. (2016) take one per block. Content is taken from
    the second to last of them, which recognises objects and still knows where they are.

    Args:
        found: layer name to channels and side of its map, as `layers` returns it.
    """
    last = {map_side: name for name, (_, map_side) in found.items()}
    style = tuple(name for name in found if name in last.values())
    return style, style[-2:-1]


def _outermost(module: nn.Module, path: str = "") -> list[tuple[str, nn.Module]]:
    found = []
    for name, child in module.named_children():
        below = f"{path}.{name}" if path else name
        # Only a plain sequence: torchvision's subclasses of it are blocks.
        found += _outermost(child, below) if type(child) is nn.Sequential else [(below, child)]
    return found


def _pad_before(convolution: nn.Conv2d, padding: str) -> None:
    down, right = (int(side) for side in convolution.padding)
    if not down and not right:
        return
    margins = (right, right, down, down)
    convolution.padding = (0, 0)
    convolution.register_forward_pre_hook(lambda _, inputs: vgg.pad(inputs[0], margins, padding))


def _side(side: int | tuple[int, ...]) -> int:
    return side if isinstance(side, int) else side[0]
