"""`styletx inspect`: a network's layers in numbers, and what they see of a picture."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from styletx.cli.flags import GroupedCommand, option_flags
from styletx.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from styletx.backbones import Architecture, Backbone
    from styletx.inspection import Table
    from styletx.optimization import Step

OUTPUTS = Path("outputs")
RESIDUAL = "residual"
MOST_BLOCKS = 200


@click.command(cls=GroupedCommand)
@click.argument("backbone")
@click.argument("photo", required=False)
@click.option("--layer", metavar="NAME", help="Layer to look at.", show_default="the backbone's first for content")
@click.option("--maps", "way", flag_value="maps", default=True, help="Draw the layer's feature maps (the default).")
@click.option("--gram", "way", flag_value="gram", help="Draw its Gram matrix.")
@click.option("--invert", "way", flag_value="invert", help="Find the photograph again from the layer alone.")
@click.option("--texture", "way", flag_value="texture", help="Make a texture from Gram matrices as deep as the layer.")
@click.option(
    "-o", "--output", metavar="FILE", show_default="outputs/PHOTO-BACKBONE-LAYER-ACTION.png", help="Where it goes."
)
@click.option(
    "--size",
    type=click.IntRange(16, 16_384),
    default=224,
    show_default=True,
    metavar="PX",
    help="Side of the picture that multiply-adds are counted for; long side of PHOTO.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1, 100_000),
    default=60,
    show_default=True,
    metavar="N",
    help="Evaluations at full size to invert or for a texture; smaller scales get three times as many.",
)
@click.option(
    "--depths",
    default="2,8,20",
    show_default=True,
    metavar="N,…",
    help="For residual: how many blocks the trunks have.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 1_000_000),
    default=200,
    show_default=True,
    metavar="N",
    help="For residual: steps of training, of each trunk.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@option_flags("weights", "seed", "pooling", "padding", "smooth_activations", "offline", "device")
def command(backbone: str, photo: str | None, as_json: bool, size: int, **flags: Any) -> None:
    """Look inside the network BACKBONE: its layers in numbers, without any weights.

    With PHOTO, one layer made visible: its feature maps, its Gram matrix, or a picture made from either.

    'styletx inspect residual' trains small trunks with and without skip connections and plots what the skips do.
    """
    if backbone == RESIDUAL:
        if photo is not None:
            raise OptionError(
                f"{RESIDUAL} makes its own pictures; leave out {photo}, or name a backbone to look at it."
            )
        _residual(as_json=as_json, **flags)
    elif photo is None:
        source = click.get_current_context().get_parameter_source
        if given := [name for name in ("layer", "output", "iterations") if source(name) is ParameterSource.COMMANDLINE]:
            raise OptionError(f"--{given[0]} is for looking at a photograph; name one after {backbone}.")
        _table(backbone, size, as_json)
    else:
        _look(backbone, photo, size, as_json, **flags)


def _table(backbone: str, size: int, as_json: bool) -> None:
    from styletx import inspection

    table = inspection.table(backbone, (size, size))
    other = inspection.table("vgg16" if table.backbone == "resnet50" else "resnet50", (size, size))
    stacks = inspection.stacks()
    if as_json:
        report = {
            "backbone": table.backbone,
            "size": [size, size],
            "layers": [dataclasses.asdict(layer) for layer in table.layers],
            "totals": _totals(table),
            "beside": {other.backbone: _totals(other)},
            "stacks": [dataclasses.asdict(stack) for stack in stacks],
        }
        click.echo(json.dumps(report))
        return
    width = max(len(layer.name) for layer in table.layers)
    click.echo(f"{table.backbone} at {size}×{size} px\n")
    click.echo(f"{'layer':{width}} channels       map stride            sees   parameters   multiply-adds")
    for layer in table.layers:
        places = f"{layer.size[1]}×{layer.size[0]}"
        window = f"{layer.window}×{layer.window}" if layer.window else ""
        sees = window if layer.receptive_field else f"all, {window}" if window else "all"
        click.echo(
            f"{layer.name:{width}} {layer.channels:8} {places:>9} {layer.stride or '':>6} {sees:>15} "
            f"{layer.parameters:12,} {layer.macs:15,}"
        )
    click.echo(f"{'':{width}} {'':8} {'':9} {'':6} {'':15} {table.parameters:12,} {table.macs:15,}\n")
    if any(layer.window and not layer.receptive_field for layer in table.layers):
        click.echo("all, 7×7: weighed by a mean over the whole picture, and 7×7 px of it in detail")
    for one in (table, other):
        share = one.classifier_parameters / one.parameters
        click.echo(
            f"{one.backbone}: {one.parameters:,} parameters, {one.classifier_parameters:,} of them ({share:.0%}) in "
            f"its classifier; {one.macs / 1e9:.2f} G multiply-adds"
        )
    for stack in stacks:
        seen = f"{stack.receptive_field}×{stack.receptive_field}"
        layers = f"{stack.layers} layer{'s' if stack.layers > 1 else ''} of {stack.kernel}×{stack.kernel}"
        click.echo(f"{layers:16} see{'' if stack.layers > 1 else 's'} {seen} with {stack.weights} weights a channel²")


def _totals(table: Table) -> dict[str, int]:
    return {
        "parameters": table.parameters,
        "classifier_parameters": table.classifier_parameters,
        "macs": table.macs,
    }


def _look(
    backbone: str,
    photo: str,
    size: int,
    as_json: bool,
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
    **_: Any,
) -> None:
    import torch

    from styletx import backbones, devices, images, inspection
    from styletx.cli import progress

    architecture = backbones.choose(backbone, weights)
    layer = layer or architecture.content_layers[0]
    backbones.check(architecture, [layer], pooling, padding)
    layers = inspection.texture_layers(architecture, layer) if way == "texture" else (layer,)
    if way in ("maps", "gram"):
        inspection.check()
    target = (
        Path(output) if output is not None else OUTPUTS / f"{Path(photo).stem}-{architecture.name}-{layer}-{way}.png"
    )
    images.check_output(target, sources=[photo])
    chosen = devices.choose(device)
    picture = images.read(photo)
    height, width = images.fit((picture.pixels.shape[-2], picture.pixels.shape[-1]), size)
    pixels = images.resize(picture.pixels.to(chosen), (height, width))
    with progress.download_bar(quiet) as downloaded:
        found = backbones.load(
            architecture.name,
            layers,
            weights=weights,
            seed=seed,
            pooling=pooling,
            padding=padding,
            smooth=smooth_activations,
            offline=offline or None,
            progress=downloaded,
        )
    network = found.module.to(chosen)
    report: dict[str, Any] = {"output": str(target), "backbone": architecture.name, "layer": layer, "way": way}
    if way in ("maps", "gram"):
        drawn = _drawn(found, pixels, layer, way)
    else:
        generator = torch.Generator().manual_seed(seed)
        steps: Iterator[Step] = (
            inspection.invert(network, pixels, layer, iterations=iterations, generator=generator)
            if way == "invert"
            else inspection.texture(network, pixels, layers, iterations=iterations, generator=generator)
        )
        for step in progress.bar(steps, quiet):
            report["losses"] = step.losses
            drawn = step.pixels
        report["layers"] = layers
    images.write(target, drawn.cpu(), metadata=None)
    _say(report, target, as_json, quiet)


def _drawn(found: Backbone, pixels: Tensor, layer: str, way: str) -> Tensor:
    from styletx import inspection

    title = _title(found.architecture, found.source.origin, layer, (pixels.shape[-2], pixels.shape[-1]))
    if way == "gram":
        return inspection.heat_map(inspection.gram(found.module, pixels, layer), title)
    return inspection.sheet(inspection.feature_maps(found.module, pixels, layer), title, pixels)


def _title(architecture: Architecture, origin: str, layer: str, size: tuple[int, int]) -> str:
    from styletx import inspection

    table = inspection.table(architecture.name, size)
    (row,) = (one for one in table.layers if one.name == layer)
    sees = f"{row.window}×{row.window} px" if row.receptive_field else f"all, {row.window}×{row.window} px in detail"
    weights = ", random weights" if origin == "random" else ""
    return f"{architecture.name} {layer}{weights}: {row.channels} channels, stride {row.stride}, each place sees {sees}"


def _residual(
    *,
    as_json: bool,
    depths: str,
    steps: int,
    output: str | None,
    seed: int,
    device: str,
    quiet: bool,
    **_: Any,
) -> None:
    from tqdm import tqdm

    from styletx import devices, images, inspection

    chosen = _depths(depths)
    inspection.check()
    target = Path(output) if output is not None else OUTPUTS / "residual.png"
    images.check_output(target)
    training = inspection.train_trunks(chosen, steps=steps, seed=seed, device=devices.choose(device))
    done = []
    with tqdm(total=2 * len(chosen) * steps, disable=quiet or sys.stderr is None, dynamic_ncols=True) as shown:
        for step in training:
            shown.set_description_str(f"{step.blocks} blocks, {'skip' if step.skip else 'plain'}", refresh=False)
            shown.set_postfix_str(f"error {step.error:.4f}", refresh=False)
            shown.update()
            done.append(step)
    trunks = inspection.trunks(done)
    images.write(target, inspection.learning(trunks))
    if not (quiet or as_json):
        click.echo("blocks  plain error  skip error  gradient of the first block: plain    skip")
        for plain, skip in zip(trunks[::2], trunks[1::2], strict=True):
            click.echo(
                f"{plain.blocks:6} {plain.error:12.5f} {skip.error:11.5f} {plain.gradients[0]:35.2e} "
                f"{skip.gradients[0]:7.2e}"
            )
    _say({"output": str(target), "trunks": [dataclasses.asdict(trunk) for trunk in trunks]}, target, as_json, quiet)


def _depths(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= MOST_BLOCKS for part in parts):
        raise OptionError(
            f"--depths {text!r} is no list of depths; write for example 2,8,20, each from 1 to {MOST_BLOCKS}."
        )
    return sorted({int(part) for part in parts})


def _say(report: dict[str, Any], target: Path, as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(json.dumps(report))
    elif not quiet:
        click.echo(str(target), err=True)
