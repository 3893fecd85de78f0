"""Collages of a painting's pieces, and the network that any painting can be given to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import painting, photo
from PIL import Image
from torch import Tensor

import styletx
from styletx import colors, images
from styletx.feedforward import models, scales, strips
from styletx.feedforward.collages import LARGEST, Guide, calmed, enlarged, evened, pasted, together
from styletx.feedforward.networks import Descriptor
from styletx.matching import Candidates, Match
from styletx.stylizers import TransformingStylizer, load_stylizer, stylize

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def guide(picture: object = None, **options: Any) -> Guide:
    style: Any = painting() if picture is None else picture
    stylizer = load_stylizer(style, method="one-pass", device="cpu", **options)
    assert isinstance(stylizer, TransformingStylizer) and stylizer.guide is not None
    return stylizer.guide


def asset(name: str, size: tuple[int, int]) -> Tensor:
    return images.resize(images.read(ASSETS / name).pixels, size)


def shrunk(pixels: Tensor) -> Tensor:
    return images.resize(pixels, (pixels.shape[-2] // 4, pixels.shape[-1] // 4))


def matched(index: Tensor, grid: tuple[int, int]) -> Match:
    return Match(index, Candidates(torch.zeros(grid[0] * grid[1], 1), (grid,)), torch.zeros(8, *index.shape))


@pytest.mark.parametrize("to", [(48, 64), (96, 128), (72, 96), (53, 71)])
def test_pieces_in_the_order_of_the_painting_are_the_painting(to: tuple[int, int]) -> None:
    pixels = images.resize(images.read(painting()).pixels, to)
    index = torch.arange(12 * 16).view(12, 16)
    found = pasted(matched(index, (12, 16)), pixels, (48, 64), torch.rand(1, 3, *to))
    torch.testing.assert_close(found, pixels, atol=1e-6, rtol=0)


def test_a_piece_of_elsewhere_fades_into_what_is_around() -> None:
    pixels = images.read(painting()).pixels
    index = torch.arange(12 * 16).view(12, 16)
    index[5, 5] = 0
    picture = pixels.clone()
    picture[..., 21:23, 21:23] = (pixels[..., 21:23, 21:23] + pixels[..., 1:3, 1:3]) / 2  # as like one as the other
    found = pasted(matched(index, (12, 16)), pixels, (48, 64), picture)
    changed = (found - pixels).abs().sum((0, 1)) > 1e-4
    rows, columns = (torch.nonzero(changed.any(axis)).flatten() for axis in (1, 0))
    assert rows.min() >= 16 and rows.max() < 28 and columns.min() >= 16 and columns.max() < 28
    share = (0.75 - 0.125**2) ** 2  # of a quadratic B-spline, an eighth of a position from its centre
    wanted = pixels[..., 21:23, 21:23].lerp(pixels[..., 1:3, 1:3], share)
    torch.testing.assert_close(found[..., 21:23, 21:23], wanted, atol=1e-5, rtol=0)


def test_edges_are_where_the_picture_has_them() -> None:
    halves = torch.zeros(1, 3, 48, 64)
    halves[..., 32:] = 1
    index = torch.zeros(12, 16, dtype=torch.long)  # black on the left
    index[:, 8:] = 15  # white on the right
    for edge in (29, 32, 34):
        picture = torch.zeros(1, 3, 48, 64)
        picture[..., edge:] = 1
        found = pasted(matched(index, (12, 16)), halves, (48, 64), picture)
        assert (found - picture).abs().max() < 0.1


def test_pieces_at_the_paintings_edge_are_mirrored_there() -> None:
    pixels = images.read(painting()).pixels
    found = pasted(matched(torch.full((1, 1), 12 * 16 - 1), (12, 16)), pixels, (9, 9), torch.rand(1, 3, 9, 9))
    assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1
    last = pixels[..., 44:, 60:]
    torch.testing.assert_close(found[..., :4, :4], last)
    torch.testing.assert_close(found[..., 4:8, :4], last.flip(2))


def test_patches_are_as_light_as_the_photograph_and_keep_their_strokes() -> None:
    picture = images.resize(images.read(photo()).pixels, (192, 256))
    strokes = 0.3 * torch.randn(1, 3, 192, 256, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    collage = (0.5 + strokes).clamp(0, 1)
    found = evened(collage, picture, (24, 32))
    before, after, wanted = (F.avg_pool2d(one, 32) for one in (collage, found, picture))
    assert (after - wanted).abs().mean() < 0.5 * (before - wanted).abs().mean()
    assert (found - F.avg_pool2d(found, 9, 1, 4)).std() > 0.8 * (collage - F.avg_pool2d(collage, 9, 1, 4)).std()


def test_a_sketch_keeps_a_photographs_lights_where_they_differ() -> None:
    photograph = torch.full((1, 3, 96, 192), 0.5)
    photograph[..., 96:] = torch.where(torch.arange(96) // 8 % 2 == 0, 0.2, 0.8)  # stripes on the right
    sketch = images.resize(photograph, (24, 48)) + torch.tensor([0.2, 0.1, 0.0]).view(1, 3, 1, 1)
    change = calmed(sketch, photograph) - images.resize(photograph, (24, 48))
    torch.testing.assert_close(change[..., :16].mean((0, 2, 3)), torch.tensor([0.2, 0.1, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(change[..., 32:].mean((0, 2, 3)), torch.tensor([0.14, 0.04, -0.06]), atol=0.01, rtol=0)


@pytest.mark.parametrize("size", [(48, 64), (101, 130), (480, 64)])
def test_rows_of_an_enlarged_collage_are_those_of_the_whole(size: tuple[int, int]) -> None:
    pixels = images.read(painting()).pixels
    whole = F.interpolate(pixels, size=size, mode="bilinear")
    for first, last in ((0, size[0]), (0, 7), (20, 33), (size[0] - 3, size[0])):
        torch.testing.assert_close(enlarged(pixels, size, first, last), whole[..., first:last, :], atol=1e-5, rtol=0)


def test_a_picture_of_the_painting_finds_its_places() -> None:
    pixels = asset("styles/stained-glass.jpg", (256, 192))
    found = guide(np.round(pixels[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).beside(pixels, shrunk(pixels))[
        :, :3
    ]
    assert found.shape == pixels.shape
    assert (found - pixels).abs().mean() < 0.25 * (pixels - pixels.mean((2, 3), keepdim=True)).abs().mean()


def test_a_collage_has_the_paintings_colours_and_the_photographs_shapes() -> None:
    one, pixels = guide(ASSETS / "styles/poster.jpg"), asset("content/coffee.jpg", (192, 256))
    one.prepare(pixels, seed=0)
    found = one.beside(pixels, shrunk(pixels))[:, :3]
    small = F.avg_pool2d(torch.cat([found, pixels]).mean(1), 8).flatten(1)
    assert torch.corrcoef(small)[0, 1] > 0.8
    painted = images.resize(one.painting.pixels, (192, 256)).flatten(2)[0]
    nearest = torch.cdist(found.flatten(2)[0, :, ::37].mT, painted[:, ::7].mT).amin(1)
    assert nearest.mean() < 0.07


def test_what_a_network_is_given_has_a_coarser_painting_in_it() -> None:
    one, photograph = guide(), 0.3 + 0.4 * images.resize(images.read(photo()).pixels, (96, 128))
    painted = shrunk(photograph) + 0.1
    beside = one.beside(photograph, painted)
    given = together(photograph, beside, 96, 0)
    picture, _, last = given.chunk(3, 1)
    assert torch.equal(last, photograph)
    torch.testing.assert_close(picture, images.detailed(painted, photograph), atol=0.02, rtol=0)
    assert torch.equal(together(photograph[..., 40:70, :], beside, 96, 40), given[..., 40:70, :])


def test_a_collage_is_never_larger_than_its_pieces_are_worth() -> None:
    found = guide().beside(torch.rand(1, 3, 20, LARGEST + 200), torch.rand(1, 3, 2, 230))
    assert found.shape[-1] == LARGEST


def test_photographs_are_prepared_as_the_optimisation_prepares_them() -> None:
    one, pixels = guide(ASSETS / "styles/pen.jpg"), asset("content/cat.jpg", (96, 144))
    moved = colors.transferred(pixels, one.painting.colors)
    wanted = colors.contrasted(moved, colors.contrast(moved, pixels, one.painting.colors))
    one.prepare(pixels, seed=0)
    torch.testing.assert_close(pixels, wanted, atol=1e-5, rtol=0)


def test_a_sketch_is_a_small_picture_in_the_paintings_colours() -> None:
    one, pixels = guide(ASSETS / "styles/stained-glass.jpg"), asset("content/coffee.jpg", (192, 256))
    one.prepare(pixels, seed=0)
    found = one.sketches(pixels)
    assert found.shape == (1, 3, 96, 128)
    small = images.resize(pixels, (96, 128))
    assert (found - small).abs().mean() > 0.03  # more than the photograph
    assert torch.corrcoef(torch.cat([found, small]).mean(1).flatten(1))[0, 1] > 0.7


@pytest.mark.parametrize("size", [(1500, 500), (64, 64), (20, 16), (40, 1000)])
def test_a_sketch_takes_about_the_same_work_at_any_size(size: tuple[int, int]) -> None:
    one = guide()
    pixels = torch.rand(1, 3, *size)
    one.prepare(pixels, seed=0)
    height, width = one.sketches(pixels).shape[-2:]
    assert min(height, width) >= 14 and height * width <= 1.3 * max(128 * 96, 16 * max(size))
    assert height / width == pytest.approx(size[0] / size[1], rel=0.1)


def test_progress_counts_coarser_scales() -> None:
    stylizer = load_stylizer(painting(), method="one-pass", size=1200, device="cpu")
    steps = list(stylizer.start(photo()))
    shares = [step.progress for step in steps]
    assert shares == sorted(shares) and 0 < shares[0] < 0.5 and shares[-1] == 1
    assert steps[0].pixels.shape[-1] == 768 and steps[-1].pixels.shape[-1] == 1200


def test_any_painting_is_painted_in_one_pass() -> None:
    content, style = ASSETS / "content/coffee.jpg", ASSETS / "styles/mosaic.jpg"
    result = stylize(content, style, method="one-pass", size=192, device="cpu")
    before = asset("content/coffee.jpg", (result.pixels.shape[-2], result.pixels.shape[-1]))
    assert result.metadata["style"] == "mosaic.jpg" and result.metadata["options"]["method"] == "one-pass"
    assert result.metadata["method"] == "one pass" and result.metadata["model"]["name"] == "any"
    own, there = (images.resize(images.read(one).pixels, (8, 8)).mean((2, 3)) for one in (content, style))
    painted = result.pixels.mean((2, 3))
    assert (painted - there).norm() < 0.5 * (own - there).norm()
    assert (result.pixels - before).abs().mean() > 0.05
    assert torch.equal(result.pixels, stylize(content, style, method="one-pass", size=192, device="cpu").pixels)


def test_a_batch_is_what_its_pictures_are_and_the_painting_is_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stylizer = load_stylizer(painting(), method="one-pass", size=64, device="cpu")
    one, other = photo(), photo()[:, ::-1].copy()
    alone = [stylizer(one).pixels, stylizer(other).pixels]
    monkeypatch.setattr(Candidates, "of", None)
    for found, wanted in zip(stylizer([one, other]), alone, strict=True):
        torch.testing.assert_close(found.pixels, wanted, atol=0.5 / 255, rtol=0)


@pytest.mark.parametrize("size", [(64, 48), (16, 16), (17, 300), (300, 17)])
def test_odd_sizes_of_photographs_and_paintings(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    found = stylize(picture, painting(), method="one-pass", size="original", device="cpu").pixels
    assert found.shape[-2:] == size and found.isfinite().all()
    found = stylize(photo(), picture, method="one-pass", size=64, device="cpu").pixels
    assert found.shape[-2:] == (48, 64)


@pytest.mark.parametrize(("least", "most"), [(0, 15), (240, 255), (100, 160)])
def test_a_painting_of_little_contrast_keeps_it(least: int, most: int) -> None:
    pale = (painting() / 255 * (most - least) + least).round().astype(np.uint8)
    found = stylize(ASSETS / "content/cat.jpg", pale, method="one-pass", size=128, device="cpu").pixels * 255
    wanted = torch.from_numpy(pale).float()
    assert found.min() >= least - 0.5 and found.max() <= most + 0.5
    assert abs(float(found.mean() - wanted.mean())) < 0.2 * (most - least)
    assert 0.5 < float(found.std() / wanted.std()) < 2


def test_a_painting_of_one_colour_paints_nothing_else() -> None:
    for colour in ([0, 0, 0], [128, 128, 128], [200, 30, 30]):
        plain = np.full((40, 40, 3), colour, np.uint8)
        found = stylize(photo(), plain, method="one-pass", size=64, device="cpu").pixels
        assert (found * 255 - torch.tensor(colour).view(1, 3, 1, 1)).abs().max() < 0.5


def test_what_is_transparent_in_a_painting_is_not_pasted() -> None:
    cut = np.dstack([painting(), np.full((48, 64), 255, np.uint8)])
    cut[:, 32:] = [255, 0, 255, 0]
    one = guide(Image.fromarray(cut, "RGBA"))
    pixels = images.read(photo()).pixels
    one.prepare(pixels, seed=0)
    found = one.beside(pixels, shrunk(pixels))[:, :3]
    magenta = (found[:, 0] > 0.9) & (found[:, 1] < 0.1) & (found[:, 2] > 0.9)
    assert magenta.float().mean() < 0.02


def test_a_painting_that_is_half_transparent_everywhere_is_matched_as_ever() -> None:
    pixels = images.read(photo()).pixels
    faint = np.dstack([painting(), np.full((48, 64), 100, np.uint8)])
    found = [one.beside(pixels, shrunk(pixels)) for one in (guide(painting()), guide(Image.fromarray(faint, "RGBA")))]
    torch.testing.assert_close(*found, atol=2e-2, rtol=0)


@pytest.mark.parametrize("method", ["one-pass", "optimisation"])
def test_a_painting_that_would_only_be_enlarged_is_told(method: str) -> None:
    start = "style_size 128 enlarges the painting, which is 64 px long"
    for size, is_told in ((128, True), (96, False)):
        notes = load_stylizer(painting(), method=method, style_size=size, device="cpu").notes
        assert any(str(note).startswith(start) for note in notes) == is_told


def test_a_photograph_on_grey_paper_stays_grey() -> None:
    grey = np.repeat(painting().mean(2, keepdims=True).astype(np.uint8), 3, 2)
    found = stylize(photo(), grey, method="one-pass", size=64, device="cpu").pixels
    assert (found.amax(1) - found.amin(1)).max() < 2 / 255


@pytest.mark.parametrize("options", [{"iterations": 30}, {"init": "noise"}, {"rotations": True}])
def test_options_of_the_optimisation_are_ignored_and_said_to_be(options: dict[str, Any]) -> None:
    stylizer = load_stylizer(painting(), method="one-pass", device="cpu", **options)
    assert any("ignores" in str(note) and next(iter(options)) in str(note) for note in stylizer.notes)


def test_a_painting_that_does_not_fit_into_memory_is_refused_beforehand() -> None:
    with pytest.raises(styletx.StyletxError, match=r"65536.*style_size"):
        stylize(photo(), painting(), method="one-pass", size=64, style_size=65_536, device="cpu")


def test_onnx_runtime_is_not_used_and_said_not_to_be() -> None:
    stylizer = load_stylizer(painting(), method="one-pass", runtime="onnx", device="cpu")
    assert any("ONNX Runtime cannot match" in str(note) for note in stylizer.notes)
    assert stylizer(photo()).pixels.isfinite().all()


def test_a_trained_style_paints_as_it_does_whatever_the_method() -> None:
    wanted, found = (
        stylize(photo(), "poster", method=one, size=64, device="cpu") for one in ("optimisation", "one-pass")
    )
    assert torch.equal(wanted.pixels, found.pixels)


def test_a_bundled_name_is_its_painting_and_a_model_file_is_what_it_holds() -> None:
    stylizers = [load_stylizer(style, device="cpu") for style in ("poster", models.bundled()["poster"])]
    assert [getattr(one, "guide", None) is not None for one in stylizers] == [True, False]


def test_the_network_is_small_and_says_what_it_is() -> None:
    assert models.ANY.stat().st_size < 3_000_000
    assert models.describe(models.ANY)["layout"]["collage"] is True
    with pytest.raises(styletx.StyletxError, match="collage"):
        models.read(models.ANY).network.layout.__class__(collage=True)


def test_the_network_alone_is_no_style() -> None:
    with pytest.raises(styletx.StyletxError, match=r"any painting.*give a painting"):
        load_stylizer(models.ANY, device="cpu")


def test_threads_change_nothing_but_rounding() -> None:
    content, style = ASSETS / "content/coffee.jpg", ASSETS / "styles/woodcut.jpg"
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(stylize(content, style, method="one-pass", size=256, device="cpu").pixels)
    finally:
        torch.set_num_threads(threads)
    assert (found[0] - found[1]).abs().max() <= 2 / 255


def test_strips_in_bfloat16_look_like_the_whole() -> None:
    one, pixels = guide(ASSETS / "styles/poster.jpg"), asset("content/coffee.jpg", (192, 256))
    one.prepare(pixels, seed=0)
    beside, network = one.beside(pixels, one.sketches(pixels)), models.read(models.ANY).network
    *_, (_, whole) = strips.repaint(network, pixels, beside)
    network.use(torch.bfloat16)
    *_, (_, in_strips) = strips.repaint(network, pixels, beside, whole_pixels=0, tile_pixels=2**14)
    assert ((whole - in_strips).abs().amax(1) <= 2.5 / 255).float().mean() > 0.999


def test_a_finer_scale_shows_less_of_what_its_network_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    class Black:
        descriptor = Descriptor("black", collage=True)

        def __call__(self, pixels: Tensor) -> Tensor:
            return 0 * pixels[:, :3]

    one, pixels = guide(ASSETS / "styles/poster.jpg"), asset("content/coffee.jpg", (96, 128))
    monkeypatch.setattr(one, "prepare", lambda *_: None)
    monkeypatch.setattr(one, "confine", lambda *_: None)
    *_, (_, found) = scales.repaint(Black(), pixels, [(48, 64), (96, 128)], seed=0, guide=one)  # type: ignore[arg-type]
    # The coarser painting is black, so that the photograph's detail is all that the finer scale is given.
    given = images.detailed(torch.zeros(1, 3, 48, 64), pixels)
    torch.testing.assert_close(found, (1 - scales.FAINTER) * given, rtol=0, atol=0.03)
