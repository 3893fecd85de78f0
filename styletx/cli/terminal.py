"""What commands print: lines in which nothing is left that a terminal would obey."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from styletx.errors import OptionError, OutputError
from styletx.files import printable, reason

UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT)


def say(text: str = "", *, aside: bool = False) -> None:
    """Print a line: on stdout if it is what was asked for, or aside, on stderr."""
    click.echo(printable(text), err=aside)


class _Patient(io.FileIO):
    """A stderr that may be full or broken: what cannot be said is not worth the work for."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return super().write(data) or 0
        return len(data)


def prepare() -> None:
    """Get the terminal ready: characters that its encoding lacks are escaped, and a full stderr is borne.

    Raises:
        OptionError: the environment has a variable for bars that makes no sense.
    """
    real: Any = sys.__stderr__
    # A Windows console is no such file.
    if real is not None and sys.stderr is real and type(getattr(real.buffer, "raw", real.buffer)) is io.FileIO:
        stream = io.BufferedWriter(_Patient(real.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(stream, real.encoding, "backslashreplace", line_buffering=True)
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        reconfigure(errors="backslashreplace")
    if any(name.startswith("TQDM_") for name in os.environ):
        try:
            import tqdm  # noqa: F401
        except ValueError as error:  # it reads its variables when it is imported, and torch imports it
            raise OptionError(
                f"a variable TQDM_… of the environment cannot be read ({reason(error)}); remove it"
            ) from error


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Escape what click is about to say, and turn a full stdout into an error of one line.

    Raises:
        OutputError: stdout cannot be written.
    """
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # its message is the help
        raise
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
