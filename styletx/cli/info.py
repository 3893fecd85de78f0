"""`styletx info`: how a picture was made."""

from __future__ import annotations

import json
from typing import Any

import click

from styletx import files
from styletx.cli import flags, terminal
from styletx.errors import OptionError, field

DEEPEST = 8  # of what is in one another; ours is half as deep


@click.command()
@click.argument("file")
@click.option(
    "--cell",
    type=click.IntRange(min=1),
    metavar="N",
    help="Print the command of the picture with this number on a sheet.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(file: str, cell: int | None, as_json: bool) -> None:
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

    metadata = images.read_metadata(file)
    if cell is not None:
        metadata = _cell(metadata, cell, file)
        if not as_json:
            terminal.say(_repeated(metadata))
            return
    elif isinstance(cells := metadata.get("cells"), list) and not as_json:
        numbered = {str(number): _repeated(one) for number, one in enumerate(cells, 1) if isinstance(one, dict)}
        _tell({"styletx": metadata.get("styletx"), **numbered}, as_json)
        return
    if list(metadata) == ["styletx"]:  # a sheet of results
        _tell(metadata, as_json)
        return
    told = {name: value for name, value in metadata.items() if name != "command"}
    _tell(told | {"command": _repeated(metadata)}, as_json)


def _cell(metadata: dict[str, Any], number: int, file: str) -> dict[str, Any]:
    """What a sheet tells of one of its pictures."""
    cells = metadata.get("cells")
    if not isinstance(cells, list):
        raise OptionError(f"{files.shown(file)} was not made by `styletx sheet`; remove {field('cell')}")
    if number > len(cells):
        raise OptionError(f"{field('cell')} cannot be {number}; the sheet has {len(cells)} pictures")
    one = cells[number - 1]
    return one if isinstance(one, dict) else {}


def _repeated(metadata: dict[str, Any]) -> str:
    """The command that repeats a picture."""
    chosen = metadata.get("options")
    content, style = (_source(metadata.get(name)) for name in ("content", "style"))
    return flags.command(content, style, chosen if isinstance(chosen, dict) else {})


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        terminal.say(json.dumps(facts))
        return
    for name, value in facts.items():
        if value not in ({}, []):
            terminal.say(f"{name if name.isidentifier() or name.isdigit() else repr(name):15} {_shown(value)}")


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
