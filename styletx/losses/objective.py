"""Terms added up: losses and gradient of a picture from one pass through the network, whole or in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from styletx.losses.terms import PIXELS, Part, Term, Tile, whole

Key = TypeVar("Key", str, int)


class Weighted(NamedTuple):
    """A term of an objective.

    Attributes:
        name: under which its loss is reported; terms of one name are reported as their weighted mean.
        weight: from 0; a term of weight 0 is not computed.
        term: the term.
    """

    name: str
    weight: float
    term: Term


def layer_terms(
    name: str, weight: float, shares: Mapping[str, float], make: Callable[[str], Term]
) -> tuple[Weighted, ...]:
    """A term for each layer, which share one weight.

    Args:
        name: under which they are reported.
        weight: of them all.
        shares: layer name to its share of the weight; only the proportions matter.
        make: called with a layer's name, makes its term.
    """
    return tuple(Weighted(name, weight * share, make(layer)) for layer, share in _normalised(shares).items())


class Objective:
    """How far a picture is from what the terms ask for.

    Args:
        network: called with pixels `[B, 3, H, W]`, returns the activations of at least the layers that terms look at.
        terms: at least one of a weight above 0. Their total is the weighted mean, so that no weight, however large,
            makes it overflow.
    """

    def __init__(self, network: nn.Module, terms: Sequence[Weighted]) -> None:
        self.network = network
        weights = _normalised({index: one.weight for index, one in enumerate(terms)})
        self.terms = [one._replace(weight=weights[index]) for index, one in enumerate(terms) if weights[index]]
        self.weights = dict.fromkeys((one.name for one in terms), 0.0)
        for one in self.terms:
            self.weights[one.name] += one.weight
        self.layers = tuple(dict.fromkeys(layer for one in self.terms for layer in one.term.layers))

    def losses(self, pixels: Tensor) -> dict[str, Tensor]:
        """The losses of whole pictures, with their graph.

        Args:
            pixels: `[B, 3, H, W]` in [0, 1].

        Returns:
            Scalars: "total", and one for each name.
        """
        part = whole(self._features(pixels))
        return self._losses([one.term.statistics(part) for one in self.terms])

    def __call__(self, pixels: Tensor, tiles: Iterable[Tile] = ()) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of a picture, and the gradient of their total.

        In tiles, it takes the memory of the largest of them: the first pass adds up the statistics, the second
        goes through the network again for the gradient. Both results are the whole picture's, to rounding.

        Args:
            pixels: `[B, 3, H, W]` in [0, 1].
            tiles: which together count every position once; none for the picture as a whole.

        Returns:
            Scalars, "total" and one for each name, without a graph; and the gradient `[B, 3, H, W]`.
        """
        tiles = list(tiles)
        if not tiles:
            pixels = pixels.detach().requires_grad_()
            with torch.enable_grad():
                found = self.losses(pixels)
                (gradient,) = torch.autograd.grad(found["total"], pixels)
            return {name: loss.detach() for name, loss in found.items()}, gradient
        with torch.no_grad():
            parts = (self._statistics(pixels[..., tile.seen[0], tile.seen[1]], tile) for tile in tiles)
            sums = [sum(of_tiles[1:], start=of_tiles[0]) for of_tiles in zip(*parts, strict=True)]
        with torch.enable_grad():
            sums = [one.requires_grad_() for one in sums]
            found = self._losses(sums)
            slopes = torch.autograd.grad(found["total"], sums)
        gradient = torch.zeros_like(pixels)
        for tile in tiles:
            seen = pixels[..., tile.seen[0], tile.seen[1]].detach().requires_grad_()
            with torch.enable_grad():
                statistics = self._statistics(seen, tile)
                (share,) = torch.autograd.grad(statistics, seen, slopes)
            gradient[..., tile.seen[0], tile.seen[1]] += share
        return {name: loss.detach() for name, loss in found.items()}, gradient

    def _statistics(self, seen: Tensor, tile: Tile) -> list[Tensor]:
        features = {layer: tile.cut(layer, found) for layer, found in self._features(seen).items()}
        part = Part(features, tile.counted)
        return [one.term.statistics(part) for one in self.terms]

    def _features(self, pixels: Tensor) -> dict[str, Tensor]:
        needs_network = any(layer != PIXELS for layer in self.layers)
        features = {PIXELS: pixels, **(self.network(pixels) if needs_network else {})}
        return {layer: features[layer] for layer in self.layers}

    def _losses(self, statistics: Sequence[Tensor]) -> dict[str, Tensor]:
        zero = statistics[0].new_zeros(())
        means = dict.fromkeys(self.weights, zero)
        for one, of_term in zip(self.terms, statistics, strict=True):
            means[one.name] = means[one.name] + one.weight / self.weights[one.name] * one.term.loss(of_term)
        return {"total": sum((self.weights[name] * loss for name, loss in means.items()), start=zero), **means}


def _normalised(weights: Mapping[Key, float]) -> dict[Key, float]:
    # By the largest first, since the sum of very large weights is infinite.
    largest = max(weights.values())
    whole = sum(weight / largest for weight in weights.values())
    return {name: weight / largest / whole for name, weight in weights.items()}
