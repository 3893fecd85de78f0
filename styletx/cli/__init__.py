"""The command line: one file per command, which parses, calls the library, and shows."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import click

from styletx._version import __version__
from styletx.cli import signals, terminal
from styletx.cli.flags import flag
from styletx.errors import StyletxError, hint
from styletx.files import printable

# A command's module is imported when the command is called, so that help and --version stay quick.
COMMANDS = {
    "run": "Repaint a photograph in the style of a painting, or in a trained style.",
    "ui": "Open a page in the browser, on which photographs are repainted.",
    "styles": "List the bundled styles.",
    "sheet": "Repaint a photograph in many ways on one sheet, to choose from.",
    "regions": "Find regions in a photograph, for styles of their own.",
    "batch": "Repaint whole folders, on one machine or a cluster.",
    "train": "Train a network that repaints any photograph in one style in a single pass.",
    "export": "Write a trained style as an ONNX file, for programs without torch.",
    "info": "Show how a picture was made, and the command that repeats it.",
    "weights": "List or download the weights of the networks.",
    "backbones": "List the networks that can compare pictures.",
    "inspect": "Look inside a network: its layers in numbers, and what they see in a picture.",
    "doctor": "Show what a run on this machine would use.",
}


class Commands(click.Group):
    """The commands in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, the main one first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from the module of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"styletx.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a better answer to an unknown name."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            advice = hint(name, COMMANDS)
            if len(args) > 1 and (os.path.exists(name) or os.path.splitext(name)[1]):
                advice = f"to repaint a picture: {shlex.join(['styletx', 'run', *args])}"
            ctx.fail(f"no command is called {name!r}; {advice}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; an error that a person can put right becomes one line and an exit code."""
        with _explained():
            return super().invoke(ctx)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click does it."""
        with _explained():
            terminal.prepare()
            return super().make_context(*args, **kwargs)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        with signals.deferred(), terminal.guarded():
            yield
    except StyletxError as error:
        raise _Failure(error) from error
    except KeyboardInterrupt:
        signals.Stop(signal.SIGINT).leave()


class _Failure(click.ClickException):
    def __init__(self, error: StyletxError) -> None:
        super().__init__(printable(" ".join(error.rendered(flag).split())))
        self.exit_code = error.exit_code  # type: ignore[misc]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="styletx %(version)s")
def main() -> None:
    """Neural style transfer: photographs repainted in the style of a painting.

    \b
    styletx run photo.jpg painting.jpg          writes outputs/photo-painting.png
    styletx run photo.jpg painting.jpg --fast   in one pass, a few seconds
    styletx run photo.jpg mosaic                a bundled style, likewise
    styletx run photo.jpg painting.jpg -o my.jpg --size 1024

    How a picture is painted can also be set in the environment: STYLETX_SIZE=1024.
    """  # noqa: D301
    # What a person should know is a note; Python's warnings are for programmers, who ask for them with `python -W`.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
