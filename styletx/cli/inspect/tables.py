"""A network in numbers: a table of its layers, beside another network and stacks of small kernels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from styletx import inspection
from styletx.cli import terminal
from styletx.inspection import Stack, Table


def show(backbone: str, size: int, as_json: bool) -> None:
    """Print a network's table for pictures of a side in px."""
    table = inspection.table(backbone, (size, size))
    other = inspection.table("vgg16" if table.backbone == "resnet50" else "resnet50", (size, size))
    stacks = inspection.stacks()
    if as_json:
        report = {
            "backbone": table.backbone,
            "size": [size, size],
            "layers": [dataclasses.asdict(layer) for layer in table.layers],
            "totals": _totals(table),
            "beside": {other.backbone: _totals(other)},
            "stacks": [dataclasses.asdict(stack) for stack in stacks],
        }
        terminal.say(json.dumps(report))
        return
    terminal.say(f"{table.backbone} at {size}×{size} px")
    terminal.say()
    for line in (*_rows(table), "", *_sums(table, other), *_small_kernels(stacks)):
        terminal.say(line)


def _totals(table: Table) -> dict[str, int]:
    return {
        "parameters": table.parameters,
        "classifier_parameters": table.classifier_parameters,
        "macs": table.macs,
    }


def _rows(table: Table) -> Iterator[str]:
    width = max(len(layer.name) for layer in table.layers)
    yield f"{'layer':{width}} channels       map stride            sees   parameters   multiply-adds"
    for layer in table.layers:
        positions = f"{layer.size[1]}×{layer.size[0]}"
        window = f"{layer.window}×{layer.window}" if layer.window else ""
        sees = window if layer.receptive_field else f"all, {window}" if window else "all"
        yield (
            f"{layer.name:{width}} {layer.channels:8} {positions:>9} {layer.stride or '':>6} {sees:>15} "
            f"{layer.parameters:12,} {layer.macs:15,}"
        )
    yield f"{'':{width}} {'':8} {'':9} {'':6} {'':15} {table.parameters:12,} {table.macs:15,}"


def _sums(table: Table, other: Table) -> Iterator[str]:
    if any(layer.window and not layer.receptive_field for layer in table.layers):
        yield "all, 7×7: weighed by a mean over the whole picture, and 7×7 px of it in detail"
    for one in (table, other):
        share = one.classifier_parameters / one.parameters
        yield (
            f"{one.backbone}: {one.parameters:,} parameters, {one.classifier_parameters:,} of them ({share:.0%}) in "
            f"its classifier; {one.macs / 1e9:.2f} G multiply-adds"
        )


def _small_kernels(stacks: tuple[Stack, ...]) -> Iterator[str]:
    for stack in stacks:
        seen = f"{stack.receptive_field}×{stack.receptive_field}"
        layers = f"{stack.layers} layer{'s' if stack.layers > 1 else ''} of {stack.kernel}×{stack.kernel}"
        yield f"{layers:16} see{'' if stack.layers > 1 else 's'} {seen} with {stack.weights} weights a channel²"
