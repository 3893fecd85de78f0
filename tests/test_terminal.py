"""What commands print reaches the terminal as text, whatever is in names and metadata."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import STYLETX, possible
from PIL import Image, PngImagePlugin

from styletx import files
from styletx.cli import main

# An escape sequence, a carriage return, an end of line, C1's, a mark that turns the direction of text, half a pair.
HOSTILE = ["\x1b[2J", "a\rb", "a\nError: b", "\x9b31m", "\u202ecod.exe", "\udcff"]


def is_harmless(text: str) -> bool:
    return all(one.isprintable() or one == "\n" for one in text.replace("\r  0% |", ""))  # of a bar


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_to_be_seen_is_escaped(text: str) -> None:
    found = files.printable(text)
    assert found.isprintable() and found.encode().decode("unicode_escape").encode("utf-16", "surrogatepass") == (
        text.encode("utf-16", "surrogatepass")
    )
    assert files.printable("Zürich 東京 a b") == "Zürich 東京 a b"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "@", "mosaic"),
        ("run", "photo.png", "@.safetensors"),
        ("run", "photo.png", "mosaic", "-o", "@"),
        ("run", "photo.png", "mosaic", "@"),
        ("run", "photo.png", "mosaic", "--@"),
        ("run", "photo.png", "mosaic", "--look", "@"),
        ("@",),
        ("--@",),
        ("batch", "@", "-s", "mosaic", "-o", "out"),
        ("batch", "photo.png", "-s", "@", "-o", "out"),
        ("info", "@"),
        ("export", "@", "-o", "a.onnx"),
        ("inspect", "@"),
        ("weights", "fetch", "@"),
        ("train", "photo.png", "@", "-o", "a.safetensors"),
    ],
)
def test_names_are_shown_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 32)).save("photo.png")
    done = CliRunner().invoke(main, [one.replace("@", "".join(HOSTILE)) for one in arguments])
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit)
    assert is_harmless(done.output) and not done.output.startswith("Error: b")
    assert "\nError: b" not in done.output


def test_metadata_is_shown_escaped_and_does_not_pass_for_ours(tmp_path: Path) -> None:
    nested: object = (text := "".join(HOSTILE))
    for _ in range(600):
        nested = [nested]
    odd = {
        text: text,
        "content": text,
        "command": "rm -rf /",
        "command         a": 1,
        "options": {text: text},
        "n": nested,
    }
    information = PngImagePlugin.PngInfo()
    information.add_text("styletx", json.dumps(odd))
    Image.new("RGB", (32, 32)).save(tmp_path / "odd.png", pnginfo=information)
    done = CliRunner().invoke(main, ["info", str(tmp_path / "odd.png")])
    assert done.exit_code == 0 and is_harmless(done.output)
    (line,) = [line for line in done.output.splitlines() if line.startswith("command")]
    assert line.startswith("command         styletx run ")
    done = CliRunner().invoke(main, ["info", str(tmp_path / "odd.png"), "--json"])
    assert json.loads(done.output)["command"].startswith("styletx run ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["styles"], ["run", "--help"], ["info", "our.png"]])
def test_a_full_stdout_gets_one_line(tmp_path: Path, arguments: list[str]) -> None:
    information = PngImagePlugin.PngInfo()
    information.add_text("styletx", "{}")
    Image.new("RGB", (32, 32)).save(tmp_path / "our.png", pnginfo=information)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*STYLETX, *arguments], stdout=full, stderr=subprocess.PIPE, cwd=tmp_path)
    said = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert said == ["Error: stdout cannot be written (no space left on device); send it elsewhere"]


def test_an_encoding_without_arrows_gets_them_escaped(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / possible("ü.png"))
    arguments = ["batch", ".", "-s", "mosaic", "-o", "out", "--dry-run"]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = subprocess.run([*STYLETX, *arguments], capture_output=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0 and rb"\u2192" in done.stdout and b"Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "code"), [(["run", "photo.png", "mosaic", "--size", "24", "-o", "out.png"], 0), (["nope"], 2)]
)
def test_a_full_stderr_costs_no_work(tmp_path: Path, encoding: str, arguments: list[str], code: int) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*STYLETX, *arguments], stdout=full, stderr=full, cwd=tmp_path, env=environment)
    assert done.returncode == code and (tmp_path / "out.png").exists() == (code == 0)


@pytest.mark.parametrize("variable", ["TQDM_MININTERVAL", "TQDM_NCOLS"])
def test_a_variable_of_bars_that_makes_no_sense_is_told(variable: str) -> None:
    done = subprocess.run([*STYLETX, "styles"], capture_output=True, env=os.environ | {variable: "soon"}, text=True)
    assert done.returncode == 2 and done.stderr.startswith("Error: a variable TQDM_… of the environment cannot be")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["a" * 300, "~nobody-at-all/a", "/dev/null"])
def test_a_cache_that_cannot_be_is_no_reason_to_fail(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLETX_CACHE", place)
    done = CliRunner().invoke(main, ["weights"])
    assert done.exit_code == 0 and "compact" in done.stdout
