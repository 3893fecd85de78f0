"""The benchmarks: their judge against closed forms and another program, and that each part runs at a tiny size."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision.models import vgg

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
PHOTOGRAPH, PAINTING = ROOT / "assets/content/coffee.jpg", ROOT / "assets/styles/mosaic.jpg"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a benchmark by name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


@pytest.fixture
def judge(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("judge")


# Closed forms


def test_gram_of_two_channels(judge: ModuleType) -> None:
    features = torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 1.0, -1.0]]])
    assert judge.gram(features).tolist() == pytest.approx(np.array([[14, -1], [-1, 2]]) / 3)
    assert judge.gram(features).dtype == torch.float64


def test_distance_is_relative(judge: ModuleType) -> None:
    target = torch.tensor([3.0, 4.0])
    assert judge.distance(target, target) == 0
    assert judge.distance(torch.zeros(2), target) == 1
    assert judge.distance(torch.tensor([3.0, 9.0]), target) == pytest.approx(25 / 25)
    assert judge.distance(100 * torch.tensor([3.0, 5.0]), 100 * target) == pytest.approx(1 / 25)


def test_a_flat_picture_in_closed_form(judge: ModuleType, tmp_path: Path) -> None:
    # One 3×3 convolution that copies a channel: on a flat picture its activation is the normalised colour everywhere.
    weight = torch.zeros(3, 3, 3, 3)
    weight[range(3), range(3), 1, 1] = 1
    network = judge.Network("identity", {layer: (weight, torch.zeros(3)) for layer in ("1_1", "2_1", "3_1")})
    colours = {"photograph": (255, 255, 255), "painting": (255, 204, 255), "result": (255, 255, 204)}
    for name, colour in colours.items():
        Image.new("RGB", (16, 12), colour).save(tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in colours]
    figures = judge.Judge(network, None).measure(*paths, 16)

    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    photograph, painting, result = ((np.array(colour) / 255 - mean) / deviation for colour in colours.values())
    assert (min(photograph.min(), painting.min(), result.min())) > 0  # so that the ReLU lets all of it pass
    grams = [np.outer(colour, colour) for colour in (result, painting)]
    style = ((grams[0] - grams[1]) ** 2).sum() / (grams[1] ** 2).sum()
    content = ((result - photograph) ** 2).sum() / (photograph**2).sum()
    assert figures.style == pytest.approx(style, rel=1e-5)
    assert figures.content == pytest.approx(content, rel=1e-5)
    assert figures.deep is None


def test_the_cached_network_is_torchvisions(judge: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLETX_CACHE", str(tmp_path))
    assert judge.find(tmp_path).shallow is None
    torch.manual_seed(0)
    whole = vgg.make_layers(vgg.cfgs["E"], batch_norm=False)[:30].eval().requires_grad_(False)
    convolutions = [layer for layer in whole if isinstance(layer, torch.nn.Conv2d)]
    names = [f"relu{block}_{index}" for block, count in enumerate((2, 2, 4, 4, 1), 1) for index in range(1, count + 1)]
    for convolution in convolutions:
        convolution.padding_mode = "reflect"
        convolution._reversed_padding_repeated_twice = [1, 1, 1, 1]
        assert convolution.bias is not None
        torch.nn.init.normal_(convolution.bias, std=0.1)
    state = {
        f"convolutions.{name}.{kind}": getattr(convolution, kind)
        for name, convolution in zip(names, convolutions, strict=True)
        for kind in ("weight", "bias")
    }
    safetensors.torch.save_file(state, tmp_path / "vgg19.safetensors")

    found = judge.find(tmp_path)
    assert found.shallow is found.deep and "cache" in found.described
    pixels = judge.read(PHOTOGRAPH, long_side=96)
    expected = whole((pixels[None] - judge.MEAN) / judge.STD)[0]
    shallow, deepest = found.deep.activations(pixels, ("1_1", "5_1"))
    torch.testing.assert_close(deepest, expected, rtol=1e-4, atol=1e-6)
    assert shallow.shape == (64, 64, 96)
    figures = found.measure(PHOTOGRAPH, PAINTING, PHOTOGRAPH, 96)
    assert figures.style > 0 and figures.deep > 0 and figures.content == 0


# Another program


@pytest.mark.skipif(not (SHARED / "judge.py").exists(), reason=f"needs the test data in {SHARED}")
@pytest.mark.parametrize("output", ["other photograph", "blend", "painting"])
def test_figures_are_the_other_judges(judge: ModuleType, tmp_path: Path, output: str) -> None:
    specification = importlib.util.spec_from_file_location("other_judge", SHARED / "judge.py")
    assert specification and specification.loader
    other = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(other)
    with Image.open(PHOTOGRAPH) as one, Image.open(PAINTING) as two:
        photograph, painting = one.resize((240, 160)), two.resize((240, 160))
    with Image.open(ROOT / "assets/content/rocket.jpg") as three:
        pictures = {
            "other photograph": three.resize((200, 136)),
            "blend": Image.blend(photograph, painting, 0.8),
            "painting": painting,
        }
    pictures[output].save(tmp_path / "result.png")
    figures = judge.find(SHARED).measure(PHOTOGRAPH, PAINTING, tmp_path / "result.png", 256)
    expected = other.judge(PHOTOGRAPH, PAINTING, tmp_path / "result.png", 256)
    for name in ("style", "content", "deep"):
        assert getattr(figures, name) == pytest.approx(expected[name], rel=1e-4), name


# Each benchmark, at a size at which its figures mean nothing


SLOW = pytest.mark.slow(reason="it optimises several pictures or starts several processes")


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("optimization", "iteration --rounds 1", 2),
        ("optimization", "pairs --photographs cat coffee --paintings mosaic", 4),
        ("optimization", "precision --photographs cat --paintings mosaic", 2),
        ("feedforward", "speed --rounds 1", 6),
        pytest.param("feedforward", "quality --photographs 1", 10, marks=SLOW),
        ("batch", "network --count 2 --turns 2", 2),
        pytest.param("compact", "time --rounds 1", 1, marks=SLOW),
        pytest.param("compact", "pairs --photographs cat coffee --paintings mosaic", 4, marks=SLOW),
        pytest.param("optimization", "curves --photographs cat --paintings mosaic", 32, marks=SLOW),
        pytest.param("optimization", "memory --sizes 48 64", 2, marks=SLOW),
        pytest.param("optimization", "overhead", 5, marks=SLOW),
        pytest.param("batch", "growth --counts 2 3", 2, marks=SLOW),
        pytest.param("batch", "kills --count 6 --kills 2", 2, marks=SLOW),
        pytest.param("together", "command --iterations 1 --rounds 1", 3, marks=SLOW),
        pytest.param("together", "library --iterations 1 --rounds 1", 4, marks=SLOW),
    ],
)
def test_a_benchmark_prints_its_table(
    load: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], name: str, arguments: str, count: int
) -> None:
    load(name).main([*arguments.split(), "--size", "48", "--shared", "nowhere"])
    printed = capsys.readouterr().out
    assert printed.startswith("    machine: cpu (") and "    command: python " in printed
    header, rule, *rows = (line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("|"))
    assert len(rows) == count
    assert {len(row) for row in (rule, *rows)} == {len(header)}
    is_judged = {"style", "content", "deep"} <= set(header)
    assert is_judged == ("not measured: no real VGG-19 is here" in printed)
    assert [cell for row in rows for cell in row if cell == "–"] == ["–"] * 3 * count * is_judged


def test_pairs_that_do_not_exist(load: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no pair has these names; there are cat, coffee, "):
        load("compact").main(["pairs", "--photographs", "dog", "--shared", "nowhere"])


# Votes


def test_votes_are_counted_by_the_key_alone(
    load: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preference = load("preference")
    colours = {"first": "red", "second": "blue", "contents": "white", "styles": "black"}
    for folder, colour in colours.items():
        (tmp_path / folder).mkdir()
        names = {"contents": ["cup", "cat"], "styles": ["oil"]}.get(folder, ["cup--oil", "cat--oil"])
        for name in names:
            Image.new("RGB", (40, 30), colour).save(tmp_path / folder / f"{name}.png")
    folders = [word for name in colours for word in (f"--{name}", str(tmp_path / name))]
    preference.main(["sheets", str(tmp_path / "sheets"), *folders])
    # A voter who looks at the sheets, and always likes red.
    lines = []
    for path in sorted((tmp_path / "sheets").glob("*.png")):
        picture = np.asarray(Image.open(path))
        left = picture[-30, 20]
        lines.append(f"{path.stem},{'A' if tuple(left) == (255, 0, 0) else 'B'}")
    assert len(lines) == 4  # two pairs, and a check of each
    (tmp_path / "ballot.csv").write_text("\n".join(lines))
    preference.main(["count", str(tmp_path / "sheets"), str(tmp_path / "ballot.csv")])
    printed = capsys.readouterr().out
    assert "first 2, second 0: 100% for the first" in printed
    assert "the photograph lost on 2 of 2 checks" in printed
