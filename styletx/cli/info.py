"""`styletx info`: how a picture was made."""

from __future__ import annotations

import json
from typing import Any

import click

from styletx.cli import terminal

DEEPEST = 8  # of what is in one another; ours is half as deep


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
        terminal.say(json.dumps(metadata | {"command": repeat}))
        return
    for name, value in metadata.items():
        told = name if name.isidentifier() and name != "command" else repr(name)  # none passes for the line below
        terminal.say(f"{told:15} {_shown(value)}")
    terminal.say(f"{'command':15} {repeat}")


def _source(name: Any) -> str:
    """A picture's name as the command line takes it."""
    return "-" if name == "<stdin>" else str(name)


def _shown(value: Any, depth: int = 0) -> str:
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner, depth + 1)}" for name, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return ", ".join(_shown(inner, depth + 1) for inner in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
