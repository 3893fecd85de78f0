"""Several styles at once: how they are written, and what they paint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import styletx
from styletx import backbones, colors, images, losses, matching
from styletx.cli import main
from styletx.errors import OptionError, PictureError
from styletx.losses import relative_distance
from styletx.losses.gram import moments
from styletx.optimization import Step
from styletx.painting import Mixture, Painting, Scale
from styletx.stylizers import BlendingStylizer, OptimizingStylizer, Part, Run, load_stylizer, mixing, seams, stylize

ASSETS = Path(__file__).resolve().parents[1] / "assets"
IMPASTO, MOSAIC = (ASSETS / "styles" / f"{name}.jpg" for name in ("impasto", "mosaic"))
COFFEE = ASSETS / "content/coffee.jpg"
SMALL: dict[str, Any] = {"size": 96, "device": "cpu", "precision": "float32"}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def files_with_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for name in ("a.png", "b.png", "a+b.png", "c+d.png", "e:0.5.png", "f=1.png", "photo.png"):
        Image.fromarray(noise).save(name)
    Image.fromarray(255 - noise // 2).save("b.png")


@pytest.mark.parametrize(
    ("style", "wanted"),
    [
        ("a.png", [("a.png", 1)]),
        ("a.png+b.png:0.3", [("a.png", 1), ("b.png", 0.3)]),
        ("a.png:2+mosaic:0", [("a.png", 2), ("mosaic", 0)]),
        ("a+b.png", [("a+b.png", 1)]),
        ("a.png+c+d.png:2+b.png", [("a.png", 1), ("c+d.png", 2), ("b.png", 1)]),
        ("e:0.5.png", [("e:0.5.png", 1)]),
        ("e:0.5.png:0.5", [("e:0.5.png", 0.5)]),
        ("missing.png+a.png", [("missing.png+a.png", 1)]),
        ("a.png+missing.png", [("a.png", 1), ("missing.png", 1)]),
        ("missing.png:2", [("missing.png", 2)]),
        (["a.png", "b.png:3", ("mosaic", 0.5)], [("a.png", 1), ("b.png", 3), ("mosaic", 0.5)]),
        ("https://example.com/a+b.png:2", [("https://example.com/a+b.png:2", 1)]),
    ],
)
def test_styles_are_taken_apart(style: mixing.Style, wanted: list[tuple[str, float]]) -> None:
    assert [(part.source, part.weight) for part in mixing.parts(style)] == wanted


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("b.png=mosaic", Part("mosaic", region="b.png")),
        ("b.png=a.png:0.3", Part("a.png", 0.3, "b.png")),
        ("b.png=a.png@c+d.png:2", Part("a.png", 2, "b.png", "c+d.png")),
        ("a.png@b.png", Part("a.png", seen="b.png")),
        ("a.png@b.png:2", Part("a.png", 2, seen="b.png")),
        ("missing.png=mosaic", Part("mosaic", region="missing.png")),
        ("f=1.png", Part("f=1.png")),
    ],
)
def test_masks_belong_to_the_style_beside_them(text: str, part: Part) -> None:
    assert mixing.parts(f"c+d.png+{text}") == [Part("c+d.png"), part]
    assert part.region is None or mixing.parts(["c+d.png", part._replace(region=Path(str(part.region)))])[1] == part
    assert part.label(str(part.source)) == text


def test_each_of_many_regions_keeps_its_mask() -> None:
    text = "mosaic+a.png=pen+b.png=poster+c+d.png=woodcut@a+b.png:2+f=1.png=f=1.png"
    assert mixing.parts(text) == [
        Part("mosaic"),
        Part("pen", region="a.png"),
        Part("poster", region="b.png"),
        Part("woodcut", 2, "c+d.png", "a+b.png"),
        Part("f=1.png", region="f=1.png"),
    ]
    assert mixing.parts("+".join(part.label(str(part.source)) for part in mixing.parts(text))) == mixing.parts(text)
    assert len(mixing.parts("mosaic" + "+a.png=pen" * 50)) == 51


def test_a_weight_may_stand_on_either_side_of_a_mask() -> None:
    assert mixing.parts("a.png:2@b.png") == mixing.parts("a.png@b.png:2")


def test_the_missing_name_is_the_one_that_is_told() -> None:
    with pytest.raises(PictureError, match=r"^missing\.png: file not found"):
        load_stylizer("missing.png+b.png=mosaic", **SMALL)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("a.png:x", "a.png: its weight 'x' is not a number from 0 on"),
        ("a.png:-1+b.png", "a.png: its weight '-1' is not a number from 0 on"),
        ("a.png:nan", "a.png: its weight 'nan' is not"),
        ("a.png:0+b.png:0", "every style has a weight of 0"),
        ([], "there is no style"),
        ([("a.png", "much")], "a style: its weight 'much' is not"),
        ("b.png=a.png", "every style has a region; give one without"),
        (["a.png", ("b.png", 1, "c+d.png")], "a style cannot be "),
    ],
)
def test_bad_weights_are_refused_in_a_line(style: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{message}"):
        mixing.parts(style)


def test_a_part_that_is_missing_is_told() -> None:
    with pytest.raises(PictureError, match=r"^missing\.png: "):
        load_stylizer("a.png+missing.png:2", **SMALL)


def grams(painted: torch.Tensor, stylizer: OptimizingStylizer) -> list[float]:
    """Mean distance of a picture's Gram matrices to those of each of a mixture's paintings."""
    size = (painted.shape[-2], painted.shape[-1])
    seen = stylizer._activations(painted)
    found = []
    for one in stylizer.paintings:
        targets = one.scale(size, 1.0).grams
        distances = [
            relative_distance(losses.gram_matrix(seen[layer]), moments(target).gram)
            for layer, target in targets.items()
        ]
        found.append(float(torch.stack(distances).mean()))
    return found


@pytest.mark.parametrize("match", [0.0, 1.0])
def test_a_mixture_lies_between_its_styles(match: float) -> None:
    options = SMALL | {"match": match, "size": 160}
    mixed = load_stylizer([IMPASTO, MOSAIC], **options)
    assert isinstance(mixed, OptimizingStylizer) and isinstance(mixed.painting, Mixture)
    results = [stylize(COFFEE, style, **options).pixels for style in (IMPASTO, MOSAIC)]
    (near, far), (other_far, other_near) = (grams(one, mixed) for one in results)
    between = grams(mixed(COFFEE).pixels, mixed)
    assert near < between[0] < other_far and other_near < between[1] < far


def test_what_has_no_weight_is_not_there() -> None:
    pure = stylize(COFFEE, IMPASTO, **SMALL)
    mixed = stylize(COFFEE, [IMPASTO, f"{MOSAIC}:0"], **SMALL)
    assert torch.equal(mixed.pixels, pure.pixels) and mixed.metadata["style"] == "impasto.jpg"


def test_little_weight_is_matched_little() -> None:
    def share(weight: float) -> float:
        stylizer = load_stylizer([IMPASTO, f"{MOSAIC}:{weight}"], **SMALL)
        assert isinstance(stylizer, OptimizingStylizer)
        photo = stylizer._recoloured(images.resize(images.read(COFFEE).pixels, (72, 96)))
        scale = stylizer.painting.scale((72, 96), 1.0)
        assert scale.candidates is not None
        seen = stylizer._activations(photo)
        layers = [seen[layer] for layer in stylizer.backbone.matching_layers]
        query = matching.hypercolumns(layers, (18, 24), scale.scales)
        wanted = matching.Query.of(query).wanted(scale.candidates, None)
        found = matching.match(wanted, scale.candidates)
        return float(scale.candidates.places[4, found.index].float().mean())

    shares = [share(weight) for weight in (0.001, 0.3, 1.0, 1000.0)]
    assert shares == sorted(shares) and shares[0] < 0.02 < 0.2 < shares[2] < 0.98 < shares[3]


def test_trained_styles_are_blended() -> None:
    stylizer = load_stylizer(["mosaic", "poster:3"], **SMALL)
    assert isinstance(stylizer, BlendingStylizer)
    steps = list(run := stylizer.start(COFFEE))
    assert [step.progress for step in steps] == sorted(step.progress for step in steps) and steps[-1].progress == 1
    one, other = (stylize(COFFEE, name, **SMALL).pixels for name in ("mosaic", "poster"))
    torch.testing.assert_close(run.result.pixels, one.lerp(other, 0.75), atol=1e-5, rtol=0)
    assert run.metadata["style"] == "mosaic+poster:3" and run.metadata["method"] == "blend"
    assert run.metadata["style_sha256"].count("+") == 1


def test_a_painting_and_a_trained_style_are_blended() -> None:
    found = stylize(COFFEE, f"{IMPASTO}+mosaic", **SMALL).pixels
    one, other = (stylize(COFFEE, style, **SMALL).pixels for style in (IMPASTO, "mosaic"))
    torch.testing.assert_close(found, one.lerp(other, 0.5), atol=1e-5, rtol=0)


def test_run_mixes_and_info_repeats_it() -> None:
    run = call("run", "photo.png", "a.png", "b.png:0.3", "--size", "32", "--iterations", "2")
    assert run.exit_code == 0, run.output
    facts = json.loads(call("info", "outputs/photo-a-b.png", "--json").stdout)
    assert facts["style"] == "a.png+b.png:0.3" and "a.png+b.png:0.3" in facts["command"]
    assert call("run", *facts["command"].split()[2:], "-o", "again.png").exit_code == 0
    first, second = (np.asarray(Image.open(name)) for name in ("outputs/photo-a-b.png", "again.png"))
    np.testing.assert_array_equal(first, second)


def test_a_batch_mixes_in_a_folder_of_its_own() -> None:
    options = SMALL | {"size": 32, "iterations": 2}
    (record,) = styletx.batch("photo.png", "a.png+b.png:0.3", "out", **options)
    assert record.error is None and record.output == "out/a+b-0.3/photo.png"
    wanted = stylize("photo.png", ["a.png", ("b.png", 0.3)], **options)
    np.testing.assert_array_equal(np.asarray(Image.open(record.output)), np.asarray(wanted.image))
    (again,) = styletx.batch("photo.png", "a.png+b.png:0.3", "out", **options)
    assert again.skipped
    Path("b.png").write_bytes(Path("a.png").read_bytes())
    with pytest.raises(styletx.OutputError, match="were not made with these settings"):
        styletx.batch("photo.png", "a.png+b.png:0.3", "out", **options)


@pytest.mark.parametrize("style", [IMPASTO, "mosaic"])
@pytest.mark.parametrize("colors_of", ["photo", "luminance"])
def test_the_photographs_colours_stay(style: Path | str, colors_of: str) -> None:
    photo = images.resize(images.read(COFFEE).pixels, (64, 96))
    plain = stylize(COFFEE, style, **SMALL).pixels
    found = stylize(COFFEE, style, colors=colors_of, **SMALL).pixels
    away, before = ((colors.oklab(one) - colors.oklab(photo))[:, 1:].norm(dim=1).mean() for one in (found, plain))
    assert away < 0.01 < 0.05 < before
    assert (colors.oklab(found) - colors.oklab(photo))[:, 0].abs().mean() > 0.02  # but it is painted


def test_the_range_of_colours_is_the_photographs_or_another_pictures() -> None:
    for options, wanted in (({"colors": "match"}, COFFEE), ({"palette": str(MOSAIC)}, MOSAIC)):
        found = colors.colors(stylize(COFFEE, IMPASTO, **SMALL | options).pixels)
        there = colors.colors(images.read(wanted).pixels)
        assert (found.mean - there.mean).norm() < 0.05 * there.mean.norm()
        assert (found.covariance - there.covariance).norm() < 0.08 * there.covariance.norm()


def test_ink_on_paper_gets_no_colours_that_noise_would_make() -> None:
    found = colors.colors(stylize(COFFEE, "pen", colors="match", **SMALL).pixels)
    assert colors.line(found) is not None


def test_oklab_is_there_and_back() -> None:
    pixels = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(colors.from_oklab(colors.oklab(pixels)), pixels, atol=1e-5, rtol=0)
    white = colors.oklab(torch.ones(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(white, torch.tensor([1.0, 0, 0]), atol=1e-4, rtol=0)


def test_a_palette_and_other_colours_are_refused() -> None:
    with pytest.raises(OptionError, match=r"^palette says which colours the result has; remove colors"):
        load_stylizer("mosaic", palette=str(MOSAIC), colors="photo", **SMALL)
    with pytest.raises(PictureError, match=r"^none\.jpg: "):
        load_stylizer("mosaic", palette="none.jpg", **SMALL)


def test_what_a_mask_keeps_stays_photograph() -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[:, :16], mask[:, 16:32] = 255, 128
    Image.fromarray(mask).save("mask.png")
    plain, found = (stylize(COFFEE, "mosaic", keep=keep, **SMALL) for keep in (None, "mask.png"))
    photo = images.resize(images.read(COFFEE).pixels, (64, 96))
    torch.testing.assert_close(found.pixels[..., :24], photo[..., :24], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.pixels[..., 72:], plain.pixels[..., 72:], atol=1e-5, rtol=0)
    half = photo.lerp(plain.pixels, 1 - 128 / 255)[..., 44:52]
    torch.testing.assert_close(found.pixels[..., 44:52], half, atol=1e-3, rtol=0)
    assert found.metadata["options"]["keep"] == "mask.png"


def test_masks_that_mean_nothing_or_are_stretched_are_told() -> None:
    Image.new("L", (48, 32)).save("black.png")
    with pytest.raises(PictureError, match=r"^black\.png is black all over, so it selects nothing; paint"):
        load_stylizer("mosaic", keep="black.png", **SMALL)
    Image.new("L", (32, 32), 255).save("square.png")
    (note,) = load_stylizer("mosaic", keep="square.png", **SMALL).start(COFFEE).notes
    assert (
        str(note)
        == "The mask of what to keep is 32×32 px, of another shape than the photograph, and is stretched to it."
    )


def test_strokes_are_wider_or_finer() -> None:
    def fineness(style: Path | str, size: float) -> float:
        pixels = stylize(COFFEE, style, stroke_size=size, **SMALL | {"size": 320}).pixels.mean(1, keepdim=True)
        coarse = torch.nn.functional.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
        return float((pixels - coarse).square().mean() / pixels.var())

    for style in (MOSAIC, "mosaic"):
        finer, own, wider = (fineness(style, size) for size in (0.5, 1, 2))
        assert finer > 1.01 * own and own > 1.2 * wider


@pytest.fixture
def half() -> Path:
    """A mask of a photograph's left half."""
    mask = Image.new("L", (30, 20))
    mask.paste(255, (0, 0, 15, 20))
    mask.save("half.png")
    return Path("half.png")


def gram_distance(pixels: torch.Tensor, style: Path) -> float:
    """Of a picture to a painting, the mean over the layers that carry style."""
    backbone = backbones.load(backbones.BUNDLED)
    painting = images.read(style).pixels
    painting = images.resize(painting, images.fit((painting.shape[-2], painting.shape[-1]), 96))
    with torch.no_grad():
        seen, wanted = backbone.module(pixels), backbone.module(painting)
    return sum(
        float(relative_distance(losses.gram_matrix(seen[layer]), losses.gram_matrix(wanted[layer])))
        for layer in backbone.style_layers
    ) / len(backbone.style_layers)


@pytest.mark.parametrize("method", ["optimisation", "one-pass"])
def test_a_region_has_all_of_its_painting_and_changes_nothing_else(half: Path, method: str) -> None:
    options: Any = SMALL | {"method": method}
    one, other = stylize(COFFEE, IMPASTO, **options), stylize(COFFEE, MOSAIC, **options)
    result = stylize(COFFEE, [IMPASTO, Part(MOSAIC, region=half)], **options)
    edge = result.pixels.shape[-1] // 2
    assert torch.equal(result.pixels[..., edge + 12 :], one.pixels[..., edge + 12 :])
    inside = [gram_distance(one.pixels[..., : edge - 4].contiguous(), MOSAIC) for one in (result, other)]
    assert inside[0] < (0.8 if method == "optimisation" else 1) * inside[1]
    assert result.metadata["style"] == "impasto.jpg+half.png=mosaic.jpg"


def test_a_small_region_is_painted_by_itself_with_strokes_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = Image.new("L", (96, 64))
    mask.paste(255, (40, 20, 56, 36))
    mask.save("spot.png")
    painted, seen = list[tuple[int, int]](), list[int]()
    steps, at = OptimizingStylizer.steps, Painting.at

    def told(self: OptimizingStylizer, run: Run) -> Iterator[Step]:
        painted.append(run.size)
        return steps(self, run)

    def asked(self: Painting, long_side: int, largest: int) -> Scale:
        seen.append(long_side)
        return at(self, long_side, largest)

    monkeypatch.setattr(OptimizingStylizer, "steps", told)
    monkeypatch.setattr(Painting, "at", asked)
    stylize(COFFEE, [IMPASTO, Part(MOSAIC, region="spot.png")], **SMALL | {"size": 192})
    (whole, spot), (_, *_, last) = painted, seen
    assert whole == (128, 192) and 96 <= spot[0] == spot[1] <= 108  # 32 px on each side
    assert last == 192


def test_a_region_holds_several_styles_and_any_of_them_may_be_trained(half: Path) -> None:
    style: mixing.Style = ["mosaic", Part("pen", region=half), Part(IMPASTO, 0.5, half)]
    found, mosaic = stylize(COFFEE, style, **SMALL).pixels, stylize(COFFEE, "mosaic", **SMALL).pixels
    edge = found.shape[-1] // 2
    assert torch.equal(found[..., edge + 12 :], mosaic[..., edge + 12 :])
    alone = [stylize(COFFEE, ["mosaic", Part(one, region=half)], **SMALL).pixels for one in ("pen", IMPASTO)]
    for one in alone:
        assert (found - one)[..., : edge - 12].abs().mean() > 5 / 255
    assert (found - alone[0].lerp(alone[1], 1 / 3))[..., : edge - 12].abs().mean() < 3 / 255


def test_regions_that_overlap_are_told_and_seen_in_part(half: Path) -> None:
    run = load_stylizer(["mosaic", Part("pen", region=half), Part("poster", region="half.png")], **SMALL).start(COFFEE)
    assert not [note for note in run.notes if "overlap" in str(note)]  # one region with two styles
    Image.new("L", (30, 20), 255).save("all.png")
    both: list[Any] = [Part("pen", region=half), Part("poster", region="all.png")]
    run = load_stylizer(["mosaic", *both], **SMALL).start(COFFEE)
    assert "Regions overlap; where they do, each is seen in part." in map(str, run.notes)
    alone = [stylize(COFFEE, ["mosaic", one], **SMALL).pixels for one in both]
    for _ in run:
        pass
    found, edge = run.result.pixels, run.size[1] // 2
    assert (found - sum(alone) / 2)[..., : edge - 12].abs().mean() < 1 / 255
    assert (found - alone[1])[..., edge + 12 :].abs().mean() < 1 / 255


def test_only_a_part_of_a_painting_may_be_seen(half: Path) -> None:
    pixels = np.zeros((96, 144, 3), np.uint8)
    pixels[:, :72], pixels[:, 72:] = (255, 40, 0), (0, 40, 255)
    noise = np.random.default_rng(0).integers(0, 40, pixels.shape, dtype=np.uint8)
    Image.fromarray(np.maximum(pixels, noise)).save("two.png")
    for method in ("optimisation", "one-pass"):
        red = stylize(COFFEE, "two.png@half.png", **SMALL | {"method": method})
        assert red.pixels[:, 0].mean() > 3 * red.pixels[:, 2].mean()
        assert red.metadata["style"] == "two.png@half.png"
    with pytest.raises(OptionError, match=r"^mosaic is a trained style, of which no part can be chosen; give a"):
        load_stylizer("mosaic@half.png", runtime="onnx", **SMALL)


def test_the_command_line_takes_regions(half: Path) -> None:
    result = call("run", str(COFFEE), "mosaic", "--region", "half.png=pen", "-o", "out.png", "--size", "96")
    assert result.exit_code == 0
    told = call("info", "out.png")
    assert "styletx run coffee.jpg mosaic+half.png=pen" in told.output
    for words, message in [
        (["--region", "pen"], "--region 'pen' is not a mask and a style; write"),
        (["--region", "none.png=pen"], "none.png: file not found"),
        (["--region", "half.png=nothing"], "nothing is neither a file nor"),
    ]:
        result = call("run", str(COFFEE), "mosaic", *words, "--size", "96")
        assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1


def test_the_command_of_a_painting_beside_a_trained_style_does_not_ask_for_one_pass(half: Path) -> None:
    words = ("--size", "64", "--iterations", "2", "--device", "cpu", "--precision", "float32")
    run = call("run", "photo.png", "mosaic", "--region", "half.png=a.png", "-o", "one.png", *words)
    assert run.exit_code == 0
    (line,) = (one for one in call("info", "one.png").output.splitlines() if one.startswith("command"))
    assert "--fast" not in line and call(*line.split()[2:], "-o", "two.png").exit_code == 0
    assert torch.equal(images.read("one.png").pixels, images.read("two.png").pixels)


def test_a_region_of_a_tile_is_where_its_mask_is(half: Path) -> None:
    options: Any = SMALL | {"seamless": "x"}
    pen = stylize(COFFEE, "pen", **options).pixels
    found = stylize(COFFEE, ["pen", Part("poster", region=half)], **options).pixels
    share = images.resize(seams.periodic(images.mask("half.png"), "x"), (64, 96))
    change = (found - pen).abs().mean((0, 1, 2))
    assert change[share[0, 0, 0] < 0.05].max() < 0.03 and change[share[0, 0, 0] > 0.9].min() > 0.05


def test_regions_of_photograph_and_painting_are_matched(half: Path) -> None:
    """A painting that is noise above and stripes below."""
    noise = torch.rand(1, 1, 96, 144, generator=torch.Generator().manual_seed(0))
    stripes = (torch.arange(144) // 3 % 2).expand(1, 1, 96, 144).float()
    painting = torch.cat([noise[..., :48, :], stripes[..., 48:, :]], -2).expand(1, 3, -1, -1)
    for method in ("optimisation", "one-pass"):
        for style in list[mixing.Style]([painting, [painting, COFFEE]]):
            plain, found = (
                stylize(COFFEE, style, **SMALL | {"method": method, "regions": regions}).pixels
                for regions in (None, "auto")
            )
            assert (plain - found).abs().mean() > 1 / 255 and found.isfinite().all()


@pytest.mark.parametrize("option", ["keep", "detail", "palette", "strength"])
def test_another_mask_of_the_same_name_makes_another_batch(half: Path, option: str) -> None:
    words = ("batch", "photo.png", "--style", "mosaic", f"--{option}", "half.png", "-o", "out", "--size", "64")
    assert call(*words).exit_code == 0 and "1 already done" in call(*words).output
    Image.new("L", (30, 20), 255).save("half.png")
    assert "were not made with these settings" in call(*words).output


def test_a_cut_out_photograph_is_a_mask_of_its_shape() -> None:
    photo = Image.open(COFFEE).convert("RGBA").resize((60, 40))
    alpha = Image.new("L", (60, 40))
    alpha.paste(255, (0, 0, 30, 40))
    photo.putalpha(alpha)
    photo.save("cut.png")
    mask = images.mask("cut.png")
    assert mask[..., :30].min() == 1 and mask[..., 30:].max() == 0


def test_batches_take_regions(half: Path) -> None:
    words = ("batch", "photo.png", "--style", "mosaic", "--region", "half.png=pen", "-o", "out", "--size", "64")
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    (made,) = (json.loads(line) for line in result.stdout.splitlines())
    assert made["output"] == "out/mosaic+half/photo.png" and made["style"] == "mosaic+half.png=pen"
    wanted = stylize("photo.png", ["mosaic", Part("pen", region=half)], **SMALL | {"size": 64}).pixels
    assert (images.read(made["output"]).pixels - wanted).abs().mean() < 2 / 255
    # Another mask under the same name is another style.
    Image.new("L", (30, 20), 255).save("half.png")
    assert "were not made with these settings" in call(*words).output


def test_a_picture_to_start_from_is_cropped_with_its_region() -> None:
    mask = Image.new("L", (96, 64))
    mask.paste(255, (40, 20, 56, 36))
    mask.save("spot.png")
    options: Any = SMALL | {"size": 192, "iterations": 1}
    given, plain = (
        stylize(COFFEE, [IMPASTO, Part(MOSAIC, region="spot.png")], init=init, **options).pixels
        for init in (str(COFFEE), "content")
    )
    place = (..., slice(44, 68), slice(84, 108))
    photo = images.resize(images.read(COFFEE).pixels, (128, 192))
    light = [colors.light(one)[place].flatten() for one in (given, plain, photo)]
    likeness = torch.corrcoef(torch.stack(light))
    assert likeness[0, 2] > 0.7 * likeness[1, 2]


def test_a_grey_region_is_painted_as_much_and_shown_less() -> None:
    Image.new("L", (30, 20), 128).save("grey.png")
    Image.new("L", (30, 20), 255).save("white.png")
    ground = stylize(COFFEE, IMPASTO, **SMALL).pixels
    grey, white = (
        stylize(COFFEE, [IMPASTO, Part(MOSAIC, region=f"{name}.png")], **SMALL).pixels for name in ("grey", "white")
    )
    assert (ground + (grey - ground) * 255 / 128 - white).abs().mean() < 4 / 255


def test_what_is_said_of_regions_and_strength(half: Path) -> None:
    for words, message in [
        (["--strength", "nan"], "--strength': 'nan' is not a finite number."),
        (["--strength", "half"], "--strength': 'half' is neither a number nor a file."),
        (["--strength", "2"], "--strength cannot be 2.0; it must be from 0 to 1"),
        (["--regions", "half.png"], "'half.png' is not 'auto'; a mask is given by --region MASK=STYLE."),
    ]:
        result = call("run", str(COFFEE), "mosaic", *words, "--size", "96")
        assert result.exit_code == 2 and message in result.output
    with pytest.raises(OptionError, match="name of a mask"):
        styletx.Options(strength="0.5")
    nothing = load_stylizer(IMPASTO, match=0, regions="auto", **SMALL).notes
    assert "Nothing is matched with the painting, so regions has no effect." in map(str, nothing)
    (told,) = load_stylizer("mosaic", runtime="onnx", regions="auto", **SMALL).notes
    assert str(told).endswith("so it ignores regions.")
    Image.new("L", (32, 32), 255).save("square.png")
    notes = load_stylizer("mosaic", strength="square.png", **SMALL).start(COFFEE).notes
    assert any(str(note).startswith("The mask of the strength is 32×32 px") for note in notes)
