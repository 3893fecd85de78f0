"""Networks as ONNX files, which programs without torch can run: written, read again, and run by ONNX Runtime."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styletx import files
from styletx._version import __version__
from styletx.errors import OptionError, WeightsError
from styletx.feedforward.files import KEY, Model
from styletx.feedforward.network import EPSILON, MARGIN, ResizeConvolution, Transformer

OPSET, IR = 18, 8  # of ONNX 1.13, from 2022
FLOAT = 1  # ONNX's number for float32
SHAPE = ["batch", 3, "height", "width"]
LARGEST = 2**29  # bytes of a file that is read


def convert(model: Model) -> bytes:
    """A network as the bytes of an ONNX file.

    It takes `pixels` and gives `painted`, both float32 `[batch, 3, height, width]`, RGB in [0, 1], of any size from
    16 px a side on, and what the model file says of it is its metadata `styletx`, as JSON.

    Raises:
        OptionError: onnx is not installed.
    """
    helper = _import("onnx").helper
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
    """Operators and constants, to which each method adds and returns the name of what comes out.

    Written by hand, because torch's exporter took half a minute for these eighty operators and tied the sizes that a
    network takes to what it could prove of them.
    """

    def __init__(self) -> None:
        self.onnx = _import("onnx")
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

    def transformer(self, network: Transformer, pixels: str) -> str:
        """As `Transformer.forward`, clamped."""
        multiple, one = self.constant([network.layout.multiple]), self.constant([1])
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
        margin = convolution.kernel_size[0] // 2
        if margin:
            around = self.constant([0, 0, margin, margin] * 2)
            features = self.add("Pad", features, around, mode="reflect")
        strides, group = list(convolution.stride), convolution.groups
        inputs = features, self.constant(weight), self.constant(bias)
        features = self.add("Conv", *inputs, strides=strides, group=group)
        return self.add("DepthToSpace", features, blocksize=2, mode="CRD") if enlarges else features


class ExportedNetwork:
    """A network in an ONNX file, called like a `Transformer`; it runs in ONNX Runtime.

    A file may only calculate: one that refers to other files, brings functions or loops of its own, or asks for
    operators beyond ONNX's is refused.

    Args:
        data: the file's bytes.
        name: what messages call it.
        device: where to run; cuda needs the package onnxruntime-gpu.

    Attributes:
        name: as given.
        about: what the model file said that it was made from; empty for a file that styletx did not write.

    Raises:
        WeightsError: it is no such network.
        OptionError: onnx or onnxruntime is not installed, or cannot use the device.
    """

    def __init__(self, data: bytes, name: str, device: torch.device | None = None) -> None:
        self.name = name
        runtime = _import("onnxruntime")
        proto = _checked(data, name)
        self.about = _about(proto)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # an error is raised as well
        provider = "CUDAExecutionProvider" if device and device.type == "cuda" else "CPUExecutionProvider"
        if provider not in runtime.get_available_providers():
            raise OptionError(f"ONNX Runtime here cannot use {device}; install onnxruntime-gpu, or give --device cpu.")
        try:
            # What was checked is what runs, not the file.
            self.session = runtime.InferenceSession(proto.SerializeToString(), options, providers=[provider])
        except Exception as error:
            raise _unfit(name, _line(error)) from error

    def __call__(self, pixels: Tensor) -> Tensor:
        """Repaint `[B, 3, H, W]`, float32 RGB in [0, 1]; the result is the same and on the CPU.

        Raises:
            WeightsError: the network fails on it, or makes something else of it than a picture of its size.
            MemoryError: it does not fit into memory.
        """
        values = pixels.float().contiguous().cpu().numpy()
        try:
            (painted,) = self.session.run(None, {self.session.get_inputs()[0].name: values})
        except Exception as error:
            if "alloc" in str(error).lower():
                raise MemoryError(_line(error)) from error
            raise _unfit(self.name, _line(error)) from error
        result = torch.from_numpy(painted)
        if result.shape != pixels.shape:
            raise _unfit(self.name, f"it makes {list(result.shape)} of {list(pixels.shape)}")
        return result


def read(path: str | os.PathLike[str], device: torch.device | None = None) -> ExportedNetwork:
    """Read an ONNX file; nothing in it is executed but ONNX's own operators.

    Raises:
        WeightsError: there is none, or it is no network that repaints pictures.
        OptionError: onnx or onnxruntime is not installed, or cannot use the device.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise WeightsError(f"{path}: is too large for a style; give a file of at most {LARGEST >> 20} MiB.")
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"{path}: cannot be read ({reason}); give a file written by styletx export.") from error
    return ExportedNetwork(data, str(path), device)


def write(path: Path, model: Model) -> None:
    """Write a network as an ONNX file; see `convert`.

    Raises:
        OutputError: it cannot be written there; what was there stays.
        OptionError: onnx is not installed.
    """
    files.write(path, convert(model))


def _checked(data: bytes, name: str) -> Any:
    onnx = _import("onnx")
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:
        raise _unfit(name, "it is damaged or something else") from error
    graph = proto.graph
    if len(graph.input) != 1 or len(graph.output) != 1 or not all(map(_is_pictures, (*graph.input, *graph.output))):
        raise _unfit(name, "it does not take and give pictures, float32 [batch, 3, height, width]")
    if proto.functions or any(domain.domain not in ("", "ai.onnx") for domain in proto.opset_import):
        raise _unfit(name, "it needs operators that are not ONNX's own")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise _unfit(name, "it needs operators that are not ONNX's own")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise _unfit(name, "it has loops or branches")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise _unfit(name, "it refers to another file")
    return proto


def _is_pictures(value: Any) -> bool:
    kind = value.type.tensor_type
    return kind.elem_type == FLOAT and len(kind.shape.dim) == 4 and kind.shape.dim[1].dim_value == 3


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _about(proto: Any) -> dict[str, Any]:
    try:
        return dict(json.loads({entry.key: entry.value for entry in proto.metadata_props}[KEY]))
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _unfit(name: str, reason: str) -> WeightsError:
    return WeightsError(f"{name}: is no style that ONNX Runtime can run ({reason}); give a file by styletx export.")


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise OptionError(f"ONNX needs {package}, which is not installed; run: pip install 'styletx[onnx]'") from None
