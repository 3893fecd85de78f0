"""What commands print: lines in which nothing is left that a terminal would obey."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from styletx.errors import OutputError
from styletx.files import printable, reason

UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT)


def say(text: str = "", *, aside: bool = False) -> None:
    """Print a line: on stdout if it is what was asked for, or aside, on stderr."""
    click.echo(printable(text), err=aside)


def prepare() -> None:
    """Have characters that the terminal's encoding lacks escaped, and not refused."""
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Escape what click is about to say, and turn a full stdout into an error of one line.

    Raises:
        OutputError: stdout cannot be written.
    """
    try:
        yield
    except click.ClickException as error:
        error.message = printable(error.message)  # type: ignore[misc]
        raise
    except OSError as error:
        # What a file's name belongs to is not stdout, and a pipe that nobody reads any more is click's.
        if error.filename is not None or error.errno not in UNWRITABLE:
            raise
        _give_up_stdout()
        raise OutputError(f"stdout cannot be written ({reason(error)}); send it elsewhere") from error


def _give_up_stdout() -> None:
    """Nothing more goes there: Python itself would try again at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere: Any = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
