import importlib
import pathlib

import numpy as np
import pytest
from PIL import Image

ASSETS = pathlib.Path(__file__).resolve().parents[1] / "assets"
UNCOUNTED = {"__pycache__", ".DS_Store", "Thumbs.db"}
PICTURES = sorted([*ASSETS.glob("styles/*"), *ASSETS.glob("content/*")])


@pytest.fixture
def load(monkeypatch):
    pytest.importorskip("scipy", reason="painting needs SciPy, from the dev extra")
    monkeypatch.syspath_prepend(ASSETS)
    return importlib.import_module


@pytest.mark.parametrize("name", ["stained-glass", "mosaic"])
def test_a_style_is_painted_the_same_twice(load, name):
    paint = load("paint").paint
    first, second = paint(name, size=96), paint(name, size=96)
    assert max(first.size) == 96
    assert first.tobytes() == second.tobytes()
    assert np.asarray(first, float).std() > 20


def test_every_style_has_its_picture(load):
    assert {path.name for path in ASSETS.glob("styles/*")} == {f"{name}.jpg" for name in load("paint").STYLES}


def test_the_readme_names_every_file():
    readme = (ASSETS / "README.md").read_text(encoding="utf-8")
    files = [path for path in ASSETS.rglob("*") if path.is_file() and not UNCOUNTED & set(path.parts)]
    assert PICTURES
    assert [path for path in files if f"`{path.relative_to(ASSETS).as_posix()}`" not in readme] == [
        ASSETS / "README.md"
    ]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_pictures_are_small_files_of_a_useful_size(path):
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("JPEG", "RGB")
        assert 400 <= max(picture.size) <= 1024
    assert path.stat().st_size <= 500_000


def test_a_path_follows_its_field(load):
    follow = load("painters.brushes").follow
    # Every second column points the opposite way, which is the same direction.
    angle = np.full((40, 40), 0.5)
    angle[:, ::2] += np.pi
    path = follow(angle, np.array([20.0, 20.0]), length=12, step=1)
    np.testing.assert_allclose(np.hypot(*(path[-1] - path[0])), 12, rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.diff(path, axis=0) @ [np.cos(0.5), np.sin(0.5)]), 1, rtol=1e-5)


def test_a_stroke_covers_its_path_and_nothing_else(load):
    canvas = load("painters.brushes").Canvas((60, 60), "#ffffff", np.random.default_rng(0), 1.0)
    path = np.array([[20.0, 30.0], [30.0, 30.0], [40.0, 30.0]])
    canvas.stroke(path, 10, 0.0)
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(np.maximum(np.abs(x - 30) - 10, 0), y - 30)
    assert (canvas.color[distance < 3] == 0).all()
    assert (canvas.color[distance > 10] == 1).all()
