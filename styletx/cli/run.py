"""`styletx run`: repaint one photograph."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from styletx.cli.flags import GroupedCommand, option_flags
from styletx.errors import OptionError, OutputError, PictureError

if TYPE_CHECKING:
    from styletx.stylizers import Result

OUTPUTS = Path("outputs")


@click.command(cls=GroupedCommand)
@click.argument("content")
@click.argument("style")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    show_default="outputs/CONTENT-STYLE.png",
    help="Where the result goes: .png, .jpg, .webp or .tif; '-' is stdout. A file there is replaced.",
)
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also save the picture beside the result every N evaluations.",
)
@click.option("--timelapse", metavar="FILE", help="Also record a timelapse: .gif, .mp4 or .webp.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON on stdout.")
@option_flags()
def command(
    content: str,
    style: str,
    output: str | None,
    save_every: int | None,
    timelapse: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Repaint the photograph CONTENT in the style STYLE: a painting, or a trained style.

    A trained style is one of those that `styletx styles` lists, a .safetensors file of
    `styletx train` or an .onnx file of `styletx export`.
    CONTENT may be '-', to read it from stdin; the result then goes to stdout unless -o names a file.
    """
    from styletx import films, images
    from styletx.cli import progress
    from styletx.options import Options
    from styletx.stylizers import prepare

    started = time.perf_counter()
    chosen = Options(**options)
    to_stdout = output == "-" or (output is None and content == "-")
    if to_stdout:
        _check_stdout(as_json, save_every)
    target = _default_output(content, style) if output is None else Path(output)
    sources = [content, style, options["init"]]
    place = images.numbered(target) if output is None else target
    if not to_stdout:
        images.check_output(place, sources=sources)
    if timelapse is not None:
        films.check(timelapse, [*sources, place])

    with contextlib.ExitStack() as stack:
        if quiet:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        picture = images.read(_stdin() if content == "-" else content, max_pixels=chosen.max_pixels)
        with progress.download_bar(quiet) as downloaded:
            stylizer = prepare(style, chosen, progress=downloaded)
        if stylizer.single_pass and (timelapse is not None or save_every):
            raise OptionError(
                f"--{'timelapse' if timelapse is not None else 'save-every'}: a trained style paints in one pass, so "
                "there is nothing on the way to see; leave it away, or give a painting."
            )
        run = stylizer.start(picture, owned=True)
        del picture
        if not to_stdout:
            images.check_output(place, size=run.size)
        film = films.Timelapse(run.size) if timelapse is not None else None

        stopped = False
        try:
            # What a scheduler sends to end a program is as good a reason to save what there is as Ctrl-C.
            with _handled(signal.SIGTERM, signal.default_int_handler):
                for count, step in enumerate(progress.bar(run, quiet), 1):
                    if film is not None:
                        film.add(step.pixels)
                    if save_every and count % save_every == 0:
                        _save_stage(run.result, target.with_stem(f"{target.stem}-{count:04d}"))
        except KeyboardInterrupt:
            stopped = True
        if run.last is None:
            raise click.Abort
        # A second, impatient Ctrl-C shall not cost the picture.
        with _handled(signal.SIGINT, signal.SIG_IGN):
            if to_stdout:
                run.result.save(sys.stdout.buffer)
                sys.stdout.buffer.flush()
            elif output is None:
                target = _save_numbered(run.result, target)
            else:
                run.result.save(target)

        where = "stdout" if to_stdout else str(target)
        if as_json:
            report = {"output": where, "seconds": round(time.perf_counter() - started, 2), "stopped": stopped}
            click.echo(json.dumps(report | run.metadata))
        if stopped:
            click.echo(f"Stopped; the best picture so far went to {where}", err=True)
        elif not (quiet or to_stdout or as_json):
            click.echo(where, err=True)
        if film is not None and timelapse is not None:
            film.save(timelapse)


def _default_output(content: str, style: str) -> Path:
    name = "stdin" if content == "-" else Path(content).stem
    return OUTPUTS / f"{name}-{Path(style).stem}.png"


def _save_numbered(result: Result, path: Path) -> Path:
    """Save under the first free name, which is taken at once, for another run may be after the same one."""
    from styletx import images

    while True:
        target = images.numbered(path)
        try:
            target.touch(exist_ok=False)
        except FileExistsError:
            continue
        except OSError:
            pass  # saving says what is wrong, or puts it right
        break
    try:
        result.save(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def _save_stage(result: Result, path: Path) -> None:
    """Save a picture on the way, which is not worth losing the run for."""
    try:
        _save_numbered(result, path)
    except OutputError as error:
        warnings.warn(str(error), stacklevel=1)


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise PictureError("no picture comes in on stdin; pipe one into it, or name a file instead of '-'.")
    return sys.stdin.buffer


def _check_stdout(as_json: bool, save_every: int | None) -> None:
    if as_json:
        raise OptionError("the picture goes to stdout, so --json cannot go there too; name a file with -o FILE.")
    if save_every:
        raise OptionError("the picture goes to stdout, so --save-every has no place; name a file with -o FILE.")
    if sys.stdout is None:
        raise OutputError("stdout is closed; name a file with -o FILE.")
    if sys.stdout.isatty():
        raise OutputError("a picture is not written to a terminal; name a file with -o FILE, or redirect stdout.")


@contextlib.contextmanager
def _handled(number: signal.Signals, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
