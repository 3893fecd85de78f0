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
    """Tell how FILE was made: a picture that styletx wrote, with the command that repeats it, or a trained style.

    A bundled style may be given by its name.

    The command has the names of the pictures, and where they were only if the run had --embed-paths.
    """
    from styletx.feedforward import models

    model = models.find(file)
    if model is not None and model.suffix == models.SUFFIXES[0]:
        _tell(models.describe(model), as_json)
        return
    from styletx import images
    from styletx.cli import flags

    metadata = images.read_metadata(file)
    if list(metadata) == ["styletx"]:  # a sheet of results
        _tell(metadata, as_json)
        return
    chosen = metadata.get("options")
    repeat = flags.command(
        _source(metadata.get("content")), _source(metadata.get("style")), chosen if isinstance(chosen, dict) else {}
    )
    _tell({name: value for name, value in metadata.items() if name != "command"} | {"command": repeat}, as_json)


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        terminal.say(json.dumps(facts))
        return
    for name, value in facts.items():
        if value not in ({}, []):
            terminal.say(f"{name if name.isidentifier() else repr(name):15} {_shown(value)}")


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
