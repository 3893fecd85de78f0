"""Pictures of any size: in tiles, with few evaluations and little memory where they are large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import styletx
from styletx import devices, errors, images, losses, matching
from styletx.cli import main
from styletx.matching import Candidates, Piece, Query
from styletx.optimization import LBFGS, optimizers, pyramid, stages
from styletx.optimization.loop import sparing
from styletx.stylizers import OptimizingStylizer, optimizing

ASSETS = Path(__file__).resolve().parents[1] / "assets"
COFFEE, IMPASTO = ASSETS / "content/coffee.jpg", ASSETS / "styles/impasto.jpg"
SMALL: dict[str, Any] = {"size": 200, "device": "cpu", "precision": "float32", "iterations": 6}


def made(**options: Any) -> OptimizingStylizer:
    stylizer = styletx.load_stylizer(IMPASTO, **SMALL | options)
    assert isinstance(stylizer, OptimizingStylizer)
    return stylizer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"match": 0.0},
        {"match": 0.0, "style_weight": 0.0, "init": "style", "content_layers": "relu2_1"},
        {"regions": "auto"},
        {"rotations": True},
        {"tv_weight": 1.0},
        {"backbone": "resnet18", "weights": "random", "match": 0.0},
    ],
    ids=str,
)
def test_tiles_give_the_same_picture(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setattr(pyramid, "COARSEST_SIDE", 300)  # one scale: a rounding error grows from each to the next
    whole, tiled = (made(tile=tile, **options)(COFFEE).pixels for tile in ("off", 64))
    different = (whole - tiled).abs() * 255
    assert 0 < different.mean() < 0.2 and different.quantile(0.999) < 4


def test_a_region_counts_in_tiles_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "COARSEST_SIDE", 300)
    mask = torch.zeros(1, 3, 133, 200)
    mask[..., 30:120, 40:150] = 1
    part = styletx.Part(str(ASSETS / "styles/mosaic.jpg"), region=mask)
    found = [styletx.stylize(COFFEE, [IMPASTO, part], **SMALL, tile=tile).pixels for tile in ("off", 64)]
    assert (found[0] - found[1]).abs().mean() * 255 < 0.2


def test_what_is_large_or_does_not_fit_is_painted_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    stylizer = made(style_size=256)
    assert not stylizer._stages((700, 1000)) and stylizer._stages((1400, 2000))
    needed = 700 * 1000 * stylizer._bytes_per_pixel[0]
    monkeypatch.setattr(devices, "available_memory", lambda device: int(needed / 2))
    assert stylizer._stages((700, 1000))
    assert stylizer.check("photo", (700, 1000)) == ()
    assert not made(tile="off")._stages((1400, 2000)) and made(tile=128)._stages((400, 300))
    assert not made(smooth_activations=True)._stages((1400, 2000))


def test_the_forecast_of_tiles_grows_with_the_picture_alone() -> None:
    stylizer = made(style_size=64)
    small, large = (stylizer._forecast(size) for size in ((1500, 2000), (3000, 4000)))
    pixels = 3016 * 4016 - 1516 * 2016  # with their margins
    assert large - small == pytest.approx(optimizing.TILED_BYTES * pixels)
    assert large < 0.2 * made(style_size=64, tile="off")._forecast((3000, 4000))


@pytest.mark.parametrize(
    ("area", "wanted"), [(10_000, 12), (1_000_000, 12), (4_000_000, 6), (12_600_000, 4), (10**9, 4)]
)
def test_a_large_scale_has_fewer_evaluations(area: int, wanted: int) -> None:
    assert [sparing(count, area) for count in (12, 1)] == [wanted, 1]


def test_few_steps_of_a_large_picture_are_remembered_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "LARGE", 100)
    wanted, curvature = (torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    pixels, method = torch.full_like(wanted, 0.5), LBFGS()
    for _ in range(40):
        pixels = pixels + method.step(pixels, (curvature + 0.2) * (pixels - wanted))
    assert len(method.pairs) == optimizers.LARGE_HISTORY
    assert all(one.dtype == torch.bfloat16 for moved, bent, _ in method.pairs for one in (moved, bent))
    torch.testing.assert_close(pixels, wanted, atol=1e-3, rtol=0)


def test_a_query_in_pieces_is_that_of_the_whole() -> None:
    columns = torch.randn(1, 20, 9, 14, generator=torch.Generator().manual_seed(0))
    painting = Candidates.of([torch.randn(1, 20, 6, 7, generator=torch.Generator().manual_seed(1))])

    def pieces() -> Iterator[Piece]:
        for channels in (slice(0, 8), slice(8, 20)):
            for rows in (slice(0, 4), slice(4, None)):
                for across in (slice(0, 8), slice(8, None)):
                    yield Piece(columns[:, channels, rows, across], channels, (rows, across))

    region = torch.zeros(1, 1, 9, 14)
    region[..., 2:6, 3:] = 1
    for counted in (None, region):
        wanted = Query.of(columns).wanted(painting, counted)
        torch.testing.assert_close(Query((9, 14), pieces).wanted(painting, counted), wanted)


def test_layers_are_put_together_from_their_parts() -> None:
    network = made().network
    pixels = images.resize(images.read(COFFEE).pixels, (133, 200))
    with torch.no_grad():
        whole = network(pixels)
    layers = tuple(whole)
    found = losses.assembled(losses.parts(stages(network, (133, 200), 64), pixels, layers), layers)
    for layer in layers:
        torch.testing.assert_close(found[layer], whole[layer], rtol=1e-4, atol=1e-4)


def test_means_of_squares_have_the_gradient_of_a_pool() -> None:
    features = torch.randn(1, 4, 14, 19, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def slope(size: tuple[int, int], pooled: Tensor | None) -> Tensor:
        leaf = features.clone().requires_grad_()
        seen = matching.resampled(leaf, size) if pooled is None else torch.nn.functional.avg_pool2d(leaf, 4)
        weights = torch.arange(seen.numel(), dtype=torch.float64).view(seen.shape)
        return torch.autograd.grad((seen * weights).sum(), leaf)[0]

    torch.testing.assert_close(slope((3, 4), None), slope((3, 4), features))


@pytest.mark.parametrize(
    ("value", "told"),
    [("10", "--tile cannot be 10; it must be from 64 to 65536"), ("large", "nor 'auto' nor 'off'")],
)
def test_a_tile_that_cannot_be_is_refused(value: str, told: str) -> None:
    result = CliRunner().invoke(main, ["run", str(COFFEE), str(IMPASTO), "--tile", value])
    assert result.exit_code == 2 and told in " ".join(result.output.split())


def test_tiles_of_a_network_that_sees_everything_are_refused_in_a_line() -> None:
    options = {"tile": 128, "smooth_activations": True}
    with pytest.raises(errors.OptionError, match="depends on the whole picture; remove tile"):
        made(**options)(COFFEE)
