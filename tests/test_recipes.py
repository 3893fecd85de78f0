"""Looks that are kept in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from styletx import images
from styletx.cli import main
from styletx.errors import OptionError
from styletx.feedforward import models
from styletx.options import Options
from styletx.stylizers import Part, load_stylizer, mixing, recipes

ASSETS = Path(__file__).resolve().parents[1] / "assets"
WRITTEN = 'version = 1\nstyle = "mosaic"\n[options]\n'


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("looks", "elsewhere"):
        Path(folder).mkdir()
    for source, target in (("content/coffee.jpg", "photo.png"), ("styles/impasto.jpg", "looks/im+pasto.png")):
        with Image.open(ASSETS / source) as picture:
            picture.resize((96, 64)).save(target)
    mask = Image.new("L", (96, 64))
    mask.paste(255, (0, 0, 48, 64))
    mask.save("mask.png")


LOOK = ("looks/im+pasto.png:2", "mosaic", "--region", "mask.png=pen", "--stroke-size", "2", "--keep", "mask.png")
CPU = ("--device", "cpu", "--precision", "float32")


def test_a_look_is_kept_and_used_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("run", "photo.png", *LOOK, "--size", "64", "--save-recipe", "looks/mine.toml", "-o", "one.png", *CPU)
    assert result.exit_code == 0, result.output
    monkeypatch.chdir("elsewhere")
    again = call("run", "../photo.png", "--recipe", "../looks/mine.toml", "-o", "../two.png", *CPU)
    assert again.exit_code == 0, again.output
    one, two = images.read("../one.png"), images.read("../two.png")
    assert bool((one.pixels == two.pixels).all())
    batch = call("batch", "../photo.png", "--recipe", "../looks/mine.toml", "-o", "out", "--json", *CPU)
    (made,) = (json.loads(line) for line in batch.stdout.splitlines())
    assert bool((images.read(made["output"]).pixels == one.pixels).all())


def test_a_bundled_painting_keeps_its_name_unless_there_is_another_picture_called_so() -> None:
    ours = models.paintings()["mosaic.jpg"]
    style = "mask.png=mosaic.jpg+poster.jpg:2"
    masked, poster = mixing.parts(style)
    assert masked == Part(str(ours), region="mask.png") and poster.source == str(models.paintings()["poster.jpg"])
    assert mixing.parts([("mosaic.jpg", 2.0), Part("mosaic.jpg")]) == [Part(str(ours), 2.0), Part(str(ours))]
    recipes.write("looks/ours.toml", style, Options(), None)
    assert 'style = "../mask.png=mosaic.jpg+poster.jpg:2"' in Path("looks/ours.toml").read_text()
    assert mixing.parts(recipes.read("looks/ours.toml").style)[0].source == str(ours)
    for name in ("mosaic.jpg", "looks/mosaic.jpg"):
        Path("photo.png").rename(name)
        assert mixing.parts(name)[0].source == name
        Path(name).rename("photo.png")
    Image.new("RGB", (40, 40)).save("looks/mosaic.jpg")
    recipes.write("looks/ours.toml", style, Options(), None)
    assert mixing.parts(recipes.read("looks/ours.toml").style)[0].source == str(ours)


def test_single_options_and_styles_outweigh_a_recipe() -> None:
    Path("mine.toml").write_text(WRITTEN + 'size = 80\ncolors = "photo"\n')
    assert call("run", "photo.png", "--recipe", "mine.toml", "-o", "one.png").exit_code == 0
    assert call("run", "photo.png", "pen", "--recipe", "mine.toml", "--size", "64", "-o", "two.png").exit_code == 0
    one, two = images.read_metadata("one.png"), images.read_metadata("two.png")
    assert (one["style"], one["size"], one["options"]["colors"]) == ("mosaic", [80, 53], "photo")
    assert (two["style"], two["size"], two["options"]["colors"]) == ("pen", [64, 43], "photo")


def test_another_picture_under_the_name_of_the_style_is_told() -> None:
    assert call("run", "photo.png", "looks/im+pasto.png", "--fast", "--save-recipe", "a.toml").exit_code == 0
    Image.open("photo.png").save("looks/im+pasto.png")
    told = call("run", "photo.png", "--recipe", "a.toml").output
    assert "The style is not the one that a.toml was written with, so the look will differ." in told
    assert "is not the one that" not in call("run", "photo.png", "mosaic", "--recipe", "a.toml").output


def test_a_recipe_holds_what_belongs_to_the_look() -> None:
    options = Options(size=64, seed=3, device="cpu", precision="float32", strip_metadata=True, palette="mask.png")
    style: mixing.Style = ["looks/im+pasto.png", Part("mosaic", region=Path("mask.png"))]
    recipes.write("looks/mine.toml", style, options, load_stylizer(style, options).sha256)
    found = recipes.read("looks/mine.toml")
    assert {name: value for name, value in found.options.items() if name != "palette"} == {"size": 64, "seed": 3}
    assert Path(found.options["palette"]).samefile("mask.png")
    assert found.sha256 is not None and len(found.sha256) == 2 * 64 + 1
    with pytest.raises(OptionError, match=r"^a picture that is in no file cannot be in a recipe"):
        recipes.write("b.toml", Image.open("photo.png"), options, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "mine.toml: no such file or directory"),
        (b"\xff\xd8\xff", "mine.toml is not a recipe: it is not text"),
        ("version", "mine.toml is not a recipe: "),
        ("a = " + "[" * 5000, "mine.toml is not a recipe: "),
        (WRITTEN + "keep = 5", "mine.toml: --keep cannot be 5; it must be text"),
        (WRITTEN + "detail = true", "mine.toml: --detail cannot be True; it must be text"),
        ("size = 3", "mine.toml is not a recipe; write one with --save-recipe"),
        ('version = 2\nstyle = "mosaic"', "mine.toml was written by a newer styletx; update yours by pip"),
        ('version = 1\nstyle = "mosaic"\nsort = 3', "mine.toml: 'sort' means nothing in a recipe"),
        (WRITTEN + "colour = 3", "mine.toml: 'colour' means nothing in a recipe; did you mean 'colors'?"),
        (WRITTEN + "stroke_size = 40", "mine.toml: --stroke-size cannot be 40; it must be from 0.25 to 4"),
        (WRITTEN + "stroke_size = 'wide'", "mine.toml: --stroke-size cannot be 'wide'; it must be a number"),
        ('version = 1\nstyle = "mosaic"\noptions = 3', "mine.toml: options should be a table"),
        ('version = 1\nstyle = "none.png+mask.png=mosaic"', "none.png: file not found; check the name"),
        (WRITTEN + "keep = 'none.png'", "none.png: file not found; check the name"),
        ('version = 1\nstyle = "none.png"', "none.png: file not found; check the name"),
    ],
)
def test_what_is_no_recipe_is_refused_in_a_line(text: Any, message: str) -> None:
    if text is not None:
        Path("mine.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    result = call("run", "photo.png", "--recipe", "mine.toml")
    assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1


def test_folders_and_names_may_have_any_marks() -> None:
    for folder in ("w=1", "w@1", "a+b"):
        Path(folder).mkdir()
        Image.open("photo.png").save(f"{folder}/style", "PNG")
        Image.open("mask.png").save(f"{folder}/m=a.png")
        mask = f"{folder}/m=a.png"
        style: mixing.Style = [f"{folder}/style", Part("pen", 0.5, mask), Part("mask.png", seen=mask)]
        for place in ("look.toml", f"{folder}/look.toml"):
            recipes.write(place, style, Options(detail="auto"), None)
            found = recipes.read(place)
            named = [Path(str(one)) for part in mixing.parts(found.style) for one in part.sources]
            assert [one.name for one in named] == ["style", "pen", "m=a.png", "mask.png", "m=a.png"]
            assert all(one.exists() for one in named if one != Path("pen"))
    Path("auto").touch()
    assert recipes.read("look.toml").options["detail"] == "auto"


def test_files_that_are_gone_are_not_sought_elsewhere() -> None:
    Path("looks/l.toml").write_text(WRITTEN + "keep = 'mask.png'\n")
    result = call("run", "photo.png", "--recipe", "looks/l.toml", "--size", "64")
    assert result.exit_code == 2 and "looks/mask.png: file not found" in result.output


def test_a_recipe_has_a_name_of_its_own() -> None:
    for name in ("look.txt", "out.png", "-"):
        result = call("run", "photo.png", "pen", "--save-recipe", name, "-o", "out.png")
        assert result.exit_code == 2 and "end it in .toml" in result.output
