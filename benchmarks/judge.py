"""Judges repainted pictures from their written files, without this project's own losses.

    python benchmarks/judge.py photo.jpg painting.jpg result.png --size 512

- *style*: mean relative distance of the Gram matrices at relu1_1, relu2_1 and relu3_1 between result and painting;
- *content*: relative distance of the activations at relu3_1 between result and photograph;
- *deep*: as style, at relu4_1 and relu5_1: large structure, which relu3_1 cannot see.

A relative distance is ‖a − b‖² / ‖b‖²: 0 where both are equal, lower is nearer. Figures are comparable only if the same
networks measured them, so the networks are named beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import platformdirs
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
CONVOLUTIONS = ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))  # number of a block of VGG-19, how many of it can be needed
TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)  # where they are in torchvision's `features`
STYLE_LAYERS = ("1_1", "2_1", "3_1")
CONTENT_LAYER = "3_1"
DEEP_LAYERS = ("4_1", "5_1")

Parameters = tuple[Tensor, Tensor]
"""Weight and bias of one convolution."""


@dataclass(frozen=True)
class Network:
    """A VGG-19, as far as its weights reach.

    Attributes:
        name: what it is and where it comes from.
        convolutions: layer, such as "3_1", to its 3×3 convolution, from the picture down.
        projections: layer to a 1×1 convolution and ReLU through which its activations are measured.
    """

    name: str
    convolutions: Mapping[str, Parameters]
    projections: Mapping[str, Parameters] = dataclasses.field(default_factory=dict)

    @torch.no_grad()
    def activations(self, pixels: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
        """The layers' activations `[C, h, w]` for a picture `[3, H, W]` in [0, 1]."""
        features = ((pixels - MEAN) / STD)[None]
        found = {}
        block = "1"
        for layer, parameters in self.convolutions.items():
            if layer[0] != block:
                features, block = F.max_pool2d(features, 2), layer[0]
            features = F.relu(F.conv2d(F.pad(features, (1, 1, 1, 1), mode="reflect"), *parameters))
            if layer in layers:
                projection = self.projections.get(layer)
                found[layer] = F.relu(F.conv2d(features, *projection))[0] if projection else features[0]
            if len(found) == len(layers):
                break
        return [found[layer] for layer in layers]


@dataclass(frozen=True)
class Figures:
    """What the judge measured; None where no network here can.

    Attributes:
        style: distance of the result's Gram matrices to the painting's.
        content: distance of the result's activations to the photograph's.
        deep: as style, in deeper layers.
    """

    style: float | None
    content: float | None
    deep: float | None


@dataclass(frozen=True)
class Judge:
    """The networks that measure.

    Attributes:
        shallow: for style and content; None if there is none.
        deep: for the large structure; None if there is none.
    """

    shallow: Network | None
    deep: Network | None

    @cached_property
    def described(self) -> str:
        """Which network measures what, or why a figure is left out; two lines."""
        missing = "not measured: no real VGG-19 is here; `styletx weights fetch vgg19` gets it"
        return (
            f"judge of style and content: {self.shallow.name if self.shallow else missing}\n"
            f"judge of deep: {self.deep.name if self.deep else missing}"
        )

    def measure(
        self, content: str | os.PathLike[str], style: str | os.PathLike[str], output: str | os.PathLike[str], size: int
    ) -> Figures:
        """Judge a written picture.

        Args:
            content: the photograph, which is compared at the output's size.
            style: the painting.
            output: the result, which is compared as it is.
            size: long side at which the painting is compared, px.
        """
        result = read(output)
        painting = read(style, long_side=size)
        photograph = read(content, size=(result.shape[2], result.shape[1]))
        style_figure = content_figure = deep_figure = None
        if self.shallow:
            style_figure = _style_distance(self.shallow, result, painting, STYLE_LAYERS)
            pair = [self.shallow.activations(one, (CONTENT_LAYER,))[0] for one in (result, photograph)]
            content_figure = distance(*pair)
        if self.deep:
            deep_figure = _style_distance(self.deep, result, painting, DEEP_LAYERS)
        return Figures(style_figure, content_figure, deep_figure)


def find(shared: Path | None) -> Judge:
    """The judge with the networks that are here: those of the test data, else the VGG-19 in the user's cache.

    Args:
        shared: the folder of test data, None to do without.
    """
    full = _cached()
    shallow = deep = full
    if shared:
        shallow = _torchvision(shared / "weights" / "vgg19-relu3_1.safetensors") or full
        deep = _distilled(shared / "weights" / "vgg19-distilled-16x.safetensors") or full
    return Judge(shallow, deep)


def read(path: str | os.PathLike[str], *, long_side: int | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """A picture `[3, H, W]` in [0, 1], resized to a long side or to (width, height) if one is given."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    if long_side:
        width, height = (max(1, round(side * long_side / max(image.size))) for side in image.size)
        size = (width, height)
    if size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def gram(features: Tensor) -> Tensor:
    """Mean products of all pairs of channels of `[C, h, w]`: `[C, C]`, summed in float64."""
    rows = features.flatten(1).double()
    return rows @ rows.T / rows.shape[1]


def distance(value: Tensor, target: Tensor) -> float:
    """‖value − target‖² / ‖target‖², summed in float64."""
    value, target = value.double(), target.double()
    return float((value - target).square().sum() / target.square().sum())


def _style_distance(network: Network, result: Tensor, painting: Tensor, layers: tuple[str, ...]) -> float:
    pairs = zip(network.activations(result, layers), network.activations(painting, layers), strict=True)
    return sum(distance(gram(one), gram(other)) for one, other in pairs) / len(layers)


def _layers() -> list[str]:
    return [f"{block}_{index}" for block, count in CONVOLUTIONS for index in range(1, count + 1)]


def _read(path: Path, names: Mapping[str, str]) -> dict[str, Parameters]:
    """The convolutions of a file under the names "NAME.weight" and "NAME.bias", without gaps from the first on."""
    state = load_file(path)
    found = {}
    for layer, name in names.items():
        if f"{name}.weight" not in state:
            break
        found[layer] = (state[f"{name}.weight"], state[f"{name}.bias"])
    return found


def _torchvision(path: Path) -> Network | None:
    if not path.exists():
        return None
    names = {layer: f"features.{index}" for layer, index in zip(_layers(), TORCHVISION, strict=True)}
    return Network(f"VGG-19, {path.name} of the test data", _read(path, names))


def _distilled(path: Path) -> Network | None:
    if not path.exists():
        return None
    projections = {layer: _read(path, {layer: f"project{layer}"})[layer] for layer in DEEP_LAYERS}
    convolutions = _read(path, {layer: f"conv{layer}" for layer in _layers()})
    return Network(f"distilled VGG-19, {path.name} of the test data", convolutions, projections)


def _cached() -> Network | None:
    cache = os.environ.get("STYLETX_CACHE") or platformdirs.user_cache_path("styletx", appauthor=False)
    path = Path(cache).expanduser() / "vgg19.safetensors"
    if not path.exists():
        return None
    return Network("VGG-19, from the cache", _read(path, {layer: f"convolutions.relu{layer}" for layer in _layers()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("content", "style", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--size", type=int, default=512, help="long side at which the painting is compared, px")
    parser.add_argument("--shared", type=Path, help="folder of test data with the networks")
    arguments = parser.parse_args()
    judge = find(arguments.shared)
    print(judge.described)
    figures = judge.measure(arguments.content, arguments.style, arguments.output, arguments.size)
    print(json.dumps(dataclasses.asdict(figures)))


if __name__ == "__main__":
    main()
