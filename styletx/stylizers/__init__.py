"""The library's front: a style, be it a painting or a trained network, becomes a stylizer, which repaints pictures.

stylizer = load_stylizer("painting.jpg", size=768)     # or "mosaic", or "mine.safetensors"
stylizer("photo.jpg").save("out.png")

run = stylizer.start("photo.jpg")       # to watch it, or to stop it
for step in run:
    print(step.iteration, step.losses)
run.result.save("out.png")
"""

from __future__ import annotations

import os
from typing import Any

from styletx import backbones, images
from styletx.feedforward import files
from styletx.options import Options, combined
from styletx.stylizers.base import Result, Run, Stylizer
from styletx.stylizers.optimizing import OptimizingStylizer
from styletx.stylizers.transforming import TransformingStylizer

__all__ = [
    "OptimizingStylizer",
    "Result",
    "Run",
    "Stylizer",
    "TransformingStylizer",
    "load_stylizer",
    "prepare",
    "stylize",
]


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
    return prepare(style, combined(None, options), progress=progress)


def prepare(style: images.Source, options: Options, *, progress: backbones.Progress | None = None) -> Stylizer:
    """As `load_stylizer`, with the options made.

    Arguments and errors are those of `load_stylizer`.
    """
    if isinstance(style, str | os.PathLike) and (path := files.find(style)):
        return TransformingStylizer(path, options)
    return OptimizingStylizer(images.read(style, max_pixels=options.max_pixels), options, progress=progress)
