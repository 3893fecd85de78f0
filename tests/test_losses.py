"""Loss terms and their gradients against closed forms in float64 NumPy; tiles against the whole."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletx import backbones, losses, matching
from styletx.losses import (
    PIXELS,
    Adversarial,
    Content,
    Difference,
    Discriminator,
    Gram,
    LocalGram,
    Matching,
    Objective,
    Part,
    Stage,
    Term,
    Variation,
    Weighted,
    gram_statistics,
    layer_terms,
)
from styletx.matching import Models
from styletx.optimization import stages, tiles

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


def made(
    network: nn.Module,
    content: Tensor,
    style: Tensor,
    *,
    content_weight: float = 1.0,
    style_weight: float = 3.0,
    tv_weight: float = 0.5,
    style_layers: dict[str, float] | None = None,
) -> Objective:
    """An objective with all three kinds of term."""
    wanted = network(content)["second"]
    painted = {layer: gram_statistics(features) for layer, features in network(style).items()}
    shares = style_layers or {"first": 1.0, "second": 1.0}
    return Objective(
        network,
        [
            Weighted("content", content_weight, Content("second", wanted)),
            *layer_terms("style", style_weight, shares, lambda layer: Gram(layer, painted[layer])),
            Weighted("tv", tv_weight, Variation()),
        ],
    )


def statistics(gram_matrix: Tensor) -> Tensor:
    """Statistics of a picture of one position, whose Gram matrix is this and whose means are 0."""
    corner = torch.ones(len(gram_matrix), 1, 1, dtype=gram_matrix.dtype)
    side = torch.zeros(len(gram_matrix), gram_matrix.shape[1], 1, dtype=gram_matrix.dtype)
    return torch.cat([torch.cat([gram_matrix, side], 2), torch.cat([side.mT, corner], 2)], 1)


# The parts


def test_gram_matrix_is_the_mean_product_of_channels() -> None:
    features = normal(2, 5, 4, 7)
    np.testing.assert_allclose(losses.gram_matrix(features), gram(features), rtol=1e-12)


def test_means_and_deviations_come_with_the_gram_matrix() -> None:
    features = normal(2, 5, 4, 7) + 0.3
    found = losses.moments(gram_statistics(features))
    np.testing.assert_allclose(found.gram, gram(features), rtol=1e-12)
    np.testing.assert_allclose(found.mean, features.numpy().mean((2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, features.numpy().std((2, 3)), rtol=1e-10)


def test_gradient_of_the_style_loss() -> None:
    features, target = normal(2, 5, 4, 7).requires_grad_(), normal(1, 5, 5, seed=1)  # a target of no symmetry, too
    loss = losses.style_loss(features, statistics(target))
    loss.backward()

    values, wanted = features.detach().numpy(), target.numpy()
    size = 2 * (wanted**2).sum()  # one target for both pictures of the batch
    difference = gram(features) - wanted
    assert loss.item() == pytest.approx((difference**2).sum() / size, rel=1e-12)
    outer = 2 * difference / size
    expected = np.einsum("bcd,bdhw->bchw", outer + outer.transpose(0, 2, 1), values) / (4 * 7)
    assert features.grad is not None
    np.testing.assert_allclose(features.grad.numpy(), expected, rtol=1e-10, atol=1e-14)


def test_content_loss_and_gradient() -> None:
    features, target = normal(2, 3, 4, 5).requires_grad_(), normal(1, 3, 4, 5, seed=1)
    loss = losses.content_loss(features, target)
    loss.backward()
    difference, size = features.detach().numpy() - target.numpy(), 2 * (target.numpy() ** 2).sum()
    assert loss.item() == pytest.approx((difference**2).sum() / size, rel=1e-12)
    assert features.grad is not None
    np.testing.assert_allclose(features.grad.numpy(), 2 * difference / size, rtol=1e-12)


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
    assert pixels.grad is not None
    np.testing.assert_allclose(pixels.grad.numpy(), expected, rtol=1e-10, atol=1e-15)


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
        loss = losses.content_loss(value, zero) + losses.style_loss(value, statistics(torch.zeros(1, 3, 3)))
        loss.backward()
        assert loss.isfinite() and value.grad is not None and value.grad.isfinite().all()
        assert (loss == 0) == (value == 0).all()


def test_gradients_agree_with_finite_differences() -> None:
    features, target = normal(2, 3, 3, 2).requires_grad_(), normal(1, 3, 3, seed=1)
    assert torch.autograd.gradcheck(losses.gram_matrix, features)
    assert torch.autograd.gradcheck(gram_statistics, features)
    assert torch.autograd.gradcheck(lambda value: losses.moments(gram_statistics(value)).deviation, features)
    assert torch.autograd.gradcheck(lambda value: losses.style_loss(value, statistics(target)), features)
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
    losses.style_loss(features, statistics(target.float())).backward()
    wide = features.detach().double().requires_grad_()
    losses.style_loss(wide, statistics(target)).backward()
    assert features.grad is not None and wide.grad is not None
    assert features.grad.dtype == torch.bfloat16
    assert (features.grad.double() - wide.grad).norm() < 0.01 * wide.grad.norm()


def test_memory_format_does_not_matter() -> None:
    target = normal(1, 6, 6, seed=1)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        features = normal(2, 6, 5, 7).contiguous(memory_format=memory_format).requires_grad_()
        loss = losses.style_loss(features, statistics(target))
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

    small = losses.gram_matrix(network(pixels)["layer"])
    large = losses.gram_matrix(network(pixels.tile(1, 1, 2, 2))["layer"])
    torch.testing.assert_close(large, small, rtol=1e-12, atol=0)
    other = losses.gram_matrix(network(1 - pixels)["layer"])
    assert losses.relative_distance(other, small) > 0.01


# The objective


def test_objective_is_the_weighted_mean_of_its_parts() -> None:
    network = Smooth()
    content, style, pixels = (normal(1, 3, 7, 6, seed=seed).sigmoid() for seed in (1, 2, 3))
    found = made(network, content, style, style_layers={"first": 2.0, "second": 6.0}).losses(pixels)

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
        objective = made(
            network,
            content,
            style,
            content_weight=factor,
            style_weight=3 * factor,
            tv_weight=factor / 2,
            style_layers={"first": share, "second": 3 * share},
        )
        return float(objective.losses(pixels)["total"])

    assert total(5.0, 7.0) == pytest.approx(total(1.0, 1.0), rel=1e-12)
    assert total(1e-30, 1e-30) == pytest.approx(total(1.0, 1.0), rel=1e-12)
    assert total(1e30, 1e30) == pytest.approx(total(1.0, 1.0), rel=1e-12)


def test_huge_weights_stay_within_float32() -> None:
    network = Smooth().float()
    content, style = (normal(1, 3, 7, 6, seed=seed, dtype=torch.float32).sigmoid() for seed in (1, 2))
    pixels = normal(1, 3, 7, 6, seed=3, dtype=torch.float32).sigmoid().requires_grad_()
    # Float32 ends at 3.4e38; these weights times losses near one, and squared sums of their gradients, pass it.
    objective = made(network, content, style, content_weight=1e38, style_weight=9e38, tv_weight=0.0)
    found = objective.losses(pixels)
    found["total"].backward()
    assert found["total"].item() == pytest.approx(0.1 * found["content"].item() + 0.9 * found["style"].item(), rel=1e-5)
    assert pixels.grad is not None and pixels.grad.square().sum().isfinite() and pixels.grad.any()


def test_gradient_of_the_objective_agrees_with_finite_differences() -> None:
    network = Smooth()
    content, style, pixels = (normal(1, 3, 5, 4, seed=seed).sigmoid() for seed in (1, 2, 3))
    objective = made(network, content, style)
    found, gradient = objective(pixels)
    assert not any(loss.requires_grad for loss in found.values())
    whole = {name: loss.item() for name, loss in objective.losses(pixels).items()}
    assert {name: loss.item() for name, loss in found.items()} == whole

    step, expected = 1e-5, np.zeros(pixels.shape)
    with torch.no_grad():
        for place in np.ndindex(*pixels.shape):
            moved = torch.zeros_like(pixels)
            moved[place] = step
            ahead, behind = (objective.losses(pixels + sign * moved)["total"] for sign in (1, -1))
            expected[place] = float(ahead - behind) / (2 * step)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(expected).max() > 1e-3


def test_targets_reach_zero_at_their_own_picture() -> None:
    network = Smooth()
    picture = normal(1, 3, 7, 6).sigmoid()
    found = made(network, picture, picture, tv_weight=0.0).losses(picture)
    assert {name: loss.item() for name, loss in found.items()} == dict.fromkeys(("total", "content", "style", "tv"), 0)


@pytest.mark.skipif(not RELU3_1.is_file(), reason="needs shared/weights/vgg19-relu3_1.safetensors")
def test_gram_matrix_of_the_real_network() -> None:
    layers = ("relu1_1", "relu3_1")
    network = backbones.load("vgg19", layers, weights=RELU3_1).module
    pixels = normal(1, 3, 40, 56, dtype=torch.float32).mul(0.2).add(0.5).clamp(0, 1)
    features = network(pixels)
    for layer in layers:
        expected, found = gram(features[layer]), losses.gram_matrix(features[layer])
        assert expected.shape[1] == {"relu1_1": 64, "relu3_1": 256}[layer]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())
        target = gram_statistics(features[layer])
        assert losses.style_loss(features[layer], target) < 1e-10
        assert math.isclose(losses.style_loss(0.5**0.5 * features[layer], target), 0.25, rel_tol=1e-4)


def test_a_term_of_weight_0_is_not_computed() -> None:
    network = Smooth()
    content, style, pixels = (normal(1, 3, 7, 6, seed=seed).sigmoid() for seed in (1, 2, 3))
    objective = made(network, content, style, tv_weight=0.0, style_weight=0.0)
    assert objective.layers == ("second",)
    found, _ = objective(pixels)
    assert found["total"] == found["content"] > 0
    assert found["style"] == found["tv"] == 0


# Tiles


def tiled(objective: Objective, pixels: Tensor, parts: list[Stage]) -> tuple[float, float]:
    """The largest relative errors of losses and of gradient, against the whole picture's."""
    losses_whole, gradient_whole = objective(pixels)
    objective.stages = parts
    losses_tiled, gradient_tiled = objective(pixels)
    objective.stages = ()
    assert losses_whole.keys() == losses_tiled.keys()
    of_losses = max(abs(losses_tiled[name] / loss - 1).item() for name, loss in losses_whole.items())
    of_gradient = (gradient_tiled - gradient_whole).norm() / gradient_whole.norm()
    return of_losses, of_gradient.item()


NETWORKS = {
    "compact": ("relu1_1", "relu3_1", "relu4_2", "relu5_1"),
    "vgg11": ("relu1_1", "relu2_1", "relu3_2"),
    "resnet18": ("relu", "layer1.1", "layer2.1", "layer3.0"),
    "alexnet": ("features.1", "features.4", "features.9"),
}


OTHER = pytest.mark.slow(reason="the same in other shapes")


@pytest.mark.parametrize(
    "size",
    [(110, 67), (40, 30), pytest.param((97, 150), marks=OTHER), pytest.param((64, 200), marks=OTHER)],
    ids=str,
)
@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_the_whole_picture(name: str, pooling: str, padding: str, size: tuple[int, int]) -> None:
    layers = NETWORKS[name]
    backbone = backbones.load(name, layers, weights="random", pooling=pooling, padding=padding)
    pixels, photo, painting = (uniform(1, 3, *shape, seed=seed) for seed, shape in enumerate((size, size, (61, 83))))

    def objective(dtype: torch.dtype) -> Objective:
        network = backbone.module.to(dtype)
        wanted, painted = network(photo.to(dtype)), network(painting.to(dtype))
        return Objective(
            network,
            [
                *layer_terms("content", 1.0, dict.fromkeys(layers, 1.0), lambda one: Content(one, wanted[one])),
                *layer_terms(
                    "style", 30.0, dict.fromkeys(layers, 1.0), lambda one: Gram(one, gram_statistics(painted[one]))
                ),
                Weighted("tv", 0.5, Variation()),
            ],
        )

    alone = [Stage(backbone.module, tiles(size, 32, backbone.sights))]
    assert len(alone[0].tiles) > 1 or min(size) < 40
    for parts in (alone, stages(backbone.module, size, 32)):
        assert max(tiled(objective(torch.float64), pixels, parts)) < 1e-10
        of_losses, of_gradient = tiled(objective(torch.float32), pixels.float(), parts)
        # A ReLU or a maximum decides by a rounding error in a few places, and the gradient there is another one.
        assert of_losses < 1e-5 and of_gradient < 1e-2


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("side", [1, 16, 48, 1000])
def test_every_position_is_counted_once(side: int) -> None:
    sights = backbones.load("compact", ("relu1_1", "relu2_1", "relu5_1"), weights="random").sights
    counts = {"relu1_1": (143, 90), "relu2_1": (71, 45), "relu5_1": (8, 5), PIXELS: (143, 90)}
    seen = {layer: torch.zeros(size, dtype=torch.int) for layer, size in counts.items()}
    for tile in tiles((143, 90), side, sights):
        for layer, area in tile.counted.items():
            seen[layer][area] += 1
    assert all((count == 1).all() for count in seen.values())


def models(directions: Tensor, widths: list[int]) -> Models:
    """Each position's own."""
    height, width = directions.shape[-2:]
    rows = directions[0].flatten(1).mT.contiguous()
    places = torch.arange(height * width, dtype=torch.int32).view(height, width, 1)
    return Models(places, rows.new_ones(height, width, 1), tuple(one.contiguous() for one in rows.split(widths, 1)))


@pytest.mark.parametrize("size", [(150, 97), (97, 150), (64, 200)], ids=str)
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("compact", ("relu1_1",)),
        ("compact", ("relu1_1", "relu3_1", "relu4_2")),
        ("vgg11", ("relu1_1", "relu2_1", "relu3_2")),
        ("resnet18", ("relu", "layer1.1", "layer2.1")),
    ],
)
def test_tiles_match_as_the_whole_picture(name: str, layers: tuple[str, ...], size: tuple[int, int]) -> None:
    backbone = backbones.load(name, layers, weights="random")
    network, pixels = backbone.module.double(), uniform(1, 3, *size)
    seen = [network(uniform(1, 3, *size, seed=1))[layer] for layer in layers]
    scales = matching.scales(seen)
    columns = matching.hypercolumns(seen, matching.grid(size), scales)
    mean = columns.mean((0, 2, 3))
    directions = F.normalize(columns - mean.view(1, -1, 1, 1), dim=1)
    term = Matching(layers, models(directions, [one.shape[1] for one in seen]), mean, scales)
    objective = Objective(network, [Weighted("matching", 1.0, term)])
    for parts in ([Stage(network, tiles(size, 32, backbone.sights))], stages(network, size, 32)):
        assert max(tiled(objective, pixels, parts)) < 1e-6  # the scales are float32


def test_matching_is_the_mean_cosine_distance_from_the_mean() -> None:
    features, targets, mean = normal(1, 5, 4, 6), normal(1, 5, 4, 6, seed=1), normal(5, seed=2)
    directions = F.normalize(targets - mean.view(1, -1, 1, 1), dim=1)
    term = Matching(["layer"], models(directions, [5]), mean, [torch.tensor(2.0)])
    part = losses.terms.whole({"layer": features, PIXELS: uniform(1, 3, 16, 24)})
    seen, wanted = (one.numpy()[0].reshape(5, -1) - mean.numpy()[:, None] for one in (features / 2, targets))
    cosines = (seen * wanted).sum(0) / np.linalg.norm(seen, axis=0) / np.linalg.norm(wanted, axis=0)
    assert term.loss(term.statistics(part).values).item() == pytest.approx(1 - cosines.mean(), rel=1e-6)


def test_moments_add_means_and_deviations() -> None:
    features, target = normal(1, 4, 6, 8) + 1, 2 * normal(1, 4, 5, 7, seed=1)

    def distance(value: np.ndarray, wanted: np.ndarray) -> float:
        return float(((value - wanted) ** 2).sum() / (wanted**2).sum())

    a, b = (one.numpy()[0].reshape(4, -1) for one in (features, target))
    wanted = distance(gram(features), gram(target))
    wanted += 0.5 * (distance(a.mean(1), b.mean(1)) + distance(a.std(1), b.std(1)))
    term = Gram("layer", gram_statistics(target), 0.5)
    assert term.loss(term.statistics(losses.terms.whole({"layer": features}))).item() == pytest.approx(wanted, rel=1e-6)


def test_squares_are_measured_each_by_itself() -> None:
    features, target = normal(2, 4, 9, 12), normal(2, 4, 9, 12, seed=1)

    def squares(picture: Tensor) -> np.ndarray:
        return picture[..., :8, :].numpy().reshape(2, 4, 2, 4, 3, 4).transpose(0, 2, 4, 1, 3, 5).reshape(12, 4, 16)

    def distances(value: np.ndarray, wanted: np.ndarray) -> float:
        sizes = (wanted**2).reshape(12, -1).sum(1)
        return float((((value - wanted) ** 2).reshape(12, -1).sum(1) / (sizes + 0.1 * sizes.mean())).mean())

    a, b = squares(features), squares(target)
    wanted = distances(a @ a.transpose(0, 2, 1) / 16, b @ b.transpose(0, 2, 1) / 16)
    wanted += 0.5 * (distances(a.mean(2), b.mean(2)) + distances(a.std(2), b.std(2)))
    term = LocalGram("layer", target, 2, 3, 0.5)
    assert term.loss(term.statistics(losses.terms.whole({"layer": features}))).item() == pytest.approx(wanted, rel=1e-6)


def test_faint_strokes_in_a_square_count_beside_strong_ones_elsewhere() -> None:
    strokes = normal(1, 4, 16, 32)
    strokes[..., 16:] *= 0.3
    bare, whole = strokes.clone(), losses.terms.whole
    bare[..., 16:] = 0
    found = []
    for term in (Gram("layer", gram_statistics(strokes), 0.5), LocalGram("layer", strokes, 1, 2, 0.5)):
        found.append(term.loss(term.statistics(whole({"layer": bare}))).item())
    assert found[1] > 5 * found[0]


def test_a_difference_is_that_of_pixels_and_of_mean_colours() -> None:
    pixels, target = uniform(2, 3, 16, 24), uniform(2, 3, 16, 24, seed=1)
    term = Difference(target)
    found = term.loss(term.statistics(losses.terms.whole({PIXELS: pixels})))
    differences = pixels.numpy() - target.numpy()
    squares = differences.reshape(2, 3, 2, 8, 3, 8).mean((3, 5))  # those of 32 px hold the whole picture
    expected = np.abs(differences).mean() + 2 * np.abs(squares).mean() + 2 * np.abs(differences.mean((2, 3))).mean()
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_strokes_that_lie_otherwise_differ_less_than_another_colour() -> None:
    strokes = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(1, 3, 32, 16)
    found = []
    for other in (strokes.flip(3), torch.ones_like(strokes)):
        term = Difference(strokes)
        found.append(term.loss(term.statistics(losses.terms.whole({PIXELS: other}))).item())
    assert found == pytest.approx([1.0, 0.5 + 4 * 0.5])


def test_sums_of_parts_are_those_of_the_whole() -> None:
    features, target, pixels = normal(1, 4, 6, 8), normal(1, 4, 6, 8, seed=1), uniform(1, 3, 6, 8)
    terms: list[Term] = [Gram("layer", gram_statistics(target)), Content("layer", target), Variation()]
    terms.append(Difference(uniform(1, 3, 6, 8, seed=1)))
    areas = [(slice(0, 2), slice(0, None)), (slice(2, None), slice(0, 5)), (slice(2, None), slice(5, None))]
    for term in terms:
        whole = term.statistics(losses.terms.whole({"layer": features, PIXELS: pixels}))
        parts = list[Tensor]()
        for rows, columns in areas:
            more = tuple(slice(one.start, None if one.stop is None else one.stop + 1) for one in (rows, columns))
            part = Part(
                {"layer": features[..., rows, columns], PIXELS: pixels[..., more[0], more[1]]},
                dict.fromkeys(("layer", PIXELS), (rows, columns)),
            )
            here = term.statistics(part)
            assert isinstance(here, Tensor)
            parts.append(here)
        assert isinstance(whole, Tensor)
        torch.testing.assert_close(parts[0] + parts[1] + parts[2], whole, rtol=1e-12, atol=1e-12)


def test_a_discriminator_learns_to_tell_what_a_picture_learns_to_hide() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator({"layer": 4})
    real, fake = normal(2, 4, 16, 16).float(), normal(2, 4, 16, 16, seed=1).float() + 1
    imitation = fake.clone().requires_grad_()

    def told() -> Tensor:
        term = Adversarial(discriminator, {"layer": real})
        return term.loss(term.statistics(losses.terms.whole({"layer": imitation})))

    def after(parameters: Iterable[Tensor]) -> float:
        stepping = torch.optim.Adam(parameters, lr=0.01)
        for _ in range(60):
            stepping.zero_grad()
            told().backward()
            stepping.step()
        return told().item()

    first = told().item()
    learnt = after(discriminator.parameters())
    hidden = after([imitation])
    assert first == pytest.approx(2, abs=0.3)
    assert learnt < first - 0.5 and hidden > learnt + 0.2


def test_a_network_that_sees_everything_everywhere_has_no_tiles() -> None:
    sights = backbones.load("compact", ("relu1_1",), weights="random", smooth=True).sights
    with pytest.raises(ValueError, match="relu1_1: depends on the whole picture"):
        tiles((100, 100), 32, sights)


def test_only_a_region_counts_for_gram_in_tiles_too() -> None:
    generator = torch.Generator().manual_seed(0)
    seen, target = (torch.rand(1, 5, 8, 12, generator=generator) for _ in range(2))
    weights = torch.zeros(1, 1, 8, 12)
    weights[..., 2:6, 3:9] = 1
    term = Gram("layer", gram_statistics(target), 0.5, weights)
    alone = Gram("layer", gram_statistics(target), 0.5)
    inside = alone.loss(alone.statistics(losses.terms.whole({"layer": seen[..., 2:6, 3:9]})))
    torch.testing.assert_close(term.loss(term.statistics(losses.terms.whole({"layer": seen}))), inside)
    parts = [
        losses.terms.Part({"layer": seen[..., :5, :]}, {"layer": (slice(0, 5), slice(0, None))}),
        losses.terms.Part({"layer": seen[..., 5:, :]}, {"layer": (slice(5, None), slice(0, None))}),
    ]
    torch.testing.assert_close(term.loss(sum(map(term.statistics, parts), start=torch.zeros(()))), inside)
