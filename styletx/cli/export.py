"""`styletx export`: a trained style as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from styletx.cli import terminal
from styletx.errors import OptionError, field
from styletx.files import check, local, shown


@click.command()
@click.argument("model")
@click.option("-o", "--output", required=True, metavar="FILE", help="Output file: .onnx. An existing file is replaced.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(model: str, output: str, quiet: bool) -> None:
    """Write the trained style MODEL as an ONNX file. MODEL is a bundled style's name or a .safetensors file.

    The network in it takes and returns float32 [batch, 3, height, width], RGB in [0, 1], of any size from 16 px a
    side on.
    """
    output = local(output)
    if Path(output).suffix.lower() != ".onnx":
        raise OptionError(f"{field('output')}: {shown(output)} does not end in .onnx; give a name that does")
    from styletx.feedforward import models, onnx

    place = models.locate(model)
    check(output, [place])
    onnx.write(Path(output), models.read(place))
    if not quiet:
        terminal.say(output, aside=True)
