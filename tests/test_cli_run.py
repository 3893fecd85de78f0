"""`styletx run`: what it writes where, what it never overwrites, and how it ends."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import possible
from PIL import Image

from styletx import stylizers
from styletx.cli import main, progress
from styletx.cli.flags import flag
from styletx.errors import OutputError
from styletx.notes import Notes
from styletx.options import Options, defaults

Run = Callable[..., Result]
DEFAULTS = defaults(Options)

# For each option a value that is not its default, as typed and as `Options` holds it.
OTHER = {
    "size": ("32", 32),
    "style_size": ("40", 40),
    "stroke_size": ("2", 2.0),
    "method": (None, "one-pass"),
    "init": ("noise", "noise"),
    "max_pixels": ("4000", 4000),
    "style_weight": ("7.5", 7.5),
    "content_weight": ("0.25", 0.25),
    "tv_weight": ("2", 2.0),
    "strip_metadata": (None, True),
    "embed_paths": (None, True),
    "look": ("bold", "bold"),
    "match": ("0.5", 0.5),
    "rotations": (None, True),
    "colors": ("match", "match"),
    "palette": ("p.png", "p.png"),
    "keep": ("m.png", "m.png"),
    "regions": ("auto", "auto"),
    "detail": ("auto", "auto"),
    "keep_faces": ("0.5", 0.5),
    "seamless": ("xy", "xy"),
    "paint_alpha": (None, True),
    "style_layers": ("relu1_1,relu1_2=0.5", "relu1_1,relu1_2=0.5"),
    "content_layers": ("relu1_2", "relu1_2"),
    "iterations": ("2", 2),
    "optimizer": ("adam", "adam"),
    "seed": ("9", 9),
    "backbone": ("compact", "compact"),
    "weights": ("w.safetensors", "w.safetensors"),
    "pooling": ("average", "average"),
    "padding": ("zeros", "zeros"),
    "offline": (None, True),
    "device": ("cpu", "cpu"),
    "precision": ("float32", "float32"),
    "strength": ("0.5", 0.5),
    "smooth_activations": (None, True),
    "tile": ("off", "off"),
    "runtime": ("onnx", "onnx"),
    "compile": (None, True),
}


@pytest.fixture
def run(
    content_picture: Path, style_picture: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Calls `styletx run photo.png painting.png` in their folder, two evaluations at 32 px."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, content: str = "photo.png", style: str = "painting.png", stdin: bytes = b"") -> Result:
        fixed = ["--weights", str(tiny_weights), "--iterations", "2", "--size", "32", "--precision", "float32"]
        return CliRunner().invoke(main, ["run", content, style, *fixed, *arguments], input=stdin)

    return call


def files(folder: str = ".") -> list[str]:
    return sorted(os.listdir(folder))


def refused(result: Result) -> str:
    """The one error line of a run that was refused."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit) and "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1 and result.stderr.splitlines()[-1] == lines[0] and not result.stdout
    return lines[0]


def test_it_names_the_result_after_both_pictures_and_keeps_earlier_ones(run: Run) -> None:
    for _ in range(3):
        assert run().exit_code == 0
    assert files("outputs") == ["photo-painting-2.png", "photo-painting-3.png", "photo-painting.png"]
    with Image.open("outputs/photo-painting.png") as picture:
        assert picture.size == (32, 24)


def test_two_runs_that_end_at_once_get_a_name_each(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = stylizers.OptimizingStylizer.steps

    def slow(*arguments: Any, **options: Any) -> Any:
        yield from steps(*arguments, **options)
        Path("outputs/photo-painting.png").write_text("another run's")

    monkeypatch.setattr(stylizers.OptimizingStylizer, "steps", slow)
    assert run().stderr.splitlines()[-1].startswith("outputs/photo-painting-2.png: 32×24 px in ")
    assert Path("outputs/photo-painting.png").read_text() == "another run's"


@pytest.mark.parametrize("name", ["a b.png", "bild-ü.jpg", "deep/er/a.webp", "A.TIFF"])
def test_a_path_given_is_replaced(run: Run, name: str) -> None:
    possible(Path(name).name)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("old")
    result = run("-o", name)
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(rf"{re.escape(name)}: 32×24 px in [0-9.]+ s", result.stderr.splitlines()[-1])
    with Image.open(name) as picture:
        assert picture.size == (32, 24)


@pytest.mark.parametrize("source", ["photo.png", "painting.png", "start.png"])
@pytest.mark.parametrize("way", ["same", "spelled", "symlink", "hardlink"])
def test_a_source_is_never_overwritten(run: Run, tmp_path: Path, source: str, way: str) -> None:
    Path("start.png").write_bytes(Path("photo.png").read_bytes())
    before = Path(source).read_bytes()
    names = {"same": source, "spelled": f"{tmp_path}/../{tmp_path.name}/{source}"}
    if way == "symlink":
        os.symlink(source, "link.png")
    if way == "hardlink":
        os.link(source, "link.png")
    for start in ("start.png", f"file://{tmp_path}/start.png"):
        assert "one of the inputs" in refused(run("--init", start, "-o", names.get(way, "link.png")))
    assert Path(source).read_bytes() == before


@pytest.mark.parametrize("name", ["out-0001.webp", "out-0003-2.webp", "./out-12345.webp"])
def test_a_timelapse_is_not_named_like_a_picture_on_the_way(run: Run, name: str) -> None:
    told = refused(run("-o", "out.webp", "--save-every", "1", "--timelapse", name))
    assert told.endswith("is named like a picture on the way; choose another name for the timelapse")
    assert files() == ["painting.png", "photo.png"]


def test_a_timelapse_may_have_an_address(run: Run, tmp_path: Path) -> None:
    assert run("-o", "out.png", "--timelapse", f"file://{tmp_path}/film-1.gif").exit_code == 0
    assert files() == ["film-1.gif", "out.png", "painting.png", "photo.png"]


def test_stages_and_results_keep_what_has_their_name_even_a_source(run: Run) -> None:
    Path("photo.png").rename("out-0001.png")
    before = Path("out-0001.png").read_bytes()
    assert run("-o", "out.png", "--save-every", "1", content="out-0001.png").exit_code == 0
    assert files() == ["out-0001-2.png", "out-0001.png", "out-0002.png", "out.png", "painting.png"]
    assert Path("out-0001.png").read_bytes() == before
    pixels = [np.asarray(Image.open(name)) for name in ("out-0001-2.png", "out-0002.png", "out.png")]
    assert (pixels[0] != pixels[1]).any() and (pixels[1] == pixels[2]).all()


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_option_comes_from_its_flag_then_its_variable_then_its_default(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Stop(Exception):
        pass

    seen: list[dict[str, Any]] = []

    def stop(style: Any, options: Any, **_: Any) -> None:
        seen.append(dataclasses.asdict(options))
        raise Stop

    monkeypatch.delenv("STYLETX_OFFLINE")
    monkeypatch.setattr(stylizers, "load_stylizer", stop)
    typed, value = OTHER[name]
    given = [flag(name)] if typed is None else [flag(name), typed]
    variable = f"STYLETX_{name.upper()}"
    pictures = ["run", "photo.png", "painting.png"]
    for arguments, environment in [(given, None), ([], "one-pass" if name == "method" else typed or "1"), ([], None)]:
        found = CliRunner().invoke(main, [*pictures, *arguments], env={variable: environment})
        assert isinstance(found.exception, Stop), found.output
    assert [options[name] for options in seen] == [value, value, DEFAULTS[name]]
    assert seen[0] == DEFAULTS | {name: value}
    # "0" would be refused, or mean something else, if the variable were looked at.
    CliRunner().invoke(main, [*pictures, *given], env={variable: "0"})
    assert seen[-1] == seen[0]


@pytest.mark.parametrize("value", ["fast", "ONE-PASS", "0"])
def test_a_method_that_does_not_exist_is_refused_in_the_environment_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("STYLETX_METHOD", value)
    assert "one-pass" in refused(run())


def test_quiet_says_nothing_and_json_says_it_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    quiet = run("--quiet", "-o", "a.png", "--save-every", "1")
    assert (quiet.exit_code, quiet.output) == (0, "")
    told = run("--json", "-o", "b.png")
    report = json.loads(told.stdout)
    assert (report["output"], report["stopped"], report["size"]) == ("b.png", False, [32, 24])
    assert report["options"]["iterations"] == 2 and report["seconds"] > 0
    bar = told.stderr.splitlines()[-1]
    assert "scale 1/1 (32×24)" in bar and f"loss {report['losses']['total']:.4f}" in bar and "<00:00" in bar


def test_lines_take_the_bars_place_where_nobody_watches(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "%" not in run().stderr
    monkeypatch.setattr(progress, "EVERY", 0)
    told = run("--iterations", "4").stderr
    assert re.search(r"^\d\d% done, about 0:\d\d left$", told, re.MULTILINE) and "|" not in told and "\r" not in told
    assert "%" not in run("--quiet").stderr


def test_a_stage_that_cannot_be_saved_costs_no_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save = stylizers.Result.save

    def picky(self: stylizers.Result, path: Path, **options: Any) -> Notes:
        if "-0001" in str(path):
            raise OutputError(f"{path} cannot be written (no space left on device); choose another place")
        return save(self, path, **options)

    monkeypatch.setattr(stylizers.Result, "save", picky)
    result = run("-o", "out.png", "--save-every", "1")
    assert result.exit_code == 0 and "Note: out-0001.png cannot be written" in result.stderr
    assert files() == ["out-0002.png", "out.png", "painting.png", "photo.png"]


def test_a_picture_that_cannot_be_saved_leaves_no_empty_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: stylizers.Result, path: Path, **options: Any) -> None:
        raise OutputError(f"{path} cannot be written (no space left on device); choose another place")

    monkeypatch.setattr(stylizers.Result, "save", full)
    assert "no space left" in refused(run("--quiet"))
    assert files("outputs") == []


def test_content_comes_from_stdin_and_the_result_goes_to_stdout(run: Run) -> None:
    run("-o", "named.png")
    result = run(content="-", stdin=Path("photo.png").read_bytes())
    piped, named = Image.open(io.BytesIO(result.stdout_bytes)), Image.open("named.png")
    assert piped.format == "PNG" and np.array_equal(np.asarray(piped), np.asarray(named))
    assert "Note: " in result.stderr and "outputs" not in files()
    assert run("-o", "-").stdout_bytes[:4] == b"\x89PNG"
    assert run("-o", "in.jpg", content="-", stdin=Path("photo.png").read_bytes()).stdout == ""
    assert Image.open("in.jpg").format == "JPEG"


def test_a_painting_is_needed_to_see_something_on_the_way(run: Run) -> None:
    message = refused(run("--save-every", "1", style="mosaic"))
    assert "--save-every" in message and "remove the option, or give a painting without --fast" in message


def test_an_address_on_this_machine_is_a_path(run: Run) -> None:
    Path("a b.png").write_bytes(Path("photo.png").read_bytes())
    address = Path("a b.png").absolute().as_uri()
    assert "%20" in address
    done = run(content=address, style=Path("painting.png").absolute().as_uri())
    assert done.exit_code == 0, done.output
    assert Path("outputs/a b-painting.png").exists()


def test_an_error_names_flags_and_a_note_too(run: Run) -> None:
    assert "give --size 22" in refused(run("--size", "16"))
    result = run("--compile", "-o", "out.png")
    assert "Note: Only one pass uses --compile; the optimisation ignores it." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["photo.png", "mosaic"], "to repaint a picture: styletx run photo.png mosaic"),
        (["my photo.png", "mosaic"], "to repaint a picture: styletx run 'my photo.png' mosaic"),
        (["rnu", "photo.png", "mosaic"], "did you mean 'run'?"),
        (["run", "my", "photo.png", "mosaic"], "my: file not found; check the name"),
        (["run", "https://example.org/a.jpg", "mosaic"], "download"),
    ],
    ids=str,
)
def test_a_slip_gets_advice(run: Run, arguments: list[str], advice: str) -> None:
    assert advice in refused(CliRunner().invoke(main, arguments))
