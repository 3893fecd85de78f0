"""Networks against torchvision's own, and against layers computed independently."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from styletx import backbones
from styletx.backbones import loading, vgg
from styletx.backbones.registry import VGG16, VGG19
from styletx.backbones.weights import Weights
from styletx.errors import OptionError, WeightsError

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

COMPACT = Path(backbones.__file__).parent / "compact-vgg19.safetensors"
SHARED = Path(__file__).resolve().parents[2] / "shared"
RELU3_1 = SHARED / "weights" / "vgg19-relu3_1.safetensors"


@cache
def reference(name: str) -> nn.Sequential:
    """The convolutional half of torchvision's network, with random weights that keep signals alive."""
    with torch.device("meta"):
        features: nn.Sequential = getattr(torchvision.models, name)(init_weights=False).features
    features.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for module in features:
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(0, (2 / (9 * module.in_channels)) ** 0.5, generator=generator)
            assert module.bias is not None
            module.bias.data.normal_(0, 0.1, generator=generator)
    return features.eval().requires_grad_(False)


def built(name: str, layers: Sequence[str], **options: Any) -> nn.Module:
    """Our network with the reference's weights."""
    architecture = backbones.architecture(name)
    published = {f"features.{key}": tensor for key, tensor in reference(name).state_dict().items()}
    return loading.build(
        architecture, Weights(Path("x"), "file", "", architecture.convert(published)), layers, **options
    )


def picture(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(2))


def relus(features: nn.Sequential, pixels: Tensor) -> list[Tensor]:
    """The output of each ReLU, in order."""
    outputs = []
    current = (pixels - MEAN) / STD
    for module in features:
        current = module(current)
        if isinstance(module, nn.ReLU):
            current = current.clone()  # torchvision's are in place
            outputs.append(current)
            current = current.clone()
    return outputs


@pytest.mark.parametrize("name", ["vgg19", "vgg16"])
def test_layers_are_torchvisions(name: str) -> None:
    architecture = backbones.architecture(name)
    pixels = picture(38, 51, batch=2)
    activations = built(name, architecture.layers, padding="zeros")(pixels)
    expected = relus(reference(name), pixels)
    assert tuple(activations) == architecture.layers
    assert len(expected) == len(architecture.layers)
    for layer, tensor in zip(architecture.layers, expected, strict=True):
        assert activations[layer].shape == tensor.shape
        torch.testing.assert_close(activations[layer], tensor, rtol=1e-5, atol=1e-5 * tensor.std().item())
        assert tensor.std() > 0.01, f"{layer} is no test if nothing is in it"


@pytest.mark.parametrize(("name", "blocks"), [("vgg19", VGG19), ("vgg16", VGG16)])
def test_parameters_are_torchvisions(name: str, blocks: tuple[tuple[int, ...], ...]) -> None:
    architecture = backbones.architecture(name)
    published = {f"features.{key}": tensor for key, tensor in reference(name).state_dict().items()}
    with torch.device("meta"):
        own = architecture.build(architecture.layers).state_dict()
    converted = architecture.convert(published)
    assert {key: tensor.shape for key, tensor in own.items()} == {
        key: tensor.shape for key, tensor in converted.items()
    }
    assert len(converted) == len(published)
    indices = [i for i, module in enumerate(reference(name)) if isinstance(module, nn.Conv2d)]
    assert list(vgg.torchvision_indices(blocks).values()) == indices


def test_average_pooling() -> None:
    features = nn.Sequential(
        *(nn.AvgPool2d(2) if isinstance(module, nn.MaxPool2d) else module for module in reference("vgg19"))
    )
    layers = ("relu2_1", "relu3_1", "relu4_1")
    pixels = picture(33, 47)
    found = built("vgg19", layers, pooling="average", padding="zeros")(pixels)
    expected = relus(features, pixels)
    for layer, index in zip(layers, (2, 4, 8), strict=True):
        torch.testing.assert_close(found[layer], expected[index], rtol=1e-5, atol=1e-5)


def test_reflection_padding() -> None:
    pixels = picture(5, 7)
    found = built("vgg19", ["relu1_1", "relu1_2"])(pixels)
    current = ((pixels - MEAN) / STD).double()
    for layer, index in (("relu1_1", 0), ("relu1_2", 2)):
        padded = numpy.pad(current.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
        windows = numpy.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        weight, bias = (
            reference("vgg19").get_parameter(f"{index}.{kind}").double().numpy() for kind in ("weight", "bias")
        )
        sums = numpy.einsum("bchwij,ocij->bohw", windows, weight) + bias[:, None, None]
        current = torch.from_numpy(sums).clamp(min=0)
        torch.testing.assert_close(found[layer], current.float(), rtol=1e-5, atol=1e-5)


def test_reflection_is_the_default_and_zeros_differ_only_at_the_frame() -> None:
    pixels = picture(9, 9)
    plain = built("vgg19", ["relu1_1"])(pixels)["relu1_1"]
    reflect = built("vgg19", ["relu1_1"], padding="reflect")(pixels)["relu1_1"]
    zeros = built("vgg19", ["relu1_1"], padding="zeros")(pixels)["relu1_1"]
    assert torch.equal(plain, reflect)
    torch.testing.assert_close(reflect[..., 1:-1, 1:-1], zeros[..., 1:-1, 1:-1])
    assert not torch.allclose(reflect[..., 0, :], zeros[..., 0, :])


def test_module_is_only_as_deep_as_asked_for() -> None:
    module = built("vgg19", ["relu2_1", "relu1_1"])
    convolutions = ((3, 64), (64, 64), (64, 128))
    expected = sum(9 * inputs * outputs + outputs for inputs, outputs in convolutions)
    assert sum(parameter.numel() for parameter in module.parameters()) == expected
    assert set(module(picture(8, 8))) == {"relu1_1", "relu2_1"}


def test_module_is_frozen_float32_and_differentiable_in_the_picture() -> None:
    module = built("vgg16", ["relu2_2"])
    assert not module.training
    for parameter in module.parameters():
        assert parameter.dtype == torch.float32 and not parameter.requires_grad
        assert parameter.device.type == "cpu"
    pixels = picture(8, 8).requires_grad_()
    module(pixels)["relu2_2"].sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0


def test_a_shallow_module_keeps_no_deep_weights_alive() -> None:
    found = backbones.load("compact", ["relu1_1"])
    assert not hasattr(found.source, "state")
    assert set(found.module.state_dict()) == {
        "convolutions.relu1_1.weight",
        "convolutions.relu1_1.bias",
        "readouts.relu1_1.weight",
    }


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_tiny_pictures_reach_every_layer(padding: str, pooling: str) -> None:
    layers = ("relu1_1", "relu5_1")
    module = built("vgg16", layers, pooling=pooling, padding=padding)
    for size in ((1, 1), (3, 5), (2, 64), (64, 1)):
        activations = module(picture(*size))
        assert activations["relu1_1"].shape == (1, 64, *size)
        assert activations["relu5_1"].shape == (1, 512, *(max(1, side // 16) for side in size))
        assert all(tensor.isfinite().all() for tensor in activations.values())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"name": "vgg91"}, "vgg19"),
        ({"layers": ["relu1_1", "relu3-1"]}, "did you mean 'relu3_1'"),
        ({"style_layers": {"relu1_1": 1, "relu3-1": 2}}, "did you mean 'relu3_1'"),
        ({"content_layers": {"relu4_9": 1}}, "no layer of vgg19 is called 'relu4_9'"),
        ({"layers": ["fc7"]}, "relu1_1, relu1_2"),
        ({"pooling": "avarage"}, "did you mean 'average'"),
        ({"padding": "zero"}, "did you mean 'zeros'"),
    ],
)
def test_unknown_names_are_told_before_weights_are_looked_for(
    arguments: dict[str, Any], hint: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=hint) as error:
        backbones.load(**arguments, weights=tmp_path / "absent.pth")
    assert "\n" not in str(error.value)


def truncated(path: Path, convolutions: int) -> Path:
    published = {f"features.{key}": tensor for key, tensor in reference("vgg19").state_dict().items()}
    kept = dict(list(published.items())[: 2 * convolutions])
    safetensors.torch.save_file(kept, path)
    return path


def messages(found: backbones.Backbone) -> list[str]:
    return [str(note) for note in found.notes]


def test_truncated_file_serves_what_it_reaches(tmp_path: Path) -> None:
    path = truncated(tmp_path / "shallow.safetensors", 3)
    found = backbones.load("vgg19", ["relu2_1"], weights=path)
    assert found.reached == ("relu1_1", "relu1_2", "relu2_1") and found.notes == ()
    assert (found.source.path, found.source.origin) == (path, "file")
    unreached: list[dict[str, Any]] = [{"layers": ["relu1_1", "relu4_1"]}, {"content_layers": {"relu4_1": 1.0}}]
    for layers in unreached:
        with pytest.raises(WeightsError) as error:
            backbones.load("vgg19", weights=path, **layers)
        assert str(error.value) == (
            f"{path} does not reach relu4_1; choose among relu1_1, relu1_2, relu2_1, or give complete weights of vgg19 "
            "as weights"
        )


def test_layers_that_truncated_weights_do_not_reach_are_left_out_with_a_note(tmp_path: Path) -> None:
    found = backbones.load("vgg19", weights=truncated(tmp_path / "shallow.safetensors", 3))
    assert found.style_layers == {"relu1_1": 1.0, "relu2_1": 1.0} and found.content_layers == {"relu2_1": 1.0}
    assert found.layers == ("relu1_1", "relu2_1")
    assert messages(found) == [
        "The weights reach no deeper than relu2_1, so style is taken from relu1_1, relu2_1 instead of relu1_1, "
        "relu2_1, relu3_1, relu4_1, relu5_1.",
        "The weights reach no deeper than relu2_1, so content is taken from relu2_1 instead of relu4_2.",
    ]


# Which layers carry what


def test_a_networks_own_layers_come_with_its_own_shares() -> None:
    found = backbones.load("compact")
    shares = {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.5, "relu4_1": 1.0, "relu5_1": 0.5}
    assert found.style_layers == shares and found.content_layers == {"relu3_1": 1.0, "relu4_2": 1.0}
    assert found.layers == (*shares, "relu4_2")
    assert set(found.module(picture(32, 32))) == set(found.layers)
    assert found.notes == () and found.reached == found.architecture.layers


def test_shares_cut_off_keep_their_weights(tmp_path: Path) -> None:
    with safetensors.safe_open(COMPACT, "pt") as file:
        kept = {key: file.get_tensor(key) for key in file.keys() if "relu4" not in key and "relu5" not in key}  # noqa: SIM118
    safetensors.torch.save_file(kept, tmp_path / "shallow.safetensors")
    found = backbones.load("compact", weights=tmp_path / "shallow.safetensors")
    assert found.style_layers == {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.5}
    assert found.content_layers == {"relu3_1": 1.0} and len(found.notes) == 2


def test_given_shares_replace_the_networks_own() -> None:
    found = backbones.load("compact", style_layers={"relu2_2": 2.0})
    assert found.style_layers == {"relu2_2": 2.0} and tuple(found.content_layers) == ("relu3_1", "relu4_2")
    found = backbones.load("compact", content_layers={"relu1_2": 3.0}, style_layers={})
    assert (found.style_layers, found.content_layers, found.layers) == ({}, {"relu1_2": 3.0}, ("relu1_2",))


def test_layers_alone_carry_nothing() -> None:
    found = backbones.load("compact", ["relu2_1", "relu1_1"])
    assert (found.style_layers, found.content_layers) == ({}, {})
    assert found.layers == ("relu2_1", "relu1_1") and found.notes == ()
    more = backbones.load("compact", ["relu1_2"], style_layers={"relu1_1": 0.5})
    assert more.layers == ("relu1_2", "relu1_1") and more.style_layers == {"relu1_1": 0.5}


# Which network


def test_automatic_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLETX_CACHE", str(tmp_path))
    path = truncated(tmp_path / "mine.safetensors", 1)
    assert backbones.architecture("auto", path).name == "vgg19"
    assert backbones.architecture().name == "compact"
    path.rename(tmp_path / "vgg19.safetensors")
    assert backbones.architecture("auto").name == "vgg19"
    assert backbones.architecture("vgg16").name == "vgg16"


def test_a_note_tells_that_auto_chose_the_bundled_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = "Using the bundled compact network. For the full VGG-19 (575 MB): styletx weights fetch vgg19"
    assert messages(backbones.load()) == [note]
    assert messages(backbones.load("auto", ["relu1_1"])) == [note]
    assert messages(backbones.load("compact")) == []
    monkeypatch.setenv("STYLETX_CACHE", str(tmp_path))
    truncated(tmp_path / "vgg19.safetensors", 1)
    assert not any("bundled" in message for message in messages(backbones.load()))


@pytest.mark.skipif(not RELU3_1.exists(), reason="needs shared/weights/vgg19-relu3_1.safetensors")
def test_the_real_truncated_file() -> None:
    found = backbones.load("vgg19", weights=RELU3_1)
    assert found.reached == ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")
    assert found.layers == ("relu1_1", "relu2_1", "relu3_1")
    assert all(note.startswith("The weights reach no deeper than relu3_1,") for note in messages(found))
    assert len(found.notes) == 2
    # Its activations are rescaled to a mean of one over photographs, channel by channel (Gatys et al. 2016).
    means = []
    for path in sorted((SHARED / "photos").glob("*.jpg"))[:4]:
        corner = Image.open(path).convert("RGB").crop((0, 0, 128, 128))
        pixels = numpy.asarray(corner, dtype=numpy.float32) / 255
        means.append(found.module(torch.from_numpy(pixels).permute(2, 0, 1)[None])["relu2_1"].mean())
    assert 0.5 < torch.stack(means).mean() < 2


def test_public_names_are_there() -> None:
    for name in backbones.__all__:
        assert hasattr(backbones, name)
