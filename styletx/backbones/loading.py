"""From a network's name, layers and weights to a module that returns the layers' activations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from styletx.backbones import receptive, registry
from styletx.backbones.downloads import Progress
from styletx.backbones.places import RANDOM, find, locate
from styletx.backbones.receptive import Sight
from styletx.backbones.registry import Architecture
from styletx.backbones.smoothing import Smoothed
from styletx.backbones.weights import Source, Weights, reached
from styletx.errors import OptionError, WeightsError, field, hint
from styletx.files import shown
from styletx.notes import Note, Notes
from styletx.options import Options, specs

FULL, BUNDLED = "vgg19", "compact"  # what "auto" chooses between


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that was loaded.

    Attributes:
        architecture: its entry in the registry.
        module: called with `[B, 3, H, W]` in [0, 1], returns layer name to `[B, C, h, w]`; in eval mode,
            frozen, float32, on the CPU.
        source: where its weights came from.
        style_layers: layers that carry style, each with its share of the loss; only the proportions matter.
        content_layers: layers that carry content, likewise.
        matching_layers: layers that tell what belongs where; none unless asked for.
        layers: all layers that the module returns.
        reached: all layers that the weights would serve.
        notes: what a person should know about the network and its weights.
    """

    architecture: Architecture
    module: nn.Module
    source: Source
    style_layers: dict[str, float]
    content_layers: dict[str, float]
    matching_layers: tuple[str, ...]
    layers: tuple[str, ...]
    reached: tuple[str, ...]
    notes: Notes = ()

    @cached_property
    def sights(self) -> Mapping[str, Sight]:
        """The receptive field of each layer that the module returns."""
        return receptive.sights(self.module)


def load(
    name: str = "auto",
    layers: Sequence[str] | None = None,
    *,
    style_layers: Mapping[str, float] | None = None,
    content_layers: Mapping[str, float] | None = None,
    matching: bool = False,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    pooling: str = "max",
    padding: str = "reflect",
    smooth: bool = False,
    offline: bool | None = None,
    download: Progress | None = None,
) -> Backbone:
    """Find a network's weights and build it as deep as the deepest layer that is asked for.

    Without any layers, the module returns the network's own style and content layers.

    Args:
        name: of the network, or "auto" (see `architecture`).
        layers: layers to return whatever they carry. With them, no layer carries style or content unless it is given
            below.
        style_layers: layers that carry style, each with its share; None is the network's own, as far as the weights
            reach, or none at all if `layers` are given.
        content_layers: layers that carry content, likewise.
        matching: also return the layers that tell what belongs where.
        weights: a file of weights to use instead of the cache or a download, or "random".
        seed: of random weights.
        pooling: "max" or "average".
        padding: "reflect" or "zeros".
        smooth: return smoothed activations, see `Smoothed`.
        offline: never use the internet; None takes it from `STYLETX_OFFLINE`.
        download: called with bytes done and bytes in all during a download.

    Raises:
        OptionError: no such network, layer, pooling or padding; this is checked before any weights are looked for.
        WeightsError: no weights, unusable weights, or weights that do not reach the layers that were given.
        OutputError: the cache cannot be written to.
    """
    chosen = architecture(name, weights)
    given = (*(layers or ()), *(style_layers or ()), *(content_layers or ()))
    check(chosen, given, pooling, padding)
    found = find(chosen, file=weights, seed=seed, offline=offline, download=download)
    served = reached(chosen, found.state)
    if missing := [layer for layer in given if layer not in served]:
        raise WeightsError(
            f"{shown(found.path)} does not reach {', '.join(missing)}; choose among {', '.join(served)}, or give "
            f"complete weights of {chosen.name} as {field('weights')}"
        )
    notes = [*_weights_notes(name, chosen, found, seed)]
    if style_layers is None and layers is None:
        own = {layer: chosen.style_weights.get(layer, 1.0) for layer in chosen.style_layers}
        style_layers = _within(own, served)
        notes += _cut_notes("style", style_layers, own, served)
    if content_layers is None and layers is None:
        own = dict.fromkeys(chosen.content_layers, 1.0)
        content_layers = _within(own, served)
        notes += _cut_notes("content", content_layers, own, served)
    style, content = dict(style_layers or {}), dict(content_layers or {})
    matched = tuple(layer for layer in chosen.matching_layers if matching and layer in served)
    returned = tuple(dict.fromkeys((*(layers or ()), *style, *content, *matched)))
    module = build(chosen, found, returned, pooling=pooling, padding=padding, smooth=smooth)
    source = Source(found.path, found.origin, found.sha256)
    return Backbone(chosen, module, source, style, content, matched, returned, served, tuple(notes))


def architecture(name: str = "auto", weights: str | os.PathLike[str] | None = None) -> Architecture:
    """The network of that name; "auto" is VGG-19 if weights are given or its own are in the cache, else compact.

    Raises:
        OptionError: no network has that name; the message suggests the nearest.
    """
    if name != "auto":
        return registry.architecture(name)
    full = registry.architecture(FULL)
    return full if weights is not None or locate(full) else registry.architecture(BUNDLED)


def check(architecture: Architecture, layers: Iterable[str], pooling: str = "max", padding: str = "reflect") -> None:
    """Find out whether these names are known, without looking for any weights.

    Raises:
        OptionError: one is not; the message suggests the nearest.
    """
    options = specs(Options)
    for layer in layers:
        _check_known(f"layer of {architecture.name}", layer, architecture.layers)
    _check_known("pooling", pooling, options["pooling"].choices or ())
    _check_known("padding", padding, options["padding"].choices or ())


def _check_known(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise OptionError(f"no {kind} is called {name!r}; {hint(name, known)}")


def build(
    architecture: Architecture,
    weights: Weights,
    layers: Sequence[str],
    *,
    pooling: str = "max",
    padding: str = "reflect",
    smooth: bool = False,
) -> nn.Module:
    """Build a network from weights that reach all of `layers`, as deep as the deepest of them; see `Backbone.module`.

    Arguments are those of `load`.
    """
    module = architecture.build(layers, pooling=pooling, padding=padding)
    module.load_state_dict({name: weights.state[name] for name in module.state_dict()}, assign=True)
    if smooth:
        module = Smoothed(module)
    return module.eval().requires_grad_(False)


def _weights_notes(name: str, architecture: Architecture, weights: Weights, seed: int) -> Iterator[Note]:
    if weights.origin == RANDOM:
        yield Note(
            f"THE WEIGHTS ARE RANDOM: {architecture.name} (seed {seed}) has learnt nothing, so what it sees shows its "
            f"architecture alone. Remove {field('weights')} to use a trained network."
        )
    if name == "auto" and architecture.name != FULL:
        yield Note(
            f"Using the bundled {architecture.name} network. For the full VGG-19 (575 MB): "
            f"styletx weights fetch {FULL}",
            once=f"{architecture.name}-for-{FULL}",
        )


def _within(own: Mapping[str, float], reached: tuple[str, ...]) -> dict[str, float]:
    """The layers that the weights reach, or the deepest that they reach if that is none of them."""
    return {layer: share for layer, share in own.items() if layer in reached} or {reached[-1]: 1.0}


def _cut_notes(kind: str, layers: Mapping[str, float], own: Iterable[str], reached: tuple[str, ...]) -> Iterator[Note]:
    if tuple(layers) != tuple(own):
        yield Note(
            f"The weights reach no deeper than {reached[-1]}, so {kind} is taken from {', '.join(layers)} instead of "
            f"{', '.join(own)}."
        )
