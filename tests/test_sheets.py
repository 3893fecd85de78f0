"""Sheets to choose from."""

from __future__ import annotations

import json
import re
import webbrowser
from pathlib import Path

import PIL.Image
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from styletx import images
from styletx.cli import main

ASSETS = Path(__file__).resolve().parents[1] / "assets"
CPU = ("--device", "cpu", "--precision", "float32")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source, target in (("content/coffee.jpg", "photo.png"), ("styles/impasto.jpg", "painting.png")):
        with Image.open(ASSETS / source) as picture:
            picture.resize((96, 64)).save(target)


def test_each_picture_is_what_its_command_paints() -> None:
    words = ("photo.png", "painting.png", "--vary", "match=0,1", "--vary", "stroke-size=0.5,1,2", "--size", "64")
    result = call("sheet", *words, "--iterations", "2", *CPU, "-o", "sheet.png", "--embed-paths")
    assert result.exit_code == 0, result.output
    sheet = images.read("sheet.png").pixels
    told = call("info", "sheet.png").output
    assert len(re.findall(r"\d +styletx run photo.png painting.png ", told)) == 6
    for number, (column, row) in {2: (1, 0), 4: (0, 1)}.items():
        line = call("info", "sheet.png", "--cell", str(number)).output
        assert call(*line.split()[1:], "-o", f"{number}.png").exit_code == 0
        alone = images.read(f"{number}.png").pixels
        height, width = alone.shape[-2:]
        left, top = column * (width + 12) + 6, row * (height + 12 + 2 * 16 + 6) + 6
        assert bool((sheet[..., top : top + height, left : left + width] == alone).all())


def test_the_style_and_words_for_none_vary_too() -> None:
    words = ("sheet", "photo.png", "--vary", "style=pen,painting.png", "--vary", "detail=none,auto", "--fast")
    assert call(*words, "--size", "48").exit_code == 0
    cells = json.loads(call("info", "outputs/photo-sheet.png", "--json").output)["cells"]
    assert [one["style"] for one in cells] == ["pen", "pen", "painting.png", "painting.png"]
    assert [one["options"]["detail"] for one in cells] == [None, "auto"] * 2


def test_a_page_shows_the_sheet_and_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert call("sheet", "photo.png", "mosaic", "--vary", "size=32,48", "-o", "a&b.png", "--open").exit_code == 0
    assert opened == [Path("a&b.html").resolve().as_uri()]
    page = Path("a&b.html").read_text()
    assert (
        'src="a&amp;b.png"' in page and "<code>styletx run photo.png mosaic --size 48 --fast --offline</code>" in page
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["colour=1"], "--vary: no option is called 'colour'; did you mean 'colors'?"),
        (["match"], "--vary 'match' has no values; write for example"),
        (["match=0,,1"], "--vary 'match=0,,1' has no values"),
        (["match=x"], "--match: 'x' is not a valid float"),
        (["match=0,2"], "--match cannot be 2.0; it must be from 0 to 1"),
        (["look=bald"], "--look: 'bald' is not one of"),
        (["rotations=true,maybe"], "--rotations: 'maybe' is not a valid boolean"),
        (["match=0", "--vary", "--match=1"], "--vary names the same option twice"),
        ([f"seed={','.join(map(str, range(101)))}"], "101 pictures are more than a sheet shows"),
        (["match=1", "-o", "photo.png"], "photo.png"),
        (["match=1", "-o", "sheet.bmp"], "use one of .png"),
    ],
)
def test_what_cannot_vary_is_refused_in_a_line(words: list[str], message: str) -> None:
    result = call("sheet", "photo.png", "mosaic", "--vary", *words)
    assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1


def test_other_files_have_no_cells() -> None:
    call("run", "photo.png", "mosaic", "--size", "32", "-o", "one.png")
    assert "one.png was not made by `styletx sheet`; remove --cell" in call("info", "one.png", "--cell", "1").output
    call("sheet", "photo.png", "mosaic", "--vary", "size=32,48", "-o", "sheet.png")
    assert "--cell cannot be 3; the sheet has 2 pictures" in call("info", "sheet.png", "--cell", "3").output


def test_places_and_captions_are_as_large_as_needed() -> None:
    wide, tall = (PIL.Image.new("RGB", size, "black") for size in ((40, 20), (20, 40)))
    drawn = images.sheet([(wide, ["1"]), (None, ["a" * 100, "b"]), (tall, ["3"])], 2, (40, 40), "title")
    assert drawn.size == (2 * 52, 38 + 2 * (52 + 38))
    assert drawn.getpixel((26, 38 + 26)) == (0, 0, 0) and drawn.getpixel((78, 38 + 26)) == (255, 255, 255)


def test_inputs_and_pages_are_never_overwritten() -> None:
    Image.new("L", (96, 64), 255).save("mask.png")
    for words in (
        ("painting.png:0.5", "--vary", "seed=1,2", "-o", "painting.png"),
        ("mosaic", "--keep", "mask.png", "--vary", "seed=1,2", "-o", "mask.png"),
        ("mosaic", "--vary", "style=painting.png,pen", "-o", "painting.png"),
        ("mosaic", "--region", "mask.png=pen", "--vary", "seed=1,2", "-o", "mask.png"),
        ("mosaic", "--vary", "detail=none,mask.png", "-o", "mask.png"),
    ):
        result = call("sheet", "photo.png", *words)
        assert result.exit_code == 2 and "is one of the inputs, which are never overwritten" in result.output
    Path("sheet.html").write_text("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webbrowser, "open", lambda _: True)
        assert call("sheet", "photo.png", "pen", "--vary", "size=32", "-o", "sheet.png", "--open").exit_code == 0
    assert Path("sheet.html").read_text() == "mine" and Path("sheet-2.html").exists()


def test_a_sheet_takes_regions_and_recipes_and_hides_what_it_should() -> None:
    Image.new("LA", (96, 64), (255, 0)).save("mask.png")
    with Image.open("mask.png") as mask:
        mask.paste((255, 255), (0, 0, 48, 64))
        mask.save("mask.png")
    Path("look.toml").write_text('version = 1\nstyle = "mosaic"\n[options]\nstroke_size = 2.0\n')
    words = ("--recipe", "look.toml", "--region", "mask.png=pen", "--vary", "strength=0.5,1", "-o", "sheet.png")
    assert call("sheet", "photo.png", *words).exit_code == 0
    line = call("info", "sheet.png", "--cell", "1").output.strip()
    assert line.startswith(
        "styletx run photo.png mosaic+mask.png=pen --size 256 --stroke-size 2.0 --fast --strength 0.5"
    )
    assert call("sheet", "photo.png", *words[:-1], "quiet.png", "--strip-metadata").exit_code == 0
    assert "has no styletx metadata" in call("info", "quiet.png").output
    assert (
        "there is no style; name one, or several by --vary style=A,B"
        in call("sheet", "photo.png", "--vary", "seed=1").output
    )
