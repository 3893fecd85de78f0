"""Networks as ONNX files: written, read again, and run by ONNX Runtime."""

from styletx.feedforward.onnx.running import ExportedNetwork, read
from styletx.feedforward.onnx.writing import convert, write

__all__ = ["ExportedNetwork", "convert", "read", "write"]
