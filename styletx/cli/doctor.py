"""`styletx doctor`: what a run here would use, and why."""

from __future__ import annotations

import click

from styletx.cli.flags import GroupedCommand, option_flags
from styletx.errors import StyletxError


@click.command(cls=GroupedCommand)
@option_flags("backbone", "weights", "offline", "device", "precision")
def command(backbone: str, weights: str | None, offline: bool, device: str, precision: str) -> None:
    """Tell in ten lines what a run on this machine would use."""
    import platform

    import PIL
    import torch

    from styletx import __version__, devices
    from styletx.backbones.weights import cache_dir

    chosen = devices.choose(device)
    why = (
        "asked for" if device != "auto" else "the fastest here" if chosen.type != "cpu" else "no GPU that torch can use"
    )
    gain = devices.bfloat16_gain(chosen)
    measured = f"bfloat16 runs {gain:.1f} times as fast as float32 here"
    dtype = str(devices.dtype(precision, chosen)).removeprefix("torch.")
    memory = devices.available_memory(chosen)
    rows = {
        "styletx": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": f"{torch.__version__}, pillow {PIL.__version__}",
        "device": f"{devices.describe(chosen)}, {why}",
        "precision": f"{dtype}, {'asked for' if precision != 'auto' else 'since ' + measured}",
        "threads": f"{torch.get_num_threads()}",
        "memory": "unknown" if memory is None else f"{memory / 2**30:.1f} GiB free",
        "weights": _weights(backbone, weights, offline),
        "cache": str(cache_dir()),
        "network": "not used (--offline)" if offline else "used only to download weights",
    }
    for name, value in rows.items():
        click.echo(f"{name:10} {value}")


def _weights(backbone: str, file: str | None, offline: bool) -> str:
    from styletx import backbones

    architecture = backbones.choose(backbone, file)
    if file is None and backbones.locate(architecture) is None:
        return f"{architecture.name}: not here; get them with: styletx weights fetch {architecture.name}"
    try:
        found = backbones.find(architecture, file=file, offline=offline or None)
    except StyletxError as error:
        return str(error)
    reached = backbones.reached(architecture, found.state)
    deepest = reached[-1] if reached else "no layer"
    return f"{architecture.name} to {deepest}, {found.origin}: {found.path}"
