"""`styletx` as a process of its own: signals, terminals, and streams that are closed or break."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import STYLETX, Processes
from PIL import Image

from styletx import __version__, images

pty = pytest.importorskip("pty", reason="signals, terminals and shells of POSIX")


@pytest.fixture(autouse=True)
def folder(content_picture: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds photo.png and painting.png, to work in."""
    monkeypatch.chdir(content_picture.parent)


SLOW = pytest.mark.slow(reason="one signal of several")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=SLOW)])
def test_a_run_that_is_stopped_saves_the_best_picture(processes: Processes, tiny_weights: Path, number: int) -> None:
    Image.open("photo.png").resize((192, 144)).save("large.png")
    options = ["--weights", str(tiny_weights), "--iterations", "100000", "--optimizer", "adam", "--save-every", "1"]
    film = ["--timelapse", "film.gif"]
    process = processes.start(*STYLETX, "run", "large.png", "painting.png", *options, *film)
    while not Path("outputs/large-painting-0002.png").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    lines = err.decode().replace("\r", "\n").splitlines()
    assert process.returncode == 128 + number and out == b"" and b"Traceback" not in err
    stopped = re.fullmatch(
        "Stopped (at .* px, enlarged); the best picture so far went to outputs/large-painting.png", lines[-1]
    )
    assert stopped and images.read_metadata("outputs/large-painting.png")["stopped"] == stopped[1]
    assert Image.open("outputs/large-painting.png").convert("RGB").size == (768, 576)
    assert Image.open("film.gif").size == (768, 576)


SAVING = """
import os
from styletx.cli import main
from styletx.images import writing
encode = writing.encoding.encode
def interrupted(*arguments):
    os.kill(os.getpid(), int(os.environ["NUMBER"]))
    return encode(*arguments)
writing.encoding.encode = interrupted
main()
"""


NAMED = ["-o", "outputs/photo-mosaic.png"]
MORE = [
    pytest.param(number, output, marks=SLOW)
    for number, output in ((signal.SIGINT, []), (signal.SIGTERM, NAMED), (signal.SIGHUP, []))
]


@pytest.mark.parametrize(("number", "output"), [(signal.SIGTERM, []), *MORE])
def test_a_signal_while_a_picture_is_saved_costs_nothing(processes: Processes, number: int, output: list[str]) -> None:
    options = ["run", "photo.png", "mosaic", "-q", "--size", "32", *output]
    ended = processes.finish(sys.executable, "-c", SAVING, *options, env={"NUMBER": str(int(number))})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert os.listdir("outputs") == ["photo-mosaic.png"]
    Image.open("outputs/photo-mosaic.png").load()


def test_no_picture_goes_to_or_comes_from_a_terminal(processes: Processes) -> None:
    ours, theirs = pty.openpty()
    try:
        out = processes.start(*STYLETX, "run", "photo.png", "painting.png", "-o", "-", stdout=theirs)
        assert b"Error: stdout is a terminal" in out.communicate(timeout=300)[1]
        into = processes.start(*STYLETX, "run", "-", "painting.png", "-o", "a.png", stdin=theirs)
        assert b"Error: stdin holds no picture" in into.communicate(timeout=300)[1]
    finally:
        os.close(ours)
        os.close(theirs)
    assert (out.returncode, into.returncode) == (2, 2)


def test_streams_that_are_closed_or_break_are_no_bugs(processes: Processes, tiny_weights: Path) -> None:
    fixed = shlex.join(["--weights", str(tiny_weights), "--iterations", "1", "--size", "32", "-q"])
    for content, rest, told in [
        ("-", "-o a.png <&-", "Error: stdin holds no picture"),
        ("photo.png", "-o - >&-", "Error: stdout is closed"),
        ("photo.png", "-o - | true; exit ${PIPESTATUS[0]}", "Error: <stdout> cannot be written (broken pipe)"),
    ]:
        ended = processes.finish("bash", "-c", f"{shlex.join(STYLETX)} run {content} painting.png {fixed} {rest}")
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1) and ended.stderr.startswith(told), ended.stderr


def test_what_stdin_comes_from_is_never_overwritten(processes: Processes) -> None:
    before = Path("photo.png").read_bytes()
    ended = processes.finish("bash", "-c", f"{shlex.join(STYLETX)} run - mosaic --size 32 -o photo.png < photo.png")
    assert ended.returncode == 2 and "photo.png is one of the inputs" in ended.stderr
    assert Path("photo.png").read_bytes() == before


IMPORTING = """
import os, signal, sys, threading, types
torch = types.ModuleType("torch")
torch.__spec__ = types.SimpleNamespace(_initializing=True)
sys.modules["torch"] = torch
def imported():
    torch.__spec__._initializing = False
from styletx.cli import signals
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with signals.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        print("still importing")
        threading.Timer(0.3, imported).start()
        signal.pause()
        while True:
            pass
except KeyboardInterrupt:
    print(torch.__spec__._initializing)
"""


def test_ctrl_c_waits_while_torch_is_imported(processes: Processes) -> None:
    ended = processes.finish(sys.executable, "-c", IMPORTING)
    assert ended.stdout == "still importing\nFalse\n", ended.stderr


def test_it_runs_as_a_module_without_loading_torch(processes: Processes) -> None:
    assert processes.finish(*STYLETX, "--version").stdout == f"styletx {__version__}\n"
    code = "import sys, styletx.cli; styletx.cli.main(['-h'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    assert processes.finish(sys.executable, "-c", code).returncode == 0


def test_it_speaks_utf8_in_any_locale(processes: Processes) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = processes.finish(*STYLETX, "batch", "photo.png", "-s", "painting.png", "-o", "out", "--dry-run", env=locale)
    assert (ended.returncode, ended.stdout) == (0, "make    photo.png in painting.png → out/painting/photo.png\n")


def test_the_command_is_installed() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="styletx")
    assert script.value == "styletx.cli:main"


def test_the_shell_completes_commands_options_and_nothing_unknown(processes: Processes) -> None:
    def completed(words: str) -> list[str]:
        variables = {"_STYLETX_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        ended = processes.finish(*STYLETX, env=variables)
        assert ended.stderr == ""
        return [line.partition(",")[2] for line in ended.stdout.splitlines()]

    script = processes.finish(*STYLETX, env={"_STYLETX_COMPLETE": "bash_source"}).stdout
    assert "complete -o nosort -F _styletx_completion styletx" in script
    assert completed("styletx r") == ["run", "regions"]
    assert completed("styletx run --style") == ["--style-size", "--style-weight", "--style-layers"]
    assert completed("styletx run --optimizer ") == ["lbfgs", "adam"]
    completed("styletx rnu ")
