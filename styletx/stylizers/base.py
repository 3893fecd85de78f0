"""What every stylizer is, whatever it repaints with: it is called with pictures and gives results."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, overload

import PIL.Image
import torch
from torch import Tensor

from styletx import images
from styletx._version import __version__
from styletx.errors import OptionError
from styletx.optimization import Step
from styletx.options import Options


@dataclass(frozen=True)
class Result:
    """A repainted picture.

    Attributes:
        pixels: `[1, 3, H, W]` float32 sRGB in [0, 1], on the CPU.
        alpha: `[1, 1, H, W]` in [0, 1], taken over from the content picture; None if that is opaque.
        bits: depth that `save` writes where the file format can, that of the content picture: 8 or 16.
        metadata: how it was made: names, options, weights, versions, losses; embedded by `save`.
    """

    pixels: Tensor = field(repr=False)
    alpha: Tensor | None = field(repr=False)
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


class Stylizer(abc.ABC):
    """Repaints pictures in one style, which was prepared once.

    One thread at a time may use it, but for `start`; threads with a stylizer each do not disturb one another.

    Attributes:
        style: name of the style.
        options: how to repaint.
        device: where.
        single_pass: whether a picture is finished at once, with nothing to see on the way.
        batch_size: how many pictures of one size are worth giving to `finish` at once.
    """

    style: str
    options: Options
    device: torch.device
    single_pass: bool = False
    batch_size: int = 1

    @overload
    def __call__(self, content: list[images.Source] | tuple[images.Source, ...]) -> list[Result]: ...
    @overload
    def __call__(self, content: images.Source) -> Result: ...
    def __call__(
        self, content: images.Source | list[images.Source] | tuple[images.Source, ...]
    ) -> Result | list[Result]:
        """Repaint a picture, or several.

        Args:
            content: a path, bytes, an open file, a PIL image, an array or a tensor; or a list of such.

        Returns:
            The result, or a list of results in the same order.

        Raises:
            StyletxError: something asked for cannot work; its message says what to do.
        """
        if isinstance(content, list | tuple):
            return self.finish([self.start(one) for one in content])
        return self.finish([self.start(content)])[0]

    def start(self, content: images.Source, *, owned: bool = False) -> Run:
        """Check a picture and make ready to repaint it; nothing is computed until the run is iterated.

        Args:
            content: as for a call.
            owned: whether a `Picture` is used nowhere else, so that a large one may be repainted in its place to
                save memory. What is read here always is.

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
        self.check(picture.name, size)
        return Run(self, picture, size, owned or picture is not content)

    def finish(self, runs: Sequence[Run]) -> list[Result]:
        """Complete runs that were started, together where that is quicker."""
        for run in runs:
            for _ in run:
                pass
        return [run.result for run in runs]

    def check(self, name: str, size: tuple[int, int]) -> None:  # noqa: B027
        """Find out before any work whether a picture of that name can be repainted at a size (H, W).

        Raises:
            MemoryLimitError: it does not fit into the device's memory.
        """

    @abc.abstractmethod
    def steps(self, picture: images.Picture, size: tuple[int, int], *, in_place: bool = False) -> Iterator[Step]:
        """Repaint a picture at a size (H, W); `in_place` if it may be lost by that."""

    @property
    @abc.abstractmethod
    def about(self) -> dict[str, Any]:
        """What is used, as it is embedded in files."""


@dataclass
class Run:
    """One picture being repainted. Iterate it for its `Step`s, as far as you like; `result` is what there is by then.

    Attributes:
        stylizer: what repaints it.
        picture: the content picture.
        size: (H, W) of the result in px.
        owned: whether the picture is used nowhere else.
        last: the latest step, None before the first.
    """

    stylizer: Stylizer
    picture: images.Picture
    size: tuple[int, int]
    owned: bool = False
    last: Step | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Step]:
        in_place = self.owned and self.stylizer.options.strength == 1
        for step in self.stylizer.steps(self.picture, self.size, in_place=in_place):
            self.last = step
            yield step

    @property
    def result(self) -> Result:
        """The best picture so far, at full size; the content picture itself before the first step."""
        pixels = self.picture.pixels if self.last is None else self.last.pixels
        alpha = None if self.picture.alpha is None else images.resize(self.picture.alpha, self.size)
        pixels = images.resize(pixels, self.size).contiguous().cpu()
        strength = self.stylizer.options.strength
        if strength < 1:
            pixels = torch.lerp(images.resize(self.picture.pixels, self.size), pixels, strength)
        return Result(pixels, alpha, self.picture.bits, self.metadata)

    @property
    def metadata(self) -> dict[str, Any]:
        """How the picture is made, as it is embedded in files."""
        return {
            "styletx": __version__,
            "torch": torch.__version__,
            "content": self.picture.name,
            "style": self.stylizer.style,
            "options": dataclasses.asdict(self.stylizer.options),
            **self.stylizer.about,
            "device": self.stylizer.device.type,
            "size": [self.size[1], self.size[0]],
            "losses": {} if self.last is None else self.last.losses,
        }
