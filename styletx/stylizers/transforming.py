"""The stylizer that repaints a picture in one pass, by a network for one style or for any painting."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styletx import backbones, context, devices, files, images
from styletx.errors import MemoryLimitError, OptionError, WeightsError, field
from styletx.feedforward import models, onnx, scales, strips
from styletx.feedforward.collages import Guide
from styletx.feedforward.networks import Repainter
from styletx.notes import Note, Notes
from styletx.optimization import Step
from styletx.options import ONE_PASS, Options, idle
from styletx.stylizers.base import Result, Run, Stylizer, enlarged, enough
from styletx.stylizers.optimizing import OptimizingStylizer

COMPILERS = (os.environ.get("CXX", "g++"), "g++", "c++", "clang++", "cl")
# Bytes that a pixel takes: of a picture that goes through the network at once, of one that goes in strips, and of one
# that is larger than what is painted.
WHOLE, STRIPS, LARGER = 300, 60, 16
PAINTING = 500  # that one of the painting takes, where pieces are matched with it
NARROW = 0.5  # range of a painting's values below which it is painted as if they reached from 0 to 1
LITTLE = 2**29  # bytes that are not worth asking for
BATCH = 8  # pictures that keep a GPU busy; one keeps a CPU busy


class TransformingStylizer(Stylizer):
    """Repaints pictures by a network: in the style that it was trained for, or in that of any painting.

    Args:
        path: of the model file.
        options: how to repaint.
        painting: for a network that takes any.
    """

    is_gradual = False

    def __init__(self, path: Path, options: Options, painting: images.Picture | None = None) -> None:
        self.options = options
        self.device = devices.choose(options.device)
        self.path = path
        is_onnx = painting is None and (options.runtime == "onnx" or path.suffix.lower() == ".onnx")
        self.dtype = torch.float32 if is_onnx else devices.dtype(options.precision, self.device)
        self.network, self.description = self._load(is_onnx)
        if painting is None and self.network.descriptor.collage:
            raise OptionError(
                f"{files.shown(path)} paints after any painting and has no style of its own; give a painting, with "
                f"{field('method')}"
            )
        training = self.description.get("training")
        # Long side in px of a picture in which the strokes are as wide as they should be. For a network that was
        # trained at one scale, it is that of the pictures that it learnt from; version 0.1's have none.
        own = self.description.get("own_size", training.get("size") if isinstance(training, dict) else None)
        self.own_size = own if type(own) is int and own > 0 else None
        clouds = self.description.get("clouds")
        self.clouds = min(1.0, max(0.0, clouds)) if isinstance(clouds, float) else 0.0
        self.range = 0.0, 1.0  # of the values that it paints
        if painting is None:
            self.guide = None
            self.styles = (path.stem if path in models.bundled().values() else str(path),)
            self.sha256 = files.sha256_of(path)
        else:
            self.guide = self._guide(painting)
            self.styles, self.sha256 = (painting.name,), painting.sha256
        self.notes = tuple(_notes(options, painting, is_onnx, self.own_size))
        self.batch_size = BATCH if self.device.type == "cuda" else 1

    def _load(self, is_onnx: bool) -> tuple[Repainter, dict[str, Any]]:
        if self.path.suffix.lower() == ".onnx":
            exported = onnx.read(self.path, self.device)
            return exported, exported.about
        model = models.read(self.path)
        if is_onnx:
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
            compiled: Any = torch.compile(network, dynamic=False)  # for any size at once it would take minutes
            return compiled, model.about
        return network, model.about

    def _guide(self, picture: images.Picture) -> Guide:
        options = Options(
            style_size=self.options.style_size,
            stroke_size=self.options.stroke_size,
            regions=self.options.regions,
            seed=self.options.seed,
            backbone=backbones.BUNDLED,
            device=self.options.device,
            precision="float32",  # so that every machine finds the same places
        )
        least, most = (float(extreme) for extreme in picture.pixels.aminmax())
        if most - least < NARROW:  # a network that has seen more contrast would add it
            self.range = least, most
            stretched = (picture.pixels - least) / max(most - least, 1 / 255)
            picture = dataclasses.replace(picture, pixels=stretched)
        sketcher = OptimizingStylizer(picture, options)
        return Guide(sketcher.paintings[0], sketcher.sketch)

    def check(self, name: str, size: tuple[int, int]) -> Notes:
        """As `Stylizer.check`; raises `OptionError` for a side shorter than the network takes."""
        *_, painted = sizes = self._sizes(size)
        needed = WHOLE * math.prod(painted)
        if self.network.descriptor.strips:
            needed = min(needed, WHOLE * strips.STRIP + STRIPS * math.prod(painted))
        if painted != size:
            needed += LARGER * math.prod(size)
        if needed > LITTLE:
            available = devices.available_memory(self.device) or needed
            largest = math.floor(0.95 * max(size) * math.sqrt(available / needed))
            what = f"{files.shown(name)}: {size[1]}×{size[0]} px"
            devices.check_memory(needed, self.device, what, f"give {field('size')} {largest} or less")
        if self.guide is not None:
            painting = self.guide.painting
            height, width = images.fit(painting.size, self.guide.largest_side(sizes[0]))
            what = f"{files.shown(self.style)}: {width}×{height} px, at which pieces are matched with it,"
            devices.check_memory(height * width * PAINTING, self.device, what, f"reduce {field('style_size')}")
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
        pixels = self.given(run).to(self.device)
        is_own = pixels is not run.photo or not run.is_shared
        # In place only where a second picture would matter, and where nothing needs the photograph afterwards.
        options = self.options
        is_all = options.strength == 1 and options.colors == "painting" and self.kept is None
        is_all = is_all and options.detail is None and not options.keep_faces
        in_place = is_own and is_all and pixels[0, 0].numel() > strips.WHOLE
        run.is_spent = in_place and pixels is run.photo
        yield from self._repaint(run.name, pixels, run.region, in_place=in_place)

    @context.own()
    def finish(self, runs: Sequence[Run]) -> list[Result]:
        """As `Stylizer.finish`; pictures of one size go through the network at once."""
        is_one_size = len({run.size for run in runs}) == 1 and all(run.region is None for run in runs)
        if len(runs) < 2 or not is_one_size or self.options.seamless is not None:
            return super().finish(runs)
        pixels = torch.cat([self.given(run).to(self.device) for run in runs])
        for step in self._repaint(runs[0].name, pixels, in_place=True):
            for index, run in enumerate(runs):
                run.last = Step(step.progress, step.pixels[index : index + 1])
        return [run.result for run in runs]

    def _repaint(self, name: str, pixels: Tensor, region: Tensor | None = None, *, in_place: bool) -> Iterator[Step]:
        try:
            for progress, painted in scales.repaint(
                self.network,
                pixels,
                self._sizes((pixels.shape[-2], pixels.shape[-1])),
                self.options.seed,
                clouds=self.clouds,
                guide=self.guide,
                region=region,
                in_place=in_place,
            ):
                least, most = self.range
                yield Step(progress, painted if most - least == 1 else painted * (most - least) + least)
        except FloatingPointError:
            raise WeightsError(
                f"{self.path}: these weights paint values that are not finite numbers; the file is damaged or its "
                "training went wrong, get it again"
            ) from None
        except (RuntimeError, MemoryError) as error:
            if not devices.is_out_of_memory(error):
                raise
            height, width = pixels.shape[-2:]
            raise MemoryLimitError(
                f"{name}: {width}×{height} px does not fit into the memory of {self.device}; reduce "
                f"{field('size')}, or free some memory"
            ) from None

    def _sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        asked: float = max(size)
        if self.guide is None:  # which sees the painting in another size instead
            asked = self.options.stroke_size * (self.options.style_size or asked)
        return scales.sizes(size, asked / (self.own_size or math.inf), self.network.descriptor.minimum)

    @property
    def about(self) -> dict[str, Any]:
        """As `Stylizer.about`."""
        return {"method": "one pass", "model": self.description, "precision": str(self.dtype).removeprefix("torch.")}


def _notes(options: Options, painting: images.Picture | None, is_onnx: bool, own_size: int | None) -> Iterator[Note]:
    if painting is not None:
        yield from (*painting.notes, *enlarged(painting, options.style_size))
        if options.runtime == "onnx":
            yield Note(f"ONNX Runtime cannot match a painting, so it is not used; {field('runtime')} has no effect.")
    elif own_size is None:
        for name in ("style_size", "stroke_size"):
            if getattr(options, name) != getattr(Options, name):
                yield Note(f"This style has strokes of one width, so it ignores {field(name)}.")
    changed = [field(name) for name in idle(options, ONE_PASS)]
    if painting is None and options.regions is not None:
        changed.append(field("regions"))
    if changed:
        who = "A trained style's look is fixed by its training, so it" if painting is None else "One pass"
        yield Note(f"{who} ignores {', '.join(changed)}.")
    if is_onnx and (options.compile or options.precision == "bfloat16"):
        yield Note(f"ONNX Runtime runs in float32 and ignores {field('compile')} and {field('precision')}.")
