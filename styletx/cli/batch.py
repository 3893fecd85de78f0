"""`styletx batch`: repaint whole folders."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from styletx.batches import Batch, engine_named, files, plan
from styletx.cli.flags import Choice, GroupedCommand, option_flags
from styletx.errors import OutputError
from styletx.options import Options


@click.command(cls=GroupedCommand)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-s", "--style", "styles", multiple=True, required=True, metavar="STYLE", help="A style; may be given repeatedly."
)
@click.option("-o", "--output", required=True, metavar="OUT", help="The folder for the results.")
@click.option(
    "--pattern",
    multiple=True,
    metavar="GLOB",
    show_default="pictures of every kind",
    help="What to take from folders, as '*.jpg'; may be given repeatedly.",
)
@click.option("--format", type=Choice(plan.FORMATS), default="png", show_default=True, help="Of the results.")
@click.option("--overwrite", is_flag=True, help="Make results anew that were made otherwise.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first picture that fails.")
@click.option("--engine", default="local", show_default=True, metavar="local|ray", help="What does the work.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one a GPU",
    help="Processes, each with a network of its own.",
)
@click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster, for --engine ray.")
@click.option("--report", is_flag=True, help=f"Also write {plan.REPORT} into OUT, to look at results beside sources.")
@click.option("--contact-sheet/--no-contact-sheet", default=True, help=f"Write {plan.CONTACT_SHEET} into OUT.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON on stdout for each picture.")
@option_flags()
def command(
    sources: tuple[str, ...],
    styles: tuple[str, ...],
    output: str,
    pattern: tuple[str, ...],
    format: str,
    overwrite: bool,
    dry_run: bool,
    fail_fast: bool,
    engine: str,
    workers: int | None,
    address: str | None,
    report: bool,
    contact_sheet: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Repaint files, folders and lists of them ('@list.txt') in one or several styles.

    Started again, it goes on where it stopped. It ends with 0 if all is done, 1 if pictures failed, 2 if it could not
    start.
    """
    chosen = engine_named(engine, workers=workers, address=address)
    batch = Batch(sources, styles, output, Options(**options), pattern=pattern, format=format, overwrite=overwrite)
    if dry_run:
        _print_plan(batch, as_json)
        return
    batch.check()

    is_stopped = False
    with contextlib.ExitStack() as stack:
        if quiet:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        bar = stack.enter_context(_bar(len(batch.jobs), quiet))
        records = stack.enter_context(contextlib.closing(batch.run(chosen)))  # type: ignore[type-var]
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        try:
            for record in records:
                if record.error:
                    bar.set_postfix_str(f"{batch.tally['failed']} failed")
                if as_json:
                    click.echo(json.dumps(dataclasses.asdict(record)))
                bar.update()
                if fail_fast and record.error:
                    break
        except KeyboardInterrupt:
            is_stopped = True

    _tell(batch, is_stopped, quiet or as_json)
    _write_overviews(batch, contact_sheet, report)
    if batch.failures or is_stopped:
        click.get_current_context().exit(1)


def _print_plan(batch: Batch, as_json: bool) -> None:
    for task in batch.tasks:
        row = {
            "state": batch.state(task),
            "source": task.job.source,
            "style": task.job.style,
            "output": task.job.output,
        }
        if as_json:
            click.echo(json.dumps(row))
        else:
            source, style, place = map(files.shown, (task.job.source, task.job.style, task.job.output))
            click.echo(f"{row['state']:6}  {source} in {style} → {place}")


def _bar(total: int, quiet: bool) -> Any:
    from tqdm import tqdm

    layout = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
    is_silent = quiet or sys.stderr is None  # it is None where the shell closed it
    return tqdm(total=total, unit=" pictures", bar_format=layout, disable=is_silent, dynamic_ncols=True)


def _tell(batch: Batch, is_stopped: bool, quiet: bool) -> None:
    for failure in batch.failures:
        click.echo(f"Failed: {failure}", err=True)
    names = {"done": "done", "skipped": "there already", "failed": "failed"}
    parts = [f"{batch.tally[key]} {name}" for key, name in names.items() if batch.tally[key]]
    said = ", ".join(parts) or "nothing done"
    left = len(batch.jobs) - batch.tally.total()
    if is_stopped or left:
        click.echo(f"Stopped: {said}, {left} left; the same command goes on.", err=True)
    elif batch.failures or not quiet:
        click.echo(f"{said}; see {files.shown(batch.output)}", err=True)


def _write_overviews(batch: Batch, contact_sheet: bool, report: bool) -> None:
    from styletx.batches import report as overviews

    if not (contact_sheet or report):
        return
    records = overviews.latest(batch.manifest.records(), (job.output for job in batch.jobs))
    wanted: dict[str, Callable[[], bytes]] = {}
    if contact_sheet and any(record.output_sha256 for record in records):
        wanted[plan.CONTACT_SHEET] = lambda: overviews.contact_sheet(records)
    if report:
        wanted[plan.REPORT] = lambda: overviews.page(records, f"styletx: {files.shown(batch.output)}")
    for name, make in wanted.items():
        try:
            files.write(files.join(batch.output, name), make())
        except OutputError as error:
            # The pictures are there; an overview is not worth an error.
            warnings.warn(str(error), stacklevel=1)
