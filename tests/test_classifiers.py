"""Torchvision's classifiers as backbones, random weights, and smoothed activations."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from styletx import backbones
from styletx.backbones import classifiers, loading, places, smoothing, vgg
from styletx.backbones.registry import ARCHITECTURES, VGG11, VGG13, VGG19, Architecture, Download
from styletx.backbones.weights import Weights
from styletx.errors import OptionError, WeightsError

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
SMALL = ["alexnet", "resnet18", "resnet50", "efficientnet_b0"]


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2))


def shaken(network: nn.Module) -> nn.Module:
    """A network with random weights that keep signals alive, and random statistics."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.get_buffer("running_mean").normal_(0, 0.3, generator=generator)
            module.get_buffer("running_var").uniform_(0.5, 2, generator=generator)
    return network.eval().requires_grad_(False)


@functools.cache
def reference(name: str) -> nn.Module:
    """Torchvision's network; of a VGG only the convolutional half is made real."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name, **({"init_weights": False} if name == "googlenet" else {}))
        if name.startswith("vgg"):
            network.avgpool, network.classifier = nn.Identity(), nn.Identity()
    for module in network.modules():
        # An extracted node would hold what the next layer writes over it.
        if hasattr(module, "inplace"):
            module.inplace = False
    return shaken(network.to_empty(device="cpu"))


def built(name: str, layers: tuple[str, ...], **options: Any) -> nn.Module:
    architecture = backbones.architecture(name)
    state = architecture.convert(reference(name).state_dict())
    return loading.build(architecture, Weights(Path("x"), "file", "", state), layers, **options)


def extracted(name: str, nodes: dict[str, str], pixels: Tensor) -> dict[str, Tensor]:
    extractor = create_feature_extractor(reference(name), nodes)
    return extractor((pixels - MEAN) / STD)


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for layer, tensor in expected.items():
        assert tensor.std() > 0.01, f"{layer} is no test if nothing is in it"
        torch.testing.assert_close(found[layer], tensor, rtol=1e-5, atol=1e-5 * tensor.std().item())


# Features


@pytest.mark.parametrize("name", [*SMALL, "densenet121", "googlenet"])
def test_layers_are_torchvisions_own(name: str) -> None:
    layers = backbones.architecture(name).layers
    pixels = picture(64, 80)
    assert_alike(built(name, layers, padding="zeros")(pixels), extracted(name, {one: one for one in layers}, pixels))


@pytest.mark.parametrize(
    ("name", "blocks"), [("vgg11", VGG11), ("vgg13", VGG13), ("vgg11_bn", VGG11), ("vgg19_bn", VGG19)]
)
def test_vgg_layers_are_torchvisions_own(name: str, blocks: tuple[tuple[int, ...], ...]) -> None:
    layers = backbones.architecture(name).layers
    relus = [node for node in get_graph_node_names(reference(name))[1] if node.startswith("features")]
    modules = dict(reference(name).named_modules())
    nodes = [node for node in relus if isinstance(modules[node], nn.ReLU)]
    assert len(nodes) == len(layers)
    pixels = picture(35, 50)
    expected = extracted(name, dict(zip(nodes, layers, strict=True)), pixels)
    assert_alike(built(name, layers, padding="zeros")(pixels), expected)
    parts = vgg.torchvision_modules(blocks, name.endswith("_bn"))
    assert [parts[layer] for layer in layers] == nodes
    pools = [node for node in relus if isinstance(modules[node], nn.MaxPool2d)]
    assert [parts[f"pool{block}"] for block in range(1, 6)] == pools


def test_reflection_leaves_no_zeros_at_the_edge() -> None:
    network, pixels = reference("resnet18"), picture(33, 41)
    padded = F.pad((pixels - MEAN) / STD, (3, 3, 3, 3), mode="reflect")
    convolved = F.conv2d(padded, network.get_parameter("conv1.weight"), stride=2)
    expected = F.relu(network.get_submodule("bn1")(convolved))
    torch.testing.assert_close(built("resnet18", ("relu",))(pixels)["relu"], expected, rtol=1e-5, atol=1e-5)
    zeros = built("resnet18", ("relu",), padding="zeros")(pixels)["relu"]
    assert not torch.allclose(zeros[..., 0, :], expected[..., 0, :])


def test_average_pooling_has_the_same_windows() -> None:
    found = built("alexnet", ("features.1", "features.2"), pooling="average")(picture(64, 64))
    before, after = (found[name].numpy() for name in ("features.1", "features.2"))
    windows = np.lib.stride_tricks.sliding_window_view(before, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    np.testing.assert_allclose(after, windows.mean((-1, -2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_a_module_is_only_as_deep_as_asked_for(name: str) -> None:
    architecture = backbones.architecture(name)
    with torch.device("meta"):
        sizes = [
            sum(tensor.numel() for tensor in architecture.build([layer]).state_dict().values())
            for layer in architecture.layers
        ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 20


def test_a_layer_is_not_overwritten_by_the_next() -> None:
    pixels = picture(64, 64).requires_grad_()
    found = built("densenet121", ("features.conv0", "features.norm0", "features.relu0"))(pixels)
    assert found["features.conv0"].min() < 0 and found["features.norm0"].min() < 0
    torch.testing.assert_close(found["features.relu0"], F.relu(found["features.norm0"]))
    found["features.conv0"].square().sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0


# The registry


@pytest.mark.parametrize("name", [name for name, one in ARCHITECTURES.items() if one.download])
def test_downloads_are_torchvisions(name: str) -> None:
    download = ARCHITECTURES[name].download
    published = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    assert download and download.url == published.url
    named = re.search(r"-([0-9a-f]{8})\.pth$", published.url)
    assert named and download.sha256 == named[1]
    assert download.size / 2**20 == pytest.approx(published.meta["_file_size"], abs=0.0006)
    assert download.tolerance <= 1024


@pytest.mark.parametrize(
    "name", [*ARCHITECTURES, "mobilenet_v3_small", "densenet121", "convnext_tiny", "regnet_y_400mf"]
)
def test_default_layers_are_layers_from_the_picture_down(name: str) -> None:
    architecture = backbones.architecture(name)
    for chosen in (architecture.style_layers, architecture.content_layers):
        places = [architecture.layers.index(layer) for layer in chosen]
        assert places and places == sorted(set(places))
    assert len(architecture.style_layers) >= 4


def test_a_classifier_without_an_entry_gets_one_from_its_maps() -> None:
    architecture = backbones.architecture("mobilenet_v3_small")
    pixels = picture(224, 224)
    with torch.no_grad():
        outputs = architecture.build(architecture.style_layers)(pixels)
    sides = [tensor.shape[-1] for tensor in outputs.values()]
    assert sides == [112, 56, 28, 14, 7]
    assert architecture.content_layers == architecture.style_layers[-2:-1]
    assert architecture.download and architecture.download.url.endswith("mobilenet_v3_small-047dcff4.pth")
    assert architecture.download.sha256 == "047dcff4"


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "resnet81"])
def test_what_is_no_backbone_is_told_in_one_line(name: str) -> None:
    with pytest.raises(OptionError) as error:
        backbones.architecture(name)
    message = str(error.value)
    assert "\n" not in message and name in message
    assert "did you mean 'resnet18'?" in message if name == "resnet81" else "choose a convolutional network" in message


# Weights


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, bytes]]:
    """A served file of resnet18's weights, as torchvision publishes them: address and content."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("STYLETX_OFFLINE")
    file = io.BytesIO()
    torch.save(reference("resnet18").state_dict(), file)
    (tmp_path / "resnet18.pth").write_bytes(file.getvalue())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/resnet18.pth", file.getvalue()
    server.shutdown()
    thread.join()
    server.server_close()


def served(url: str, content: bytes, off: int, tolerance: int = 1024) -> Architecture:
    download = Download(url, hashlib.sha256(content).hexdigest()[:8], len(content) + off, tolerance)
    return dataclasses.replace(backbones.architecture("resnet18"), download=download)


@pytest.mark.parametrize("off", [-700, 0, 1000])
def test_a_size_that_is_published_rounded_is_asked_for(published: tuple[str, bytes], off: int) -> None:
    found = places.find(served(*published, off))
    assert found.origin == "download"
    for name, tensor in reference("resnet18").state_dict().items():
        if not name.startswith("fc") and tensor.is_floating_point():
            assert torch.equal(found.state[f"network.{name}"], tensor)
    again = places.find(served(*published, off))
    assert again.origin == "cache" and again.state.keys() == found.state.keys()


def test_a_size_that_is_far_off_is_refused(published: tuple[str, bytes]) -> None:
    with pytest.raises(WeightsError, match="log-in page") as error:
        places.find(served(*published, 5000))
    assert "\n" not in str(error.value) and "give it as weights" in str(error.value)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_random_weights_are_loud_seeded_and_alive(name: str) -> None:
    architecture = backbones.architecture(name)
    found = backbones.load(name, weights="random", seed=3)
    (note,) = found.notes
    assert str(note).startswith(f"THE WEIGHTS ARE RANDOM: {name} (seed 3)")
    assert found.source.origin == "random" and found.reached == architecture.layers
    pixels = picture(96, 128)
    for layer, features in found.module(pixels).items():
        assert features.isfinite().all() and 0.05 < features.std() < 1000, layer


@pytest.mark.parametrize("name", ["compact", "resnet18"])
def test_random_weights_follow_the_seed(name: str) -> None:
    layer = ARCHITECTURES[name].content_layers[-1]
    pixels = picture(48, 48)
    first, again, other = (
        backbones.load(name, [layer], weights="random", seed=seed).module(pixels)[layer] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.allclose(first, other)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not name.startswith("vgg")])
def test_the_smallest_pictures_reach_the_deepest_layer(name: str) -> None:
    layer = ARCHITECTURES[name].layers[-1]
    found = backbones.load(name, [layer], weights="random")
    for size in ((16, 16), (16, 40)):
        assert found.module(picture(*size))[layer].isfinite().all()


# Smoothed activations


def test_smoothing_does_the_same_at_any_scale() -> None:
    features = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(smoothing.smooth(1000 * features), smoothing.smooth(features))
    assert torch.equal(smoothing.smooth(torch.zeros(1, 3, 4, 5)), torch.ones(1, 3, 4, 5))
    assert smoothing.smooth(1000 * features.bfloat16()).isfinite().all()


def test_smoothing_is_a_softmax_over_all_channels_and_positions() -> None:
    features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3
    values = features.double().numpy().reshape(2, -1)
    values = values / (3 * np.sqrt((values**2).mean(1, keepdims=True)))
    expected = np.exp(values) / np.exp(values).sum(1, keepdims=True) * values.shape[1]
    np.testing.assert_allclose(smoothing.smooth(features).reshape(2, -1).numpy(), expected, rtol=1e-5)


def entropy(features: Tensor) -> float:
    """Of activations as shares of their sum, in nats (Wang et al. 2021, equation 6)."""
    shares = features.flatten().double().clamp_min(0)
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * shares.log()).sum())


def test_smoothing_raises_the_entropy_of_a_residual_networks_activations() -> None:
    pixels = picture(64, 64)
    plain, smoothed = (backbones.load("resnet18", weights="random", smooth=smooth) for smooth in (False, True))
    assert plain.layers == smoothed.layers
    before, after = plain.module(pixels), smoothed.module(pixels)
    for layer in plain.layers:
        assert entropy(after[layer]) > entropy(before[layer])
        assert after[layer].mean() == pytest.approx(1, abs=1e-4)
        torch.testing.assert_close(after[layer], smoothing.smooth(before[layer]))


def test_every_classifier_of_torchvision_is_known() -> None:
    assert {"resnet152", "convnext_tiny", *SMALL} <= set(classifiers.names())
    assert set(ARCHITECTURES) - {"compact"} <= set(classifiers.names())
