"""Exported networks: ONNX Runtime makes of any picture what torch makes of it, and wrong files get one clear line."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from styletx.cli import main
from styletx.errors import OptionError, WeightsError
from styletx.feedforward import models, scales, strips
from styletx.feedforward import onnx as exported
from styletx.feedforward.networks import JOHNSON, Descriptor, Layout, Transformer

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a small network in model.safetensors and model.onnx, the latter by the command."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    models.write(folder / "model.safetensors", Transformer(Layout(widths=(4, 8), blocks=1)), {"name": "Ångström"})
    done = CliRunner().invoke(
        main, ["export", str(folder / "model.safetensors"), "-o", str(folder / "model.onnx")], catch_exceptions=False
    )
    assert (done.exit_code, done.stdout) == (0, "")
    return folder


@pytest.fixture(scope="module")
def network(folder: Path) -> exported.ExportedNetwork:
    return exported.read(folder / "model.onnx")


def pictures(count: int, height: int, width: int) -> Tensor:
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(height))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 16), (17, 60), (48, 19), (64, 64), (75, 131)])
def test_parity(folder: Path, network: exported.ExportedNetwork, count: int, size: tuple[int, int]) -> None:
    pixels = pictures(count, *size)
    original = models.read(folder / "model.safetensors").network
    torch.testing.assert_close(network(pixels), original(pixels).clamp(0, 1), rtol=0, atol=1e-4)


LAYOUTS = {
    "default": Layout(),
    "published, but narrow": dataclasses.replace(JOHNSON, widths=(4, 6, 8), blocks=2),
    "wide blocks": Layout(widths=(4, 8), blocks=2, expansion=2),
    "no skips": Layout(widths=(4, 8), blocks=1, skip=False, smooth=False),
    "one stage, no blocks": Layout(widths=(6,), blocks=0, kernel=3, stride=1),
    "lowpass": Layout(widths=(4, 6, 8), blocks=1, lowpass=True),
    "bridges": Layout(widths=(4, 6, 8), blocks=1, lowpass=True, bridges=True),
    "four stages": Layout(widths=(4, 4, 6, 8), blocks=1, kernel=15),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_parity_of_every_layout(name: str) -> None:
    torch.manual_seed(0)
    network = Transformer(LAYOUTS[name]).eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.ndim == 1:  # no norm is left at scale 1 and shift 0
            parameter.add_(0.3 * torch.randn_like(parameter))
    if network.palette is not None:
        network.palette.copy_(torch.tensor([[0.5, 0.4, 0.3], [0.1, 0.02, 0], [0.02, 0.05, 0.01], [0, 0.01, 0.02]]))
    exact = exported.ExportedNetwork(exported.convert(models.Model(name, network, {})), name)
    pixels = pictures(2, 57, 70)
    *_, (_, painted) = strips.repaint(network, pixels)
    torch.testing.assert_close(exact(pixels), painted, rtol=0, atol=1e-4)
    (alone,) = exact.session.run(None, {"pixels": pixels.numpy()})  # with the painting's colours, if it has them
    *_, (_, painted) = scales.repaint(network, pixels, [(57, 70)], seed=0)
    torch.testing.assert_close(torch.from_numpy(alone), painted, rtol=0, atol=1e-4)


def test_a_network_that_cannot_be_exported_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Transformer(Layout(widths=(4, 8), blocks=1))
    monkeypatch.setattr(Transformer, "descriptor", Descriptor("other"))
    with pytest.raises(OptionError, match="mine: networks of this kind cannot be written as ONNX"):
        exported.convert(models.Model("mine", network, {}))


def test_precision_makes_no_difference_to_the_file() -> None:
    network = Transformer(Layout(widths=(4, 8), blocks=1))
    before = exported.convert(models.Model("mine", network, {}))
    network.use(torch.bfloat16)
    assert exported.convert(models.Model("mine", network, {})) == before


def test_a_program_without_torch_can_run_it(folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("pixels", ["batch", 3, "height", "width"])
    assert (made.name, made.shape) == ("painted", ["batch", 3, "height", "width"])
    (painted,) = session.run(None, {"pixels": 4 * np.random.default_rng(0).random((1, 3, 20, 30), np.float32)})
    assert painted.shape == (1, 3, 20, 30) and painted.min() >= 0 and painted.max() <= 1
    about = json.loads(session.get_modelmeta().custom_metadata_map["styletx"])
    assert about == models.describe(folder / "model.safetensors")


def test_the_file_is_valid_and_tells_nothing_of_this_machine(folder: Path) -> None:
    onnx.checker.check_model(onnx.load(folder / "model.onnx"), full_check=True)
    data = (folder / "model.onnx").read_bytes()
    assert str(Path(exported.__file__).parent).encode() not in data and b"feedforward" not in data


def test_it_repaints_as_a_network_does(network: exported.ExportedNetwork) -> None:
    pixels = pictures(3, 33, 40)
    *_, (share, canvas) = strips.repaint(network, pixels, whole_pixels=33 * 40 * 2)
    assert share == 1
    torch.testing.assert_close(canvas, network(pixels), rtol=0, atol=1e-5)
    assert network.about["name"] == "Ångström"


def changed(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        proto = onnx.load(path)
        change(proto)
        path.write_bytes(proto.SerializeToString())

    return apply


def external(proto: Any) -> None:
    tensor = proto.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_constant(proto: Any) -> None:
    tensor = onnx.TensorProto(name="c", dims=[1], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    proto.graph.node.append(onnx.helper.make_node("Constant", [], ["unused"], value=tensor))


def loop(proto: Any) -> None:
    body = onnx.helper.make_graph([], "body", [], [])
    proto.graph.node.append(onnx.helper.make_node("Loop", ["", ""], ["unused"], body=body))


def custom(proto: Any) -> None:
    proto.opset_import.add(domain="evil", version=1)
    proto.graph.node[0].domain = "evil"


def function(proto: Any) -> None:
    proto.functions.append(onnx.helper.make_function("", "Relu", ["x"], ["y"], [], proto.opset_import))


def large(operator: str, *inputs: tuple[int, list[int], list[int]]) -> Callable[[Any], None]:
    """Adds an operator that makes much of little, with constants of a type, dimensions and values."""

    def add(proto: Any) -> None:
        names = []
        for index, (kind, dims, values) in enumerate(inputs):
            proto.graph.initializer.append(onnx.helper.make_tensor(f"large_{index}", kind, dims, values))
            names.append(f"large_{index}")
        proto.graph.node.append(onnx.helper.make_node(operator, names, ["unused"]))

    return add


def padded(proto: Any) -> None:
    """Pads the picture by 2¹⁷ px on each side."""
    amounts = [0, 0, 2**17, 2**17] * 2
    proto.graph.initializer.append(onnx.helper.make_tensor("amounts", 7, [8], amounts))
    proto.graph.node.append(onnx.helper.make_node("Pad", [proto.graph.input[0].name, "amounts"], ["unused"]))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "be read .no such file"),
    "a folder": (into_a_folder, "be read"),
    "empty": (lambda path: path.write_bytes(b""), "does not take and return pictures"),
    "nonsense": (lambda path: path.write_bytes(b"\x80\x04\x95 pickle" * 40), "damaged or not an ONNX file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged or not an ONNX file"),
    "too large": (lambda path: path.open("r+b").truncate(2**30), "it has 1,074 megabytes, and at most 537 are read"),
    "a pipe": (pipe, "be read .it is not an ordinary file"),
    "a constant of 2³¹": (changed(large("ConstantOfShape", (7, [1], [2**31]))), "it makes 2,147,483,648 numbers"),
    "an expanded constant": (
        changed(large("Expand", (1, [1], [0]), (7, [2], [2**15, 2**15]))),
        "it makes 1,073,741,824",
    ),
    "a tiled constant": (
        changed(large("Tile", (1, [8], [0] * 8), (7, [1], [2**27]))),
        "it makes 1,073,741,824 numbers",
    ),
    "a huge margin": (changed(padded), "it makes .* numbers of a picture of 64×64 px"),
    "external weights": (changed(external), "refers to another file"),
    "an external constant": (changed(external_constant), "refers to another file"),
    "a loop": (changed(loop), "loops or branches"),
    "custom operators": (changed(custom), "operators that are not ONNX's own"),
    "an operator of its own": (changed(function), "operators that are not ONNX's own"),
    "an unknown operator": (changed(lambda proto: setattr(proto.graph.node[0], "op_type", "Evil")), "Evil"),
    "two inputs": (changed(lambda proto: proto.graph.input.append(proto.graph.output[0])), "take and return pictures"),
    "whole numbers": (
        changed(lambda proto: setattr(proto.graph.input[0].type.tensor_type, "elem_type", 7)),
        "take and return pictures",
    ),
    "a missing weight": (changed(lambda proto: proto.graph.initializer.pop()), "cannot|another program"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_wrong_file_gets_one_line(folder: Path, tmp_path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    path = tmp_path / "some.onnx"
    path.write_bytes((folder / "model.onnx").read_bytes())
    make(path)
    with pytest.raises(WeightsError, match=rf"some\.onnx (?:is|cannot) .*(?:{message})") as caught:
        exported.read(path)
    assert "styletx export" in str(caught.value) or "at most" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_makes_something_else_gets_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    helper = onnx.helper
    picture = [helper.make_tensor_value_info(name, 1, ["b", 3, "h", "w"]) for name in ("x", "y")]
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], axis=2)]
    proto = helper.make_model(helper.make_graph(nodes, "g", picture[:1], picture[1:]), opset_imports=[])
    proto.opset_import.add(domain="", version=18)
    proto.ir_version = 8
    network = exported.ExportedNetwork(proto.SerializeToString(), "twice.onnx")
    assert network.about == {}
    with pytest.raises(WeightsError, match=r"twice.onnx .*it turns \[1, 3, 20, 20\] into \[1, 3, 40, 20\]"):
        network(pictures(1, 20, 20))
    fixed = copy.deepcopy(proto)
    fixed.graph.node[0].CopyFrom(helper.make_node("Reshape", ["x", "shape"], ["y"]))
    fixed.graph.initializer.append(helper.make_tensor("shape", 7, [4], [1, 3, 20, 20]))
    network = exported.ExportedNetwork(fixed.SerializeToString(), "fixed.onnx")
    assert torch.equal(network(pictures(1, 20, 20)), pictures(1, 20, 20))
    with pytest.raises(WeightsError, match=r"fixed.onnx .*another program"):
        network(pictures(1, 20, 21))
    assert capfd.readouterr() == ("", "")


def test_without_the_extra_the_command_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    target = folder / "never.onnx"
    done = CliRunner().invoke(main, ["export", str(folder / "model.safetensors"), "-o", str(target)])
    assert done.exit_code == 2 and not target.exists()
    assert (
        "needs onnx," in done.stderr and "pip install 'styletx[onnx]'" in done.stderr and done.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_reading_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OptionError, match=rf"needs {package}, .*styletx\[onnx\]"):
        exported.read(folder / "model.onnx")


@pytest.mark.parametrize(
    ("model", "output", "message"),
    [
        ("model.safetensors", "model.pt", "model.pt does not end in .onnx"),
        ("none.safetensors", "new.onnx", "there is no such file"),
        ("model.onnx", "new.onnx", "is not a model file"),
        ("model.safetensors", "model.safetensors/new.onnx", "cannot be written"),
    ],
)
def test_what_cannot_be_exported_gets_one_line(folder: Path, model: str, output: str, message: str) -> None:
    before = sorted(path.name for path in folder.iterdir())
    done = CliRunner().invoke(main, ["export", str(folder / model), "-o", str(folder / output)])
    assert done.exit_code == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_export_never_replaces_its_model(folder: Path) -> None:
    (folder / "link.onnx").symlink_to("model.safetensors")
    before = (folder / "model.safetensors").read_bytes()
    done = CliRunner().invoke(main, ["export", str(folder / "model.safetensors"), "-o", str(folder / "link.onnx")])
    assert done.exit_code == 2 and "is one of the inputs, which are never overwritten" in done.stderr
    (folder / "link.onnx").unlink()
    assert (folder / "model.safetensors").read_bytes() == before


def test_onnx_runtime_tells_nobody_and_keeps_nothing(folder: Path, tmp_path: Path) -> None:
    code = f"""
from styletx.feedforward import onnx
onnx.read({str(folder / "model.onnx")!r})
"""
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "TMPDIR"), str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "CI"))}
    subprocess.run([sys.executable, "-c", code], env=environment | homes, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnx" in str(path).lower()]
