"""Timelapses: that they end with the result, lose no file and cost no picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import painting, photo
from PIL import Image, ImageSequence

from styletx import images
from styletx.cli import main
from styletx.errors import OutputError
from styletx.films import Timelapse, check, timelapse

SUFFIXES = (".gif", ".webp", ".mp4")
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(content_picture: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds photo.png and painting.png, to work in."""
    monkeypatch.chdir(content_picture.parent)
    return content_picture.parent


@pytest.fixture
def run(tiny_weights: Path) -> Run:
    """Calls `styletx run`, by default on photo.png, two evaluations at 32 px."""

    def call(*arguments: str, content: str = "photo.png") -> Result:
        fixed = ["--weights", str(tiny_weights), "--iterations", "2", "--size", "32"]
        machine = ["--precision", "float32", "--device", "cpu"]
        return CliRunner().invoke(main, ["run", content, "painting.png", *fixed, *machine, *arguments])

    return call


def filmed(count: int = 9) -> Timelapse:
    """The photo, 63×47 px, as it turns into the painting."""
    film = Timelapse((47, 63))
    first, last = (images.read(Image.fromarray(picture[:47, :63])).pixels for picture in (photo(), painting()))
    for index in range(count):
        film.add(torch.lerp(first, last, index / (count - 1)))
    return film


def frames(path: str) -> list[np.ndarray]:
    if path.lower().endswith(".mp4"):
        return list(imageio.imiter(path, plugin="pyav"))
    return [frame[..., :3] for frame in imageio.imiter(path, plugin="pillow")]


def coarse(picture: np.ndarray) -> np.ndarray:
    """8×6 means, because films store colour at half the resolution."""
    return np.asarray(Image.fromarray(picture).resize((8, 6), Image.Resampling.BOX), float)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".GIF"])
def test_it_begins_with_the_first_picture_and_ends_with_the_last_standing_still(suffix: str) -> None:
    filmed().save(f"film{suffix}")
    shown = frames(f"film{suffix}")
    assert all(frame.shape == (46, 62, 3) for frame in shown)  # codecs need even sides
    assert np.abs(coarse(shown[0]) - coarse(photo()[:47, :63])).mean() < 4
    assert np.abs(coarse(shown[-1]) - coarse(painting()[:47, :63])).mean() < 4
    count = 3 + timelapse.LAST
    if suffix == ".mp4":
        about = imageio.immeta("film.mp4", plugin="pyav")
        assert (about["codec"], about["video_format"], about["fps"]) == ("h264", "yuv420p", timelapse.RATE)
        assert len(shown) == count
    else:
        # Pillow joins equal frames into one that stays longer; GIF counts in hundredths of a second.
        with Image.open(f"film{suffix}") as film:
            length = 0
            for frame in ImageSequence.Iterator(film):
                frame.load()  # WebP knows how long a frame stays once it is decoded
                length += frame.info["duration"]
        assert 3 <= len(shown) <= count and length == pytest.approx(1000 * count / timelapse.RATE, rel=0.05)


def test_a_large_picture_is_made_small_and_a_small_one_is_left() -> None:
    assert Timelapse((3000, 4000)).size == (960, 1280)
    assert Timelapse((101, 77)).size == (100, 76)


def test_frames_come_further_apart_the_longer_a_run_is() -> None:
    film, pixels = Timelapse((24, 32)), images.read("photo.png").pixels
    for _ in range(timelapse.EVERY * timelapse.DENSE):
        film.add(pixels)
    assert len(film.frames) == timelapse.DENSE
    for _ in range(2 * timelapse.EVERY * timelapse.DENSE):
        film.add(pixels)
    assert len(film.frames) == 2 * timelapse.DENSE


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("room", [0, 100, 700])
def test_a_full_disk_leaves_the_old_film(suffix: str, room: int) -> None:
    resource = pytest.importorskip("resource", reason="limits on files are POSIX's")
    film, limits = filmed(), resource.getrlimit(resource.RLIMIT_FSIZE)
    Path(f"film{suffix}").write_text("old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OutputError, match=rf"^film{suffix} cannot be written \(file too large\); choose another"):
            film.save(f"film{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Path(f"film{suffix}").read_text() == "old"
    assert sorted(os.listdir()) == [f"film{suffix}", "painting.png", "photo.png"]


def test_a_missing_encoder_is_told_before_any_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import av
    from imageio.plugins.pyav import PyAVPlugin

    def broken(*_: Any, **__: Any) -> None:
        raise av.error.ExternalError(542398533, "Generic error in an external library")

    monkeypatch.setattr(PyAVPlugin, "init_video_stream", broken)
    with pytest.raises(OutputError) as told:
        check("film.mp4")
    reason = "generic error in an external library"
    assert str(told.value) == f"film.mp4: MP4 cannot be encoded here ({reason}); end it in .gif or .webp"
    ended = run("-o", "out.png", "--timelapse", "film.mp4")
    assert ended.exit_code == 2 and ended.stderr == f"Error: {told.value}\n"
    assert sorted(os.listdir()) == ["painting.png", "photo.png"]
    check("film.gif")


def test_a_film_of_a_run_ends_with_its_result(run: Run) -> None:
    Image.open("photo.png").crop((0, 0, 63, 47)).save("odd.png")
    arguments = ["-o", "out.png", "--timelapse", "film.mp4", "--size", "63", "--iterations", "9", "--match", "0"]
    ended = run(*arguments, content="odd.png")
    assert ended.exit_code == 0, ended.output
    shown, painted = frames("film.mp4"), coarse(np.asarray(Image.open("out.png")))
    first, last = (np.abs(coarse(frame) - painted).mean() for frame in (shown[0], shown[-1]))
    assert len(shown) == 3 + timelapse.LAST and last < 4 and last < first
    assert sorted(os.listdir()) == ["film.mp4", "odd.png", "out.png", "painting.png", "photo.png"]


@pytest.mark.parametrize(
    ("film", "told"),
    [
        ("x.gif", "x.gif is another file of this run"),
        ("./x.gif", "./x.gif is another file of this run"),
        ("link.gif", "link.gif is another file of this run"),
        ("out.webp", "out.webp is another file of this run"),
        ("../{}/out.webp", "out.webp is another file of this run"),
        ("no.avi", "no.avi: a timelapse cannot end in '.avi'; end it in one of .gif, .mp4, .webp"),
        ("folder.gif", "folder.gif is a folder; name a file in it"),
        ("photo.png/x.gif", "photo.png/x.gif cannot be written ("),
    ],
)
def test_a_film_is_refused_where_something_would_be_lost(run: Run, folder: Path, film: str, told: str) -> None:
    Image.open("photo.png").save("x.gif")
    os.link("x.gif", "link.gif")
    os.mkdir("folder.gif")
    before = sorted(os.listdir())
    arguments = ["-o", "out.webp", "--timelapse", film.format(folder.name)]
    ended = run(*arguments, content=str(folder / "x.gif"))
    assert ended.exit_code == 2 and told in ended.stderr and ended.stderr.count("\n") == 1, ended.output
    assert sorted(os.listdir()) == before


def test_a_film_that_fails_costs_no_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Timelapse, path: str) -> None:
        raise OutputError(f"{path} cannot be written (no space left on device); choose another place")

    monkeypatch.setattr(Timelapse, "save", full)
    ended = run("-o", "out.png", "--timelapse", "film.gif")
    assert ended.exit_code == 2 and "no space left on device" in ended.stderr.splitlines()[-1]
    with Image.open("out.png") as picture:
        assert picture.size == (32, 24)
