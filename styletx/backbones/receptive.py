"""Receptive fields: which pixels every position of every layer depends on (Araujo et al. 2019).

The network runs once on tensors that have shapes but no contents, so neither weights nor much time is needed. Each
operation turns what its inputs see into what its output sees; where paths meet, as at the end of a residual block,
the output sees what any of them sees.

Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks", https://doi.org/10.23915/distill.00021
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# Large enough that no layer of any network is smaller than its kernel, where windows shrink and padding changes.
SIDE = 512


class Span(NamedTuple):
    """Along one axis, what the positions of a layer see: position i depends on no pixel but these.

    They are those from `first + i * stride` to `last + i * stride`, both included, as far as they are in the picture.
    Padding adds none: what it reflects or repeats is among them, whatever the picture's size.

    Attributes:
        first: the first pixel that position 0 sees; negative where it lies before the picture.
        last: the last pixel that position 0 sees.
        stride: pixels from one position to the next.
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
        spans: down and across, through windows; None where positions have no place, as after a mean over all of them.
        everything: whether a position also depends on the whole picture, as through a mean, a softmax over positions
            or a fully connected layer. Such a layer cannot be computed in parts.
        positions: how many positions there were when the network was watched, which tells a matrix of them apart.
    """

    spans: tuple[Span, Span] | None
    everything: bool
    positions: int

    @property
    def is_local(self) -> bool:
        """Whether a position depends on its windows alone, so that a part of the layer can be computed by itself."""
        return self.spans is not None and not self.everything

    @property
    def width(self) -> int | None:
        """Side of the square that a position sees through windows, in px; the longer side if it is not a square."""
        return None if self.spans is None else max(span.last - span.first + 1 for span in self.spans)

    @property
    def stride(self) -> int | None:
        """Pixels from one position to the next."""
        return None if self.spans is None else max(span.stride for span in self.spans)


def sights(network: nn.Module, channels: int = 3) -> dict[str, Sight]:
    """What each layer of a network sees.

    Args:
        network: called with pixels `[B, 3, H, W]`, returns layer name to `[B, C, h, w]`; on any device, in any dtype.
        channels: of what it is called with, if that is not a picture.
    """
    pixels = torch.zeros(1, channels, SIDE, SIDE, device="meta")
    with torch.no_grad(), Watcher(pixels) as watcher:
        features = _without_contents(network, pixels)
    return {name: watcher.sight(tensor) for name, tensor in features.items()}


def _without_contents(network: nn.Module, pixels: Tensor) -> Mapping[str, Tensor]:
    shapes = {name: tensor.to("meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    features: Mapping[str, Tensor] = functional_call(network, shapes, (pixels,))
    return features


def sizes(network: nn.Module, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """How many positions (h, w) each layer of a network has for a picture of a size (H, W)."""
    features = _without_contents(network, torch.zeros(1, 3, *size, device="meta"))
    return {name: (tensor.shape[-2], tensor.shape[-1]) for name, tensor in features.items()}


class Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows, while a network runs under it, what every tensor sees of the picture.

    Args:
        pixels: the picture, `[1, 3, H, W]`.
    """

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        start = Span(0, 0, 1)
        # A tensor is kept with what is known of it, so that no other tensor gets its identity.
        self._known = {id(pixels): (pixels, Sight((start, start), False, math.prod(pixels.shape[-2:])))}

    def sight(self, tensor: Tensor) -> Sight:
        """What the positions of a tensor see, if it was computed under this watcher."""
        return self._known[id(tensor)][1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        inputs = [self.sight(one) for one in tensors((*args, *kwargs.values())) if id(one) in self._known]
        if inputs:
            for one in tensors([output]):
                self._known[id(one)] = (one, _after(func, args, inputs, one))
        return output


def tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among values, which may be lists of tensors."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors(value)
    return found


def _after(func: Any, args: Sequence[Any], inputs: list[Sight], output: Tensor) -> Sight:
    """What the output of an operation sees, by what its inputs see."""
    positions = math.prod(output.shape[-2:])
    operation = func.overloadpacket
    if operation in WINDOWS:
        size, stride, padding, dilation = WINDOWS[operation](args)
        return _slide(inputs[0], size, stride, padding, dilation, positions)
    if operation in MARGINS:
        left, _, above, _ = (*args[1], 0, 0, 0, 0)[:4]
        return _slide(inputs[0], (1, 1), (1, 1), (above, left), (1, 1), positions)
    if operation is aten._adaptive_avg_pool2d and args[0].shape[2] % args[1][0] == args[0].shape[3] % args[1][1] == 0:
        size = (args[0].shape[2] // args[1][0], args[0].shape[3] // args[1][1])
        return _slide(inputs[0], size, size, (0, 0), (1, 1), positions)
    # A matrix with a row a position treats each position by itself; one with a row a picture mixes them.
    by_position = operation in MATRIX and any(
        isinstance(one, Tensor) and one.shape[0] == inputs[0].positions > 1 for one in args
    )
    in_place = operation in IN_PLACE or (operation is aten.slice and args[1] == 1)
    if torch.Tag.pointwise in func.tags or in_place or by_position:
        return _meet(inputs)
    if operation is aten._softmax:
        return dataclasses.replace(_meet(inputs), everything=True)
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


def _meet(inputs: list[Sight]) -> Sight:
    positions = max(sight.positions for sight in inputs)
    everything = any(sight.everything for sight in inputs)
    placed = [sight.spans for sight in inputs if sight.spans is not None]
    if not placed:
        return Sight(None, everything, positions)
    if len({(down.stride, across.stride) for down, across in placed}) > 1:
        return Sight(None, True, positions)
    down, across = (
        Span(min(span.first for span in axis), max(span.last for span in axis), axis[0].stride)
        for axis in zip(*placed, strict=True)
    )
    return Sight((down, across), everything, positions)


def _pair(value: Any) -> tuple[int, int]:
    one = [value] if isinstance(value, int) else list(value)
    return one[0], one[-1]


def _convolution(args: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    return _pair(args[1].shape[2:]), _pair(args[3]), _pair(args[4]), _pair(args[5])


def _pool(args: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    size = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else size
    padding = _pair(args[3]) if len(args) > 3 else (0, 0)
    # The fifth argument is a dilation for the maximum, and a flag for the mean.
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
    aten._to_copy,
    aten.clone,
    aten.detach,
    aten.alias,
    aten.unsqueeze,
    aten.hardswish,
    aten.hardswish_,
)
