"""`styletx inspect` and `styletx backbones`: what they print, draw, and refuse."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from styletx import backbones, inspection
from styletx.backbones import downloads, places, weights
from styletx.cli import main, progress
from styletx.optimization import Step
from styletx.options import layer_weights


@pytest.fixture(autouse=True)
def folder(content_picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(content_picture.parent)


def call(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(main, arguments, **options)


def done(*arguments: str) -> Result:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    return error


def drawn(path: str) -> np.ndarray:
    """A picture that is not blank."""
    values = np.asarray(Image.open(path).convert("RGB"))
    assert values.std() > 5 and len(np.unique(values.reshape(-1, 3), axis=0)) > 100
    return values


# Tables


def test_a_table_is_printed_with_its_sums() -> None:
    text = done("inspect", "vgg16", "--offline").stdout
    assert re.search(r"^relu1_2 +64 +224×224 +1 +5×5 +36,928 +1,849,688,064$", text, re.MULTILINE)
    assert re.search(
        r"^vgg16: 138,357,544 parameters, 123,642,856 of them \(89%\) in its classifier", text, re.MULTILINE
    )
    assert "resnet50: 25,557,032 parameters" in text
    assert "2 layers of 3×3  see 5×5 with 18" in text and "3 layers of 3×3  see 7×7 with 27" in text
    assert "all, 7×7: weighed by a mean" not in text
    assert "all, 7×7: weighed by a mean" in done("inspect", "efficientnet_b0").stdout


def test_a_table_is_the_librarys_as_json() -> None:
    report = json.loads(done("inspect", "resnet18", "--json", "--size", "128").stdout)
    table = inspection.table("resnet18", (128, 128))
    keys = ("name", "channels", "stride", "receptive_field", "parameters", "macs")
    assert [[row[key] for key in keys] for row in report["layers"]] == [
        [getattr(layer, key) for key in keys] for layer in table.layers
    ]
    assert report["totals"] == {"parameters": 11_689_512, "classifier_parameters": 513_000, "macs": table.macs}
    assert report["beside"]["resnet50"]["parameters"] == 25_557_032
    assert {(one["layers"], one["kernel"], one["receptive_field"]) for one in report["stacks"]} >= {
        (2, 3, 5),
        (3, 3, 7),
    }


def test_a_table_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were looked for")

    for module, name in ((weights, "_tensors"), (places, "fetch"), (downloads, "_open")):
        monkeypatch.setattr(module, name, touched)
    for name in ("vgg19", "resnet50", "compact", "densenet121"):
        done("inspect", name, "--offline")


def test_backbones_are_listed() -> None:
    text = done("backbones").stdout
    rows = {row["name"]: row for row in json.loads(done("backbones", "--json").stdout)}
    assert list(rows) == list(backbones.ARCHITECTURES)
    for name, architecture in backbones.ARCHITECTURES.items():
        (listed,) = re.findall(rf"^{name} +(?:here|download) +style: +(.+)$", text, re.MULTILINE)
        shares = layer_weights(listed)
        assert tuple(shares) == architecture.style_layers
        assert {layer: share for layer, share in shares.items() if share != 1} == architecture.style_weights
        assert rows[name]["content_layers"] == list(architecture.content_layers)
    assert rows["compact"]["here"] and not rows["vgg19"]["here"]
    assert "convnext_tiny" in done("backbones", "--all").stdout
    assert {"name": "resnet152"} in json.loads(done("backbones", "--all", "--json").stdout)


# Pictures


@pytest.mark.parametrize("way", ["maps", "gram", "invert", "texture"])
def test_a_layer_is_made_visible(way: str) -> None:
    options = ["--layer", "relu2_1", "--size", "48", "--iterations", "4", "--device", "cpu"]
    report = json.loads(done("inspect", "compact", "photo.png", f"--{way}", *options, "--json").stdout)
    assert report["output"] == str(Path("outputs") / f"photo-compact-relu2_1-{way}.png")
    values = drawn(report["output"])
    if way in ("invert", "texture"):
        assert values.shape == (36, 48, 3)
        assert report["losses"]["total"] > 0
        again = json.loads(done("inspect", "compact", "photo.png", f"--{way}", *options, "--json").stdout)
        assert again["losses"] == report["losses"]
    else:
        assert min(values.shape[:2]) > 200


def test_maps_of_the_first_content_layer_come_by_default() -> None:
    result = done("inspect", "compact", "photo.png", "-o", "maps.png")
    assert result.stderr.strip() == "maps.png"
    drawn("maps.png")
    assert Path("maps.png").read_bytes()[:4] == b"\x89PNG"
    assert done("inspect", "compact", "photo.png", "-o", "other.png", "-q").output == ""


def test_random_weights_are_loud_and_follow_the_seed() -> None:
    def seen(seed: str) -> np.ndarray:
        result = done("inspect", "resnet18", "photo.png", "--weights", "random", "--seed", seed, "-o", "maps.png")
        assert "THE WEIGHTS ARE RANDOM" in result.stderr
        return drawn("maps.png")

    first = seen("1")
    assert np.array_equal(first, seen("1")) and not np.array_equal(first, seen("2"))


def test_auto_looks_at_what_a_run_would_use_and_says_so() -> None:
    told = done("inspect", "auto", "photo.png", "-o", "maps.png").stderr
    assert told.startswith("Note: Using the bundled compact network.") and told.endswith("maps.png\n")
    # Once on a machine is enough.
    assert done("inspect", "auto", "photo.png", "-o", "maps.png").stderr == "maps.png\n"
    assert "compact at 224×224 px" in done("inspect", "auto").stdout


def test_smoothed_activations_are_looked_at_too() -> None:
    for flags in ([], ["--smooth-activations"]):
        done("inspect", "compact", "photo.png", "--gram", "-o", f"{len(flags)}.png", *flags)
    assert not np.array_equal(drawn("0.png"), drawn("1.png"))


# Residual


def test_trunks_are_trained_and_plotted() -> None:
    arguments = ["inspect", "residual", "--depths", "2,1", "--steps", "4", "--device", "cpu", "-o", "plot.png"]
    report = json.loads(done(*arguments, "--json", "-q").stdout)
    assert [(one["blocks"], one["skip"]) for one in report["trunks"]] == [(1, False), (1, True), (2, False), (2, True)]
    assert all(len(one["errors"]) == 4 and len(one["gradients"]) == one["blocks"] for one in report["trunks"])
    drawn("plot.png")
    assert json.loads(done(*arguments, "--json", "-q").stdout) == report
    other = json.loads(done(*arguments, "--json", "-q", "--seed", "1").stdout)
    assert other["trunks"][0]["errors"] != report["trunks"][0]["errors"]
    assert re.search(r"^ +2 +0\.\d+ +0\.\d+ ", done(*arguments).stdout, re.MULTILINE)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("vgg91", "did you mean 'vgg19'?"),
        ("vit_b_16", "choose a convolutional network"),
        ("inception_v3 --size 16", "is too small for inception_v3; give --size 128"),
        ("compact nowhere.png", "nowhere.png: file not found"),
        ("compact photo.png --layer relu9_9", "no layer of compact is called 'relu9_9'"),
        ("compact photo.png --texture --layer relu3-1", "did you mean 'relu3_1'"),
        ("compact photo.png -o maps.bmp", "use one of .png"),
        ("compact photo.png -o photo.png", "photo.png"),
        ("vgg19 photo.png", "weights fetch vgg19"),
        ("residual photo.png", "remove photo.png"),
        ("residual --depths 2,x", "is not a list of depths"),
        ("residual --depths 0", "is not a list of depths"),
    ],
)
def test_what_cannot_work_is_one_line(arguments: str, told: str) -> None:
    assert told in refused("inspect", *arguments.split())
    assert not list(Path().glob("outputs/*"))


@pytest.mark.parametrize("arguments", [["compact", "photo.png"], ["compact", "photo.png", "--gram"], ["residual"]])
def test_without_matplotlib_there_is_one_line(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'styletx[plots]'" in refused("inspect", *arguments)


def test_a_name_that_is_taken_is_numbered_unless_it_was_given() -> None:
    for options in ([], ["-o", "mine.png"]):
        for _ in range(2):
            done("inspect", "compact", "photo.png", "--size", "32", *options)
    assert sorted(os.listdir("outputs")) == ["photo-compact-relu3_1-maps-2.png", "photo-compact-relu3_1-maps.png"]
    assert Path("mine.png").exists()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard, as it is not in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("after", [3, 0])
def test_a_search_that_is_stopped_saves_what_it_found(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    def stopped(steps: Iterable[Step], quiet: bool) -> Iterator[Step]:
        yield from itertools.islice(steps, after)
        os.kill(os.getpid(), signal.SIGINT)
        yield from steps

    monkeypatch.setattr(progress, "bar", stopped)
    options = ["--texture", "--layer", "relu1_1", "--size", "32", "-o", "texture.png"]
    ended = CliRunner().invoke(main, ["inspect", "compact", "photo.png", *options])
    assert ended.exit_code == 130 and os.path.exists("texture.png") == bool(after)
