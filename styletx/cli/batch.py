"""`styletx batch`: repaint whole folders."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from datetime import datetime
from typing import Any, TextIO

import click

from styletx import files
from styletx.batches import Batch, Executor, executor_named, plan
from styletx.cli import signals, terminal
from styletx.cli.flags import Choice, GroupedCommand, flag, option_flags, recipe_flag, region_flag
from styletx.notes import Note, Notes
from styletx.options import Options


@click.command(cls=GroupedCommand)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-s", "--style", "styles", multiple=True, required=True, metavar="STYLE", help="A style; may be given repeatedly."
)
@region_flag
@recipe_flag
@click.option("-o", "--output", required=True, metavar="OUT", help="Folder for the results.")
@click.option(
    "--pattern",
    multiple=True,
    metavar="GLOB",
    show_default="all pictures",
    help="Which files to take from folders, such as '*.jpg'; may be given repeatedly.",
)
@click.option("--format", type=Choice(plan.FORMATS), default="png", show_default=True, help="Format of the results.")
@click.option("--overwrite", is_flag=True, help="Redo results made with different settings.")
@click.option("--history", is_flag=True, help=f"Keep every line of {plan.MANIFEST}, not only each picture's last.")
@click.option("--log-file", metavar="FILE", help="Also append notes and what was done to FILE, with the time.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first picture that fails.")
@click.option("--executor", default="local", show_default=True, metavar="local|ray", help="What runs the batch.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one per GPU",
    help="Number of worker processes.",
)
@click.option("--address", metavar="HOST:PORT", help="Address of the Ray cluster, for --executor ray.")
@click.option("--report", is_flag=True, help=f"Also write {plan.REPORT}, a page to compare results and photographs.")
@click.option("--contact-sheet/--no-contact-sheet", default=True, help=f"Write {plan.CONTACT_SHEET}, an overview.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON on stdout for each picture.")
@option_flags()
def command(
    sources: tuple[str, ...],
    styles: tuple[str, ...],
    region: tuple[str, ...],
    recipe: str | None,
    output: str,
    pattern: tuple[str, ...],
    format: str,
    overwrite: bool,
    history: bool,
    log_file: str | None,
    dry_run: bool,
    fail_fast: bool,
    executor: str,
    workers: int | None,
    address: str | None,
    report: bool,
    contact_sheet: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Repaint files, folders and lists of them ('@list.txt') in one or several styles.

    A list has a name on each line, as it stands: quotes and number signs belong to it.

    Run the same command again to continue a batch that was stopped. The exit code is 0 if everything is done, 1 if
    pictures failed, 2 if the batch could not start, 130 after Ctrl-C, and 143 after SIGTERM.
    """
    chosen = executor_named(executor, workers=workers, address=address)
    made = Options(**options)
    styles = tuple("+".join([style, *region]) for style in styles)
    batch = Batch(sources, styles, output, made, pattern=pattern, format=format, overwrite=overwrite, history=history)
    if dry_run:
        _print_plan(batch, as_json)
        return
    batch.check()
    if log_file is not None:
        log_file = files.local(log_file)
        batch.check_log(log_file)
    with _Log(log_file) as log:
        code = _run(batch, chosen, log, fail_fast=fail_fast, quiet=quiet, as_json=as_json)
    _tell(batch, bool(code), quiet or as_json)
    if contact_sheet or report:
        _write_overviews(batch, contact_sheet=contact_sheet, report=report, quiet=quiet)
    click.get_current_context().exit(code or int(bool(batch.failures)))


class _Log:
    """A file to which lines are appended, each with the time; without a name, nothing is.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, name: str | None) -> None:
        self._file: TextIO | None = None
        if name is not None:
            files.check(name)
            with files.output_errors(name):
                self._file = open(name, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def say(self, text: str) -> None:
        """Append a line; if that fails, the batch is worth more."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                now = datetime.now().astimezone().isoformat(timespec="seconds")
                print(now, files.printable(text), file=self._file, flush=True)

    def notes(self, notes: Notes) -> None:
        """Append notes, a line each."""
        for note in notes:
            self.say(note.rendered(flag))


def _run(batch: Batch, executor: Executor, log: _Log, *, fail_fast: bool, quiet: bool, as_json: bool) -> int:
    """Run a batch with a bar, its notes and its lines of JSON; the exit code if a signal stopped it, else 0."""
    from styletx.cli import progress

    stop = signals.Stop()
    with contextlib.ExitStack() as stack:
        progress.notes(batch.notes, quiet)
        log.notes(batch.notes)
        told = len(batch.notes)
        shown = stack.enter_context(progress.Count(len(batch.jobs), "pictures", quiet))
        records = stack.enter_context(contextlib.closing(batch.run(executor)))
        stack.enter_context(stop.interrupting())
        for record in records:
            notes = (*batch.notes[told:], *map(Note, record.notes))
            shown.notes(notes)
            log.notes(notes)
            told = len(batch.notes)
            if not record.skipped:
                log.say(f"{files.shown(record.source)} in {files.shown(record.style)}: {record.error or record.output}")
            if as_json:
                terminal.say(json.dumps(dataclasses.asdict(record)))
            shown.update(f"{failed} failed" if (failed := batch.tally["failed"]) else "")
            if fail_fast and record.error:
                break
    return stop.code


def _print_plan(batch: Batch, as_json: bool) -> None:
    for task in batch.tasks:
        row = {
            "state": batch.state(task),
            "source": task.job.source,
            "style": task.job.style,
            "output": task.job.output,
        }
        if as_json:
            terminal.say(json.dumps(row))
        else:
            source, style, place = map(files.shown, (task.job.source, task.job.style, task.job.output))
            why = f": {' '.join(task.job.problem.split())}" if task.job.problem else ""
            terminal.say(f"{row['state']:6}  {source} in {style} → {place}{why}")


def _tell(batch: Batch, is_stopped: bool, quiet: bool) -> None:
    for failure in batch.failures:
        terminal.say(f"Failed: {' '.join(failure.rendered(flag).split())}", aside=True)
    names = {"done": "done", "skipped": "already done", "failed": "failed"}
    parts = [f"{batch.tally[key]} {name}" for key, name in names.items() if batch.tally[key]]
    said = ", ".join(parts) or "nothing done"
    left = len(batch.jobs) - batch.tally.total()
    if is_stopped or left:
        terminal.say(f"Stopped: {said}, {left} left; run the same command to continue", aside=True)
    elif batch.failures or not quiet:
        terminal.say(f"{said}; see {files.shown(batch.output)}", aside=True)


def _write_overviews(batch: Batch, *, contact_sheet: bool, report: bool, quiet: bool) -> None:
    from styletx.cli import progress

    told = len(batch.notes)
    batch.write_overviews(contact_sheet=contact_sheet, report=report)
    progress.notes(batch.notes[told:], quiet)
