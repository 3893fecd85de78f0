"""Faces that stay faithful."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from skimage import data

from styletx import images
from styletx.errors import OptionError
from styletx.stylizers import faces, load_stylizer, stylize

ASSETS = Path(__file__).resolve().parents[1] / "assets"
MOSAIC, ROCKET = ASSETS / "styles/mosaic.jpg", ASSETS / "content/rocket.jpg"
SMALL: dict[str, Any] = {"size": 256, "device": "cpu", "precision": "float32", "iterations": 4}
FACE = (..., slice(38, 78), slice(96, 128))  # of the astronaut at 256 px

pytest.importorskip("facenet_pytorch")


def astronaut() -> torch.Tensor:
    return images.resize(images.read(data.astronaut()).pixels, (256, 256))


def test_a_face_is_found_and_nothing_else() -> None:
    found = faces.found(astronaut())
    assert found is not None and found.shape == (1, 1, 256, 256)
    assert found[FACE].mean() > 0.9 and found.sum() < 8000
    large = faces.found(images.resize(astronaut(), (1500, 1500)))
    assert large is not None and (images.resize(large, (256, 256)) - found).abs().mean() < 0.01
    assert faces.found(images.read(ROCKET).pixels) is None


@pytest.mark.parametrize("method", ["optimisation", "one-pass"])
def test_a_face_keeps_its_details(method: str) -> None:
    photo = astronaut()
    plain, half, whole = (
        stylize(photo, MOSAIC, method=method, keep_faces=share, **SMALL).pixels for share in (0, 0.5, 1)
    )
    away = [float((one - photo)[FACE].diff(dim=-1).abs().mean()) for one in (plain, half, whole)]
    assert away[0] > 1.2 * away[1] > 1.2 * away[2]
    assert torch.equal(plain[..., 128:, :], whole[..., 128:, :])


def test_no_face_is_told() -> None:
    (note,) = load_stylizer("mosaic", keep_faces=1, **SMALL | {"size": 64}).start(ROCKET).notes
    assert str(note) == "No face was found, so keep_faces has no effect."


def test_without_the_detector_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    faces._detector.cache_clear()
    with pytest.raises(OptionError, match=r"pip install 'styletx\[faces\]'; or give a mask by detail$"):
        load_stylizer("mosaic", keep_faces=0.5, **SMALL).start(ROCKET)


def test_a_photograph_that_is_too_small_has_no_face() -> None:
    assert faces.found(torch.rand(1, 3, 17, 400)) is None
