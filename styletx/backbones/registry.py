"""Every network that can see for styletx: one entry each.

To add one, add an `Architecture` to `ARCHITECTURES`; nothing else in the program names a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from styletx.backbones import vgg
from styletx.errors import OptionError, hint

VGG16 = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
VGG19 = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
# Chosen by measurement, see docs/compact-backbone.md; the layers that are looked at are wider than those between.
COMPACT_VGG19 = ((32, 32), (80, 64), (128, 64, 64, 64), (128, 128, 96, 96), (128,))
COMPACT_READOUTS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")

# Gatys et al. 2016, section 3.
GATYS_STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
GATYS_CONTENT_LAYERS = ("relu4_2",)


@dataclass(frozen=True)
class Download:
    """Where a network's trained weights are published.

    Attributes:
        url: a state dict that `torch.load(weights_only=True)` reads.
        sha256: the first digits of its SHA-256, as many as the publisher states.
        size: bytes.
    """

    url: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Architecture:
    """A network, what it can be asked for, and where its weights come from.

    Attributes:
        name: what `--backbone` calls it.
        build: makes the module from `layers` and keyword options, with random weights.
        convert: turns the state dict as it is published into the module's own.
        layers: all layers, from the picture down.
        style_layers: layers whose Gram matrices carry style, by default.
        content_layers: layers whose activations carry content, by default.
        licence: of the published weights.
        download: where they are published, if they are.
        bundled: file name inside this package, if it ships with it.
    """

    name: str
    build: Callable[..., nn.Module]
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    layers: tuple[str, ...]
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    licence: str
    download: Download | None = None
    bundled: str | None = None


def _torchvision_vgg(name: str, blocks: Sequence[Sequence[int]], download: Download) -> Architecture:
    return Architecture(
        name=name,
        build=partial(vgg.VGG, blocks),
        convert=partial(vgg.from_torchvision, blocks=blocks),
        layers=vgg.layer_names(blocks),
        style_layers=GATYS_STYLE_LAYERS,
        content_layers=GATYS_CONTENT_LAYERS,
        licence="CC BY 4.0, Simonyan & Zisserman",
        download=download,
    )


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _torchvision_vgg(
            "vgg19",
            VGG19,
            Download("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d", 574_673_361),
        ),
        _torchvision_vgg(
            "vgg16",
            VGG16,
            Download("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", 553_433_881),
        ),
        Architecture(
            name="compact",
            build=partial(vgg.VGG, COMPACT_VGG19, readouts=COMPACT_READOUTS),
            convert=dict,
            layers=vgg.layer_names(COMPACT_VGG19),
            style_layers=GATYS_STYLE_LAYERS,
            # In a quick run relu4_2 alone leaves edges too loose; relu3_1 beside it holds them for the same style.
            content_layers=("relu3_1", "relu4_2"),
            licence="CC BY 4.0, Simonyan & Zisserman, and MIT, Wang et al.; distilled from their networks",
            bundled="compact-vgg19.safetensors",
        ),
    )
}


def architecture(name: str) -> Architecture:
    """The entry of that name.

    Raises:
        OptionError: there is none; the message offers the nearest.
    """
    if name not in ARCHITECTURES:
        raise OptionError(f"no backbone is called {name!r}; {hint(name, ARCHITECTURES)}")
    return ARCHITECTURES[name]
