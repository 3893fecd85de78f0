"""What a case is, and what is wrong with one."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]


class Case(NamedTuple):
    """What is tried, in one line, and a function that tries it and tells what is wrong, or nothing."""

    told: str
    attempt: Callable[[], str]


def fault(error: BaseException) -> str:
    """An exception on one line: where styletx was, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(one.filename).relative_to(PROJECT)}:{one.lineno}" for one in frames if "/styletx/" in one.filename]
    last = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return (
        ascii(f"{type(error).__name__}: {error}"[:200]) + f" at {ours[-1] if ours else 'no line of styletx'} ({last})"
    )


def unfit(code: int, said: str, errors: str, fails: bool = False) -> str:
    """What is wrong with a command's exit code and with what it printed; a batch may fail with 1."""
    os.write(1, f"exit code {code}\n{said}{errors}".encode(errors="backslashreplace"))  # kept for --only
    if "Traceback" in said + errors:
        files = re.findall(r'File "([^"]+)", line (\d+)', said + errors)
        ours = [f"{name.rpartition('/styletx/')[2]}:{line}" for name, line in files if "/styletx/" in name]
        return f"traceback: {(said + errors).strip().splitlines()[-1][:200]!a} at {ours[-1:] or files[-1:]}"
    if code not in (0, 1, 2) or (code == 1 and not fails):
        return f"exit code {code}: {(said + errors)[-200:]!a}"
    if code == 2 and sum(line.startswith("Error: ") for line in errors.replace("\r", "\n").splitlines()) != 1:
        return f"not one line of error: {errors[-300:]!a}"
    odd = {one for one in said + errors if not one.isprintable() and one not in "\r\n"}
    return f"printed {''.join(sorted(odd))!a}" if odd else ""


def overwritten() -> str:
    """Which of the pictures that a command was given it changed."""
    changed = [name for name in ("photo.png", "painting.png") if read(name) != read(f"../kit/{name}")]
    return f"{', '.join(changed)} changed" if changed else ""


def command(*arguments: str, about: str = "", stdin: bytes = b"") -> Case:
    """A command line in this process."""

    def attempt() -> str:
        from click.testing import CliRunner

        from styletx.cli import main

        done = CliRunner().invoke(main, arguments, input=io.BytesIO(stdin))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            return fault(done.exception)
        said = "" if "-" in arguments else done.stdout  # a picture
        return unfit(done.exit_code, said + printed(), done.stderr, arguments[:1] == ("batch",)) or overwritten()

    return Case(ascii(shlex.join(arguments)[:400]) + f" {about}", attempt)


def process(*arguments: str, redirection: str, environment: dict[str, str | None]) -> Case:
    """A command line as a process of its own, with its streams redirected by a shell."""

    def attempt() -> str:
        line = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, "-m", "styletx", *arguments]
        wanted = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
        done = subprocess.run(line, env=wanted, capture_output=True, stdin=subprocess.DEVNULL)
        said, errors = (stream.decode(errors="backslashreplace") for stream in (done.stdout, done.stderr))
        if "2>" in redirection and done.returncode == 2:
            errors = "Error: not seen"
        return unfit(done.returncode, said, errors, arguments[0] == "batch" or "|" in redirection) or overwritten()

    return Case(f"{environment!a} {shlex.join(arguments)[:400]!a} {redirection}", attempt)


def call(told: str, function: Callable[[], object], *also: type[Exception]) -> Case:
    """A call of the library, which may raise its own errors, and others that are named."""

    def attempt() -> str:
        from styletx.errors import StyletxError

        try:
            os.write(1, f"{function()!r:.300}".encode(errors="backslashreplace"))  # kept for --only
        except (StyletxError, *also) as error:  # type: ignore[misc]
            text = str(error)
            os.write(1, f"{type(error).__name__}: {text}".encode(errors="backslashreplace"))
            is_clear = text.isprintable() if isinstance(error, StyletxError) else "\n" not in text
            return "" if is_clear else f"not one line: {fault(error)}"
        except BaseException as error:
            return fault(error)
        return ""

    return Case(ascii(told)[:500], attempt)


def printed() -> str:
    """What libraries and processes wrote past Python since the last time."""
    text = os.pread(1, 100_000, 0).decode(errors="backslashreplace")
    os.ftruncate(1, 0)
    return text


def read(name: str | Path) -> bytes:
    """A file's bytes; none if it cannot be read."""
    with contextlib.suppress(OSError):
        return Path(name).read_bytes()
    return b""
