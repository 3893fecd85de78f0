"""The library's front: a style, a painting or a trained network, becomes a stylizer, which repaints pictures.

stylizer = load_stylizer("painting.jpg", size=768)     # or "mosaic", or "mine.safetensors"
stylizer("photo.jpg").save("out.png")

run = stylizer.start("photo.jpg")       # to watch it, or to stop it
for step in run:
    print(step.iteration, step.losses)
run.result.save("out.png")
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from styletx import backbones, colors, context, files, images
from styletx.errors import OptionError
from styletx.feedforward import models
from styletx.optimization import Step
from styletx.options import Options, combined, explained
from styletx.stylizers import details, mixing, seams
from styletx.stylizers.base import Result, Run, Stylizer
from styletx.stylizers.blending import BlendingStylizer
from styletx.stylizers.mixing import Part, Style
from styletx.stylizers.optimizing import OptimizingStylizer
from styletx.stylizers.transforming import TransformingStylizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from styletx.options import OptionKeywords

__all__ = [
    "BlendingStylizer",
    "OptimizingStylizer",
    "Part",
    "Result",
    "Run",
    "Stylizer",
    "TransformingStylizer",
    "load_stylizer",
    "stylize",
]

LATER = ("size", "colors", "palette", "keep", "detail", "keep_faces", "strength")


@explained
def stylize(
    content: images.Source,
    style: Style,
    options: Options | None = None,
    *,
    progress: Callable[[Step], None] | None = None,
    download: backbones.Progress | None = None,
    **keywords: Unpack[OptionKeywords],
) -> Result:
    """Repaint one photograph in one style.

    Args:
        content: the photograph: a path, bytes, an open file, a PIL image, an array or a tensor.
        style: the painting, likewise; or a trained style: a bundled one's name, or a model file; or several, as for
            `load_stylizer`.
        options: how to repaint; None for the defaults.
        progress: called after each step of the run.
        download: called with bytes done and bytes in all while a network's weights are downloaded.
        keywords: fields of `Options`, which change those of `options`:

    Raises:
        StyletxError: something asked for cannot work; its message says what to do.
    """
    run = load_stylizer(style, options, download=download, **keywords).start(content)
    for step in run:
        if progress is not None:
            progress(step)
    return run.result


@explained
def load_stylizer(
    style: Style,
    options: Options | None = None,
    *,
    download: backbones.Progress | None = None,
    **keywords: Unpack[OptionKeywords],
) -> Stylizer:
    """Prepare a style once, to repaint any number of pictures in it.

    Args:
        style: the painting: a path, bytes, an open file, a PIL image, an array or a tensor; or a trained style: a
            bundled one's name, or a model file; or a list of these, in which "b.jpg:0.3" and ("b.jpg", 0.3) have a
            weight that is not 1, and a `Part` has a region. "a.jpg+b.jpg:0.3" is such a list too.
        options: how to repaint; None for the defaults.
        download: called with bytes done and bytes in all while a network's weights are downloaded.
        keywords: fields of `Options`, which change those of `options`:

    Raises:
        StyletxError: something asked for cannot work; its message says what to do.
    """
    chosen = combined(options, keywords)
    # A network that is built has random weights before it gets its own.
    with context.own(), torch.random.fork_rng(devices=[]):
        return finishing(_loaded(style, chosen, download), chosen)


def finishing(stylizer: Stylizer, options: Options) -> Stylizer:
    """Let a stylizer use those of other options that `before_finishing` takes back."""
    stylizer.options = dataclasses.replace(stylizer.options, **{name: getattr(options, name) for name in LATER})
    stylizer.palette, stylizer.detail = None, None
    if options.palette is not None:
        palette = images.read(options.palette, max_pixels=options.max_pixels)
        stylizer.palette = colors.colors(palette.pixels, palette.alpha)
    stylizer.kept = _kept(options)
    if options.detail not in (None, details.AUTO, details.EDGES):
        stylizer.detail = images.mask(options.detail, max_pixels=options.max_pixels)
    return stylizer


def before_finishing(options: Options) -> Options:
    """Options without those that matter only to one picture, or after it is painted."""
    plain = Options()
    kept = options.colors if options.colors == "luminance" else plain.colors
    return dataclasses.replace(options, **{name: getattr(plain, name) for name in LATER} | {"colors": kept})


def _kept(chosen: Options) -> Tensor | None:
    """How much of each part stays photograph, by a mask of that or of the strength."""
    if chosen.keep is not None:
        kept = images.mask(chosen.keep, max_pixels=chosen.max_pixels)
    elif isinstance(chosen.strength, str):
        kept = 1 - images.mask(chosen.strength, max_pixels=chosen.max_pixels)
    else:
        return None
    return seams.periodic(kept, chosen.seamless or "")


def _loaded(style: Style, chosen: Options, download: backbones.Progress | None) -> Stylizer:
    regions: dict[object, list[Part]] = {}
    for part in mixing.parts(style):
        if part.weight:
            regions.setdefault(part.region if isinstance(part.region, str) else id(part.region), []).append(part)
    base = _mixed(regions.pop(id(None)), chosen, download)
    if not regions:
        return base
    painted = list[tuple[Stylizer, float | Tensor]]()
    for inside in regions.values():
        mask = inside[0].region
        assert mask is not None
        painted.append((_mixed(inside, chosen, download), images.mask(mask, max_pixels=chosen.max_pixels)))
    return BlendingStylizer([(base, 1.0), *painted])


def _mixed(parts: Sequence[Part], chosen: Options, download: backbones.Progress | None) -> Stylizer:
    """What paints the parts of one region."""
    whole = sum(part.weight for part in parts)
    # Paintings are optimised together, and what is painted in one pass is blended.
    together, alone = list[tuple[images.Picture, float]](), list[tuple[Stylizer, float | Tensor]]()
    for part in parts:
        share = part.weight / whole
        if chosen.method == "one-pass" or part.is_trained:
            one = _one_pass(part, chosen)
            one.styles = (part.label(one.style),)
            alone.append((one, share))
        else:
            picture = _read(part.source, chosen, part.seen)
            together.append((dataclasses.replace(picture, name=part.label(picture.name)), share))
    if together:
        theirs = sum(share for _, share in together)
        mixed = [(picture, share / theirs) for picture, share in together]
        alone.insert(0, (OptimizingStylizer(mixed, chosen, download=download), theirs))
    only, _ = alone[0]
    return only if len(alone) == 1 else BlendingStylizer(alone)


def _one_pass(part: Part, chosen: Options) -> TransformingStylizer:
    chosen = dataclasses.replace(chosen, method="one-pass")
    if isinstance(part.source, str | os.PathLike):
        name = files.local(part.source)
        if path := models.find(name):
            picture = models.painting(path) if name in models.bundled() else None  # a file is what it holds
            if picture is None or chosen.runtime == "onnx":
                if part.seen is not None:
                    raise OptionError(
                        f"{files.shown(name)} is a trained style, of which no part can be chosen; give a painting "
                        "before the @, or remove the mask"
                    )
                return TransformingStylizer(path, chosen)
            return TransformingStylizer(
                models.ANY, chosen, dataclasses.replace(_read(picture, chosen, part.seen), name=path.stem)
            )
    return TransformingStylizer(models.ANY, chosen, _read(part.source, chosen, part.seen))


def _read(source: images.Source, chosen: Options, seen: images.Source | None) -> images.Picture:
    """A painting, of which a mask may show a part."""
    picture = images.read(source, max_pixels=chosen.max_pixels)
    if seen is not None:
        size = (picture.pixels.shape[-2], picture.pixels.shape[-1])
        alpha = images.resize(images.mask(seen, max_pixels=chosen.max_pixels), size)
        picture = dataclasses.replace(picture, alpha=alpha if picture.alpha is None else alpha * picture.alpha)
    is_grey = chosen.colors == "luminance"
    return dataclasses.replace(picture, pixels=colors.grey(picture.pixels)) if is_grey else picture
