"""`styletx styles`: the trained styles that come with styletx."""

from __future__ import annotations

import json

import click

from styletx.cli import terminal


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects with name, style, file and bytes.")
def command(as_json: bool) -> None:
    """List the trained styles that come with styletx; use one as `styletx run PHOTO NAME`."""
    from styletx.feedforward import models

    styles = models.styles()
    if as_json:
        rows = [{"name": one.name, "style": one.painting, "file": str(one.path), "bytes": one.size} for one in styles]
        terminal.say(json.dumps(rows))
        return
    for one in styles:
        terminal.say(f"{one.name:16} {one.size / 1e6:.1f} MB  after {one.painting}")
