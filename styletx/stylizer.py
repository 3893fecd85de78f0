"""The library's front: a style becomes a stylizer, which repaints picture after picture.

stylizer = load_stylizer("painting.jpg", size=768)
stylizer("photo.jpg").save("out.png")

run = stylizer.start("photo.jpg")       # to watch it, or to stop it
for step in run:
    print(step.iteration, step.losses)
run.result.save("out.png")
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import PIL.Image
import torch
from torch import Tensor

from styletx import backbones, devices, images, losses, optimization
from styletx._version import __version__
from styletx.errors import MemoryLimitError, OptionError, WeightsError
from styletx.optimization import Step
from styletx.options import FIELDS, Options, layer_weights

# The peak of an evaluation over what it keeps for its backward pass. With it, the estimate for VGG-19 to relu3_1 at
# 1024×768 was 1.97 GiB where 2.0 were measured.
EVALUATION_PEAK = 1.4
# L-BFGS remembers ten steps of two pictures each; content, best picture, gradient and their like make up the rest.
PICTURES_KEPT = 32


@dataclass(frozen=True)
class Result:
    """A repainted picture.

    Attributes:
        pixels: `[1, 3, H, W]` float32 sRGB in [0, 1], on the CPU.
        alpha: `[1, 1, H, W]` in [0, 1], taken over from the content picture; None if that is opaque.
        bits: depth that `save` writes where the file format can, that of the content picture: 8 or 16.
        metadata: how it was made: names, options, weights, versions, losses; embedded by `save`.
    """

    pixels: Tensor
    alpha: Tensor | None
    bits: int
    metadata: dict[str, Any]

    @property
    def image(self) -> PIL.Image.Image:
        """The picture as an 8-bit PIL image, RGB or RGBA."""
        return images.to_pil(self.pixels, self.alpha)

    def save(self, target: str | os.PathLike[str] | BinaryIO, *, bits: int | None = None) -> None:
        """Write a PNG, JPEG, WebP or TIFF file, by the path's extension, or PNG to a stream, with its metadata.

        Raises:
            OutputError: it cannot be written there; what was there stays.
        """
        images.write(target, self.pixels, alpha=self.alpha, metadata=self.metadata, bits=bits or self.bits)


def stylize(content: images.Source, style: images.Source, **options: Any) -> Result:
    """Repaint one picture in the style of another.

    Args:
        content: the photograph: a path, bytes, an open file, a PIL image, an array or a tensor.
        style: the painting, likewise.
        options: fields of `Options`.

    Raises:
        StyletxError: something asked for cannot work; its message says what to do.
    """
    return load_stylizer(style, **options)(content)


def load_stylizer(style: images.Source, *, progress: backbones.Progress | None = None, **options: Any) -> Stylizer:
    """Prepare a style once, to repaint any number of pictures in it.

    Args:
        style: the painting: a path, bytes, an open file, a PIL image, an array or a tensor.
        progress: called with bytes done and bytes in all while a network's weights are downloaded.
        options: fields of `Options`.

    Raises:
        StyletxError: something asked for cannot work; its message says what to do.
    """
    unknown = [name for name in options if name not in FIELDS]
    if unknown:
        raise OptionError(f"no option is called {unknown[0]!r}; see styletx.Options for those there are.")
    chosen = Options(**options)
    return Stylizer(images.read(style, max_pixels=chosen.max_pixels), chosen, progress=progress)


class Stylizer:
    """Repaints pictures in one style, by optimisation.

    The style's targets are kept from one picture to the next. One thread at a time may use it; threads with a
    stylizer each do not disturb one another.

    Args:
        style: the painting.
        options: how to repaint.
        progress: called while weights are downloaded.
    """

    def __init__(self, style: images.Picture, options: Options, *, progress: backbones.Progress | None = None) -> None:
        self.style = style
        self.options = options
        self.device = devices.choose(options.device)
        self.initial = self._read_initial()
        architecture = backbones.choose(options.backbone, options.weights)
        for given in (options.style_layers, options.content_layers):
            named = None if given is None else tuple(layer_weights(given))
            backbones.check(architecture, named, options.pooling, options.padding)
        weights = backbones.find(architecture, file=options.weights, offline=options.offline or None, progress=progress)
        reached = backbones.reached(architecture, weights.state)
        self.style_layers = _choose_layers("style", options.style_layers, architecture.style_layers, reached)
        self.content_layers = _choose_layers("content", options.content_layers, architecture.content_layers, reached)
        if options.backbone == "auto" and architecture.name != "vgg19":
            warnings.warn(
                f"seen by the bundled {architecture.name} network; to have the full VGG-19, which is a 548 MB "
                "download, run: styletx weights fetch vgg19",
                stacklevel=3,
            )
        self.backbone = backbones.build(
            architecture,
            weights,
            tuple(dict.fromkeys((*self.style_layers, *self.content_layers))),
            pooling=options.pooling,
            padding=options.padding,
        )
        self.dtype = devices.dtype(options.precision, self.device)
        self.network = self.backbone.module.to(self.device, self.dtype).to(memory_format=torch.channels_last)
        self._style_targets: dict[tuple[int, int], dict[str, Tensor]] = {}

    def __call__(self, content: images.Source) -> Result:
        """Repaint a picture.

        Args:
            content: a path, bytes, an open file, a PIL image, an array or a tensor.

        Raises:
            StyletxError: something asked for cannot work; its message says what to do.
        """
        run = self.start(content)
        for _ in run:
            pass
        return run.result

    def start(self, content: images.Source) -> Run:
        """Check a picture and make ready to repaint it; nothing is computed until the run is iterated.

        Raises:
            StyletxError: something asked for cannot work; its message says what to do.
        """
        picture = images.read(content, max_pixels=self.options.max_pixels)
        size = (picture.pixels.shape[-2], picture.pixels.shape[-1])
        if self.options.size != "original":
            size = images.fit(size, int(self.options.size))
        if min(size) < images.MIN_SIDE:
            raise OptionError(
                f"{picture.name}: would be {size[1]}×{size[0]} px, and {images.MIN_SIDE} px a side is the least "
                "that can be styled; give a larger --size."
            )
        self._check_memory(picture.name, size)
        return Run(self, picture, size)

    def steps(self, picture: images.Picture, size: tuple[int, int]) -> Iterator[Step]:
        """Repaint a picture at a size (H, W), coarse to fine.

        Raises:
            MemoryLimitError: the size does not fit into the device's memory.
        """
        content = picture.pixels.to(self.device)
        sizes = optimization.pyramid(size)

        def objective_at(scale: tuple[int, int]) -> losses.PerceptualLoss:
            pixels = images.resize(content, scale).contiguous(memory_format=torch.channels_last)
            return losses.PerceptualLoss(
                self.network,
                self._checked(losses.content_targets(self.network, pixels, self.content_layers)),
                self._style_targets_at(max(scale) / max(size), max(size)),
                content_weight=self.options.content_weight,
                style_weight=self.options.style_weight,
                tv_weight=self.options.tv_weight,
                content_layers=self.content_layers,
                style_layers=self.style_layers,
            )

        try:
            yield from optimization.coarse_to_fine(
                objective_at,
                self._initial(content, sizes[0]),
                sizes,
                iterations=self.options.iterations,
                optimizer=self.options.optimizer,
            )
        except (RuntimeError, MemoryError) as error:
            if not devices.is_out_of_memory(error):
                raise
            raise self._out_of_memory(picture.name, size) from None

    def _style_targets_at(self, share: float, long_side: int) -> dict[str, Tensor]:
        # The style shrinks with the scale, so that its strokes keep their size relative to the picture.
        style = self.style.pixels
        wanted = (self.options.style_size or long_side) * share
        size = images.fit((style.shape[-2], style.shape[-1]), max(1, round(wanted)))
        if size not in self._style_targets:
            pixels = images.resize(style.to(self.device), size).contiguous(memory_format=torch.channels_last)
            self._style_targets[size] = self._checked(losses.style_targets(self.network, pixels, self.style_layers))
        return self._style_targets[size]

    def _checked(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        if not all(bool(target.isfinite().all()) for target in targets.values()):
            raise WeightsError(
                f"{self.backbone.source.path}: these weights give features that are not finite numbers; "
                "the file is damaged or not meant for this network, get it again."
            )
        return targets

    def _read_initial(self) -> Tensor | None:
        init, known = self.options.init, ("content", "style", "noise")
        if init in known:
            return None
        near = difflib.get_close_matches(init, known, n=1)
        if near and not os.path.exists(init):
            raise OptionError(f"--init {init}: there is no such file; did you mean {near[0]!r}?")
        return images.read(init, max_pixels=self.options.max_pixels).pixels

    def _initial(self, content: Tensor, size: tuple[int, int]) -> Tensor:
        if self.options.init == "content":
            return content
        if self.options.init == "noise":
            generator = torch.Generator().manual_seed(self.options.seed)
            return torch.rand(1, 3, *size, generator=generator).to(self.device)
        pixels = self.style.pixels if self.initial is None else self.initial
        return images.resize(pixels.to(self.device), size)

    def _bytes_per_pixel(self) -> float:
        """What an evaluation keeps for its backward pass, counted on a small picture, and what the search keeps."""
        side = 128
        kept: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        pixels = torch.zeros(1, 3, side, side, device=self.device).to(memory_format=torch.channels_last)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features = self.network(pixels.requires_grad_())
        del features
        parameters: int = sum(parameter.nbytes for parameter in self.network.parameters())
        evaluation = max(0, sum(kept.values()) - parameters) / side**2
        return EVALUATION_PEAK * evaluation + PICTURES_KEPT * 3 * 4

    def _check_memory(self, name: str, size: tuple[int, int]) -> None:
        available = devices.available_memory(self.device)
        if available is not None and math.prod(size) * self._bytes_per_pixel() > available:
            raise self._out_of_memory(name, size)

    def _out_of_memory(self, name: str, size: tuple[int, int]) -> MemoryLimitError:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        available = devices.available_memory(self.device) or 0
        per_pixel = self._bytes_per_pixel()
        needed = math.prod(size) * per_pixel
        # Where the estimate promised that it would fit, the largest size is one that it did not promise.
        largest = int(max(size) * min(math.sqrt(available / needed), 0.8))
        while largest and math.prod(images.fit(size, largest)) * per_pixel > available:
            largest -= 1
        fits = largest and min(images.fit(size, largest)) >= images.MIN_SIDE
        advice = (
            f"the largest size that fits is --size {largest}" if fits else "free some memory or take another --device"
        )
        return MemoryLimitError(
            f"{name}: at {size[1]}×{size[0]} px it needs about {needed / 2**30:.1f} GiB, and {self.device} has "
            f"{available / 2**30:.1f} GiB free; {advice}."
        )


@dataclass
class Run:
    """One picture being repainted. Iterate it for its `Step`s, as far as you like; `result` is what there is by then.

    Attributes:
        stylizer: what repaints it.
        picture: the content picture.
        size: (H, W) of the result in px.
        last: the latest step, None before the first.
    """

    stylizer: Stylizer
    picture: images.Picture
    size: tuple[int, int]
    last: Step | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Step]:
        for step in self.stylizer.steps(self.picture, self.size):
            self.last = step
            yield step

    @property
    def result(self) -> Result:
        """The best picture so far, at full size; the content picture itself before the first step."""
        pixels = self.picture.pixels if self.last is None else self.last.pixels
        alpha = None if self.picture.alpha is None else images.resize(self.picture.alpha, self.size)
        pixels = images.resize(pixels, self.size).contiguous().cpu()
        return Result(pixels, alpha, self.picture.bits, self.metadata)

    @property
    def metadata(self) -> dict[str, Any]:
        """How the picture is made, as it is embedded in files."""
        stylizer = self.stylizer
        source = stylizer.backbone.source
        return {
            "styletx": __version__,
            "torch": torch.__version__,
            "content": self.picture.name,
            "style": stylizer.style.name,
            "options": dataclasses.asdict(stylizer.options),
            "backbone": stylizer.backbone.architecture.name,
            "weights": {"origin": source.origin, "file": source.path.name, "sha256": source.sha256},
            "style_layers": stylizer.style_layers,
            "content_layers": stylizer.content_layers,
            "device": stylizer.device.type,
            "precision": str(stylizer.dtype).removeprefix("torch."),
            "size": [self.size[1], self.size[0]],
            "losses": {} if self.last is None else self.last.losses,
        }


def _choose_layers(
    kind: str, given: str | None, default: tuple[str, ...], reached: tuple[str, ...]
) -> Mapping[str, float]:
    """The layers of a kind with their weights: as given, or the default ones as far as the weights reach."""
    if given is not None:
        return layer_weights(given)
    layers = tuple(layer for layer in default if layer in reached) or reached[-1:]
    if layers != default:
        warnings.warn(
            f"these weights reach {reached[-1] if reached else 'no layer'}, so {kind} is taken from "
            f"{', '.join(layers)} instead of {', '.join(default)}.",
            stacklevel=3,
        )
    return dict.fromkeys(layers, 1.0)
