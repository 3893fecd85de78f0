"""The networks that see: from a name, layers and trained weights to a module that returns their activations.

`load` does it all; `choose`, `find`, `reached` and `build` are its steps, for a caller that wants to know
what the weights reach before it settles on layers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from styletx.backbones import classifiers
from styletx.backbones.registry import ARCHITECTURES, Architecture, architecture
from styletx.backbones.smoothing import Smoothed
from styletx.backbones.weights import Progress, Source, Weights, fetch, find, listing, locate, reached
from styletx.errors import OptionError, WeightsError, hint

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Backbone",
    "Progress",
    "Smoothed",
    "Source",
    "Weights",
    "architecture",
    "build",
    "check",
    "choose",
    "classifier_names",
    "fetch",
    "find",
    "listing",
    "load",
    "locate",
    "reached",
    "within",
]

POOLINGS = ("max", "average")
PADDINGS = ("reflect", "zeros")
classifier_names = classifiers.names


@dataclass(frozen=True)
class Backbone:
    """A network that was loaded.

    Attributes:
        architecture: its entry in the registry.
        module: called with `[B, 3, H, W]` in [0, 1], returns layer name to `[B, C, h, w]`; in eval mode,
            frozen, float32, on the CPU.
        source: where its weights came from.
        layers: what the module returns.
        reached: all layers that the weights would serve.
    """

    architecture: Architecture
    module: nn.Module
    source: Source
    layers: tuple[str, ...]
    reached: tuple[str, ...]


def load(
    name: str = "vgg19",
    layers: Sequence[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    pooling: str = "max",
    padding: str = "reflect",
    smooth: bool = False,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Backbone:
    """Find a network's weights and build it as deep as the deepest of `layers`.

    Args:
        name: of the network, or "auto" (see `choose`).
        layers: what to return; None is the network's style and content layers, as far as the weights reach.
        weights: a file of weights to use instead of the cache or a download, or "random".
        seed: of random weights.
        pooling: "max" or "average".
        padding: "reflect" or "zeros".
        smooth: return smoothed activations, see `Smoothed`.
        offline: never touch the network; None takes it from `STYLETX_OFFLINE`.
        progress: called during a download.

    Raises:
        OptionError: no such network, layer, pooling or padding.
        WeightsError: no weights, unusable weights, or weights that do not reach the layers.
        OutputError: the cache cannot be written to.
    """
    chosen = choose(name, weights)
    check(chosen, layers, pooling, padding)
    found = find(chosen, file=weights, seed=seed, offline=offline, progress=progress)
    return build(chosen, found, layers, pooling=pooling, padding=padding, smooth=smooth)


def choose(name: str, weights: str | os.PathLike[str] | None = None) -> Architecture:
    """The network of that name; "auto" is vgg19 if its weights are given or in the cache, else compact.

    Raises:
        OptionError: there is none of that name.
    """
    if name != "auto":
        return architecture(name)
    full = architecture("vgg19")
    return full if weights is not None or locate(full) else architecture("compact")


def build(
    architecture: Architecture,
    weights: Weights,
    layers: Sequence[str] | None = None,
    *,
    pooling: str = "max",
    padding: str = "reflect",
    smooth: bool = False,
) -> Backbone:
    """Build a network from weights that were found, as deep as the deepest of `layers`.

    Arguments and errors are those of `load`.
    """
    check(architecture, layers, pooling, padding)
    served = reached(architecture, weights.state)
    wanted = tuple(
        dict.fromkeys((*architecture.style_layers, *architecture.content_layers) if layers is None else layers)
    )
    if layers is None:
        wanted = tuple(layer for layer in wanted if layer in served) or wanted
    if missing := [layer for layer in wanted if layer not in served]:
        raise WeightsError(
            f"{weights.path}: does not reach {', '.join(missing)}; choose among the layers it reaches, "
            f"{', '.join(served) or 'none'}, or give the whole of {architecture.name}."
        )
    module = architecture.build(wanted, pooling=pooling, padding=padding)
    module.load_state_dict({name: weights.state[name] for name in module.state_dict()}, assign=True)
    if smooth:
        module = Smoothed(module)
    module.eval().requires_grad_(False)
    return Backbone(architecture, module, Source(weights.path, weights.origin, weights.sha256), wanted, served)


def within(layers: tuple[str, ...], reached: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `layers` that weights reach, or the deepest layer that they reach if that is none of them."""
    return tuple(layer for layer in layers if layer in reached) or reached[-1:]


def check(architecture: Architecture, layers: Sequence[str] | None, pooling: str, padding: str) -> None:
    """Find out before any weights are looked for whether these names are known.

    Raises:
        OptionError: one is not; the message offers the nearest.
    """
    for layer in layers or ():
        _check_known(f"layer of {architecture.name}", layer, architecture.layers)
    _check_known("pooling", pooling, POOLINGS)
    _check_known("padding", padding, PADDINGS)


def _check_known(kind: str, name: str, known: Iterable[str]) -> None:
    known = tuple(known)
    if name in known:
        return
    raise OptionError(f"no {kind} is called {name!r}; {hint(name, known)}")
