"""Neural style transfer: photographs repainted in the style of a painting."""

import importlib
from typing import TYPE_CHECKING, Any

from styletx._version import __version__
from styletx.errors import (
    MemoryLimitError,
    OptionError,
    OutputError,
    PictureError,
    StyletxError,
    WeightsError,
)
from styletx.options import Options

if TYPE_CHECKING:
    from styletx.optimization import Step
    from styletx.stylizer import Result, Run, Stylizer, load_stylizer, stylize

__all__ = [
    "MemoryLimitError",
    "OptionError",
    "Options",
    "OutputError",
    "PictureError",
    "Result",
    "Run",
    "Step",
    "StyletxError",
    "Stylizer",
    "WeightsError",
    "__version__",
    "load_stylizer",
    "stylize",
]

# torch takes seconds to import, so what needs it is imported when it is first asked for.
_LAZY = {
    "Result": "styletx.stylizer",
    "Run": "styletx.stylizer",
    "Step": "styletx.optimization",
    "Stylizer": "styletx.stylizer",
    "load_stylizer": "styletx.stylizer",
    "stylize": "styletx.stylizer",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'styletx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
