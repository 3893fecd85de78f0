"""`styletx inspect`: a network's layers in numbers, and what they see of a picture."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from styletx.cli.flags import GroupedCommand, flag, option_flags
from styletx.errors import OptionError
from styletx.files import shown
from styletx.options import Options

RESIDUAL = "residual"
COMMON = ("output", "seed", "device", "quiet")  # what it shares with looking at a photograph


@click.command(cls=GroupedCommand)
@click.argument("backbone")
@click.argument("photo", required=False)
@click.option("--layer", metavar="NAME", help="Layer to look at.", show_default="the backbone's first for content")
@click.option("--maps", "way", flag_value="maps", default=True, help="Draw the layer's feature maps (the default).")
@click.option("--gram", "way", flag_value="gram", help="Draw the layer's Gram matrix.")
@click.option("--invert", "way", flag_value="invert", help="Reconstruct the photograph from the layer alone.")
@click.option(
    "--texture", "way", flag_value="texture", help="Make a texture from Gram matrices, down to the layer's depth."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    show_default="outputs/PHOTO-BACKBONE-LAYER-ACTION.png",
    help="Output file; an existing one is replaced.",
)
@click.option(
    "--size",
    type=click.IntRange(16, 16_384),
    default=224,
    show_default=True,
    metavar="PX",
    help="Side of the picture for which multiply-adds are counted; long side of PHOTO.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1, 100_000),
    default=60,
    show_default=True,
    metavar="N",
    help="Evaluations at full size for --invert and --texture; smaller scales get three times as many.",
)
@click.option(
    "--depths", default="2,8,20", show_default=True, metavar="N,…", help="For residual: numbers of blocks to compare."
)
@click.option(
    "--steps",
    type=click.IntRange(1, 1_000_000),
    default=200,
    show_default=True,
    metavar="N",
    help="For residual: training steps of each trunk.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print a report as JSON on stdout.")
@option_flags("weights", "seed", "pooling", "padding", "smooth_activations", "offline", "device")
def command(backbone: str, photo: str | None, size: int, as_json: bool, **flags: Any) -> None:
    """Look inside the network BACKBONE: its layers in numbers. No weights are needed.

    With PHOTO, make one layer visible: its feature maps, its Gram matrix, or a picture made from either.

    'styletx inspect residual' trains small trunks with and without skip connections and plots what the skips do.
    """
    Options(seed=flags["seed"])  # whose range is told
    if backbone == RESIDUAL:
        from styletx.cli.inspect import residual

        if photo is not None:
            raise OptionError(f"{RESIDUAL} makes its own pictures; remove {shown(photo)}, or name a backbone")
        residual.train(as_json=as_json, **{name: flags[name] for name in ("depths", "steps", *COMMON)})
    elif photo is None:
        from styletx.cli.inspect import tables

        source = click.get_current_context().get_parameter_source
        if given := [name for name in ("layer", "output", "iterations") if source(name) is ParameterSource.COMMANDLINE]:
            raise OptionError(f"{flag(given[0])} needs a photograph; name one after {backbone}")
        tables.show(backbone, size, as_json)
    else:
        from styletx.cli.inspect import layers

        del flags["depths"], flags["steps"]
        layers.show(backbone, photo, size, as_json=as_json, **flags)
