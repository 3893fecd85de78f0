"""Losses and their gradients against closed forms in float64 NumPy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from styletx import backbones, losses

SHARED = Path(__file__).resolve().parents[2] / "shared"
RELU3_1 = SHARED / "weights" / "vgg19-relu3_1.safetensors"


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gram(features: Tensor) -> np.ndarray:
    values = features.detach().double().numpy()
    return np.einsum("bchw,bdhw->bcd", values, values) / (values.shape[2] * values.shape[3])


class Smooth(nn.Module):
    """Two convolutional layers, differentiable everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1).double()
        self.second = nn.Conv2d(4, 5, 3).double()
        for number, parameter in enumerate(self.parameters()):
            parameter.requires_grad_(False).copy_(0.5 * normal(*parameter.shape, seed=number))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        first = torch.tanh(self.first(pixels))
        return {"first": first, "second": nn.functional.softplus(self.second(first))}


def perceptual_loss(network: nn.Module, content: Tensor, style: Tensor, **options: object) -> losses.PerceptualLoss:
    weights = {"content_weight": 1.0, "style_weight": 3.0, "tv_weight": 0.5} | options
    content_targets = losses.content_targets(network, content, ["second"])
    style_targets = losses.style_targets(network, style, ["first", "second"])
    return losses.PerceptualLoss(network, content_targets, style_targets, **weights)


# The parts


def test_gram_matrix_is_the_mean_product_of_channels() -> None:
    features = normal(2, 5, 4, 7)
    np.testing.assert_allclose(losses.gram_matrix(features), gram(features), rtol=1e-12)


def test_gradient_of_the_style_loss() -> None:
    features, target = normal(2, 5, 4, 7).requires_grad_(), normal(1, 5, 5, seed=1)  # a target of no symmetry, too
    loss = losses.style_loss(features, target)
    loss.backward()

    values, wanted = features.detach().numpy(), target.numpy()
    size = 2 * (wanted**2).sum()  # one target for both pictures of the batch
    difference = gram(features) - wanted
    assert loss.item() == pytest.approx((difference**2).sum() / size, rel=1e-12)
    outer = 2 * difference / size
    expected = np.einsum("bcd,bdhw->bchw", outer + outer.transpose(0, 2, 1), values) / (4 * 7)
    np.testing.assert_allclose(features.grad, expected, rtol=1e-10, atol=1e-14)


def test_content_loss_and_gradient() -> None:
    features, target = normal(2, 3, 4, 5).requires_grad_(), normal(1, 3, 4, 5, seed=1)
    loss = losses.content_loss(features, target)
    loss.backward()
    difference, size = features.detach().numpy() - target.numpy(), 2 * (target.numpy() ** 2).sum()
    assert loss.item() == pytest.approx((difference**2).sum() / size, rel=1e-12)
    np.testing.assert_allclose(features.grad, 2 * difference / size, rtol=1e-12)


def test_total_variation_and_gradient() -> None:
    pixels = normal(2, 3, 5, 4).requires_grad_()
    loss = losses.total_variation_loss(pixels)
    loss.backward()

    values, expected, total = pixels.detach().numpy(), np.zeros((2, 3, 5, 4)), 0.0
    for b, c, y, x in np.ndindex(2, 3, 5, 4):
        for dy, dx, count in ((0, 1, 2 * 3 * 5 * 3), (1, 0, 2 * 3 * 4 * 4)):
            if y + dy < 5 and x + dx < 4:
                step = values[b, c, y + dy, x + dx] - values[b, c, y, x]
                total += step**2 / count
                expected[b, c, y + dy, x + dx] += 2 * step / count
                expected[b, c, y, x] -= 2 * step / count
    assert loss.item() == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(pixels.grad, expected, rtol=1e-10, atol=1e-15)


def test_relative_distance_has_no_unit() -> None:
    value, target = normal(3, 4), normal(3, 4, seed=1)
    expected = ((value - target) ** 2).sum() / (target**2).sum()
    for unit in (1e-3, 1.0, 1e6):
        assert losses.relative_distance(unit * value, unit * target).item() == pytest.approx(expected.item(), rel=1e-12)
    assert losses.relative_distance(target, target) == 0
    assert losses.relative_distance(0 * target, target) == 1


def test_zero_target_gives_numbers() -> None:
    zero = torch.zeros(1, 3, 4, 4)
    for value in (zero.clone(), torch.full_like(zero, 0.5)):
        value.requires_grad_()
        loss = losses.content_loss(value, zero) + losses.style_loss(value, torch.zeros(1, 3, 3))
        loss.backward()
        assert loss.isfinite() and value.grad is not None and value.grad.isfinite().all()
        assert (loss == 0) == (value == 0).all()


def test_gradients_agree_with_finite_differences() -> None:
    features, target = normal(2, 3, 3, 2).requires_grad_(), normal(1, 3, 3, seed=1)
    assert torch.autograd.gradcheck(losses.gram_matrix, features)
    assert torch.autograd.gradcheck(lambda value: losses.style_loss(value, target), features)
    assert torch.autograd.gradcheck(lambda value: losses.content_loss(value, target[..., :2]), features)
    assert torch.autograd.gradcheck(losses.total_variation_loss, features)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_summed_in_float32(dtype: torch.dtype) -> None:
    # Values of up to about 400: their squares are beyond float16.
    features = (100 * normal(1, 8, 30, 20)).to(dtype)
    found = losses.gram_matrix(features)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, gram(features), rtol=1e-5, atol=0.01)
    assert losses.content_loss(features, features / 2).dtype == torch.float32


def test_bfloat16_features_get_a_bfloat16_gradient() -> None:
    features = normal(1, 8, 30, 20, dtype=torch.bfloat16).requires_grad_()
    target = normal(1, 8, 8, seed=1)
    losses.style_loss(features, target.float()).backward()
    wide = features.detach().double().requires_grad_()
    losses.style_loss(wide, target).backward()
    assert features.grad is not None and wide.grad is not None
    assert features.grad.dtype == torch.bfloat16
    assert (features.grad.double() - wide.grad).norm() < 0.01 * wide.grad.norm()


def test_memory_format_does_not_matter() -> None:
    target = normal(1, 6, 6, seed=1)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        features = normal(2, 6, 5, 7).contiguous(memory_format=memory_format).requires_grad_()
        loss = losses.style_loss(features, target)
        loss.backward()
        results.append((loss.detach(), features.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-14)


def test_gram_matrix_does_not_depend_on_size() -> None:
    pointwise = nn.Conv2d(3, 6, 1).double().requires_grad_(False)
    for parameter in pointwise.parameters():
        parameter.copy_(normal(*parameter.shape))
    pixels = normal(1, 3, 6, 9).sigmoid()

    def network(values: Tensor) -> dict[str, Tensor]:
        return {"layer": pointwise(values).relu()}

    small = losses.style_targets(network, pixels, ["layer"])["layer"]
    large = losses.style_targets(network, pixels.tile(1, 1, 2, 2), ["layer"])["layer"]
    torch.testing.assert_close(large, small, rtol=1e-12, atol=0)
    other = losses.style_targets(network, 1 - pixels, ["layer"])["layer"]
    assert losses.relative_distance(other, small) > 0.01


# The objective


def test_objective_is_the_weighted_mean_of_its_parts() -> None:
    network = Smooth()
    content, style, pixels = (normal(1, 3, 7, 6, seed=seed).sigmoid() for seed in (1, 2, 3))
    found = perceptual_loss(network, content, style, style_layers={"first": 2.0, "second": 6.0})(pixels)

    features = network(pixels)
    grams = {name: (gram(features[name]), gram(network(style)[name])) for name in ("first", "second")}
    distances = {name: ((a - b) ** 2).sum() / (b**2).sum() for name, (a, b) in grams.items()}
    target = network(content)["second"].numpy()
    values = pixels.numpy()
    expected = {
        "content": ((features["second"].numpy() - target) ** 2).sum() / (target**2).sum(),
        "style": 0.25 * distances["first"] + 0.75 * distances["second"],
        "tv": np.mean(np.diff(values, axis=3) ** 2) + np.mean(np.diff(values, axis=2) ** 2),
    }
    expected["total"] = (1.0 * expected["content"] + 3.0 * expected["style"] + 0.5 * expected["tv"]) / 4.5
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(expected, rel=1e-10)


def test_only_proportions_of_weights_matter() -> None:
    network = Smooth()
    content, style, pixels = (normal(1, 3, 7, 6, seed=seed).sigmoid() for seed in (1, 2, 3))

    def total(share: float, factor: float) -> float:
        objective = perceptual_loss(
            network,
            content,
            style,
            content_weight=factor,
            style_weight=3 * factor,
            tv_weight=factor / 2,
            style_layers={"first": share, "second": 3 * share},
        )
        return float(objective(pixels)["total"])

    assert total(5.0, 7.0) == pytest.approx(total(1.0, 1.0), rel=1e-12)
    assert total(1e-30, 1e-30) == pytest.approx(total(1.0, 1.0), rel=1e-12)
    assert total(1e30, 1e30) == pytest.approx(total(1.0, 1.0), rel=1e-12)


def test_huge_weights_stay_within_float32() -> None:
    network = Smooth().float()
    content, style = (normal(1, 3, 7, 6, seed=seed, dtype=torch.float32).sigmoid() for seed in (1, 2))
    pixels = normal(1, 3, 7, 6, seed=3, dtype=torch.float32).sigmoid().requires_grad_()
    # Float32 ends at 3.4e38; these weights times losses near one, and squared sums of their gradients, pass it.
    objective = perceptual_loss(network, content, style, content_weight=1e38, style_weight=9e38, tv_weight=0.0)
    found = objective(pixels)
    found["total"].backward()
    assert found["total"].item() == pytest.approx(0.1 * found["content"].item() + 0.9 * found["style"].item(), rel=1e-5)
    assert pixels.grad is not None and pixels.grad.square().sum().isfinite() and pixels.grad.any()


def test_gradient_of_the_objective_agrees_with_finite_differences() -> None:
    network = Smooth()
    content, style, pixels = (normal(1, 3, 5, 4, seed=seed).sigmoid() for seed in (1, 2, 3))
    objective = perceptual_loss(network, content, style)
    pixels.requires_grad_()
    (gradient,) = torch.autograd.grad(objective(pixels)["total"], pixels)

    step, expected = 1e-5, np.zeros(pixels.shape)
    with torch.no_grad():
        for place in np.ndindex(*pixels.shape):
            moved = torch.zeros_like(pixels)
            moved[place] = step
            ahead, behind = objective(pixels + moved)["total"], objective(pixels - moved)["total"]
            expected[place] = float(ahead - behind) / (2 * step)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(expected).max() > 1e-3


def test_targets_reach_zero_at_their_own_picture() -> None:
    network = Smooth()
    picture = normal(1, 3, 7, 6).sigmoid()
    found = perceptual_loss(network, picture, picture, tv_weight=0.0)(picture)
    assert {name: loss.item() for name, loss in found.items()} == dict.fromkeys(("total", "content", "style", "tv"), 0)


@pytest.mark.skipif(not RELU3_1.is_file(), reason="needs shared/weights/vgg19-relu3_1.safetensors")
def test_gram_matrix_of_the_real_network() -> None:
    layers = ("relu1_1", "relu3_1")
    network = backbones.load("vgg19", layers, weights=RELU3_1).module
    pixels = normal(1, 3, 40, 56, dtype=torch.float32).mul(0.2).add(0.5).clamp(0, 1)
    features = network(pixels)
    targets = losses.style_targets(network, pixels, layers)
    for layer in layers:
        expected = gram(features[layer])
        assert expected.shape[1] == {"relu1_1": 64, "relu3_1": 256}[layer]
        np.testing.assert_allclose(targets[layer], expected, rtol=1e-4, atol=1e-6 * expected.max())
        assert losses.style_loss(features[layer], targets[layer]) < 1e-10
        assert math.isclose(losses.style_loss(0.5**0.5 * features[layer], targets[layer]), 0.25, rel_tol=1e-4)
