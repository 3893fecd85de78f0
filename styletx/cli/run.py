"""`styletx run`: repaint one photograph."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from styletx.cli.flags import GroupedCommand, option_flags
from styletx.errors import OptionError, OutputError

if TYPE_CHECKING:
    from styletx.stylizer import Run

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
@click.option("--timelapse", metavar="FILE", help="Also film how it comes about: .gif, .mp4 or .webp.")
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
    """Repaint the photograph CONTENT in the style of the painting STYLE.

    CONTENT may be '-', to read it from stdin; the result then goes to stdout unless -o names a file.
    """
    from styletx import images
    from styletx.cli import films, progress
    from styletx.options import Options
    from styletx.stylizer import Stylizer

    started = time.perf_counter()
    chosen = Options(**options)
    to_stdout = output == "-" or (output is None and content == "-")
    if to_stdout:
        _check_stdout(as_json)
    target = _default_output(content, style) if output is None else Path(output)
    sources = [content, style, options["init"]]
    if not to_stdout:
        images.check_output(target, sources=sources)
    if timelapse is not None:
        films.check(timelapse, [*sources, target])

    picture = images.read(sys.stdin.buffer if content == "-" else content, max_pixels=chosen.max_pixels)
    painting = images.read(style, max_pixels=chosen.max_pixels)
    with progress.download_bar(quiet) as downloaded:
        stylizer = Stylizer(painting, chosen, progress=downloaded)
    run = stylizer.start(picture)
    if not to_stdout:
        images.check_output(target, sources=sources, size=run.size)

    stopped = False
    with contextlib.ExitStack() as stack:
        film = stack.enter_context(films.Film(timelapse, run.size)) if timelapse is not None else None
        try:
            for count, step in enumerate(progress.bar(run, quiet), 1):
                if film is not None:
                    film.add(step.pixels)
                if save_every and count % save_every == 0 and not to_stdout:
                    run.result.save(target.with_stem(f"{target.stem}-{count:04d}"))
        except KeyboardInterrupt:
            stopped = True
        if run.last is None:
            raise click.Abort
        if to_stdout:
            _write_stdout(run)
        else:
            # Looked for again: another run may have taken the name in the meantime.
            target = images.numbered(target) if output is None else target
            run.result.save(target)

    if stopped:
        click.echo("Stopped; the best picture so far is saved.", err=True)
    if as_json:
        report = {"output": str(target), "seconds": round(time.perf_counter() - started, 2), "stopped": stopped}
        click.echo(json.dumps(report | run.metadata))
    elif not quiet and not to_stdout:
        click.echo(str(target), err=True)


def _default_output(content: str, style: str) -> Path:
    from styletx import images

    name = "stdin" if content == "-" else Path(content).stem
    return images.numbered(OUTPUTS / f"{name}-{Path(style).stem}.png")


def _check_stdout(as_json: bool) -> None:
    if as_json:
        raise OptionError("the picture goes to stdout, so --json cannot go there too; name a file with -o FILE.")
    if sys.stdout.isatty():
        raise OutputError("a picture is not written to a terminal; name a file with -o FILE, or redirect stdout.")


def _write_stdout(run: Run) -> None:
    from styletx import images

    result = run.result
    images.write(sys.stdout.buffer, result.pixels, alpha=result.alpha, metadata=result.metadata, bits=result.bits)
    sys.stdout.buffer.flush()
