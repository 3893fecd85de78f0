"""Pictures and small weights for all tests, and an environment that no test inherits from the machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

WIDTH, HEIGHT = 64, 48


@pytest.fixture(autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no internet, and nothing set by whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("STYLETX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STYLETX_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("STYLETX_OFFLINE", "1")


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder for tests of permissions, which mean nothing to root: they run as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


def random_vgg19(convolutions: int) -> dict[str, torch.Tensor]:
    """The first convolutions of VGG-19 under torchvision's names, random, scaled so that no layer fades (He)."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for index, inputs, outputs in [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128)][:convolutions]:
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator)
        state[f"features.{index}.weight"] = weight * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    return state


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-19 weights that reach relu2_1, half a megabyte."""
    path = tmp_path_factory.mktemp("weights") / "vgg19-relu2_1.safetensors"
    safetensors.torch.save_file(random_vgg19(3), path)
    return path


def photo() -> np.ndarray:
    """A blue sky over a darker ground, with a bright house and fine grain: uint8 [48, 64, 3]."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    sky = np.stack([0.35 + 0.4 * y, 0.55 + 0.3 * y, 0.95 - 0.1 * y], axis=-1)
    ground = np.stack([0.35 + 0.2 * x, 0.3 + 0.1 * y, 0.15 + 0 * x], axis=-1)
    values = np.where((y > 0.6 + 0.05 * np.sin(9 * x))[..., None], ground, sky)
    values[18:34, 36:52] = [0.9, 0.8, 0.6]
    values[24:30, 41:46] = [0.1, 0.1, 0.2]
    values += np.random.default_rng(1).normal(0, 0.02, values.shape)
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def painting() -> np.ndarray:
    """Curved strokes in a few strong colours: uint8 [48, 64, 3]."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    bands = np.sin(0.9 * np.hypot(x - 20, y - 15)) + 0.6 * np.sin(0.4 * x + 0.7 * y)
    palette = np.array([[20, 35, 90], [45, 100, 170], [235, 200, 80], [250, 240, 210]])
    values = palette[np.digitize(bands, [-0.7, 0.1, 0.8])] + np.random.default_rng(2).normal(0, 6, (HEIGHT, WIDTH, 1))
    return values.clip(0, 255).round().astype(np.uint8)


@pytest.fixture
def content_picture(tmp_path: Path) -> Path:
    """A PNG of 64×48 px, photo-like."""
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def style_picture(tmp_path: Path) -> Path:
    """A PNG of 64×48 px, painting-like."""
    Image.fromarray(painting()).save(tmp_path / "painting.png")
    return tmp_path / "painting.png"
