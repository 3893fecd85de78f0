"""`styletx train`: train a network for one style."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from styletx.cli import signals, terminal
from styletx.cli.flags import GroupedCommand, option_flags, training_flags
from styletx.errors import OptionError, TrainingError, field
from styletx.files import PICTURE_EXTENSIONS, check, local, shown
from styletx.notes import Note

LAYOUT = ("widths", "blocks", "expansion")


@click.command(cls=GroupedCommand)
@click.argument("style")
@click.option("--photos", required=True, metavar="DIR", help="Folder of photographs to learn from.")
@click.option("-o", "--output", required=True, metavar="FILE", help="Output model file: .safetensors.")
@click.option("--from", "start", metavar="MODEL", help="Start from a trained style, by name or file: much quicker.")
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint, exactly as if uninterrupted.")
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of processes that read photos.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print a report as JSON on stdout.")
@training_flags()
@option_flags("device")
def command(
    style: str,
    photos: str,
    output: str,
    start: str | None,
    resume: bool,
    workers: int,
    quiet: bool,
    as_json: bool,
    device: str,
    **options: Any,
) -> None:
    """Train a network that repaints any photograph in the style of the painting STYLE in one pass.

    Beside the model FILE.safetensors, the folder FILE.training gets checkpoint, samples and loss curve. Ctrl-C and
    SIGTERM save a checkpoint and stop, with the exit code 130 or 143; the same command with --resume continues from it.
    """
    from styletx import images
    from styletx.cli import progress
    from styletx.feedforward import models
    from styletx.feedforward.training import Training
    from styletx.options import TrainingOptions, defaults

    chosen = TrainingOptions(**options)
    plain = defaults(TrainingOptions)
    if start is not None and any(options[name] != plain[name] for name in LAYOUT):
        raise OptionError(
            f"{field('start')} takes the layout of its model; remove {', '.join(map(field, LAYOUT[:-1]))} and "
            f"{field(LAYOUT[-1])}"
        )
    target = Path(local(output))
    if target.suffix != ".safetensors":
        raise OptionError(f"{field('output')}: {shown(output)} does not end in .safetensors; give a name that does")
    for place in (target, target.with_suffix(".training") / "curve.png"):
        check(place, [style])
    training = Training(
        images.read(style),
        _photographs(photos),
        target,
        chosen,
        start=None if start is None else models.read(models.locate(start)),
        resume=resume,
        device=device,
        workers=workers,
    )
    quiet = quiet or not training.accelerator.is_main_process
    progress.notes(training.notes, quiet)
    bad: set[str] = set()
    held: dict[str, float] = {}
    # The current step is finished first, so that no update is half done; a second signal ends it at once.
    stop = signals.Stop()
    with stop.noting():
        try:
            with progress.Count(chosen.steps, "steps", quiet, training.done) as counted:
                for step in training:
                    bad.update(step.bad)
                    counted.notes(step.notes)
                    held = step.held or held
                    counted.update(" ".join(f"{name} {step.losses[name]:.3f}" for name in ("content", "style")))
                    if stop.number:
                        break
        except RuntimeError as error:
            # The processes that read photographs heard the signal too, and are gone.
            if not (stop.number and "DataLoader worker" in str(error)):
                raise
        if stop.number and training.done % chosen.every:
            held = training.save() or held
            progress.notes(training.missed, quiet)
    if bad:
        some = ", ".join(map(shown, sorted(bad)[:3])) + (", …" if len(bad) > 3 else "")
        progress.notes([Note(f"{len(bad)} of the photographs gave no crop: {some}.")], quiet)
    if as_json and training.accelerator.is_main_process:
        report = {"output": output, "steps": training.done, "stopped": bool(stop.number), "losses": held}
        terminal.say(json.dumps(report))
    elif not quiet:
        terminal.say(f"Stopped at step {training.done}; continue with --resume" if stop.number else output, aside=True)
    click.get_current_context().exit(stop.code)


def _photographs(folder: str) -> list[Path]:
    if not os.path.isdir(folder):
        raise TrainingError(f"{field('photos')}: {shown(folder)} is not a folder; give a folder of photographs")
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURE_EXTENSIONS)
