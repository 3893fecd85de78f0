"""`styletx styles`: the trained styles that come with styletx."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects with name, style, file and bytes.")
def command(as_json: bool) -> None:
    """List the trained styles that come with styletx, each for `styletx run PHOTO NAME`."""
    from styletx.feedforward import files

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "style": files.describe(path).get("style"),
            "file": str(path),
            "bytes": path.stat().st_size,
        }
        for name, path in files.bundled().items()
    ]
    if as_json:
        click.echo(json.dumps(rows))
    else:
        for row in rows:
            click.echo(f"{row['name']:16} {row['bytes'] / 1e6:.1f} MB  after {row['style']}")
