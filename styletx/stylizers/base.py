"""What every stylizer is, whatever its method: it is called with pictures and gives results."""

from __future__ import annotations

import abc
import dataclasses
import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, overload

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

from styletx import colors, context, errors, images
from styletx._version import __version__
from styletx.colors import Colors
from styletx.errors import OptionError
from styletx.notes import Note, Notes
from styletx.optimization import Step
from styletx.options import Options, paths
from styletx.stylizers import details, faces, notebook, seams
from styletx.stylizers.finishing import finish

ALIKE = 0.02  # how far the shapes of photograph and mask may differ, as a share
ENLARGED = 2  # times as large as it is, from which a painting shows nothing but a blur
AnySource = TypeVar("AnySource", bound=images.Source)  # so that a list of one kind of source is a list of sources


@dataclass(frozen=True, repr=False)
class Result:
    """A repainted picture. It shows itself in a notebook, and is an array to NumPy.

    Attributes:
        pixels: `[1, 3, H, W]` float32 sRGB in [0, 1], on the CPU.
        alpha: `[1, 1, H, W]` in [0, 1], taken over from the photograph; None if that is opaque.
        bits: depth that `save` writes where the file format can, that of the photograph: 8 or 16.
        metadata: how it was made: names, hashes, options, weights, versions, losses; embedded by `save`.
        exif: what of the photograph's EXIF block is still true, embedded by `save`; None if there is nothing.
        is_stripped: whether `save` leaves both out.
    """

    pixels: Tensor
    alpha: Tensor | None
    bits: int
    metadata: dict[str, Any]
    exif: bytes | None = None
    is_stripped: bool = False

    @property
    def image(self) -> PIL.Image.Image:
        """The picture as an 8-bit PIL image, RGB or RGBA."""
        return images.to_pil(self.pixels, self.alpha)

    def save(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        format: str | None = None,
        bits: int | None = None,
        overwrite: bool = True,
    ) -> Notes:
        """Write the picture with its metadata.

        Args:
            target: a path, whose extension names the format, or a binary stream.
            format: "PNG", "JPEG", "WEBP" or "TIFF"; None goes by the path's extension, and is PNG for a stream.
            bits: 8 or 16 (PNG and TIFF only); None is `Result.bits`.
            overwrite: whether a file that is there already is replaced.

        Returns:
            What was lost on the way, such as transparency in a JPEG.

        Raises:
            OutputError: it cannot be written there; what was there stays.
        """
        return images.write(
            target,
            self.pixels,
            alpha=self.alpha,
            metadata=None if self.is_stripped else self.metadata,
            exif=None if self.is_stripped else self.exif,
            bits=self.bits if bits is None else bits,
            format=format,
            overwrite=overwrite,
        )

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The 8-bit values `[H, W, 3]`, or `[H, W, 4]` with alpha, of `image`."""
        if copy is False:
            raise ValueError("an array of a result is always a copy; leave copy out")
        return np.array(self.image, dtype)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.image.save(stream, "PNG")
        return stream.getvalue()

    def __repr__(self) -> str:
        height, width = self.pixels.shape[-2:]
        content, style = self.metadata.get("content"), self.metadata.get("style")
        return f"<Result {width}×{height} px: {content} in the style of {style}>"


class Stylizer(abc.ABC):
    """Repaints pictures in one style, which was prepared once.

    One thread at a time may use it, but for `start`; threads with a stylizer each do not disturb one another.

    Attributes:
        styles: names of the paintings or trained styles that make up the style.
        sha256: of their files, with a "+" between two; None if one came from none.
        options: how to repaint.
        device: where.
        palette: the colours that results have, of another picture; None goes by the options.
        kept: how much of each part stays photograph, `[1, 1, h, w]` in [0, 1]; None for nothing.
        detail: how much of the photograph's details each part has, likewise; None goes by the options.
        notes: what a person should know of the style and the options.
        is_gradual: whether its steps show a picture in the making; if not, there is nothing to see before the last.
        batch_size: how many pictures of one size are worth giving to `finish` at once.
    """

    styles: tuple[str, ...]
    sha256: str | None = None
    options: Options
    device: torch.device
    palette: Colors | None = None
    kept: Tensor | None = None
    detail: Tensor | None = None
    notes: Notes = ()
    is_gradual: bool = True
    batch_size: int = 1

    @property
    def style(self) -> str:
        """The name of the style."""
        return "+".join(self.styles)

    @overload
    def __call__(self, content: list[images.Source] | tuple[images.Source, ...]) -> list[Result]: ...
    @overload
    def __call__(self, content: list[AnySource]) -> list[Result]: ...
    @overload
    def __call__(self, content: images.Source) -> Result: ...
    def __call__(self, content: images.Source | list[Any] | tuple[Any, ...]) -> Result | list[Result]:
        """Repaint a photograph, or several.

        Args:
            content: a path, bytes, an open file, a PIL image, an array or a tensor; or a list of these.

        Returns:
            The result, or a list of results in the same order.

        Raises:
            StyletxError: something asked for cannot work; its message says what to do.
        """
        if isinstance(content, list | tuple):
            return self.finish([self.start(one) for one in content])
        return self.finish([self.start(content)])[0]

    @context.own()
    def start(self, content: images.Source, *, initial: images.Source | None = None) -> Run:
        """Read a photograph and get ready to repaint it; nothing is painted until the run is iterated.

        Args:
            content: the photograph, as for a call.
            initial: the picture to start from, of any size; None goes by the option `init`.

        Raises:
            StyletxError: something asked for cannot work; its message says what to do.
        """
        if initial is not None and not self.is_gradual:
            raise OptionError(f"{errors.field('initial')} is for the optimisation; one pass starts from the photograph")
        picture = images.read(content, max_pixels=self.options.max_pixels)
        size = shape = (picture.pixels.shape[-2], picture.pixels.shape[-1])
        if self.options.size != "original":
            size = images.fit(size, int(self.options.size))
        if min(size) < images.MIN_SIDE:
            raise OptionError(
                f"{picture.name}: the result would be {size[1]}×{size[0]} px, and {images.MIN_SIDE} px a side is the "
                f"minimum; give {errors.field('size')} {enough(shape, images.MIN_SIDE)}"
            )
        notes = self.check(picture.name, size)
        if self.kept is not None:
            what = "what to keep" if self.options.keep is not None else "the strength"
            notes = (*notes, *stretched(self.kept, size, f"The mask of {what}"))
        if self.detail is not None:
            notes = (*notes, *stretched(self.detail, size, "The mask of details"))
        photo = images.resize(picture.pixels, size)
        alpha = None if picture.alpha is None else images.resize(picture.alpha, size)
        if self.options.seamless is not None:
            photo = seams.periodic(photo, self.options.seamless)
            alpha = None if alpha is None else seams.periodic(alpha, self.options.seamless)
        found = faces.found(photo) if self.options.keep_faces else None
        if self.options.keep_faces and found is None:
            notes = (*notes, Note(f"No face was found, so {errors.field('keep_faces')} has no effect."))
        if self.options.paint_alpha and alpha is None:
            notes = (*notes, Note(f"The photograph is opaque, so {errors.field('paint_alpha')} has no effect."))
        return Run(
            self,
            picture.name,
            photo,
            alpha,
            picture.bits,
            (*picture.notes, *notes),
            None if initial is None else images.read(initial, max_pixels=self.options.max_pixels).pixels,
            # Only what nobody else holds may be repainted in place.
            is_shared=picture is content and photo is picture.pixels,
            exif=picture.exif,
            sha256=picture.sha256,
            region=alpha if self.options.paint_alpha else None,
            faces=found,
        )

    def finish(self, runs: Sequence[Run]) -> list[Result]:
        """Complete runs that were started, together where that is quicker."""
        for run in runs:
            for _ in run:
                pass
        return [run.result for run in runs]

    def check(self, name: str, size: tuple[int, int]) -> Notes:
        """Find out before any work whether a photograph of that name can be repainted at a size (H, W).

        Returns:
            What one should know of that size.

        Raises:
            MemoryLimitError: it does not fit into the device's memory.
        """
        return ()

    def given(self, run: Run) -> Tensor:
        """The photograph `[1, 3, H, W]` as it is to be painted: in grey, if only strokes are asked for."""
        return colors.grey(run.photo) if self.options.colors == "luminance" else run.photo

    def paint(self, run: Run) -> Iterator[Step]:
        """The `steps` of a run; of one that makes a tile, beyond the photograph's end, and closed there."""
        if (axes := self.options.seamless) is not None:
            region = None if run.region is None else seams.beyond(run.region, axes)
            longer = dataclasses.replace(run, photo=seams.beyond(run.photo, axes), region=region, is_shared=False)
            for step in self.steps(longer):
                yield dataclasses.replace(step, pixels=seams.closed(step.pixels, axes))
        else:
            yield from self.steps(run)

    @abc.abstractmethod
    def steps(self, run: Run) -> Iterator[Step]:
        """Repaint a run's photograph."""

    @property
    @abc.abstractmethod
    def about(self) -> dict[str, Any]:
        """What is used, as it is embedded in files."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.style} on {self.device}>"


def joined(hashes: Sequence[str | None]) -> str | None:
    """Hashes as `Stylizer.sha256` has them."""
    return "+".join(filter(None, hashes)) if all(hashes) else None


def enlarged(painting: images.Picture, style_size: int | None) -> Notes:
    """A note if a painting would be seen much larger than it is."""
    side = max(painting.pixels.shape[-2:])
    if style_size is None or style_size < ENLARGED * side:
        return ()
    name = errors.field("style_size")
    return (
        Note(f"{name} {style_size} enlarges the painting, which is {side} px long: slow, and shows no more of it."),
    )


def stretched(mask: Tensor, size: tuple[int, int], what: str) -> Notes:
    """A note if a mask `[1, 1, h, w]` has another shape than a photograph of a size (H, W)."""
    height, width = mask.shape[-2:]
    if abs(math.log(height / width * size[1] / size[0])) < ALIKE:
        return ()
    return (Note(f"{what} is {width}×{height} px, of another shape than the photograph, and is stretched to it."),)


def enough(size: tuple[int, int], least: int) -> int:
    """The long side of a picture shaped like a size (H, W) whose short side is at least so many px."""
    long_side = math.ceil(least * max(size) / min(size))
    while min(images.fit(size, long_side)) < least:
        long_side += 1
    return long_side


@dataclass(repr=False)
class Run:
    """One picture being repainted. Iterate it for its `Step`s, as far as you like; `result` is what there is by then.

    Attributes:
        stylizer: what repaints it.
        name: of the photograph.
        photo: the photograph at the result's size, `[1, 3, H, W]` in [0, 1], on the CPU.
        alpha: its transparency at that size, `[1, 1, H, W]`; None if it is opaque.
        bits: its depth, 8 or 16.
        notes: what a person should know of the photograph.
        initial: the picture to start from, `[1, 3, h, w]`; None goes by the option `init`.
        is_shared: whether somebody else holds `photo`, so that it must stay as it is.
        exif: what of the photograph's EXIF block its repainted picture keeps.
        sha256: of the photograph's file; None if it came from none.
        region: how much each part of it counts for colours and style, `[1, 1, H, W]` from 0 to 1; None for all alike.
        whole: (H, W) of the picture that the photograph is a part of; None if it is all of it.
        place: the rows and columns that it has there.
        faces: where they are, `[1, 1, h, w]` from 0 to 1; None if they are not asked for, or there are none.
        is_finished: whether it was iterated to its end.
        is_spent: whether `photo` was repainted in place, so that the run cannot start again.
        last: the latest step, None before the first.
    """

    stylizer: Stylizer
    name: str
    photo: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    notes: Notes = ()
    initial: Tensor | None = None
    is_shared: bool = True
    exif: bytes | None = None
    sha256: str | None = None
    region: Tensor | None = None
    whole: tuple[int, int] | None = None
    place: tuple[slice, slice] = (slice(None), slice(None))
    faces: Tensor | None = None
    is_finished: bool = field(default=False, init=False)
    is_spent: bool = field(default=False, init=False)
    last: Step | None = field(default=None, init=False)
    _result: tuple[Step, Result] | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Step]:
        if self.is_spent:
            raise RuntimeError("this run repainted a large photograph in place and cannot start again; start another")
        self.is_finished = False
        for step in context.each(self.stylizer.paint(self)):
            self.last = step
            yield step
        self.is_finished = True

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the result in px."""
        return self.photo.shape[-2], self.photo.shape[-1]

    @property
    def result(self) -> Result:
        """The best picture so far, at full size.

        Raises:
            RuntimeError: the run has not made a step yet.
        """
        if self.last is None:
            raise RuntimeError("there is no result before the first step; iterate the run, or call the stylizer")
        if self._result is None or self._result[0] is not self.last:
            with context.own():
                of = self.stylizer
                pixels = finish(self.last.pixels, self.photo, of.options, of.palette, of.kept, self._detail())
                alpha = self.alpha
                if alpha is not None and of.options.paint_alpha:
                    alpha = details.outlined(alpha, pixels)
            is_stripped = self.stylizer.options.strip_metadata
            self._result = self.last, Result(pixels, alpha, self.bits, self.metadata, self.exif, is_stripped)
        return self._result[1]

    def _detail(self) -> Tensor | None:
        options, maps = self.stylizer.options, list[Tensor]()
        if self.stylizer.detail is not None:
            maps.append(self.stylizer.detail)
        elif options.detail is not None:
            maps.append(details.sought(self.photo, options.detail))
        if self.faces is not None:
            maps.append(self.faces * options.keep_faces)
        return None if not maps else torch.stack([images.resize(one, self.size) for one in maps]).amax(0)

    def show(self) -> Result:
        """Paint to the end, and show the picture in a notebook's cell while it gets finer.

        Raises:
            ImportError: there is no IPython.
        """
        return notebook.show(self)

    @property
    def stopped(self) -> str | None:
        """Where the run was left before its end, such as "at 256×192 px, enlarged"; None if it was not."""
        if self.is_finished or self.last is None:
            return None
        height, width = self.last.pixels.shape[-2:]
        return f"at {width}×{height} px{', enlarged' if width < self.size[1] else ''}"

    @property
    def metadata(self) -> dict[str, Any]:
        """How the picture is made, as it is embedded in files."""
        options = dataclasses.asdict(self.stylizer.options)
        named = str if self.stylizer.options.embed_paths else _name
        told = {
            "styletx": __version__,
            "torch": torch.__version__,
            "content": named(self.name),
            "content_sha256": self.sha256,
            "style": "+".join(map(named, self.stylizer.styles)),
            "style_sha256": self.stylizer.sha256,
            "options": options | {name: named(place) for name, place in paths(options).items()},
            **self.stylizer.about,
            "device": self.stylizer.device.type,
            "size": [self.size[1], self.size[0]],
            "stopped": self.stopped,
            "losses": {} if self.last is None else self.last.losses,
        }
        return {name: value for name, value in told.items() if value is not None}

    def __repr__(self) -> str:
        height, width = self.size
        done = "not started" if self.last is None else f"{self.last.progress:.0%} done"
        return f"<Run {self.name} in the style of {self.stylizer.style}, {width}×{height} px, {done}>"


def _name(path: str) -> str:
    """A path without its folders; and so the masks of a style, see `mixing.Part.label`."""
    for mark in "=@":
        if mark in path and not os.path.exists(path):
            return mark.join(map(_name, path.split(mark)))
    return os.path.basename(path) or path
