"""Terms added up: losses and gradient of a picture from one pass through the network, whole or in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from styletx import devices
from styletx.backbones import NEXT
from styletx.losses.terms import PIXELS, Part, Placed, Stage, Term, Tile, whole

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
        stages: the same network in parts, each in tiles, for a call in the memory of a tile; none for the picture as a
            whole.
    """

    def __init__(self, network: nn.Module, terms: Sequence[Weighted], stages: Sequence[Stage] = ()) -> None:
        self.network = network
        weights = _normalised({index: one.weight for index, one in enumerate(terms)})
        self.terms = [one._replace(weight=weights[index]) for index, one in enumerate(terms) if weights[index]]
        self.weights = dict.fromkeys((one.name for one in terms), 0.0)
        for one in self.terms:
            self.weights[one.name] += one.weight
        self.layers = tuple(dict.fromkeys(layer for one in self.terms for layer in one.term.layers))
        seen = [any(layer in self.layers for layer in stage.tiles[0].strides) for stage in stages]
        self.stages = stages[: len(seen) - seen[::-1].index(True)] if any(seen) else ()

    def losses(self, pixels: Tensor) -> dict[str, Tensor]:
        """The losses of whole pictures, with their graph.

        Args:
            pixels: `[B, 3, H, W]` in [0, 1].

        Returns:
            Scalars: "total", and one for each name.
        """
        needs_network = any(layer != PIXELS for layer in self.layers)
        features = {PIXELS: pixels, **(self.network(pixels) if needs_network else {})}
        part = whole({layer: features[layer] for layer in self.layers})
        return self._losses([_values(one.term.statistics(part)) for one in self.terms])

    def __call__(self, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of a picture, and the gradient of their total.

        In stages, a first pass adds up the statistics of all tiles and keeps what each stage gives to the next; a
        second goes back through the stages, tile by tile, for the gradient. Both results are the whole picture's, to
        rounding.

        Args:
            pixels: `[B, 3, H, W]` in [0, 1].

        Returns:
            Scalars, "total" and one for each name, without a graph; and the gradient `[B, 3, H, W]`.
        """
        if not self.stages:
            pixels = pixels.detach().requires_grad_()
            with torch.enable_grad():
                found = self.losses(pixels)
                (gradient,) = torch.autograd.grad(found["total"], pixels)
        else:
            inputs, sums = self._forward(pixels)
            with torch.enable_grad():
                sums = [one.requires_grad_() for one in sums]
                found = self._losses(sums)
                slopes = torch.autograd.grad(found["total"], sums)
            gradient = self._backward(inputs, slopes)
        return {name: loss.detach() for name, loss in found.items()}, gradient

    def _forward(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What each stage takes, and each term's statistics of the whole picture."""
        inputs, sums = list[Tensor](), dict[int, Tensor]()
        for part in parts(self.stages, pixels, self.layers, inputs):
            for index, statistics in self._statistics(part):
                _add(sums, index, statistics)
        return inputs, [sums[index] for index in range(len(self.terms))]

    def _backward(self, inputs: list[Tensor], slopes: Sequence[Tensor]) -> Tensor:
        """The gradient of pixels, from those of the statistics; forgets what each stage takes as soon as it can."""
        gradient: Tensor | None = None
        for stage in reversed(self.stages):
            given = inputs.pop()
            found = torch.zeros_like(given)
            for tile in stage.tiles:
                seen = given[..., tile.seen[0], tile.seen[1]].detach().requires_grad_()
                with torch.enable_grad():
                    features = _features(stage, tile, seen, self.layers)
                    statistics = list(self._statistics(Part(features, tile.counted, is_known=True)))
                    ends = [_values(one) for _, one in statistics]
                    pulls = [_at(slopes[index], one) for index, one in statistics]
                    if gradient is not None:
                        ends.append(features[NEXT])
                        pulls.append(gradient[..., tile.counted[NEXT][0], tile.counted[NEXT][1]])
                    (share,) = torch.autograd.grad(ends, seen, pulls)
                found[..., tile.seen[0], tile.seen[1]] += share
            gradient = found
            devices.release_memory()
        assert gradient is not None
        return gradient

    def _statistics(self, part: Part) -> Iterator[tuple[int, Tensor | Placed]]:
        """Those of the terms that look at any layer of a part, with their numbers."""
        for index, one in enumerate(self.terms):
            if any(layer in part.features for layer in one.term.layers):
                yield index, one.term.statistics(part)

    def _losses(self, statistics: Sequence[Tensor]) -> dict[str, Tensor]:
        zero = statistics[0].new_zeros(())
        means = dict.fromkeys(self.weights, zero)
        for one, of_term in zip(self.terms, statistics, strict=True):
            means[one.name] = means[one.name] + one.weight / self.weights[one.name] * one.term.loss(of_term)
        return {"total": sum((self.weights[name] * loss for name, loss in means.items()), start=zero), **means}


@torch.no_grad()
def parts(
    stages: Sequence[Stage], pixels: Tensor, layers: Sequence[str], inputs: list[Tensor] | None = None
) -> Iterator[Part]:
    """A picture's tiles, of one stage after another.

    Args:
        stages: of a network.
        pixels: the picture, `[B, 3, H, W]`.
        layers: that are wanted.
        inputs: gets what each stage takes.
    """
    given = pixels.detach()
    for stage in stages:
        if inputs is not None:
            inputs.append(given)
        after: Tensor | None = None
        for tile in stage.tiles:
            features = _features(stage, tile, given[..., tile.seen[0], tile.seen[1]], layers)
            if stage.size is not None:
                here = features[NEXT]
                after = _room(here, stage.size) if after is None else after
                after[..., tile.counted[NEXT][0], tile.counted[NEXT][1]] = here
            yield Part(features, tile.counted)
        if after is not None:
            given = after


def assembled(parts: Iterable[Part], layers: Sequence[str]) -> dict[str, Tensor]:
    """Whole layers of a picture, from its parts."""
    found: dict[str, dict[int, list[Tensor]]] = {layer: {} for layer in layers}
    for part in parts:
        for layer in layers:
            if layer in part.features:
                found[layer].setdefault(part.places[layer][0].start, []).append(part.features[layer])
    return {layer: torch.cat([torch.cat(row, 3) for row in rows.values()], 2) for layer, rows in found.items()}


def _features(stage: Stage, tile: Tile, seen: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The counted positions of some layers, and of what the next stage takes."""
    found = {PIXELS: seen} | stage.network(seen) if PIXELS in tile.strides else stage.network(seen)
    return {layer: tile.cut(layer, found[layer]) for layer in (*layers, NEXT) if layer in found}


def _values(statistics: Tensor | Placed) -> Tensor:
    return statistics.values if isinstance(statistics, Placed) else statistics


def _at(whole: Tensor, part: Tensor | Placed) -> Tensor:
    """What belongs to a part's statistics of what belongs to the whole picture's."""
    return whole[..., part.rows, part.columns] if isinstance(part, Placed) else whole


def _add(sums: dict[int, Tensor], index: int, part: Tensor | Placed) -> None:
    if index not in sums:
        shape = (*part.values.shape[:-2], *part.size) if isinstance(part, Placed) else part.shape
        sums[index] = _values(part).new_zeros(shape)
    _at(sums[index], part).add_(_values(part))


def _room(like: Tensor, size: tuple[int, int]) -> Tensor:
    shape = (*like.shape[:2], *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _normalised(weights: Mapping[Key, float]) -> dict[Key, float]:
    # By the largest first, since the sum of very large weights is infinite.
    largest = max(weights.values())
    whole = sum(weight / largest for weight in weights.values())
    return {name: weight / largest / whole for name, weight in weights.items()}
