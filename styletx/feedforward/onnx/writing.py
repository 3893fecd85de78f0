"""Networks written as ONNX files, which programs without torch can run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from styletx import files
from styletx._version import __version__
from styletx.errors import OptionError
from styletx.feedforward.models import KEY, Model
from styletx.feedforward.networks.layers import (
    ENLARGING,
    EPSILON,
    THINNING,
    LowpassConvolution,
    ResizeConvolution,
    blur_kernel,
)
from styletx.feedforward.networks.transformer import MARGIN
from styletx.feedforward.onnx.format import FLOAT, IR, OPSET, imported

SHAPE = ["batch", 3, "height", "width"]


def write(path: Path, model: Model) -> None:
    """Write a network as an ONNX file; see `convert`.

    Raises:
        OutputError: it cannot be written there; a file that was there is left as it was.
        OptionError: onnx is not installed, or networks of this kind cannot be written.
    """
    files.write(path, convert(model))


def convert(model: Model) -> bytes:
    """A network as the bytes of an ONNX file.

    It takes `pixels` and gives `painted`, both float32 `[batch, 3, height, width]`, RGB in [0, 1], of any size from
    the network's minimum on. Its metadata `styletx` is what the model file says about it, as JSON.

    Raises:
        OptionError: onnx is not installed, or networks of this kind cannot be written.
    """
    if not model.network.descriptor.onnx:
        raise OptionError(f"{model.name}: networks of this kind cannot be written as ONNX; use the model file itself")
    helper = imported("onnx").helper
    graph = _Graph()
    painted = graph.transformer(model.network, "pixels")
    graph.add("Identity", painted, to="painted")
    ends = [helper.make_tensor_value_info(name, FLOAT, SHAPE) for name in ("pixels", "painted")]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "styletx", ends[:1], ends[1:], graph.constants),
        producer_name="styletx",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    helper.set_model_props(proto, {KEY: json.dumps(model.about)})
    data: bytes = proto.SerializeToString()
    return data


class _Graph:
    """Operators and constants. Each method adds some, and returns the name of their output.

    Written by hand, because torch's exporter took half a minute for these eighty operators and restricted the sizes
    that a network takes to what it could prove about them.
    """

    def __init__(self) -> None:
        self.onnx = imported("onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        output = to or f"{operator}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any) -> str:
        name = f"constant_{len(self.constants)}"
        array = values.detach().cpu().float().numpy() if isinstance(values, Tensor) else np.asarray(values)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def transformer(self, network: Any, pixels: str) -> str:
        """As `Transformer.forward`, clamped."""
        multiple, one = self.constant([network.descriptor.multiple]), self.constant([1])
        size = self.add("Shape", pixels, start=2, end=4)
        rest = self.add("Mod", self.add("Neg", size), multiple)
        least = self.add("ReduceMin", self.add("Sub", self.add("Sub", size, one), rest), keepdims=1)
        least = self.add("Min", least, self.constant([MARGIN]))
        margin = self.add("Mul", self.add("Div", least, multiple), multiple)
        before = self.add("Concat", margin, margin, axis=0)
        around = self.add("Concat", before, self.add("Add", before, rest), axis=0)
        axes = self.constant([2, 3])
        painted = self.paint(network, self.add("Pad", pixels, around, "", axes, mode="reflect"))
        painted = self.add("Slice", painted, before, self.add("Add", before, size), axes)
        return self.add("Clip", painted, *(self.constant(np.float32(bound)) for bound in (0, 1)))

    def paint(self, network: Any, pixels: str) -> str:
        """As `Transformer.paint`."""
        half, four = self.constant(np.float32(0.5)), self.constant(np.float32(4))
        features = self.add("Mul", self.add("Sub", pixels, half), four)
        for convolution, norm in zip(network.stem, network.stem_norms, strict=True):
            features = self.add("Relu", self.norm(norm, self.convolution(convolution, features)))
        for block in network.blocks:
            change = features
            for index, (convolution, norm) in enumerate(zip(block.convolutions, block.norms, strict=True)):
                change = self.add("Relu", change) if index else change
                change = self.norm(norm, self.convolution(convolution, change))
            features = self.add("Add", change, features) if block.skip else change
        for convolution, norm in zip(network.head, network.head_norms, strict=True):
            features = self.add("Relu", self.norm(norm, self.convolution(convolution, features)))
        return self.add("Add", self.convolution(network.last, features), half)

    def norm(self, norm: Any, features: str) -> str:
        """As `instance_norm`."""
        scale, shift = self.constant(norm.weight), self.constant(norm.bias)
        return self.add("InstanceNormalization", features, scale, shift, epsilon=EPSILON)

    def convolution(self, convolution: Any, features: str) -> str:
        """As `Convolution.forward` or `ResizeConvolution.forward`."""
        enlarges = isinstance(convolution, ResizeConvolution)
        weight, bias = convolution.phases() if enlarges else (convolution.weight, convolution.bias)
        if isinstance(convolution, LowpassConvolution):
            features = self.blurred(features, THINNING, convolution.in_channels)
        strides, group = list(convolution.stride), convolution.groups
        inputs = self.reflected(features, weight), self.constant(weight), self.constant(bias)
        features = self.add("Conv", *inputs, strides=strides, group=group)
        if not enlarges:
            return features
        features = self.add("DepthToSpace", features, blocksize=2, mode="CRD")
        return self.blurred(features, ENLARGING, convolution.out_channels) if convolution.lowpass else features

    def blurred(self, features: str, taps: Tensor, channels: int) -> str:
        """As `layers.blurred`."""
        weight = blur_kernel(taps, channels)
        return self.add("Conv", self.reflected(features, weight), self.constant(weight), group=channels)

    def reflected(self, features: str, weight: Tensor) -> str:
        """The features with the margin around them that a weight `[C', C, k, k]` needs to keep their size."""
        margin = weight.shape[-1] // 2
        return (
            self.add("Pad", features, self.constant([0, 0, margin, margin] * 2), mode="reflect") if margin else features
        )
