"""`styletx info`: how a picture was made."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(file: str, as_json: bool) -> None:
    """Tell how FILE, a picture that styletx wrote, was made, and the command that repeats it."""
    from styletx import images
    from styletx.cli import flags

    metadata = images.read_metadata(file)
    chosen = metadata.get("options")
    repeat = flags.command(
        _source(metadata.get("content")), _source(metadata.get("style")), chosen if isinstance(chosen, dict) else {}
    )
    if as_json:
        click.echo(json.dumps(metadata | {"command": repeat}))
        return
    for name, value in metadata.items():
        click.echo(f"{name:15} {_shown(value)}")
    click.echo(f"{'command':15} {repeat}")


def _source(name: Any) -> str:
    """A picture's name as the command line takes it."""
    return "-" if name == "<stdin>" else str(name)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if text.isprintable() else repr(text)
