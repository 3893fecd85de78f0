"""ONNX files read, checked and run by ONNX Runtime."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styletx import files
from styletx.colors import Colors
from styletx.errors import OptionError, WeightsError, field
from styletx.feedforward.models import KEY
from styletx.feedforward.networks import Descriptor
from styletx.feedforward.onnx.format import FLOAT, PALETTE, RECOLOR, imported

LARGEST = 2**29  # bytes of a file that is read
SIDE = 64  # px of the picture for which a file's layers are measured
MOST = 2**26  # numbers in a layer or a constant: sixteen times what any published network has


class ExportedNetwork:
    """A network in an ONNX file, called like a `Transformer`; it runs in ONNX Runtime.

    A file may only calculate: one that refers to other files, has functions or loops, or needs operators that are not
    ONNX's own is refused.

    Args:
        data: the file's bytes.
        name: the file's name for messages.
        device: where to run; cuda needs the package onnxruntime-gpu.

    Attributes:
        name: as given.
        about: what its model file said about it; empty for a file that styletx did not write.
        descriptor: what it can do.

    Raises:
        WeightsError: it is not such a network.
        OptionError: onnx or onnxruntime is not installed, or cannot use the device.
    """

    def __init__(self, data: bytes, name: str, device: torch.device | None = None) -> None:
        self.name = name
        runtime = imported("onnxruntime")
        proto = _checked(data, name)
        self.about = _about(proto)
        palette = _colors(self.about.get(PALETTE)) if len(proto.graph.input) > 1 else None
        self.descriptor = Descriptor("onnx", colors=palette)
        self.given = {RECOLOR: np.zeros(1, np.float32)} if palette else {}
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # an error is raised as well
        provider = "CUDAExecutionProvider" if device and device.type == "cuda" else "CPUExecutionProvider"
        if provider not in runtime.get_available_providers():
            raise OptionError(
                f"the installed ONNX Runtime cannot use {device}; install onnxruntime-gpu, or set {field('device')} to "
                "cpu"
            )
        try:
            # The network that was checked runs, not the file, which may have changed since.
            self.session = runtime.InferenceSession(proto.SerializeToString(), options, providers=[provider])
        except Exception as error:
            raise _unfit(name, _line(error)) from error

    def __call__(self, pixels: Tensor) -> Tensor:
        """Repaint `[B, 3, H, W]`, float32 RGB in [0, 1]; the result has the same shape and is on the CPU.

        Raises:
            WeightsError: the network fails on it, or returns something else than a picture of its size.
            MemoryError: it does not fit into memory.
        """
        values = pixels.float().contiguous().cpu().numpy()
        try:
            (painted,) = self.session.run(None, {self.session.get_inputs()[0].name: values} | self.given)
        except Exception as error:
            if "alloc" in str(error).lower():
                raise MemoryError(_line(error)) from error
            raise _unfit(self.name, _line(error)) from error
        result = torch.from_numpy(painted)
        if result.shape != pixels.shape:
            raise _unfit(self.name, f"it turns {list(pixels.shape)} into {list(result.shape)}")
        return result


def read(path: str | os.PathLike[str], device: torch.device | None = None) -> ExportedNetwork:
    """Read an ONNX file; nothing in it is executed but ONNX's own operators.

    Raises:
        WeightsError: it cannot be read, or is not a network that repaints pictures.
        OptionError: onnx or onnxruntime is not installed, or cannot use the device.
    """
    path = Path(path)
    try:
        files.check_readable(path, LARGEST)
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{files.shown(path)} cannot be read ({files.reason(error)}); give a file written by styletx export"
        ) from error
    return ExportedNetwork(data, files.shown(path), device)


def _checked(data: bytes, name: str) -> Any:
    onnx = imported("onnx")
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:
        raise _unfit(name, "it is damaged or not an ONNX file") from error
    graph = proto.graph
    needed = _needed(graph)
    optional = [value.name for value in graph.input if value not in needed]
    ends = (*needed, *graph.output)
    if len(ends) != 2 or len(needed) != 1 or not all(map(_is_pictures, ends)) or optional not in ([], [RECOLOR]):
        raise _unfit(name, "it does not take and return pictures, float32 [batch, 3, height, width]")
    if proto.functions or any(domain.domain not in ("", "ai.onnx") for domain in proto.opset_import):
        raise _unfit(name, "it needs operators that are not ONNX's own")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise _unfit(name, "it needs operators that are not ONNX's own")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise _unfit(name, "it has loops or branches")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise _unfit(name, "it refers to another file")
    if (most := max(_sizes(onnx, proto), default=0)) > MOST:
        raise _unfit(name, f"it makes {most:,} numbers of a picture of {SIDE}×{SIDE} px")
    return proto


def _sizes(onnx: Any, proto: Any) -> Iterator[int]:
    """How many numbers there are in each constant, and in what is made on the way from a small picture."""
    for tensor in _tensors(proto.graph):
        yield math.prod(tensor.dims)
    tried = onnx.ModelProto()
    tried.CopyFrom(proto)
    shape = _needed(tried.graph)[0].type.tensor_type.shape.dim
    for index, side in ((0, 1), (2, SIDE), (3, SIDE)):
        if not shape[index].dim_value:
            shape[index].dim_value = side
    del tried.graph.value_info[:]
    for value in onnx.shape_inference.infer_shapes(tried, data_prop=True).graph.value_info:
        yield math.prod(one.dim_value for one in value.type.tensor_type.shape.dim if one.dim_value > 0)


def _needed(graph: Any) -> list[Any]:
    """The inputs that have no value of their own."""
    known = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in known]


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


def _colors(palette: Any) -> Colors | None:
    try:
        values = torch.tensor(palette, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    return Colors(values[0], values[1:]) if values.shape == (4, 3) and bool(values.isfinite().all()) else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _unfit(name: str, reason: str) -> WeightsError:
    return WeightsError(
        f"{name} is not a style but damaged or a model of another program ({reason}); give a file written by "
        "styletx export"
    )
