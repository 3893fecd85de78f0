"""`styletx` as a process of its own: signals, terminals, and streams that are closed or break."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styletx import __version__

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals, terminals and shells of POSIX")


@pytest.fixture(autouse=True)
def folder(content_picture: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds photo.png and painting.png, to work in."""
    monkeypatch.chdir(content_picture.parent)


def started(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, "-m", "styletx", *arguments], env=environment, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_saves_the_best_picture(tiny_weights: Path, number: int) -> None:
    Image.open("photo.png").resize((192, 144)).save("large.png")
    options = ["--weights", str(tiny_weights), "--iterations", "100000", "--optimizer", "adam", "--save-every", "1"]
    film = ["--timelapse", "film.gif"]
    process = started(
        "run", "large.png", "painting.png", *options, *film, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 40
    while not Path("outputs/large-painting-0002.png").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    lines = err.decode().replace("\r", "\n").splitlines()
    assert process.returncode == 0 and out == b"" and b"Traceback" not in err
    assert lines[-1] == "Stopped; the best picture so far went to outputs/large-painting.png"
    assert Image.open("outputs/large-painting.png").convert("RGB").size == (512, 384)
    assert Image.open("film.gif").size == (512, 384)


def test_no_picture_goes_to_or_comes_from_a_terminal() -> None:
    ours, theirs = pty.openpty()
    try:
        out = started("run", "photo.png", "painting.png", "-o", "-", stdout=theirs, stderr=subprocess.PIPE)
        assert b"Error: a picture is not written to a terminal" in out.communicate(timeout=300)[1]
        into = started("run", "-", "painting.png", "-o", "a.png", stdin=theirs, stderr=subprocess.PIPE)
        assert b"Error: no picture comes in on stdin" in into.communicate(timeout=300)[1]
    finally:
        os.close(ours)
        os.close(theirs)
    assert (out.returncode, into.returncode) == (2, 2)


def test_streams_that_are_closed_or_break_are_no_bugs(tiny_weights: Path) -> None:
    command = f"'{sys.executable}' -m styletx run {{}} painting.png --weights {tiny_weights} --iterations 1 -q {{}}"
    for content, rest, told in [
        ("-", "-o a.png <&-", "Error: no picture comes in on stdin"),
        ("photo.png", "-o - >&-", "Error: stdout is closed"),
        ("photo.png", "-o - | true; exit ${{PIPESTATUS[0]}}", "Error: <stdout> cannot be written (broken pipe)"),
    ]:
        script = command.format(content, rest.replace("{{", "{").replace("}}", "}"))
        ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1) and ended.stderr.startswith(told), ended.stderr


def test_it_runs_as_a_module_without_loading_torch() -> None:
    process = started("--version", stdout=subprocess.PIPE)
    assert process.communicate(timeout=300)[0].decode() == f"styletx {__version__}\n"
    code = "import sys, styletx.cli; styletx.cli.main(['-h'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_the_shell_completes_commands_options_and_nothing_unknown() -> None:
    def completed(words: str) -> list[str]:
        environment = {"_STYLETX_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        ended = subprocess.run([command], env=os.environ | environment, capture_output=True, text=True, timeout=300)
        assert ended.stderr == ""
        return [line.partition(",")[2] for line in ended.stdout.splitlines()]

    command = str(Path(sys.executable).with_name("styletx"))
    script = subprocess.run(
        [command], env=os.environ | {"_STYLETX_COMPLETE": "bash_source"}, capture_output=True, text=True, timeout=300
    )
    assert "complete -o nosort -F _styletx_completion styletx" in script.stdout
    assert completed("styletx r") == ["run"]
    assert completed("styletx run --style") == ["--style-size", "--style-weight", "--style-layers"]
    assert completed("styletx run --optimizer ") == ["lbfgs", "adam"]
    completed("styletx rnu ")
