"""The ONNX format, as far as writing and running need to agree on it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from styletx.errors import OptionError

OPSET, IR = 18, 8  # of ONNX 1.13, from 2022
FLOAT = 1  # ONNX's number for float32
PALETTE = "palette"  # in our metadata: mean and covariance of the colours that the graph gives a picture, [4, 3]
RECOLOR = "recolor"  # optional input of a graph with a palette, [1]: 0 for pictures that have its colours already


def imported(package: str) -> Any:
    """A package of the extra onnx.

    ONNX Runtime would tell its maker about each model and machine, and keep a database of that in the user's cache.

    Raises:
        OptionError: it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is first imported
    try:
        return importlib.import_module(package)
    except ImportError:
        raise OptionError(f"ONNX needs {package}, which is not installed; run: pip install 'styletx[onnx]'") from None
