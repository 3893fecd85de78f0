"""Details of the photograph that show through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from styletx import colors, images
from styletx.errors import OptionError, PictureError
from styletx.stylizers import details, load_stylizer, stylize

ASSETS = Path(__file__).resolve().parents[1] / "assets"
GLASS = ASSETS / "styles/stained-glass.jpg"
SMALL: dict[str, Any] = {"size": 384, "device": "cpu", "precision": "float32", "iterations": 4}
SIGN = (slice(180, 244), slice(16, 176))  # rows and columns


@pytest.fixture
def sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph with text in it."""
    monkeypatch.chdir(tmp_path)
    with Image.open(ASSETS / "content/coffee.jpg") as coffee:
        photo = coffee.convert("RGB").resize((384, 256))
    draw = ImageDraw.Draw(photo)
    draw.rectangle((16, 180, 176, 244), fill=(235, 228, 210))
    draw.text((24, 184), "ESPRESSO", fill=(40, 25, 20), font=ImageFont.load_default(24))
    draw.text((24, 214), "Rue des Fleurs 12", fill=(120, 40, 30), font=ImageFont.load_default(14))
    photo.save("sign.png")
    return Path("sign.png")


def likeness(one: Tensor, other: Tensor) -> float:
    """The correlation of the lights and darks of two signs."""
    rows = torch.stack([colors.light(pixels)[..., SIGN[0], SIGN[1]].flatten() for pixels in (one, other)])
    return float(torch.corrcoef(rows)[0, 1])


@pytest.mark.parametrize("method", ["optimisation", "one-pass"])
def test_text_stays_readable(sign: Path, method: str) -> None:
    photo = images.read(sign).pixels
    plain, edges, auto = (
        stylize(sign, GLASS, method=method, detail=detail, **SMALL).pixels for detail in (None, "edges", "auto")
    )
    assert likeness(plain, photo) < likeness(edges, photo) < likeness(auto, photo)
    assert likeness(auto, photo) > 0.85
    # What is no detail is painted as before, and so is what has none.
    assert (auto - plain)[..., :40, :40].abs().mean() < 0.01


def test_a_mask_says_where_details_show(sign: Path) -> None:
    mask = np.zeros((256, 384), np.uint8)
    mask[SIGN] = 255
    Image.fromarray(mask).save("mask.png")
    photo = images.read(sign).pixels
    plain = stylize(sign, GLASS, **SMALL).pixels
    result = stylize(sign, GLASS, detail="mask.png", **SMALL)
    assert torch.equal(result.pixels[..., :160, :], plain[..., :160, :])
    assert likeness(result.pixels, photo) > likeness(plain, photo) + 0.05
    assert result.metadata["options"]["detail"] == "mask.png"
    with pytest.raises(PictureError, match=r"^none\.png: file not found"):
        load_stylizer(GLASS, detail="none.png", **SMALL)


def test_edges_are_found_at_any_size(sign: Path) -> None:
    photo = images.read(sign).pixels
    for size in ((256, 384), (1024, 1536)):
        found = images.resize(details.sought(images.resize(photo, size), "edges"), (256, 384))
        assert found[..., 236:250, 60:120].amax(-2).mean() > 0.5  # the sign's lower edge
        assert found[..., :20, :20].mean() < 0.1  # the dark corner
    text = details.sought(photo, "auto")
    assert text[..., 190:206, 30:140].mean() > 0.8


def shape() -> Tensor:
    """A disc and a thin line."""
    drawn = Image.new("L", (192, 128))
    draw = ImageDraw.Draw(drawn)
    draw.ellipse((16, 16, 96, 96), fill=255)
    draw.line((110, 20, 180, 110), fill=255, width=2)
    return torch.from_numpy(np.asarray(drawn, np.float32) / 255)[None, None]


def test_strokes_end_where_a_shape_does() -> None:
    alpha = shape()
    painted = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    painted = images.resize(painted, (128, 192))
    found = details.outlined(alpha, painted)
    assert found[..., 40:70, 40:70].min() == 1 and found[..., 100:, :90].max() == 0
    assert found[..., 20:110, 110:180].sum() > 0.9 * alpha[..., 20:110, 110:180].sum()
    disc = (..., slice(0, 128), slice(0, 105))
    assert 0.9 < found[disc].sum() / alpha[disc].sum() < 1.1
    assert (found - alpha)[disc].abs().mean() > 0.01
    # Light strokes reach beyond the outline, dark ones do not.
    added, lost = (found - alpha)[disc] > 0.5, (found - alpha)[disc] < -0.5
    light = colors.light(painted)[disc]
    assert light[added].mean() > light[lost].mean() + 0.1


def test_an_outline_is_painted_if_asked_for(tmp_path: Path) -> None:
    with Image.open(ASSETS / "content/cat.jpg") as cat:
        cut = cat.convert("RGBA").resize((192, 128))
    cut.putalpha(Image.fromarray((shape()[0, 0] * 255).byte().numpy()))
    cut.save(tmp_path / "cut.png")
    small = SMALL | {"size": 192}
    plain, painted = (stylize(tmp_path / "cut.png", "mosaic", paint_alpha=asked, **small) for asked in (False, True))
    assert plain.alpha is not None and painted.alpha is not None
    assert (plain.alpha - painted.alpha).abs().max() > 0.5
    # What cannot be seen does not count: its colours take no part in the painting's.
    visible = plain.alpha[0, 0] == 1
    target = colors.colors(images.read(ASSETS / "styles/mosaic.jpg").pixels)
    away = [
        float((colors.colors(one.pixels[:, :, visible].unsqueeze(2)).mean - target.mean).norm())
        for one in (plain, painted)
    ]
    assert away[1] < 0.7 * away[0]
    (note,) = load_stylizer("mosaic", paint_alpha=True, **small).start(ASSETS / "content/cat.jpg").notes
    assert str(note) == "The photograph is opaque, so paint_alpha has no effect."


def test_strength_may_be_a_mask(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
    for name, mask in (("mask.png", ramp), ("rest.png", 255 - ramp)):
        Image.fromarray(mask).save(tmp_path / name)
    photo = ASSETS / "content/cat.jpg"
    found = stylize(photo, "mosaic", strength=tmp_path / "mask.png", **SMALL | {"size": 96})
    kept = stylize(photo, "mosaic", keep=tmp_path / "rest.png", **SMALL | {"size": 96})
    assert (found.pixels - kept.pixels).abs().max() < 1 / 255
    assert found.metadata["options"]["strength"] == "mask.png"
    with pytest.raises(OptionError, match="masks of one and its opposite"):
        load_stylizer("mosaic", strength=str(tmp_path / "mask.png"), keep=str(tmp_path / "rest.png"))
    with pytest.raises(PictureError, match=r"^nothing\.png: file not found"):
        load_stylizer("mosaic", strength="nothing.png")


def test_what_is_translucent_far_and_wide_stays_so() -> None:
    painted = images.resize(images.read(GLASS).pixels, (128, 192))
    ramp = torch.linspace(0, 1, 192).expand(1, 1, 128, 192)
    for alpha in (torch.full((1, 1, 128, 192), 0.5), torch.full((1, 1, 128, 192), 1 / 255), ramp.contiguous()):
        assert torch.equal(details.outlined(alpha, painted), alpha)
