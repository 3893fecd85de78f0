"""Regions that are found in a photograph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from styletx import backbones, images, regions
from styletx.cli import main

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def found(photo: torch.Tensor, count: int) -> list[torch.Tensor]:
    backbone = backbones.load(backbones.BUNDLED, matching=True)
    return regions.found(photo, backbone.module, backbone.matching_layers, count)


def test_three_pictures_in_one_are_told_apart() -> None:
    cat, ink, sky = (ASSETS / name for name in ("content/cat.jpg", "styles/mosaic.jpg", "content/rocket.jpg"))
    parts = [
        images.resize(images.read(cat).pixels[..., :150, :220], (96, 128)),
        images.resize(images.read(ink).pixels[..., :300, :400], (96, 128)),
        images.resize(images.read(sky).pixels[..., 20:90, 250:400], (96, 256)),
    ]
    photo = torch.cat([torch.cat(parts[:2], -1), parts[2]], -2)
    masks = found(photo, 3)
    torch.testing.assert_close(sum(masks), torch.ones(1, 1, 192, 256))
    places = (slice(0, 96), slice(0, 128)), (slice(0, 96), slice(128, 256)), (slice(96, 192), slice(0, 256))
    inside = torch.tensor([[float(mask[..., rows, columns].mean()) for rows, columns in places] for mask in masks])
    assert sorted(inside.argmax(1).tolist()) == [0, 1, 2] and inside.amax(1).min() > 0.8
    assert [float(mask.mean()) for mask in masks] == sorted((float(mask.mean()) for mask in masks), reverse=True)


def test_chance_has_no_part_and_size_hardly_any() -> None:
    photo = images.read(ASSETS / "content/rocket.jpg").pixels
    once, again = found(photo, 4), found(photo, 4)
    assert all(map(torch.equal, once, again))
    larger = found(images.resize(photo, (854, 1280)), 4)
    assert (larger[0] - once[0]).abs().mean() < 0.1


def test_one_colour_is_one_region() -> None:
    largest, *_ = found(torch.full((1, 3, 64, 96), 0.3), 4)
    assert largest[..., 16:-16, 16:-16].mean() > 0.9


def test_the_command_writes_masks_that_run_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Image.open(ASSETS / "content/rocket.jpg") as picture:
        picture.resize((192, 128)).save("photo.png")
    told = json.loads(call("regions", "photo.png", "-n", "3", "--json").stdout)
    assert told["sheet"] == "outputs/photo-regions.png"
    assert told["masks"] == [f"outputs/photo-regions-{number}.png" for number in (1, 2, 3)]
    masks = [images.read(path).pixels for path in told["masks"]]
    assert (torch.stack(masks).sum(0) - 1).abs().max() < 0.02 and masks[0].shape == (1, 3, 128, 192)
    result = call("run", "photo.png", "mosaic", "--region", f"{told['masks'][1]}=pen", "--size", "64", "-o", "out.png")
    assert result.exit_code == 0, result.output
    for words, message in [
        (("photo.png", "-o", "out.jpg"), "out.jpg: masks are PNG files; end the name in .png"),
        (("none.png",), "none.png: file not found"),
    ]:
        result = call("regions", *words)
        assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1


def test_regions_go_to_those_most_like_them() -> None:
    """Whatever is where: a mosaic goes to a mosaic, and a cat to a cat."""
    cat, mosaic = (images.read(ASSETS / name).pixels for name in ("content/cat.jpg", "styles/mosaic.jpg"))
    cat, mosaic = cat[..., :150, :220], mosaic[..., :300, :440]
    one = torch.cat([images.resize(cat, (96, 128)), images.resize(mosaic, (96, 128))], -1)
    other = torch.cat([images.resize(mosaic.flip(3), (96, 128)), images.resize(cat.flip(3), (96, 128))], -1)
    backbone = backbones.load(backbones.BUNDLED, matching=True)
    first, second = (regions.described(two, backbone.module, backbone.matching_layers, 2) for two in (one, other))
    to = regions.assigned(first, second)
    torch.testing.assert_close(to.sum(1), torch.ones(1, *to.shape[-2:]))
    middle = to.shape[-1] // 2
    mosaics = second.masks[..., :middle].mean((0, 2, 3)).argmax()
    assert to[:, mosaics, :, middle:].mean() > 0.8 and to[:, mosaics, :, :middle].mean() < 0.2
