"""`styletx run`: repaint one photograph."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from styletx.cli import outputs, signals, terminal
from styletx.cli.flags import GroupedCommand, flag, option_flags, recipe_flag, region_flag, told_apart
from styletx.errors import OptionError, OutputError, PictureError, field

if TYPE_CHECKING:
    from styletx.stylizers import Result


@click.command(cls=GroupedCommand)
@click.argument("content")
@click.argument("styles", nargs=-1, required=True, metavar="STYLE[:WEIGHT]...")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    show_default="outputs/CONTENT-STYLE.png",
    help="Output file: .png, .jpg, .webp or .tif; '-' is stdout. An existing file is replaced, unless the name "
    "was not given.",
)
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also save the picture beside the result every N evaluations.",
)
@region_flag
@recipe_flag
@click.option("--save-recipe", metavar="FILE", help="Also write style and options to a file, for --recipe: .toml.")
@click.option("--timelapse", metavar="FILE", help="Also record a timelapse: .gif, .mp4 or .webp.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print a report as JSON on stdout.")
@option_flags()
def command(
    content: str,
    styles: tuple[str, ...],
    output: str | None,
    region: tuple[str, ...],
    recipe: str | None,
    save_recipe: str | None,
    save_every: int | None,
    timelapse: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Repaint the photograph CONTENT in the style of STYLE: a painting, or a trained style.

    Several styles are mixed, each as much as its WEIGHT says, which is 1 unless given.

    A trained style is a name that `styletx styles` lists, a .safetensors file written by
    `styletx train`, or an .onnx file written by `styletx export`. A bundled style, such
    as mosaic, is painted in one pass; its painting is mosaic.jpg, which is optimised.
    CONTENT may be '-' for stdin; the result then goes to stdout unless -o names a file.

    Ctrl-C and SIGTERM save the best picture so far. The exit code is then 130 or 143.
    """
    from styletx import files, films, images
    from styletx.cli import progress
    from styletx.feedforward import models
    from styletx.options import Options, paths
    from styletx.stylizers import load_stylizer, mixing, recipes

    started = time.perf_counter()
    styles = (*styles, *region)
    content, parts = files.local(content), mixing.parts(styles)
    output = None if output is None else files.local(output)
    chosen = Options(**options)
    to_stdout = output == "-" or (output is None and content == "-")
    if to_stdout:
        _check_stdout(as_json, save_every)
    target = _default_output(content, [str(part.source) for part in parts]) if output is None else Path(output)
    given = [files.local(place) for place in paths(vars(chosen)).values()]
    sources = [content, *(str(one) for part in parts for one in part.sources), *given, *models.shipped()]
    place = files.numbered(target) if output is None else target
    if not to_stdout:
        images.check_output(place, sources=sources)
    if save_recipe is not None:
        save_recipe = files.local(save_recipe)
        if Path(save_recipe).suffix.lower() != ".toml":
            raise OutputError(f"{files.shown(save_recipe)} has another kind of name than a recipe; end it in .toml")
        files.check(save_recipe, sources)
    if timelapse is not None:
        timelapse = files.local(timelapse)
        films.check(timelapse, [*sources, place])
        if save_every and _is_stage(Path(timelapse), target):
            raise OutputError(
                f"{files.shown(timelapse)} is named like a picture on the way; choose another name for the timelapse"
            )

    photo = _stdin() if content == "-" else content
    if content != "-":
        images.check(content, max_pixels=chosen.max_pixels)
    with progress.download_bar(quiet) as download:
        stylizer = load_stylizer(styles, chosen, download=download)
    if not stylizer.is_gradual and (timelapse is not None or save_every):
        raise OptionError(
            f"{field('timelapse' if timelapse is not None else 'save_every')}: one pass, or several styles that are "
            f"painted one by one, show nothing on the way; remove the option, or give a painting without "
            f"{field('method')}"
        )
    run = stylizer.start(photo)
    if save_recipe is not None:
        recipes.write(save_recipe, styles, chosen, stylizer.sha256)
    changed = told_apart(click.get_current_context(), stylizer.sha256)
    progress.notes([*changed, *stylizer.notes, *run.notes], quiet)
    if not to_stdout:
        images.check_output(place, size=run.size)
    film = films.Timelapse(run.size) if timelapse is not None else None

    stop = signals.Stop()
    with stop.interrupting():
        for count, step in enumerate(progress.bar(run, quiet), 1):
            if film is not None:
                film.add(step.pixels)
            if save_every and count % save_every == 0:
                _save_stage(run.result, _stage(target, count))
    stopped = stop.number is not None
    if run.last is None:
        stop.leave()
    # A second, impatient Ctrl-C must not cost the picture, nor a first one now.
    with signals.handled(signal.SIG_IGN):
        if to_stdout:
            notes = run.result.save(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif output is None:
            target, notes = outputs.saved(target, lambda free: run.result.save(free, overwrite=False))
        else:
            notes = run.result.save(target)
    progress.notes(notes, quiet)

    where = "stdout" if to_stdout else str(target)
    if as_json:
        report = {"output": where, "seconds": round(time.perf_counter() - started, 2), "stopped": stopped}
        terminal.say(json.dumps(report | run.metadata))
    if stopped:
        terminal.say(f"Stopped {run.stopped or 'at its end'}; the best picture so far went to {where}", aside=True)
    elif not (quiet or to_stdout or as_json):
        terminal.say(f"{where}: {run.size[1]}×{run.size[0]} px in {time.perf_counter() - started:.1f} s", aside=True)
    if film is not None and timelapse is not None:
        film.save(timelapse)
    click.get_current_context().exit(stop.code)


def _default_output(content: str, styles: Sequence[str]) -> Path:
    names = ["stdin" if content == "-" else Path(content).stem, *(Path(style).stem for style in styles)]
    return outputs.FOLDER / f"{'-'.join(names)}.png"


def _stage(target: Path, count: int) -> Path:
    return target.with_stem(f"{target.stem}-{count:04d}")


def _is_stage(path: Path, target: Path) -> bool:
    """Whether a path has a name that `_stage` may give, numbered or not."""
    number = path.stem.removeprefix(f"{target.stem}-").replace("-", "")
    is_named_so = path.stem != target.stem and number.isdigit() and path.suffix.lower() == target.suffix.lower()
    return is_named_so and os.path.realpath(path.parent) == os.path.realpath(target.parent)


def _save_stage(result: Result, path: Path) -> None:
    """Save a picture on the way; a failure to do so is not worth losing the run for."""
    try:
        outputs.saved(path, lambda free: result.save(free, overwrite=False))
    except OutputError as error:
        terminal.say(f"Note: {error.rendered(flag)}", aside=True)


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise PictureError("stdin holds no picture; pipe one into it, or name a file instead of '-'")
    return sys.stdin.buffer


def _check_stdout(as_json: bool, save_every: int | None) -> None:
    if as_json:
        raise OptionError(
            f"the picture goes to stdout, so {field('as_json')} cannot; name a file with {field('output')}"
        )
    if save_every:
        raise OptionError(
            f"the picture goes to stdout, so {field('save_every')} has no place; name a file with {field('output')}"
        )
    if sys.stdout is None:
        raise OutputError(f"stdout is closed; name a file with {field('output')}")
    if sys.stdout.isatty():
        raise OutputError(f"stdout is a terminal; name a file with {field('output')}, or redirect stdout")
