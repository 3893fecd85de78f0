"""`styletx train`: train a network for one style."""

from __future__ import annotations

import json
import signal
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import click

from styletx.cli.flags import Finite, GroupedCommand, option_flags
from styletx.errors import OptionError, TrainingError
from styletx.files import check

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def _widths(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of whole numbers such as 16,48,96.") from None


@click.command(cls=GroupedCommand)
@click.argument("style")
@click.option("--photos", required=True, metavar="DIR", help="Folder of photographs to learn from.")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the model goes: a .safetensors file.")
@click.option("--steps", type=click.IntRange(1), default=4000, show_default=True, help="Updates of the network.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Photographs a step and device.")
@click.option("--crop", type=click.IntRange(64, 2048), default=256, show_default=True, help="Side of the crops, px.")
@click.option(
    "--style-size",
    type=click.IntRange(16, 8192),
    default=512,
    show_default=True,
    help="Long side of the style picture, px.",
)
@click.option("--style-weight", type=Finite(0), default=60.0, show_default=True, help="More is painting.")
@click.option("--content-weight", type=Finite(0), default=1.0, show_default=True, help="More is photo.")
@click.option("--tv-weight", type=Finite(0), default=0.0, show_default=True, help="More is smoother.")
@click.option(
    "--rate",
    type=Finite(1e-6, 1),
    default=0.02,
    show_default=True,
    help="Learning rate; a quarter of it if a training diverges.",
)
@click.option(
    "--ramp",
    type=Finite(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the steps until the style has its full weight.",
)
@click.option("--every", type=click.IntRange(1), default=250, show_default=True, help="Steps between checkpoints.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of first weights, order and crops."
)
@click.option("--widths", default="16,48,96", show_default=True, callback=_widths, help="Channels of each stage.")
@click.option("--blocks", type=click.IntRange(0, 64), default=5, show_default=True, help="Residual blocks.")
@click.option(
    "--expansion",
    type=click.IntRange(0, 8),
    default=0,
    show_default=True,
    help="Of a residual block; 0 is two 3×3 convolutions.",
)
@click.option("--from", "start", metavar="MODEL", help="Begin from a trained style, by name or file: much quicker.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint, exactly as if it had not stopped.")
@click.option("--workers", type=click.IntRange(0, 64), default=1, show_default=True, help="Processes that read photos.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON on stdout.")
@option_flags("backbone", "weights", "device")
def command(
    style: str,
    photos: str,
    output: str,
    widths: tuple[int, ...],
    blocks: int,
    expansion: int,
    start: str | None,
    resume: bool,
    device: str,
    workers: int,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network that repaints any photograph in the style of the painting STYLE in one pass.

    Beside the model FILE.safetensors, FILE.training holds checkpoint, samples and loss curve. Ctrl-C keeps what was
    learnt; the same command with --resume goes on.
    """
    from tqdm import tqdm

    from styletx import images
    from styletx.feedforward import files
    from styletx.feedforward.network import Layout
    from styletx.feedforward.training import Training, TrainingOptions

    layout = Layout(widths, blocks=blocks, expansion=expansion)
    if start is not None and layout != Layout():
        raise OptionError("--from takes the layout of its MODEL; leave --widths, --blocks and --expansion away.")
    target = Path(output)
    if target.suffix != ".safetensors":
        raise OptionError(f"-o {output}: a model file ends in .safetensors.")
    for place in (target, target.with_suffix(".training") / "curve.png"):
        check(place, [style])
    painting = images.read(style)
    training = Training(
        painting,
        _photographs(photos),
        target,
        TrainingOptions(layout=layout, **options),
        start=None if start is None else files.read(files.locate(start)),
        resume=resume,
        device=device,
        workers=workers,
    )
    quiet = quiet or not training.accelerator.is_main_process
    bad: set[str] = set()
    held: dict[str, float] = {}
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        # The step in work is finished first, so that no update is half done.
        nonlocal stopped
        stopped = True
        signal.signal(number, handlers[signal.Signals(number)])  # a second one ends it at once

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with tqdm(total=options["steps"], initial=training.done, unit="step", disable=quiet or None) as bar:
            for step in training:
                bad.update(step.bad)
                held = step.held or held
                bar.update()
                bar.set_postfix_str(" ".join(f"{name} {step.losses[name]:.3f}" for name in ("content", "style")))
                if stopped:
                    break
        if stopped and training.done % options["every"]:
            held = training.save() or held
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if bad:
        warnings.warn(f"{len(bad)} photographs could not be read: {', '.join(sorted(bad)[:3])}…", stacklevel=1)
    if as_json and training.accelerator.is_main_process:
        click.echo(json.dumps({"output": output, "steps": training.done, "stopped": stopped, "losses": held}))
    elif not quiet:
        click.echo(f"Stopped at step {training.done}; go on with --resume" if stopped else output, err=True)


def _photographs(folder: str) -> list[Path]:
    if not folder or not Path(folder).is_dir():
        raise TrainingError(f"--photos {folder or repr(folder)}: is no folder; give one with photographs in it.")
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS)
