"""Networks that repaint a picture in one pass; a new one is an entry in `NETWORKS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from styletx.feedforward.networks.descriptor import Descriptor, Network, Repainter
from styletx.feedforward.networks.transformer import JOHNSON, Layout, Transformer

__all__ = ["JOHNSON", "NETWORKS", "Descriptor", "Layout", "Network", "Repainter", "Transformer", "build"]

# The name in model files, and what makes a network from the layout in the file's header.
NETWORKS: dict[str, Callable[[Mapping[str, Any]], Network]] = {
    "transformer": lambda layout: Transformer(Layout(**layout)),
}


def build(name: str, layout: Mapping[str, Any]) -> Network:
    """A network with random weights, from its kind's name and its layout.

    Raises:
        KeyError: no kind has that name.
        TypeError: the layout has an unknown field.
        OptionError: the layout cannot be built.
    """
    return NETWORKS[name](layout)
