"""`styletx train`: train a network for one style."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from styletx.cli import signals, terminal
from styletx.cli.flags import Choice, GroupedCommand, option_flags, training_flags
from styletx.errors import OptionError, TrainingError, field
from styletx.files import PICTURE_EXTENSIONS, check, local, shown
from styletx.notes import Note

if TYPE_CHECKING:
    from styletx.feedforward.training import Training

RANDOM = "random"  # weights
START = "starry-night"  # whose strokes are bold
LAYOUT = ("widths", "blocks", "expansion")
PRESETS = {
    "quick": {"pairs": 40, "steps": 400},
    "good": {"pairs": 120, "steps": 2400},
    "best": {"pairs": 300, "steps": 8000},
}
LONG = 3600  # seconds left from which on presets are mentioned
SURE = 20  # steps after which the time left is known well enough


@click.command(cls=GroupedCommand)
@click.argument("style")
@click.option("--photos", required=True, metavar="DIR", help="Folder of photographs to learn from.")
@click.option("-o", "--output", required=True, metavar="FILE", help="Output model file: .safetensors.")
@click.option(
    "--from",
    "start",
    metavar="MODEL",
    show_default=f"{START}, or random where the network has options of its own",
    help="Trained style to start from, by name or file, or random: a style knows strokes and edges already.",
)
@click.option(
    "--preset",
    type=Choice(tuple(PRESETS)),
    show_default="good",
    help="Numbers of pairs and steps. On two cores, quick takes 7 to 15 minutes, good ½ to 1½ hours, best 1½ to 4½ "
    "hours. A GPU takes a tenth of that.",
)
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
    preset: str | None,
    resume: bool,
    workers: int,
    quiet: bool,
    as_json: bool,
    device: str,
    **options: Any,
) -> None:
    """Train a network that repaints any photograph in the style of the painting STYLE in one pass.

    First, some of the photographs are painted as `styletx run` paints them; the network then learns from these pairs.

    Beside the model FILE.safetensors, the folder FILE.training gets the pairs, checkpoint, samples and loss curve.
    Ctrl-C and SIGTERM save a checkpoint and stop, with the exit code 130 or 143; the same command with --resume
    continues from it.
    """
    from styletx import images
    from styletx.cli import progress
    from styletx.feedforward import models
    from styletx.feedforward.training import Training
    from styletx.options import TrainingOptions, defaults

    began = time.monotonic()
    source = click.get_current_context().get_parameter_source
    if preset is not None:
        of_preset = {name: value for name, value in PRESETS[preset].items() if source(name) is ParameterSource.DEFAULT}
        options |= of_preset
    chosen = TrainingOptions(**options)
    plain = defaults(TrainingOptions)
    is_own = any(options[name] != plain[name] for name in LAYOUT)
    if start not in (None, RANDOM) and is_own:
        raise OptionError(
            f"{field('start')} takes the layout of its model; remove {', '.join(map(field, LAYOUT[:-1]))} and "
            f"{field(LAYOUT[-1])}"
        )
    start = start or (RANDOM if is_own else START)
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
        start=None if start == RANDOM else models.read(models.locate(start)),
        resume=resume,
        device=device,
        workers=workers,
    )
    quiet = quiet or not training.accelerator.is_main_process
    progress.notes(training.notes, quiet)
    stop = signals.Stop()
    if training.to_paint:
        _paint(training, style, device, stop, quiet)
    is_long_unasked = preset is None and source("steps") is ParameterSource.DEFAULT
    bad: set[str] = set()
    held: dict[str, float] = {}
    # The current step is finished first, so that no update is half done; a second signal ends it at once.
    with stop.noting():
        try:
            with progress.Count(chosen.steps, "steps", quiet, training.done) as counted:
                first, since = training.done, time.monotonic()
                for step in training:
                    bad.update(step.bad)
                    counted.notes(step.notes)
                    held = step.held or held
                    counted.update(" ".join(f"{name} {step.losses[name]:.3f}" for name in ("content", "style")))
                    left = (time.monotonic() - since) / (step.step - first) * (step.steps - step.step)
                    if step.step - first == SURE and left > LONG and is_long_unasked:
                        counted.notes((_quicker(left),))
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
    elif stop.number and not quiet:
        terminal.say(f"Stopped at step {training.done}; continue with --resume", aside=True)
    elif not quiet:
        minutes = (time.monotonic() - began) / 60
        terminal.say(
            f"{output}: {training.done} steps in {minutes:.0f} min; samples and curve are in {training.folder}",
            aside=True,
        )
    click.get_current_context().exit(stop.code)


def _photographs(folder: str) -> list[Path]:
    if not os.path.isdir(folder):
        raise TrainingError(f"{field('photos')}: {shown(folder)} is not a folder; give a folder of photographs")
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURE_EXTENSIONS)


def _paint(training: Training, style: str, device: str, stop: signals.Stop, quiet: bool) -> None:
    """Paint what the network is to learn from, but for what is painted already."""
    from styletx.batches import Batch, executor_named
    from styletx.cli import progress
    from styletx.options import Options

    asked = training.options
    options = Options(size=asked.size, backbone=asked.backbone, weights=asked.weights, seed=asked.seed, device=device)
    batch = Batch(training.to_paint, [style], training.folder / "pairs", options)
    with _alone(training):
        batch.check()
        with contextlib.ExitStack() as stack:
            counted = stack.enter_context(progress.Count(len(batch.jobs), "pairs painted", quiet))
            records = stack.enter_context(contextlib.closing(batch.run(executor_named("local"))))
            stack.enter_context(stop.interrupting())
            for record in records:
                counted.notes((Note(f"{record.error}."),) if record.error else ())
                counted.update()
        if stop.number:
            done = batch.tally["done"] + batch.tally["skipped"]
            terminal.say(
                f"Stopped with {done} of {len(batch.jobs)} pairs painted; run it again to continue", aside=True
            )
            click.get_current_context().exit(stop.code)
    training.learn_from({Path(job.source): Path(job.output) for job in batch.jobs if os.path.exists(job.output)})


@contextlib.contextmanager
def _alone(training: Training) -> Iterator[None]:
    """Work that one process does for all of a training; the others wait for it, and find it done."""
    if not training.accelerator.is_main_process:
        training.accelerator.wait_for_everyone()
    yield
    if training.accelerator.is_main_process:
        training.accelerator.wait_for_everyone()


def _quicker(left: float) -> Note:
    return Note(
        f"About {left / 3600:.1f} hours are left. {field('preset')} quick takes a quarter of an hour, and Ctrl-C keeps "
        f"what was learnt."
    )
