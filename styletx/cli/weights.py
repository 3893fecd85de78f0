"""`styletx weights`: which weights are on this machine, and how to get the others."""

from __future__ import annotations

import dataclasses
import json

import click

from styletx.cli import terminal
from styletx.cli.flags import option_flags


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the networks' weights: which are on this machine and where, and how to get the others."""
    if context.invoked_subcommand is not None:
        return
    from styletx import backbones

    found = backbones.listing()
    if as_json:
        rows = [dataclasses.asdict(one) | {"path": one.path and str(one.path)} for one in found]
        terminal.say(json.dumps(rows))
        return
    for one in found:
        where = f"{one.origin}: {one.path}" if one.path else "not on this machine"
        terminal.say(f"{one.name:16} {one.size / 1e6:6.1f} MB  {where}")
        terminal.say(f"{'':28}{one.advice}; {one.licence}")


@command.command()
@click.argument("name")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@option_flags("offline")
def fetch(name: str, quiet: bool, offline: bool) -> None:
    """Download the weights of the network NAME into the cache, unless they are there already."""
    from styletx import backbones
    from styletx.cli import progress

    with progress.download_bar(quiet) as download:
        path = backbones.fetch(backbones.architecture(name), offline=offline or None, download=download)
    terminal.say(str(path))
