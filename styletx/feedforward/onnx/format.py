"""The ONNX format, as far as writing and running need to agree on it."""

from __future__ import annotations

import importlib
from typing import Any

from styletx.errors import OptionError

OPSET, IR = 18, 8  # of ONNX 1.13, from 2022
FLOAT = 1  # ONNX's number for float32


def imported(package: str) -> Any:
    """A package of the extra onnx.

    Raises:
        OptionError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise OptionError(f"ONNX needs {package}, which is not installed; run: pip install 'styletx[onnx]'") from None
