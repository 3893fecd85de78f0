"""The stylizer of the second engine: a network trained for one style repaints a picture in one pass."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styletx import devices, images
from styletx.errors import MemoryLimitError, OptionError, WeightsError
from styletx.feedforward import exported, files, inference
from styletx.optimization import Step
from styletx.options import ONE_PASS, Options, idle
from styletx.stylizers.base import Result, Run, Stylizer

COMPILERS = (os.environ.get("CXX", "g++"), "g++", "c++", "clang++", "cl")
FLAT = 2 / 255  # deviation of a picture without anything to see in it
GRAIN = 0.01  # deviation of what it gets
BATCH = 8  # pictures that keep a GPU busy; a CPU is busy with one


class TransformingStylizer(Stylizer):
    """Repaints pictures in the style that a network was trained for.

    Args:
        path: of the model file.
        options: how to repaint; those that only a painting has a use for are named in a warning.
    """

    single_pass = True

    def __init__(self, path: Path, options: Options) -> None:
        self.options = options
        self.device = devices.choose(options.device)
        if changed := idle(options, ONE_PASS):
            warnings.warn(
                f"{', '.join(changed)}: of no effect with a trained style, whose look was settled by its training; "
                "give a painting instead to choose it.",
                stacklevel=4,
            )
        self.path = path
        onnx = options.runtime == "onnx" or path.suffix.lower() == ".onnx"
        if onnx and (options.compile or options.precision == "bfloat16"):
            warnings.warn("--compile and --precision: of no effect with ONNX, which runs in float32.", stacklevel=4)
        self.dtype = torch.float32 if onnx else devices.dtype(options.precision, self.device)
        self.network, self.description = self._load()
        self.style = path.stem if path in files.bundled().values() else path.name
        self.batch_size = BATCH if self.device.type == "cuda" else 1

    def _load(self) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
        if self.path.suffix.lower() == ".onnx":
            exported_network = exported.read(self.path, self.device)
            return exported_network, exported_network.about
        model = files.read(self.path)
        if self.options.runtime == "onnx":
            return exported.ExportedNetwork(exported.convert(model), str(self.path), self.device), model.about
        network = model.network.to(self.device, self.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.options.compile:
            if self.device.type == "cpu" and not any(map(shutil.which, COMPILERS)):
                raise OptionError(
                    "--compile needs a C++ compiler, and there is none here; install one or leave it away."
                )
            return torch.compile(network, dynamic=True), model.about
        return network, model.about

    def steps(self, picture: images.Picture, size: tuple[int, int], *, in_place: bool = False) -> Iterator[Step]:
        """As `Stylizer.steps`; a large picture is done in tiles, a step each.

        Raises:
            MemoryLimitError: the size does not fit into the device's memory.
        """
        pixels = images.resize(picture.pixels.to(self.device), size)
        yield from self._repaint(picture.name, pixels, in_place=in_place or pixels is not picture.pixels)

    def finish(self, runs: Sequence[Run]) -> list[Result]:
        """As `Stylizer.finish`; pictures of one size go through the network at once."""
        if len(runs) < 2 or len({run.size for run in runs}) > 1:
            return super().finish(runs)
        pixels = torch.cat([images.resize(run.picture.pixels.to(self.device), run.size) for run in runs])
        for step in self._repaint(runs[0].picture.name, pixels, in_place=True):
            for index, run in enumerate(runs):
                run.last = Step(0, 1, 1, 1, step.progress, {}, step.pixels[index : index + 1])
        return [run.result for run in runs]

    def _repaint(self, name: str, pixels: Tensor, *, in_place: bool) -> Iterator[Step]:
        flat = pixels.std(dim=(1, 2, 3), keepdim=True) < FLAT
        if bool(flat.any()):
            # Where nothing is, nothing would be painted but the network's grey; grain gives the strokes a hold.
            generator = torch.Generator().manual_seed(0)
            grain = torch.randn((1, 1, *pixels.shape[-2:]), generator=generator).to(pixels.device)
            pixels, in_place = (pixels + flat * GRAIN * grain).clamp_(0, 1), True
        try:
            for progress, painted in inference.repaint(self.network, pixels, in_place=in_place):
                if progress == 1 and not bool(painted.isfinite().all()):
                    raise WeightsError(
                        f"{self.path}: these weights paint what are not finite numbers; the file is damaged or its "
                        "training went wrong, get it again."
                    )
                yield Step(0, 1, 1, 1, progress, {}, painted)
        except (RuntimeError, MemoryError) as error:
            if not devices.is_out_of_memory(error):
                raise
            height, width = pixels.shape[-2:]
            raise MemoryLimitError(
                f"{name}: at {width}×{height} px it does not fit into the memory of {self.device}; give a smaller "
                "--size, or free some memory."
            ) from None

    @property
    def about(self) -> dict[str, Any]:
        """As `Stylizer.about`."""
        return {"model": self.description, "precision": str(self.dtype).removeprefix("torch.")}
