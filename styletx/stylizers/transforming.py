"""The stylizer that repaints a picture in one pass, by a network trained for one style."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styletx import colors, context, devices, files, images
from styletx.errors import MemoryLimitError, OptionError, WeightsError, field
from styletx.feedforward import grain, models, onnx, strips
from styletx.feedforward.networks import Repainter
from styletx.notes import Note, Notes
from styletx.optimization import Step
from styletx.options import ONE_PASS, Options, idle
from styletx.stylizers.base import Result, Run, Stylizer, enough

COMPILERS = (os.environ.get("CXX", "g++"), "g++", "c++", "clang++", "cl")
# Bytes that a pixel takes: of a picture that goes through the network at once, and of one that goes in strips.
WHOLE, STRIPS = 220, 60
LITTLE = 2**29  # bytes that are not worth asking for
# How much of the coarser scale's painting, and not of the photograph, a finer one repaints.
MIX = 0.5
NEAR = 1.25  # times the width that strokes have by themselves, up to which one scale will do
BATCH = 8  # pictures that keep a GPU busy; one keeps a CPU busy


class TransformingStylizer(Stylizer):
    """Repaints pictures in the style that a network was trained for.

    Args:
        path: of the model file.
        options: how to repaint.
    """

    is_gradual = False

    def __init__(self, path: Path, options: Options) -> None:
        self.options = options
        self.device = devices.choose(options.device)
        self.path = path
        is_onnx = options.runtime == "onnx" or path.suffix.lower() == ".onnx"
        self.dtype = torch.float32 if is_onnx else devices.dtype(options.precision, self.device)
        self.network, self.description = self._load()
        # That a picture gets before it is repainted; an ONNX file gives them by itself.
        self.colors = getattr(self.network, "colors", None) or self.network.descriptor.colors
        training = self.description.get("training")
        own = training.get("size") if isinstance(training, dict) else None
        # Long side in px of a picture in which the strokes are as wide as they should be; version 0.1's have none.
        self.own_size = own if type(own) is int and own > 0 else None
        self.notes = tuple(_notes(options, is_onnx, self.own_size))
        self.style = path.stem if path in models.bundled().values() else str(path)
        self.sha256 = files.sha256_of(path)
        self.batch_size = BATCH if self.device.type == "cuda" else 1

    def _load(self) -> tuple[Repainter, dict[str, Any]]:
        if self.path.suffix.lower() == ".onnx":
            exported = onnx.read(self.path, self.device)
            return exported, exported.about
        model = models.read(self.path)
        if self.options.runtime == "onnx":
            return onnx.ExportedNetwork(onnx.convert(model), str(self.path), self.device), model.about
        network = model.network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not network.descriptor.bfloat16:
            self.dtype = torch.float32
        network.use(self.dtype)
        if self.options.compile:
            if self.device.type == "cpu" and not any(map(shutil.which, COMPILERS)):
                raise OptionError(
                    f"{field('compile')} needs a C++ compiler, and none is installed; install one or remove the option"
                )
            compiled: Any = torch.compile(network, dynamic=True)
            return compiled, model.about
        return network, model.about

    def check(self, name: str, size: tuple[int, int]) -> Notes:
        """As `Stylizer.check`; raises `OptionError` for a side shorter than the network takes."""
        needed = WHOLE * math.prod(size)
        if self.network.descriptor.strips:
            needed = min(needed, WHOLE * strips.STRIP + STRIPS * math.prod(size))
        if needed > LITTLE:
            available = devices.available_memory(self.device) or needed
            largest = math.floor(0.95 * max(size) * math.sqrt(available / needed))
            what = f"{files.shown(name)}: {size[1]}×{size[0]} px"
            devices.check_memory(needed, self.device, what, f"give {field('size')} {largest} or less")
        if min(size) < (minimum := self.network.descriptor.minimum):
            raise OptionError(
                f"{name}: the result would be {size[1]}×{size[0]} px, and this style takes at least {minimum} px a "
                f"side; give {field('size')} {enough(size, minimum)}"
            )
        return ()

    def steps(self, run: Run) -> Iterator[Step]:
        """As `Stylizer.steps`; a large picture is done in strips, a step each.

        Raises:
            MemoryLimitError: the size does not fit into the device's memory.
        """
        pixels = run.photo.to(self.device)
        is_own = pixels is not run.photo or not run.is_shared
        # In place only where a second picture would matter, and where nothing needs the photograph afterwards.
        in_place = is_own and self.options.strength == 1 and pixels[0, 0].numel() > strips.WHOLE
        run.is_spent = in_place and pixels is run.photo
        yield from self._repaint(run.name, pixels, in_place=in_place)

    @context.own()
    def finish(self, runs: Sequence[Run]) -> list[Result]:
        """As `Stylizer.finish`; pictures of one size go through the network at once."""
        if len(runs) < 2 or len({run.size for run in runs}) > 1:
            return super().finish(runs)
        pixels = torch.cat([run.photo.to(self.device) for run in runs])
        for step in self._repaint(runs[0].name, pixels, in_place=True):
            for index, run in enumerate(runs):
                run.last = Step(step.progress, step.pixels[index : index + 1])
        return [run.result for run in runs]

    def _repaint(self, name: str, pixels: Tensor, *, in_place: bool) -> Iterator[Step]:
        earlier = None
        try:
            *coarser, _ = self._scales((pixels.shape[-2], pixels.shape[-1]))
            if coarser and self.colors:  # a painting is mixed in, and a mix of both colours would have neither
                pixels, in_place = _moved(pixels if in_place else pixels.clone(), self.colors), True
            for scale in coarser:
                small = _mixed(images.resize(pixels, scale), earlier)
                *_, (_, earlier) = self._painted(small, in_place=True)
            if earlier is not None:
                pixels, in_place = _mixed(pixels if in_place else pixels.clone(), earlier), True
            for progress, painted in self._painted(pixels, in_place=in_place):
                yield Step(progress, painted)
        except (RuntimeError, MemoryError) as error:
            if not devices.is_out_of_memory(error):
                raise
            height, width = pixels.shape[-2:]
            raise MemoryLimitError(
                f"{name}: {width}×{height} px does not fit into the memory of {self.device}; reduce "
                f"{field('size')}, or free some memory"
            ) from None

    def _scales(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Sizes (h, w), coarse to fine, at which a picture of a size is painted; the last is that size.

        A network's strokes have a width in px of their own. At the coarsest scale they are as wide as they should be
        in the picture, or as wide as a scale can be that the network still takes.
        """
        wider = (self.options.style_size or max(size)) / (self.own_size or math.inf)
        if wider <= NEAR:
            return [size]
        count = max(1, round(math.log2(wider)))
        sizes = [images.fit(size, round(max(size) / wider ** (index / count))) for index in range(count, 0, -1)]
        return [one for one in sizes if min(one) >= self.network.descriptor.minimum] + [size]

    def _painted(self, pixels: Tensor, *, in_place: bool) -> Iterator[tuple[float, Tensor]]:
        grained = grain.added(pixels, self.options.seed, in_place=in_place)
        for progress, painted in strips.repaint(self.network, grained, in_place=in_place or grained is not pixels):
            if progress == 1 and not bool(painted.isfinite().all()):
                raise WeightsError(
                    f"{self.path}: these weights paint values that are not finite numbers; the file is damaged or "
                    "its training went wrong, get it again"
                )
            yield progress, painted

    @property
    def about(self) -> dict[str, Any]:
        """As `Stylizer.about`."""
        return {"model": self.description, "precision": str(self.dtype).removeprefix("torch.")}


def _moved(pixels: Tensor, target: colors.Colors) -> Tensor:
    """Pictures `[B, 3, H, W]` with a target's colours, in place; some pixels may lie outside [0, 1] then."""
    for one in torch.split(pixels, 1):
        by = colors.move(one, target)
        for rows in torch.split(one, colors.BAND, dim=-2):  # little memory
            rows.copy_(colors.moved(rows, by))
    return pixels


def _mixed(photograph: Tensor, earlier: Tensor | None) -> Tensor:
    """A photograph `[B, 3, H, W]` in which a coarser scale's painting is mixed, in place."""
    if earlier is not None:
        size = (photograph.shape[-2], photograph.shape[-1])
        for channel in range(photograph.shape[1]):  # one at a time takes a third of the memory
            part = slice(channel, channel + 1)
            photograph[:, part].lerp_(images.resize(earlier[:, part], size), MIX)
    return photograph


def _notes(options: Options, is_onnx: bool, own_size: int | None) -> Iterator[Note]:
    if options.style_size is not None and own_size is None:
        yield Note(f"This style has strokes of one width, so it ignores {field('style_size')}.")
    if changed := [field(name) for name in idle(options, ONE_PASS)]:
        yield Note(f"A trained style's look is fixed by its training, so it ignores {', '.join(changed)}.")
    if is_onnx and (options.compile or options.precision == "bfloat16"):
        yield Note(f"ONNX Runtime runs in float32 and ignores {field('compile')} and {field('precision')}.")
