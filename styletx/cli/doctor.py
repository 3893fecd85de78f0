"""`styletx doctor`: what a run here would use, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from styletx.cli import terminal
from styletx.cli.flags import GroupedCommand, flag, option_flags
from styletx.errors import StyletxError

if TYPE_CHECKING:
    from styletx.notes import Notes


@click.command(cls=GroupedCommand)
@option_flags("backbone", "weights", "offline", "device", "precision")
def command(backbone: str, weights: str | None, offline: bool, device: str, precision: str) -> None:
    """Tell in ten lines what a run on this machine would use."""
    import platform

    import PIL
    import torch

    from styletx import __version__, backbones, devices
    from styletx.cli import progress

    chosen = devices.choose(device)
    why_device = {"cpu": "no GPU that torch can use"}.get(chosen.type, "the fastest here")
    dtype = str(devices.dtype(precision, chosen)).removeprefix("torch.")
    why_dtype = f"since {devices.why_precision(chosen)}"
    memory = devices.available_memory(chosen)
    described, notes = _weights(backbone, weights, offline)
    rows = {
        "styletx": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": f"{torch.__version__}, pillow {PIL.__version__}",
        "device": f"{devices.describe(chosen)}, {why_device if device == 'auto' else 'as requested'}",
        "precision": f"{dtype}, {why_dtype if precision == 'auto' else 'as requested'}",
        "threads": f"{torch.get_num_threads()}",
        "memory": "unknown" if memory is None else f"{memory / 2**30:.1f} GiB free",
        "weights": described,
        "cache": str(backbones.cache_dir()),
        "network": "not used (--offline)" if offline else "used only to download weights",
    }
    for name, value in rows.items():
        terminal.say(f"{name:10} {value}")
    progress.notes(notes, quiet=False)


def _weights(backbone: str, file: str | None, offline: bool) -> tuple[str, Notes]:
    """Which weights a run would use, and the notes that it would show."""
    from styletx import backbones

    architecture = backbones.architecture(backbone, file)
    if file is None and backbones.locate(architecture) is None:
        return f"{architecture.name}: not on this machine; get them with: styletx weights fetch {architecture.name}", ()
    try:
        found = backbones.load(backbone, weights=file, offline=offline or None)
    except StyletxError as error:
        return error.rendered(flag), ()
    source = found.source
    return f"{architecture.name} to {found.reached[-1]}, {source.origin}: {source.path}", found.notes
