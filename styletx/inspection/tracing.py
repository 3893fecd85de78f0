"""What every position of every layer can see of the picture, found by watching a network run.

The network runs once on tensors that have shapes but no contents, so it needs no weights and hardly any time. Each
operation turns what its inputs see into what its output sees; where paths meet, as at the end of a residual block,
the output sees what any of them sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
REST = "classifier"


class Span(NamedTuple):
    """Along one axis, the pixels that position 0 sees; the next position sees those `stride` further on.

    Attributes:
        first: the first pixel; negative where it lies before the picture.
        last: the last pixel.
        stride: in px.
    """

    first: int
    last: int
    stride: int

    def window(self, size: int, stride: int, padding: int, dilation: int) -> Span:
        """What a window sees that slides over positions which see this."""
        reach = dilation * (size - 1) - padding
        return Span(self.first - padding * self.stride, self.last + reach * self.stride, self.stride * stride)


@dataclass(frozen=True)
class Sight:
    """What a position of a layer sees.

    Attributes:
        spans: down and across, through windows; None if it has no place, as after a mean over all of them.
        everything: whether it also depends on the whole picture, through a mean or a fully connected layer.
        positions: how many there are, to know a matrix of them by.
    """

    spans: tuple[Span, Span] | None
    everything: bool
    positions: int

    @property
    def width(self) -> int | None:
        """Side of what it sees through windows, in px; the longer one."""
        return None if self.spans is None else max(span.last - span.first + 1 for span in self.spans)

    @property
    def stride(self) -> int | None:
        """Pixels from one position to the next."""
        return None if self.spans is None else max(span.stride for span in self.spans)


@dataclass(frozen=True)
class Seen:
    """A tensor that was watched.

    Attributes:
        shape: its shape.
        sight: what its positions see.
        time: how many operations were done by then.
    """

    shape: tuple[int, ...]
    sight: Sight
    time: int


@dataclass(frozen=True)
class Trace:
    """A network's run.

    Attributes:
        seen: what was asked for, by name, in the order in which it came about.
        parameters: that each operation was the first to use.
        macs: multiply-adds of each operation.
    """

    seen: dict[str, Seen]
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
    watcher = _Watcher(pixels, module.parameters())
    seen: dict[str, Seen] = {}

    def remember(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            seen[name] = watcher.seen(output)

        return hook

    hooks = [module.get_submodule(path).register_forward_hook(remember(name)) for name, path in parts.items()]
    try:
        with torch.no_grad(), watcher:
            output = module(pixels)
            if not parts:
                seen = {name: watcher.seen(features) for name, features in output.items()}
            elif watcher.seen(output).time > max(one.time for one in seen.values()):
                seen[REST] = watcher.seen(output)
    finally:
        for hook in hooks:
            hook.remove()
    ordered = dict(sorted(seen.items(), key=lambda item: item[1].time))
    return Trace(ordered, watcher.parameters, watcher.macs)


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, pixels: Tensor, parameters: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        start = Span(0, 0, 1)
        # A tensor is kept with what is known of it, so that no other gets its identity.
        self.known = {id(pixels): (pixels, Sight((start, start), False, pixels.shape[-1] * pixels.shape[-2]), 0)}
        self.unused = {id(parameter): parameter for parameter in parameters}
        self.parameters: list[int] = []
        self.macs: list[int] = []

    def seen(self, tensor: Tensor) -> Seen:
        _, sight, time = self.known[id(tensor)]
        return Seen(tuple(tensor.shape), sight, time)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        inputs = _tensors((*args, *kwargs.values()))
        used = {id(one) for one in inputs} & self.unused.keys()
        self.parameters.append(sum(self.unused.pop(identity).numel() for identity in used))
        count = flop_registry.get(func.overloadpacket)
        # It counts a multiplication and an addition apart.
        self.macs.append(count(*args, **kwargs, out_val=output) // 2 if count else 0)
        sights = [self.known[id(one)][1] for one in inputs if id(one) in self.known]
        if sights:
            for one in _tensors([output]):
                self.known[id(one)] = (one, _sight(func, args, sights, one), len(self.macs))
        return output


def _sight(func: Any, args: Sequence[Any], sights: list[Sight], output: Tensor) -> Sight:
    positions = math.prod(output.shape[-2:])
    operation = func.overloadpacket
    if operation in WINDOWS:
        size, stride, padding, dilation = WINDOWS[operation](args)
        return _slide(sights[0], size, stride, padding, dilation, positions)
    if operation in MARGINS:
        left, _, above, _ = (*args[1], 0, 0, 0, 0)[:4]
        return _slide(sights[0], (1, 1), (1, 1), (above, left), (1, 1), positions)
    if operation is aten._adaptive_avg_pool2d and args[0].shape[2] % args[1][0] == args[0].shape[3] % args[1][1] == 0:
        size = (args[0].shape[2] // args[1][0], args[0].shape[3] // args[1][1])
        return _slide(sights[0], size, size, (0, 0), (1, 1), positions)
    # A matrix with a row a position treats each by itself; one with a row a picture mixes them.
    by_position = operation in MATRIX and any(
        isinstance(one, Tensor) and one.shape[0] == sights[0].positions > 1 for one in args
    )
    in_place = operation in IN_PLACE or (operation is aten.slice and args[1] == 1)
    if torch.Tag.pointwise in func.tags or in_place or by_position:
        return _meet(sights)
    return Sight(None, True, 1)


def _slide(
    sight: Sight,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    positions: int,
) -> Sight:
    if sight.spans is None:
        return Sight(None, sight.everything, positions)
    down, across = (
        span.window(*window) for span, *window in zip(sight.spans, size, stride, padding, dilation, strict=True)
    )
    return Sight((down, across), sight.everything, positions)


def _meet(sights: list[Sight]) -> Sight:
    positions = max(sight.positions for sight in sights)
    everything = any(sight.everything for sight in sights)
    placed = [sight.spans for sight in sights if sight.spans is not None]
    if not placed:
        return Sight(None, everything, positions)
    if len({(down.stride, across.stride) for down, across in placed}) > 1:
        return Sight(None, True, positions)
    down, across = (
        Span(min(span.first for span in axis), max(span.last for span in axis), axis[0].stride)
        for axis in zip(*placed, strict=True)
    )
    return Sight((down, across), everything, positions)


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def _pair(value: Any) -> tuple[int, int]:
    one = [value] if isinstance(value, int) else list(value)
    return one[0], one[-1]


def _convolution(args: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    return _pair(args[1].shape[2:]), _pair(args[3]), _pair(args[4]), _pair(args[5])


def _pool(args: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    size = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else size
    padding = _pair(args[3]) if len(args) > 3 else (0, 0)
    # What comes fifth is a dilation for the largest, and a flag for the mean.
    dilation = _pair(args[4]) if len(args) > 4 and not isinstance(args[4], bool) else (1, 1)
    return size, stride, padding, dilation


WINDOWS = {aten.convolution: _convolution, aten.max_pool2d_with_indices: _pool, aten.avg_pool2d: _pool}
MARGINS = (aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d)
MATRIX = (aten.mm, aten.addmm)
# What leaves every activation where it is in the picture, though it is not marked as pointwise.
IN_PLACE = (
    aten.native_batch_norm,
    aten._native_batch_norm_legit_no_training,
    aten.cudnn_batch_norm,
    aten._batch_norm_no_update,
    aten.native_layer_norm,
    aten.cat,
    aten.split,
    aten.split_with_sizes,
    aten.view,
    aten._unsafe_view,
    aten.permute,
    aten.transpose,
    aten.clone,
    aten.detach,
    aten.alias,
    aten.unsqueeze,
)
