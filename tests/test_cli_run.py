"""`styletx run`: what it writes where, what it never overwrites, and how it ends."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from styletx import stylizers
from styletx.cli import films, main
from styletx.errors import OutputError
from styletx.options import DEFAULTS, FIELDS, flag

Run = Callable[..., Result]

# For each option a value that is not its default, as typed and as `Options` holds it.
OTHER = {
    "size": ("32", 32),
    "style_size": ("40", 40),
    "init": ("noise", "noise"),
    "max_pixels": ("4000", 4000),
    "style_weight": ("7.5", 7.5),
    "content_weight": ("0.25", 0.25),
    "tv_weight": ("2", 2.0),
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
    "engine": ("onnx", "onnx"),
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
    assert run().stderr.splitlines()[-1] == "outputs/photo-painting-2.png"
    assert Path("outputs/photo-painting.png").read_text() == "another run's"


@pytest.mark.parametrize("name", ["a b.png", "bild-ü.jpg", "deep/er/a.webp", "A.TIFF"])
def test_a_path_given_is_replaced(run: Run, name: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("old")
    result = run("-o", name)
    assert (result.exit_code, result.stdout, result.stderr.splitlines()[-1]) == (0, "", name)
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
    assert "source picture" in refused(run("--init", "start.png", "-o", names.get(way, "link.png")))
    assert Path(source).read_bytes() == before


def test_stages_and_results_keep_what_has_their_name_even_a_source(run: Run) -> None:
    Path("photo.png").rename("out-0001.png")
    before = Path("out-0001.png").read_bytes()
    assert run("-o", "out.png", "--save-every", "1", content="out-0001.png").exit_code == 0
    assert files() == ["out-0001-2.png", "out-0001.png", "out-0002.png", "out.png", "painting.png"]
    assert Path("out-0001.png").read_bytes() == before
    pixels = [np.asarray(Image.open(name)) for name in ("out-0001-2.png", "out-0002.png", "out.png")]
    assert (pixels[0] != pixels[1]).any() and (pixels[1] == pixels[2]).all()


@pytest.mark.parametrize("name", FIELDS)
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
    monkeypatch.setattr(stylizers, "prepare", stop)
    typed, value = OTHER[name]
    given = [flag(name)] if typed is None else [flag(name), typed]
    variable = f"STYLETX_{name.upper()}"
    pictures = ["run", "photo.png", "painting.png"]
    for arguments, environment in [(given, None), ([], typed or "1"), ([], None)]:
        found = CliRunner().invoke(main, [*pictures, *arguments], env={variable: environment})
        assert isinstance(found.exception, Stop), found.output
    assert [options[name] for options in seen] == [value, value, DEFAULTS[name]]
    assert seen[0] == DEFAULTS | {name: value}
    # "0" would be refused, or mean something else, if the variable were looked at.
    CliRunner().invoke(main, [*pictures, *given], env={variable: "0"})
    assert seen[-1] == seen[0]


def test_quiet_says_nothing_and_json_says_it_all(run: Run) -> None:
    quiet = run("--quiet", "-o", "a.png", "--save-every", "1")
    assert (quiet.exit_code, quiet.output) == (0, "")
    told = run("--json", "-o", "b.png")
    report = json.loads(told.stdout)
    assert (report["output"], report["stopped"], report["size"]) == ("b.png", False, [32, 24])
    assert report["options"]["iterations"] == 2 and report["seconds"] > 0
    bar = told.stderr.splitlines()[-1]
    assert "scale 1/1 (32×24)" in bar and f"loss {report['losses']['total']:.4f}" in bar and "<00:00" in bar


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4", ".GIF"])
def test_a_film_ends_with_the_result(run: Run, suffix: str) -> None:
    # 63 × 47 px: a codec takes even sides only.
    Image.open("photo.png").crop((0, 0, 63, 47)).save("odd.png")
    result = run(
        "-o", "out.png", "--timelapse", f"film{suffix}", "--size", "63", "--iterations", "9", content="odd.png"
    )
    assert result.exit_code == 0, result.output
    frames = [np.asarray(frame)[..., :3] for frame in imageio.mimread(f"film{suffix}")]
    if suffix == ".mp4":
        assert len(frames) == 3 + films.LAST
    else:
        # Frames that are alike become one that stays longer.
        assert 3 <= len(frames) <= 3 + films.LAST
    assert all(frame.shape == (46, 62, 3) for frame in frames)
    # Compared coarsely, since films store colour at half the resolution.
    first, last, painted = (
        np.asarray(Image.fromarray(picture).resize((8, 6), Image.Resampling.BOX), float)
        for picture in (frames[0], frames[-1], np.asarray(Image.open("out.png")))
    )
    assert np.abs(last - painted).mean() < 4 and np.abs(last - painted).mean() < np.abs(first - painted).mean()
    assert files() == [f"film{suffix}", "odd.png", "out.png", "painting.png", "photo.png"]


def test_frames_come_further_apart_the_longer_a_run_is(content_picture: Path) -> None:
    film = films.Film((24, 32))
    pixels = stylizers.images.read(content_picture).pixels
    for _ in range(films.EVERY * films.DENSE):
        film.add(pixels)
    assert len(film.frames) == films.DENSE
    for _ in range(2 * films.EVERY * films.DENSE):
        film.add(pixels)
    assert len(film.frames) == 2 * films.DENSE


@pytest.mark.parametrize("film", ["x.gif", "./x.gif", "link.gif", "out.webp", "../{}/out.webp", "no.avi", "folder.gif"])
def test_a_film_is_refused_where_something_would_be_lost(run: Run, tmp_path: Path, film: str) -> None:
    Image.open("photo.png").save("x.gif")
    os.link("x.gif", "link.gif")
    os.mkdir("folder.gif")
    before = files()
    assert "film" in refused(
        run("-o", "out.webp", "--timelapse", film.format(tmp_path.name), content=str(tmp_path / "x.gif"))
    ).replace("folder.gif is a folder", "film")
    assert files() == before


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_film_that_fails_costs_no_picture(run: Run, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        Image.Image if suffix == ".gif" else films.imageio, "save" if suffix == ".gif" else "get_writer", full
    )
    with monkeypatch.context() as patch:
        patch.setattr(stylizers.Result, "save", lambda self, path: Path(path).write_bytes(b"saved"))
        Path(f"film{suffix}").write_text("old")
        result = run("-o", "out.png", "--timelapse", f"film{suffix}")
    assert result.exit_code == 2 and "no space left on device" in result.stderr.splitlines()[-1]
    assert Path("out.png").read_bytes() == b"saved" and Path(f"film{suffix}").read_text() == "old"


def test_a_stage_that_cannot_be_saved_costs_no_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save = stylizers.Result.save

    def picky(self: stylizers.Result, path: Path) -> None:
        if "-0001" in str(path):
            raise OutputError(f"{path} cannot be written (no space left on device); choose another place")
        save(self, path)

    monkeypatch.setattr(stylizers.Result, "save", picky)
    result = run("-o", "out.png", "--save-every", "1")
    assert result.exit_code == 0 and "Note: out-0001.png cannot be written" in result.stderr
    assert files() == ["out-0002.png", "out.png", "painting.png", "photo.png"]


def test_a_picture_that_cannot_be_saved_leaves_no_empty_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: stylizers.Result, path: Path) -> None:
        raise OutputError(f"{path} cannot be written (no space left on device); choose another place")

    monkeypatch.setattr(stylizers.Result, "save", full)
    assert "no space left" in refused(run("--quiet"))
    assert files("outputs") == []


def test_content_comes_from_stdin_and_the_result_goes_to_stdout(run: Run) -> None:
    run("-o", "named.png")
    result = run(content="-", stdin=Path("photo.png").read_bytes())
    piped, named = Image.open(io.BytesIO(result.stdout_bytes)), Image.open("named.png")
    assert piped.format == "PNG" and np.array_equal(np.asarray(piped), np.asarray(named))
    assert "scale 1/1" in result.stderr and "outputs" not in files()
    assert run("-o", "-").stdout_bytes[:4] == b"\x89PNG"
    assert run("-o", "in.jpg", content="-", stdin=Path("photo.png").read_bytes()).stdout == ""
    assert Image.open("in.jpg").format == "JPEG"
