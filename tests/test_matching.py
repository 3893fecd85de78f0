"""Matching against brute force in NumPy, and what continuing a neighbour's patch gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styletx import matching
from styletx.matching import NOWHERE, Candidates, Match, Query, hypercolumns, resampled


def match(columns: Tensor, candidates: Candidates, earlier: Match | None = None, **how: Any) -> Match:
    wanted = Query.of(columns).wanted(candidates, how.pop("region", None))
    return matching.match(wanted, candidates, earlier, **how)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearest neighbours alone."""
    monkeypatch.setattr(matching, "CONTINUITY", 0)
    monkeypatch.setattr(matching, "REPETITION", 0)


def test_finer_layers_are_averaged() -> None:
    layer = normal(1, 2, 16, 24)
    wanted = layer.numpy().reshape(1, 2, 4, 4, 6, 4).mean((3, 5))
    np.testing.assert_allclose(resampled(layer, (4, 6)).numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(3, 256), (256, 3), (6, 8), (5, 100), (23, 31)])
def test_a_short_side_is_averaged_as_it_is(height: int, width: int) -> None:
    layer = normal(1, 2, height, width)
    size = matching.grid((height, width))
    found = resampled(layer, size)
    assert found.shape == (1, 2, *size)
    torch.testing.assert_close(found[0, :, 0, 0], layer[0, :, :4, :4].mean((1, 2)))


def test_coarser_layers_are_repeated_to_the_edge() -> None:
    # 5 positions are pooled to 2, and the fifth shows what its neighbour does.
    layer = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    found = resampled(layer, (5, 4))[0, 0]
    assert found.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_layers_are_divided_by_their_scales() -> None:
    layers = [normal(1, 3, 8, 8), normal(1, 5, 4, 4, seed=1)]
    found = hypercolumns(layers, (4, 4), matching.scales(layers))
    assert found.shape == (1, 8, 4, 4)
    norm = np.sqrt((layers[1].double().numpy() ** 2).sum(1).mean())
    np.testing.assert_allclose(found[:, 3:].numpy(), layers[1].numpy() / norm, rtol=1e-5)


def test_the_nearest_is_that_of_greatest_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    plain(monkeypatch)
    query, painting = normal(1, 12, 5, 7), normal(1, 12, 6, 4, seed=1)
    a, b = (one[0].flatten(1).T.double().numpy() for one in (query, painting))
    a, b = ((one - one.mean(0)) for one in (a, b))
    cosines = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    found = match(query, Candidates.of([painting])).index
    assert found.flatten().tolist() == cosines.argmax(1).tolist()


def test_in_many_dimensions_little_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    plain(monkeypatch)
    # As activations are: most of 300 dimensions are mixtures of few.
    mixing = normal(40, 300, seed=2)
    query, painting = (
        (normal(1, 40, 16, 16, seed=seed).flatten(2).mT @ mixing).mT.view(1, 300, 16, 16) for seed in (0, 1)
    )
    few = match(query, Candidates.of([painting])).index
    monkeypatch.setattr(matching, "COMPONENTS", 300)
    assert (few == match(query, Candidates.of([painting])).index).float().mean() > 0.99


def test_a_painting_matches_itself() -> None:
    painting = normal(1, 16, 9, 13)
    candidates = Candidates.of([painting])
    found = match(painting, candidates)
    assert found.index.flatten().tolist() == list(range(9 * 13))
    torch.testing.assert_close(shown(found), F.normalize(painting - candidates.mean.view(1, -1, 1, 1), dim=1))


def test_beside_stays_within_its_picture() -> None:
    candidates = Candidates.of([normal(1, 4, 2, 3), normal(1, 4, 3, 2, seed=1)])
    #  0 1 2     6  7
    #  3 4 5     8  9
    #           10 11
    assert candidates.beside(torch.tensor([0, 2, 4, 6, 9, 11]), 0, 1).tolist() == [1, -1, 5, 7, -1, -1]
    assert candidates.beside(torch.tensor([0, 3, 6, 8, 10]), 1, 0).tolist() == [3, -1, 8, 10, -1]
    assert candidates.beside(torch.tensor([NOWHERE, 1]), -1, 0).tolist() == [-1, -1]


def two_kinds(height: int, width: int, split: int, noise: float, seed: int) -> Tensor:
    """A picture of one kind of place left of a column, and of another right of it."""
    left, right = normal(2, 16, seed=3).view(2, 1, 16, 1, 1)
    return torch.where(torch.arange(width) < split, left, right) + noise * normal(1, 16, height, width, seed=seed)


def test_empty_areas_are_stretches_of_the_painting_of_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    painting = Candidates.of([two_kinds(20, 24, 12, 0.15, seed=0)])
    query = two_kinds(10, 20, 14, 0.01, seed=1)
    found = match(query, painting).index
    assert (found % 24 < 12)[:, :14].all() and (found % 24 >= 12)[:, 14:].all()
    for other in (found[:, :-1] == found[:, 1:], found[:-1] == found[1:], found[:, :-2] == found[:, 2:]):
        assert not other.any()  # no mesh
    assert (found[:, 1:] == found[:, :-1] + 1).float().mean() > 0.6
    plain(monkeypatch)
    assert len(found.unique()) > 4 * len(match(query, painting).index.unique())


def shown(found: Match) -> Tensor:
    """The directions `[1, D, h, w]` that positions should show."""
    return found.models([found.candidates.columns.shape[1]]).cut(0, slice(None), slice(None))


def test_models_are_the_means_of_what_neighbours_propose() -> None:
    painting = normal(1, 3, 4, 4)
    candidates = Candidates.of([painting])
    index = torch.tensor([[5, 6], [0, 10]])
    rows = painting[0].flatten(1).T
    # The first position: its own match 5, its right neighbour's 6 without a step, its lower neighbour's 0 has nothing
    # above it, and 10 without a step down and right is 5.
    wanted = (4 * rows[5] + 2 * rows[5] + 1 * rows[5]) / 7
    alike, apart = (shown(Match(index, candidates, kind(8, 2, 2)))[0] for kind in (torch.ones, torch.zeros))
    torch.testing.assert_close(alike[:, 0, 0], F.normalize(wanted - candidates.mean, dim=0))
    # The lower left: its own 0; above it 5, a step down 9; right of it 10, a step left 9; above right 6, so 9.
    wanted = (4 * rows[0] + 2 * rows[9] + 2 * rows[9] + 1 * rows[9]) / 9
    torch.testing.assert_close(alike[:, 1, 0], F.normalize(wanted - candidates.mean, dim=0))
    # A neighbour of another kind has no say.
    torch.testing.assert_close(apart[:, 1, 0], F.normalize(rows[0] - candidates.mean, dim=0))


@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
def test_a_finer_scale_starts_from_the_coarser_ones_places(size: tuple[int, int]) -> None:
    coarse, fine = Candidates.of([normal(1, 4, 5, 7)]), Candidates.of([normal(1, 4, 10, 14, seed=1)])
    index = torch.randint(35, (4, 6), generator=torch.Generator().manual_seed(0))
    found = Match(index, coarse, torch.ones(8, 4, 6)).enlarged(size, fine)
    assert found.shape == size
    for row, column in ((0, 0), (3, 5), (7, 11)):
        y, x = divmod(int(index[row // 2, column // 2]), 7)
        assert divmod(int(found[row, column]), 14) == (2 * y + row % 2, 2 * x + column % 2)


def test_above_a_size_only_places_around_the_coarser_match_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    plain(monkeypatch)
    monkeypatch.setattr(matching, "LARGEST_SEARCH", 0)
    painting = normal(1, 16, 12, 12)
    coarse = Candidates.of([normal(1, 16, 6, 6, seed=1)])
    earlier = Match(torch.arange(36).view(6, 6), coarse, torch.ones(8, 6, 6))
    shifted = torch.roll(painting, (1, 1), (2, 3))
    found = match(shifted, Candidates.of([painting]), earlier).index
    wanted = torch.roll(torch.arange(144).view(12, 12), (1, 1), (0, 1))
    assert (found == wanted)[1:, 1:].all()  # a step away
    assert not (found == wanted)[0].any()  # twelve steps away


def test_a_near_search_finds_what_is_near_the_coarser_match(monkeypatch: pytest.MonkeyPatch) -> None:
    plain(monkeypatch)
    painting, candidates = normal(1, 16, 12, 12), Candidates.of([normal(1, 16, 12, 12)])
    earlier = Match(torch.arange(36).view(6, 6), Candidates.of([normal(1, 16, 6, 6, seed=1)]), torch.ones(8, 6, 6))
    shifted = torch.roll(painting, (5, 5), (2, 3))
    found = [match(shifted, candidates, earlier, is_near=near).index for near in (False, True)]
    wanted = torch.roll(torch.arange(144).view(12, 12), (5, 5), (0, 1))
    assert torch.equal(found[0], wanted)
    away = found[1] - torch.arange(144).view(12, 12)
    assert (away.abs() <= 2 * 13).all() and not torch.equal(found[1], wanted)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1)])
def test_the_smallest_grids_are_matched(size: tuple[int, int]) -> None:
    found = match(normal(1, 12, *size), Candidates.of([normal(1, 12, 4, 4, seed=1)])).index
    assert found.shape == size


def test_a_position_prefers_its_own_region() -> None:
    columns = normal(1, 6, 4, 8)
    inside = torch.zeros(1, 2, 4, 8)
    inside[:, 0, :, :4], inside[:, 1, :, 4:] = 1, 1
    candidates = Candidates.of([columns], regions=[inside])
    free, kept = (match(columns, candidates, regions=regions).index for regions in (None, inside.flip(3)))
    places = torch.arange(32).view(4, 8)
    assert torch.equal(free, places)
    swapped = (kept % 8 < 4) != (places % 8 < 4)
    assert swapped.float().mean() > 0.3  # a place that is the very same may still be worth more


def test_a_mean_may_be_that_of_a_region() -> None:
    columns, weights = normal(1, 6, 4, 8), torch.zeros(1, 1, 4, 8)
    weights[..., :4] = 1
    columns[..., 4:] += 10
    candidates = Candidates.of([columns[..., :4]])
    found = match(columns, candidates, region=weights).index
    assert torch.equal(found[:, :4], torch.arange(16).view(4, 4))
    assert not torch.equal(match(columns, candidates).index[:, :4], found[:, :4])
