"""Networks written as ONNX files, which programs without torch can run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styletx import files
from styletx._version import __version__
from styletx.colors import LEAST_VARIANCE, Colors
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
from styletx.feedforward.onnx.format import FLOAT, IR, OPSET, PALETTE, RECOLOR, imported

ITERATIONS = 32  # to the root of a matrix whose eigenvalues are a millionth of each other
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
    If the network wants pictures in the painting's colours, it gives them these, unless `recolor` is 0.

    Raises:
        OptionError: onnx is not installed, or networks of this kind cannot be written.
    """
    if not model.network.descriptor.onnx:
        raise OptionError(f"{model.name}: networks of this kind cannot be written as ONNX; use the model file itself")
    helper = imported("onnx").helper
    graph = _Graph()
    painted = graph.transformer(model.network, "pixels")
    graph.add("Identity", painted, output="painted")
    pictures, result = (helper.make_tensor_value_info(name, FLOAT, SHAPE) for name in ("pixels", "painted"))
    wanted = model.network.descriptor.colors
    optional = [helper.make_tensor_value_info(RECOLOR, FLOAT, [1])] if wanted else []
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "styletx", [pictures, *optional], [result], graph.constants),
        producer_name="styletx",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    palette = {} if wanted is None else {PALETTE: torch.cat([wanted.mean[None], wanted.covariance]).tolist()}
    helper.set_model_props(proto, {KEY: json.dumps(model.about | palette)})
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

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, name: str = "") -> str:
        name = name or f"constant_{len(self.constants)}"
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
        given = pixels if network.palette is None else self.moved(pixels, network.descriptor.colors)
        painted = self.paint(network, self.add("Pad", given, around, "", axes, mode="reflect"))
        painted = self.add("Slice", painted, before, self.add("Add", before, size), axes)
        return self.add("Clip", painted, *(self.constant(np.float32(bound)) for bound in (0, 1)))

    def paint(self, network: Any, pixels: str) -> str:
        """As `Transformer.paint`."""
        half, four = self.constant(np.float32(0.5)), self.constant(np.float32(4))
        features = seen = self.add("Mul", self.add("Sub", pixels, half), four)
        stages = []
        for convolution, norm in zip(network.stem, network.stem_norms, strict=True):
            features = self.add("Relu", self.norm(norm, self.convolution(convolution, features)))
            stages.append(features)
        for block in network.blocks:
            change = features
            for index, (convolution, norm) in enumerate(zip(block.convolutions, block.norms, strict=True)):
                change = self.add("Relu", change) if index else change
                change = self.norm(norm, self.convolution(convolution, change))
            features = self.add("Add", change, features) if block.skip else change
        bridges = network.layout.bridges
        for index, convolution in enumerate((*network.head, network.full if bridges else network.last)):
            if index:
                features = self.add("Relu", self.norm(network.head_norms[index - 1], features))
                features = self.add("Concat", features, stages[-1 - index], axis=1) if bridges else features
            features = self.convolution(convolution, features)
        if not bridges:
            return self.add("Add", features, half)
        features = self.add("Relu", self.add("Add", features, self.convolution(network.detail, seen)))
        return self.add("Add", pixels, self.convolution(network.last, features))

    def moved(self, pixels: str, target: Colors) -> str:
        """As `colors.moved` by `colors.move` to a target, each picture by itself, unless the input `RECOLOR` is 0.

        The matrix that moves colours of the covariance S to those of T is T (S T)^-½, to which Higham's iteration
        (2008, "Functions of Matrices", chapter 6) comes by products alone; ONNX has no eigenvalues.
        """
        double, single = self.onnx.TensorProto.DOUBLE, FLOAT
        rows = self.add("Reshape", pixels, self.constant([0, 0, -1]))
        away = self.add("Sub", rows, self.add("ReduceMean", rows, self.constant([2]), keepdims=1))
        count = self.add("Cast", self.add("Shape", rows, start=2, end=3), to=single)
        own = self.add("Div", self.add("MatMul", away, self.add("Transpose", away, perm=[0, 2, 1])), count)
        own = self.add("Cast", self.add("Add", own, self.constant(LEAST_VARIANCE * torch.eye(3))), to=double)
        trace = self.add("ReduceSum", self.add("Mul", own, self.constant(np.eye(3))), self.constant([1, 2]), keepdims=1)
        wanted = float(target.covariance.trace())
        matrix, inverse = self.constant(target.covariance.numpy() / wanted), self.add("Div", own, trace)
        half, three = self.constant(np.float64(0.5)), self.constant(3 * np.eye(3))
        for _ in range(ITERATIONS):
            change = self.add("Mul", self.add("Sub", three, self.add("MatMul", inverse, matrix)), half)
            matrix, inverse = self.add("MatMul", matrix, change), self.add("MatMul", change, inverse)
        grown = self.add("Sqrt", self.add("Div", self.constant(np.float64(wanted)), trace))
        matrix = self.add("Cast", self.add("Mul", matrix, grown), to=single)
        moved = self.add("Add", self.add("MatMul", matrix, away), self.constant(target.mean.reshape(3, 1)))
        moved = self.add("Reshape", moved, self.add("Shape", pixels))
        is_asked = self.add("Cast", self.constant(torch.ones(1), RECOLOR), to=self.onnx.TensorProto.BOOL)
        return self.add("Where", is_asked, moved, pixels)

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
        zeros = [0 if convolution.reflects else weight.shape[-1] // 2] * 4
        features = self.reflected(features, weight) if convolution.reflects else features
        inputs = features, self.constant(weight), self.constant(bias)
        features = self.add("Conv", *inputs, strides=strides, group=group, pads=zeros)
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
