"""The stylizer of the first engine: the pixels are optimised towards a painting's style."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import backbones, devices, images, losses, optimization
from styletx.errors import MemoryLimitError, OptionError, WeightsError
from styletx.optimization import Step
from styletx.options import OPTIMISATION, Options, idle, layer_weights
from styletx.stylizers.base import Stylizer

# Pixels painted beyond each edge and cut off in the end. Whatever a network takes to be there, it sees the outermost
# pixels from fewer places than the others, and they stay a duller rim of as many pixels.
MARGIN = 8
# The peak of an evaluation over what it keeps for its backward pass. With it, the estimate for VGG-19 to relu3_1 at
# 1024×768 was 1.97 GiB where 2.0 were measured.
EVALUATION_PEAK = 1.4
# L-BFGS remembers ten steps of two pictures each; content, best picture, gradient and their like make up the rest.
PICTURES_KEPT = 32


class OptimizingStylizer(Stylizer):
    """Repaints pictures in the style of a painting, by optimisation.

    The style's targets are kept from one picture to the next.

    Args:
        style: the painting.
        options: how to repaint.
        progress: called while weights are downloaded.
    """

    def __init__(self, style: images.Picture, options: Options, *, progress: backbones.Progress | None = None) -> None:
        self.painting = style
        self.style = style.name
        self.options = options
        self.device = devices.choose(options.device)
        if changed := idle(options, OPTIMISATION):
            warnings.warn(
                f"{', '.join(changed)}: of no effect with a painting, only with a trained style.", stacklevel=4
            )
        self.initial = self._read_initial()
        architecture = backbones.choose(options.backbone, options.weights)
        for given in (options.style_layers, options.content_layers):
            named = None if given is None else tuple(layer_weights(given))
            backbones.check(architecture, named, options.pooling, options.padding)
        weights = backbones.find(
            architecture,
            file=options.weights,
            seed=options.seed,
            offline=options.offline or None,
            progress=progress,
        )
        reached = backbones.reached(architecture, weights.state)
        self.style_layers = _choose_layers(
            "style", options.style_layers, architecture.style_layers, reached, architecture.style_weights
        )
        self.content_layers = _choose_layers(
            "content", options.content_layers, architecture.content_layers, reached, {}
        )
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
            smooth=options.smooth_activations,
        )
        self.dtype = devices.dtype(options.precision, self.device)
        self.network = self.backbone.module.to(self.device, self.dtype).to(memory_format=torch.channels_last)
        self._style_targets: dict[tuple[int, int], dict[str, Tensor]] = {}

    def steps(self, picture: images.Picture, size: tuple[int, int], *, in_place: bool = False) -> Iterator[Step]:
        """Repaint a picture at a size (H, W), coarse to fine.

        Raises:
            MemoryLimitError: the size does not fit into the device's memory.
        """
        content = _framed(images.resize(picture.pixels.to(self.device), size))
        canvas = _canvas(size)
        sizes = optimization.pyramid(canvas)

        def objective_at(scale: tuple[int, int]) -> losses.PerceptualLoss:
            pixels = images.resize(content, scale).contiguous(memory_format=torch.channels_last)
            return losses.PerceptualLoss(
                self.network,
                self._checked(losses.content_targets(self.network, pixels, self.content_layers)),
                self._style_targets_at(max(scale) / max(canvas), max(size)),
                content_weight=self.options.content_weight,
                style_weight=self.options.style_weight,
                tv_weight=self.options.tv_weight,
                content_layers=self.content_layers,
                style_layers=self.style_layers,
            )

        try:
            for step in optimization.coarse_to_fine(
                objective_at,
                self._initial(content, size, sizes[0]),
                sizes,
                iterations=self.options.iterations,
                optimizer=self.options.optimizer,
            ):
                yield dataclasses.replace(step, pixels=_unframed(step.pixels, size))
        except (RuntimeError, MemoryError) as error:
            if not devices.is_out_of_memory(error):
                raise
            raise self._out_of_memory(picture.name, size) from None

    @property
    def about(self) -> dict[str, Any]:
        """As `Stylizer.about`."""
        source = self.backbone.source
        return {
            "backbone": self.backbone.architecture.name,
            "weights": {"origin": source.origin, "file": source.path.name, "sha256": source.sha256},
            "style_layers": self.style_layers,
            "content_layers": self.content_layers,
            "precision": str(self.dtype).removeprefix("torch."),
        }

    def _style_targets_at(self, share: float, long_side: int) -> dict[str, Tensor]:
        # The style shrinks with the scale, so that its strokes keep their size relative to the picture.
        style = self.painting.pixels
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

    def _initial(self, content: Tensor, size: tuple[int, int], coarsest: tuple[int, int]) -> Tensor:
        if self.options.init == "content":
            return content
        if self.options.init == "noise":
            generator = torch.Generator().manual_seed(self.options.seed)
            return torch.rand(1, 3, *coarsest, generator=generator).to(self.device)
        pixels = self.painting.pixels if self.initial is None else self.initial
        return _framed(images.resize(pixels.to(self.device), size))

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

    def check(self, name: str, size: tuple[int, int]) -> None:
        """As `Stylizer.check`."""
        available = devices.available_memory(self.device)
        if available is not None and math.prod(_canvas(size)) * self._bytes_per_pixel() > available:
            raise self._out_of_memory(name, size)

    def _out_of_memory(self, name: str, size: tuple[int, int]) -> MemoryLimitError:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        available = devices.available_memory(self.device) or 0
        per_pixel = self._bytes_per_pixel()
        needed = math.prod(_canvas(size)) * per_pixel
        # Where the estimate promised that it would fit, the largest size is one that it did not promise.
        largest = int(max(size) * min(math.sqrt(available / needed), 0.8))
        while largest and math.prod(_canvas(images.fit(size, largest))) * per_pixel > available:
            largest -= 1
        fits = largest and min(images.fit(size, largest)) >= images.MIN_SIDE
        advice = (
            f"the largest size that fits is --size {largest}" if fits else "free some memory or take another --device"
        )
        return MemoryLimitError(
            f"{name}: at {size[1]}×{size[0]} px it needs about {needed / 2**30:.1f} GiB, and {self.device} has "
            f"{available / 2**30:.1f} GiB free; {advice}."
        )


def _canvas(size: tuple[int, int]) -> tuple[int, int]:
    """What is painted for a picture of a size (H, W)."""
    return size[0] + 2 * MARGIN, size[1] + 2 * MARGIN


def _framed(pixels: Tensor) -> Tensor:
    """A picture `[B, C, H, W]` with its margin, mirrored at its edges."""
    return F.pad(pixels, (MARGIN,) * 4, mode="reflect")


def _unframed(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """A painted canvas at any scale without its margin; at the last scale that is a picture of the size (H, W)."""
    rows, columns = (
        round(extent * inner / outer)
        for extent, inner, outer in zip(pixels.shape[-2:], size, _canvas(size), strict=True)
    )
    top, left = (pixels.shape[-2] - rows) // 2, (pixels.shape[-1] - columns) // 2
    return pixels[..., top : top + rows, left : left + columns]


def _choose_layers(
    kind: str,
    given: str | None,
    default: tuple[str, ...],
    reached: tuple[str, ...],
    shares: Mapping[str, float],
) -> Mapping[str, float]:
    """The layers of a kind with their shares: as given, or the default ones as far as the weights reach."""
    if given is not None:
        return layer_weights(given)
    layers = backbones.within(default, reached)
    if layers != default:
        warnings.warn(
            f"these weights reach {reached[-1] if reached else 'no layer'}, so {kind} is taken from "
            f"{', '.join(layers)} instead of {', '.join(default)}.",
            stacklevel=3,
        )
    return {layer: shares.get(layer, 1.0) for layer in layers}
