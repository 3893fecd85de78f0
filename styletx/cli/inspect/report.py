"""What a command says at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

OUTPUTS = Path("outputs")


def say(report: dict[str, Any], target: Path, as_json: bool, quiet: bool) -> None:
    """Print a report as JSON on stdout, or else the name of the file that was written on stderr."""
    if as_json:
        click.echo(json.dumps(report))
    elif not quiet:
        click.echo(str(target), err=True)
