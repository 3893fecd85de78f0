"""The compact VGG-19: what its read-outs mean, and the file that ships."""

from __future__ import annotations

import importlib.util
import pathlib
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from styletx import backbones
from styletx.backbones import vgg
from styletx.backbones.registry import COMPACT_READOUTS, COMPACT_VGG19, architecture

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "styletx" / "backbones" / "compact-vgg19.safetensors"


@pytest.fixture(scope="module")
def distill() -> Any:
    specification = importlib.util.spec_from_file_location("distill", ROOT / "tools" / "distill.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_fold_keeps_distances(distill: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(40, 12, dtype=torch.float64, generator=generator)
    features = torch.randn(2, 12, 300, dtype=torch.float64, generator=generator).relu()
    first, second = features @ features.mT / 300
    readout = distill.fold(projection.mT @ projection)
    assert readout.shape == (12, 12)
    difference = first - second
    wide = (projection @ difference @ projection.mT).square().sum()
    narrow = (readout @ difference @ readout.mT).square().sum()
    assert float(narrow) == pytest.approx(float(wide), rel=1e-9)
    apart = features[0] - features[1]
    wide, narrow = (matrix @ apart for matrix in (projection, readout))
    assert float(narrow.square().sum()) == pytest.approx(float(wide.square().sum()), rel=1e-9)


def test_fold_of_a_projection_without_full_rank(distill: Any) -> None:
    projection = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    readout = distill.fold(projection.mT @ projection)
    torch.testing.assert_close(readout.mT @ readout, projection.mT @ projection)


def test_errors_are_those_of_the_difference_itself(distill: Any) -> None:
    """The script gets |P f - t|^2 and the Gram error from moments; here they come from the tensors."""
    generator = torch.Generator().manual_seed(0)
    stage = distill.Stage("relu1_1", ("relu1_1",), crop=16, batch=2, gallery=4)
    student = distill.Student(None)
    student.network.requires_grad_(False)
    pictures, target = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 64, 256, generator=generator)
    scale = target.square().mean((1, 2)).rsqrt()
    target *= scale[:, None, None]
    batch = {"input": pictures, "relu1_1.scale": scale, "relu1_1": target, "relu1_1.gram": distill.gram(target)}
    ((name, feature_error, gram_error),) = distill.errors(student, stage, batch, share=1.0)
    assert name == "relu1_1"
    answer = student.projections[name] @ student.network(pictures)[name].flatten(2) * scale[:, None, None]
    expected = (answer - target).square().sum((1, 2)) / target.square().sum((1, 2))
    torch.testing.assert_close(feature_error, expected, rtol=1e-3, atol=1e-4)
    grams = answer @ answer.mT / 256, target @ target.mT / 256
    expected = (grams[0] - grams[1]).square().sum((1, 2)) / grams[1].square().sum((1, 2))
    torch.testing.assert_close(gram_error, expected, rtol=1e-3, atol=1e-4)


def test_projections_are_least_squares(distill: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 6, 100, generator=generator)
    target = torch.rand(9, 6, generator=generator) @ features + 0.1 * torch.randn(2, 9, 100, generator=generator)
    student = distill.Student(None)
    student.project("relu1_1", *((other @ features.mT / 100).mean(0) for other in (features, target)), share=1.0)
    stacked = features.transpose(0, 1).flatten(1).double(), target.transpose(0, 1).flatten(1).double()
    expected = torch.linalg.lstsq(stacked[0].T, stacked[1].T).solution.T.float()
    torch.testing.assert_close(student.projections["relu1_1"], expected, rtol=1e-2, atol=2e-3)


def test_readouts_are_applied_to_what_is_returned_only() -> None:
    blocks = ((4, 4), (6,))
    plain = vgg.VGG(blocks, ["relu1_1", "relu2_1"])
    read = vgg.VGG(blocks, ["relu1_1", "relu2_1"], readouts=["relu1_1", "relu1_2"])
    assert {name for name in read.state_dict() if name.startswith("readouts")} == {"readouts.relu1_1.weight"}
    read.load_state_dict(plain.state_dict(), strict=False)
    pixels = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = plain(pixels), read(pixels)
    matrix = read.get_parameter("readouts.relu1_1.weight")[:, :, 0, 0].detach()
    torch.testing.assert_close(found["relu1_1"], torch.einsum("dc,bchw->bdhw", matrix, expected["relu1_1"]))
    torch.testing.assert_close(found["relu2_1"], expected["relu2_1"], rtol=0, atol=0)


def test_the_bundled_file() -> None:
    assert BUNDLED.stat().st_size <= 4_000_000
    with safe_open(BUNDLED, "pt") as file:
        metadata = file.metadata()
    assert "CC BY 4.0" in metadata["licence"] and "MIT" in metadata["licence"]
    assert "Simonyan" in metadata["teachers"] and "Collaborative Distillation" in metadata["teachers"]
    state = load_file(BUNDLED)
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in state.values())
    layers = vgg.layer_names(COMPACT_VGG19)
    module = vgg.VGG(COMPACT_VGG19, layers, readouts=COMPACT_READOUTS)
    assert state.keys() == module.state_dict().keys()


def test_the_bundled_network_sees() -> None:
    entry = architecture("compact")
    loaded = backbones.load("compact", entry.layers, offline=True)
    pixels = torch.rand(1, 3, 70, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = loaded.module(pixels)
        pair = loaded.module(torch.cat((pixels, pixels.flip(1))))
    widths = [width for block in COMPACT_VGG19 for width in block]
    assert {name: value.shape[1] for name, value in found.items()} == dict(zip(entry.layers, widths, strict=True))
    assert found["relu1_1"].shape[2:] == (70, 50)
    assert found["relu5_1"].shape[2:] == (4, 3)
    for name in COMPACT_READOUTS:
        # Half precision has the most to give around 1.
        assert 0.05 < found[name].square().mean().sqrt() < 20
        assert (pair[name][0] - pair[name][1]).abs().mean() > 1e-3


def test_an_exported_file_is_read_back(distill: Any, tmp_path: pathlib.Path) -> None:
    torch.manual_seed(0)
    student = distill.Student(None)
    student.metrics["relu2_1"] = (lambda p: p.mT @ p)(torch.randn(128, 80) / 10)
    student.export(tmp_path / "some.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["some.safetensors"]
    again = distill.Student(tmp_path / "some.safetensors")
    assert again.metrics.keys() == {"relu2_1"}
    torch.testing.assert_close(again.metrics["relu2_1"], student.metrics["relu2_1"], rtol=1e-2, atol=1e-3)
    for name, parameter in student.state.items():
        torch.testing.assert_close(again.state[name], parameter, rtol=1e-3, atol=1e-4)
