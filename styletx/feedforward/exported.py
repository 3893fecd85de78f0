"""Networks as ONNX files, which programs without torch can run: written, read again, and run by ONNX Runtime."""

from __future__ import annotations

import importlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from styletx import images
from styletx.errors import OptionError, WeightsError
from styletx.feedforward.files import KEY, Model
from styletx.feedforward.network import Transformer

OPSET = 18  # of ONNX 1.13, from 2022
LARGEST = 2**29  # bytes of a file that is read


class _Clamped(nn.Module):
    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        painted: Tensor = self.network(pixels)
        return painted.clamp(0, 1)


def convert(model: Model) -> bytes:
    """A network as the bytes of an ONNX file.

    It takes `pixels` and gives `painted`, both float32 `[batch, 3, height, width]`, RGB in [0, 1], of any size from
    16 px a side on, and what the model file says of it is its metadata `styletx`, as JSON.

    Raises:
        OptionError: onnx or onnxscript is not installed.
    """
    _import("onnx"), _import("onnxscript")
    network = _Clamped(model.network.cpu().float()).eval()
    axis = torch.export.Dim.DYNAMIC
    # Of a size that no other number in the network happens to be.
    example = torch.zeros(2, 3, 67, 83)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is or will be deprecated inside of the exporter
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                dynamic_shapes={"pixels": {0: axis, 2: axis, 3: axis}},
                opset_version=OPSET,
                input_names=["pixels"],
                output_names=["painted"],
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    return _finished(program.model_proto, {KEY: json.dumps(model.about)})


def _finished(proto: Any, metadata: dict[str, str]) -> bytes:
    graph = proto.graph
    # Shapes of what is in between, and which line of which file on this machine made it.
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    del graph.value_info[:]
    for end in (graph.input[0], graph.output[0]):
        for dimension, name in zip(end.type.tensor_type.shape.dim, ("batch", "", "height", "width"), strict=True):
            if name:
                dimension.dim_param = name
            else:
                dimension.dim_value = 3
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    data: bytes = proto.SerializeToString()
    return data


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
        OptionError: onnx or onnxscript is not installed.
    """
    images.write_bytes(path, convert(model))


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
    return kind.elem_type == 1 and len(kind.shape.dim) == 4 and kind.shape.dim[1].dim_value == 3  # 1: float32


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
