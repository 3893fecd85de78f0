"""One layer of a network made visible, as it sees a photograph."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from styletx import backbones, devices, files, images, inspection
from styletx.backbones import Backbone
from styletx.cli import outputs, progress, signals
from styletx.cli.inspect.report import say
from styletx.errors import field
from styletx.files import shown
from styletx.optimization import Step

PLOTS = ("maps", "gram")  # what matplotlib draws


def show(
    backbone: str,
    photo: str,
    size: int,
    *,
    layer: str | None,
    way: str,
    output: str | None,
    iterations: int,
    weights: str | None,
    seed: int,
    pooling: str,
    padding: str,
    smooth_activations: bool,
    offline: bool,
    device: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write a picture of a layer's feature maps or Gram matrix, or one found from either."""
    architecture = backbones.architecture(backbone, weights)
    layer = layer or architecture.content_layers[0]
    backbones.check(architecture, [layer], pooling, padding)
    layers = inspection.texture_layers(architecture, layer) if way == "texture" else (layer,)
    if way in PLOTS:
        inspection.check()
    name = f"{Path(photo).stem}-{architecture.name}-{layer}-{way}.png"
    target = Path(files.local(output)) if output is not None else outputs.FOLDER / name
    images.check_output(target if output is not None else files.numbered(target), sources=[photo])
    chosen = devices.choose(device)
    picture = images.read(photo)
    height, width = images.fit((picture.pixels.shape[-2], picture.pixels.shape[-1]), size)
    pixels = images.resize(picture.pixels, (height, width)).to(chosen)
    with progress.download_bar(quiet) as download:
        found = backbones.load(
            backbone,
            layers,
            weights=weights,
            seed=seed,
            pooling=pooling,
            padding=padding,
            smooth=smooth_activations,
            offline=offline or None,
            download=download,
        )
    progress.notes([*picture.notes, *found.notes], quiet)
    found.module.to(chosen)
    devices.check_memory(
        height * width * devices.bytes_per_pixel(found.module, chosen),
        chosen,
        f"{shown(photo)}: {width}×{height} px",
        f"reduce {field('size')}",
    )
    report: dict[str, Any] = {"backbone": architecture.name, "layer": layer, "way": way}
    stop, drawn = signals.Stop(), None
    if way in PLOTS:
        drawn = _plot(found, pixels, layer, way)
    else:
        generator = torch.Generator().manual_seed(seed)
        with stop.interrupting():
            for step in progress.bar(_search(found, pixels, layer, way, iterations, generator), quiet):
                report["losses"] = step.losses
                drawn = step.pixels
        report["layers"] = layers
    if drawn is None:
        stop.leave()
    with signals.handled(signal.SIG_IGN):
        target, notes = outputs.written(target, drawn.cpu(), is_named=output is not None)
    progress.notes(notes, quiet)
    say({"output": str(target), **report}, target, as_json, quiet)
    click.get_current_context().exit(stop.code)


def _search(
    found: Backbone, pixels: Tensor, layer: str, way: str, iterations: int, generator: torch.Generator
) -> Iterator[Step]:
    if way == "invert":
        return inspection.invert(found.module, pixels, layer, iterations=iterations, generator=generator)
    return inspection.texture(found.module, pixels, found.layers, iterations=iterations, generator=generator)


def _plot(found: Backbone, pixels: Tensor, layer: str, way: str) -> Tensor:
    if way == "gram":
        gram = inspection.gram(found.module, pixels, layer)
        return inspection.heat_map(gram, _title(found, layer, len(gram)))
    maps = inspection.feature_maps(found.module, pixels, layer)
    return inspection.sheet(maps, _title(found, layer, len(maps)), pixels)


def _title(found: Backbone, layer: str, channels: int) -> str:
    sight = found.sights[layer]
    window = f"{sight.width}×{sight.width} px"
    sees = f"the whole picture, {window} in detail" if sight.everything else window
    weights = ", random weights" if found.source.origin == "random" else ""
    return (
        f"{found.architecture.name} {layer}{weights}: {channels} channels, stride {sight.stride}, "
        f"each position sees {sees}"
    )
