"""`styletx backbones`: the networks that can compare pictures."""

from __future__ import annotations

import json

import click

from styletx.cli import terminal


@click.command()
@click.option("--all", "every", is_flag=True, help="Also name all classifiers of torchvision.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(every: bool, as_json: bool) -> None:
    """List the networks that --backbone accepts, with their layers for style and content."""
    from styletx import backbones

    rows = [
        {
            "name": architecture.name,
            "style_layers": architecture.style_layers,
            "style_weights": architecture.style_weights,
            "content_layers": architecture.content_layers,
            "layers": architecture.layers,
            "licence": architecture.licence,
            "here": backbones.locate(architecture) is not None,
        }
        for architecture in backbones.ARCHITECTURES.values()
    ]
    others = [name for name in backbones.classifier_names() if name not in backbones.ARCHITECTURES] if every else []
    if as_json:
        terminal.say(json.dumps([*rows, *({"name": name} for name in others)]))
        return
    for architecture, row in zip(backbones.ARCHITECTURES.values(), rows, strict=True):
        here = "here" if row["here"] else "download"
        shares = architecture.style_weights
        weighted = [f"{layer}={shares[layer]:g}" if layer in shares else layer for layer in architecture.style_layers]
        terminal.say(f"{architecture.name:16} {here:11} style:   {', '.join(weighted)}")
        terminal.say(f"{'':28} content: {', '.join(architecture.content_layers)}")
    if every:
        for line in ("", *click.wrap_text(", ".join(others), 110).splitlines()):
            terminal.say(line)
    else:
        terminal.say()
        terminal.say(
            "--backbone also accepts any other classifier of torchvision by its name there: styletx backbones --all"
        )
