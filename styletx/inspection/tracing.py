"""Counting while a network runs: parameters, multiply-adds, and what each of its parts sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from styletx.backbones.receptive import Sight, Watcher, tensors

REST = "classifier"


@dataclass(frozen=True)
class Part:
    """The output of one part of a network.

    Attributes:
        shape: its shape.
        sight: what its positions see.
        time: how many operations had run when it was computed.
    """

    shape: tuple[int, ...]
    sight: Sight
    time: int


@dataclass(frozen=True)
class Trace:
    """A network's run.

    Attributes:
        parts: what was asked for, by name, in the order of computation.
        parameters: for each operation, how many parameters it was the first to use.
        macs: multiply-adds of each operation.
    """

    parts: dict[str, Part]
    parameters: list[int]
    macs: list[int]


def trace(module: nn.Module, parts: Mapping[str, str], size: tuple[int, int]) -> Trace:
    """Run a network on a picture without contents.

    Args:
        module: takes `[1, 3, H, W]`; on the meta device.
        parts: name to the module whose output it stands for; what comes after the last of them is `REST`. A network
            that returns its layers as a mapping, as a backbone does, needs none.
        size: (H, W) of the picture in px.
    """
    pixels = torch.zeros(1, 3, *size, device="meta")
    watcher, counter = Watcher(pixels), _Counter(module.parameters())
    found: dict[str, Part] = {}

    def part(output: Tensor) -> Part:
        return Part(tuple(output.shape), watcher.sight(output), counter.time(output))

    def remember(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            found[name] = part(output)

        return hook

    hooks = [module.get_submodule(path).register_forward_hook(remember(name)) for name, path in parts.items()]
    try:
        with torch.no_grad(), watcher, counter:
            output = module(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    if not parts:
        found = {name: part(features) for name, features in output.items()}
    elif counter.time(output) > max(one.time for one in found.values()):
        found[REST] = part(output)
    ordered = dict(sorted(found.items(), key=lambda item: item[1].time))
    return Trace(ordered, counter.parameters, counter.macs)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unused = {id(parameter): parameter for parameter in parameters}
        # A tensor is kept with its time, so that no other tensor gets its identity.
        self._times: dict[int, tuple[Tensor, int]] = {}
        self.parameters: list[int] = []
        self.macs: list[int] = []

    def time(self, tensor: Tensor) -> int:
        """How many operations had run when a tensor was computed."""
        return self._times[id(tensor)][1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        used = {id(one) for one in tensors((*args, *kwargs.values()))} & self._unused.keys()
        self.parameters.append(sum(self._unused.pop(identity).numel() for identity in used))
        count = flop_registry.get(func.overloadpacket)
        # The registry counts a multiplication and an addition apart.
        self.macs.append(count(*args, **kwargs, out_val=output) // 2 if count else 0)
        for one in tensors([output]):
            self._times[id(one)] = (one, len(self.macs))
        return output
