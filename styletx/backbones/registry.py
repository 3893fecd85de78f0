"""Every network that can compare pictures: one entry each.

To add one, add an `Architecture` to `ARCHITECTURES`; nothing else in the program names a network. Any other classifier
of torchvision gets an entry when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from torch import Tensor, nn

from styletx.backbones import classifiers, vgg
from styletx.errors import OptionError, hint

VGG11 = ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2)
VGG13 = ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2)
VGG16 = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
VGG19 = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
# Chosen by measurement, see docs/compact-backbone.md: layers that carry style or content are wider than the others.
COMPACT_VGG19 = ((32, 32), (80, 64), (128, 64, 64, 64), (128, 128, 96, 96), (128,))
COMPACT_READOUTS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")

# Gatys et al. 2016, section 3.
GATYS_STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
GATYS_CONTENT_LAYERS = ("relu4_2",)

TORCHVISION_LICENCE = "BSD 3-Clause, torchvision"
SIZE_TOLERANCE = 1024  # bytes; half of the last place of a size in MiB is 524


@dataclass(frozen=True)
class Download:
    """Where a network's trained weights are published.

    Attributes:
        url: of a state dict that `torch.load(weights_only=True)` reads.
        sha256: the first digits of its SHA-256, as many as the publisher states.
        size: in bytes.
        tolerance: how many bytes the true size may differ, where the publisher rounds it.
    """

    url: str
    sha256: str
    size: int
    tolerance: int = 0


@dataclass(frozen=True)
class Architecture:
    """A network, the layers that it offers, and where its weights come from.

    Attributes:
        name: what the option `backbone` calls it.
        build: makes the module from `layers` and the keywords `pooling` and `padding`, with random weights.
        convert: turns a published state dict into the module's own.
        layers: all layers, from the picture down.
        style_layers: layers whose Gram matrices carry style by default.
        content_layers: layers whose activations carry content by default.
        licence: of the published weights.
        download: where they are published, if they are.
        bundled: name of their file in this package, if they ship with it.
        whole: makes the network as it was published, with its classifier; None if `build` makes the whole network.
        parts: name of each layer, and of what lies between and after the layers, to its module in the whole network.
        style_weights: shares of the style layers whose share is not 1.
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
    whole: Callable[[], nn.Module] | None = None
    parts: Mapping[str, str] = field(default_factory=dict, compare=False)
    style_weights: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def matching_layers(self) -> tuple[str, ...]:
        """Layers that tell what belongs where: those of style and content but the deepest, which sees too widely."""
        return tuple(dict.fromkeys((*self.style_layers[:-1], *self.content_layers)))


def _torchvision_vgg(
    name: str, blocks: Sequence[Sequence[int]], download: Download, licence: str = TORCHVISION_LICENCE
) -> Architecture:
    batch_norm = name.endswith("_bn")
    return Architecture(
        name=name,
        build=partial(vgg.VGG, blocks),
        convert=partial(vgg.from_torchvision, blocks=blocks, batch_norm=batch_norm),
        layers=vgg.layer_names(blocks),
        style_layers=GATYS_STYLE_LAYERS,
        content_layers=GATYS_CONTENT_LAYERS,
        licence=licence,
        download=download,
        whole=partial(classifiers.whole, name),
        parts=vgg.torchvision_modules(blocks, batch_norm),
    )


def _classifier(
    name: str,
    layers: Sequence[str],
    style_layers: Sequence[str],
    content_layers: Sequence[str],
    download: Download,
    *,
    after: Sequence[str] = (),
    licence: str = TORCHVISION_LICENCE,
) -> Architecture:
    return Architecture(
        name=name,
        build=partial(classifiers.Classifier, name),
        convert=classifiers.convert,
        layers=tuple(layers),
        style_layers=tuple(style_layers),
        content_layers=tuple(content_layers),
        licence=licence,
        download=download,
        whole=partial(classifiers.whole, name),
        parts={part: part for part in (*layers, *after)},
    )


def _resnet(name: str, blocks: Sequence[int], download: Download) -> Architecture:
    ends = [f"layer{stage}.{count - 1}" for stage, count in enumerate(blocks, 1)]
    return _classifier(
        name,
        (
            "relu",
            "maxpool",
            *(f"layer{stage}.{block}" for stage, count in enumerate(blocks, 1) for block in range(count)),
        ),
        # As in the program that Wang et al. (2021) published.
        style_layers=("relu", *ends),
        content_layers=ends[2:3],
        download=download,
        after=("avgpool", "fc"),
    )


def _rounded(file: str, mebibytes: float) -> Download:
    """A file of torchvision, which states its size in MiB to three places and its hash at the end of its name."""
    url = f"https://download.pytorch.org/models/{file}"
    return Download(url, file.removesuffix(".pth")[-8:], round(mebibytes * 2**20), SIZE_TOLERANCE)


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _torchvision_vgg(
            "vgg19",
            VGG19,
            Download("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d", 574_673_361),
            "CC BY 4.0, Simonyan & Zisserman",
        ),
        _torchvision_vgg(
            "vgg16",
            VGG16,
            Download("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", 553_433_881),
            "CC BY 4.0, Simonyan & Zisserman",
        ),
        _torchvision_vgg("vgg13", VGG13, _rounded("vgg13-19584684.pth", 507.545)),
        _torchvision_vgg("vgg11", VGG11, _rounded("vgg11-8a719046.pth", 506.84)),
        _torchvision_vgg("vgg19_bn", VGG19, _rounded("vgg19_bn-c79401a0.pth", 548.143)),
        _torchvision_vgg("vgg16_bn", VGG16, _rounded("vgg16_bn-6c64b313.pth", 527.866)),
        _torchvision_vgg("vgg13_bn", VGG13, _rounded("vgg13_bn-abd245e5.pth", 507.59)),
        _torchvision_vgg("vgg11_bn", VGG11, _rounded("vgg11_bn-6002323d.pth", 506.881)),
        _resnet("resnet18", (2, 2, 2, 2), _rounded("resnet18-f37072fd.pth", 44.661)),
        _resnet("resnet50", (3, 4, 6, 3), _rounded("resnet50-0676ba61.pth", 97.781)),
        _classifier(
            "alexnet",
            [f"features.{index}" for index in (1, 2, 4, 5, 7, 9, 11, 12)],
            style_layers=[f"features.{index}" for index in (1, 4, 7, 9, 11)],
            content_layers=["features.9"],
            download=_rounded("alexnet-owt-7be5be79.pth", 233.087),
            after=("classifier.1", "classifier.4", "classifier.6"),
        ),
        _classifier(
            "efficientnet_b0",
            [f"features.{stage}" for stage in range(9)],
            # The last stage at each scale.
            style_layers=[f"features.{stage}" for stage in (1, 2, 3, 5, 7)],
            content_layers=["features.5"],
            download=_rounded("efficientnet_b0_rwightman-7f5810bc.pth", 20.451),
            after=("avgpool", "classifier.1"),
            licence="Apache 2.0, R. Wightman, by way of torchvision",
        ),
        Architecture(
            name="compact",
            build=partial(vgg.VGG, COMPACT_VGG19, readouts=COMPACT_READOUTS),
            convert=dict,
            layers=vgg.layer_names(COMPACT_VGG19),
            style_layers=GATYS_STYLE_LAYERS,
            # Compared with equal shares: a ninth less style distance by VGG-19, a tenth more in the large structure.
            style_weights={"relu3_1": 1.5, "relu5_1": 0.5},
            # With relu4_2 alone, edges of a quick run come out loose; relu3_1 holds them at no cost in style.
            content_layers=("relu3_1", "relu4_2"),
            licence="CC BY 4.0, Simonyan & Zisserman, and MIT, Wang et al.; distilled from their networks",
            bundled="compact-vgg19.safetensors",
        ),
    )
}


def architecture(name: str) -> Architecture:
    """The entry of that name.

    Raises:
        OptionError: neither an entry nor a classifier of torchvision has that name, in which case the message suggests
            the nearest; or the classifier has no feature maps.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name in classifiers.names():
        return _other(name)
    raise OptionError(f"no backbone is called {name!r}; {hint(name, ARCHITECTURES)}")


@cache
def _other(name: str) -> Architecture:
    """An entry for a classifier of torchvision that is not in the registry."""
    found = classifiers.layers(name)
    url, sha256, size = classifiers.published(name)
    style_layers, content_layers = classifiers.default_layers(found)
    return _classifier(name, tuple(found), style_layers, content_layers, Download(url, sha256, size, SIZE_TOLERANCE))
