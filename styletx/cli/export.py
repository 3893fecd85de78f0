"""`styletx export`: a trained style as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from styletx.errors import OptionError
from styletx.files import check


@click.command()
@click.argument("model")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where it goes: an .onnx file.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
def command(model: str, output: str, quiet: bool) -> None:
    """Write the trained style MODEL, a name that `styletx styles` lists or a .safetensors file, as an ONNX file.

    It takes and gives float32 [batch, 3, height, width], RGB in [0, 1], of any size from 16 px a side on.
    """
    if Path(output).suffix.lower() != ".onnx":
        raise OptionError(f"-o {output}: an exported style ends in .onnx.")
    from styletx.feedforward import exported, files

    check(output)
    exported.write(Path(output), files.read(files.locate(model)))
    if not quiet:
        click.echo(output, err=True)
