"""Neural style transfer: photographs repainted in the style of a painting."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from styletx._version import __version__
from styletx.errors import (
    MemoryLimitError,
    OptionError,
    OutputError,
    PictureError,
    StyletxError,
    TrainingError,
    WeightsError,
)
from styletx.notes import Note
from styletx.options import Options

# How often a thread of GNU OpenMP looks for work before it sleeps, by default 300,000 times. Torch reads it when it is
# imported. With two runs at once on two cores, each would otherwise spend most of its time waiting for the other.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from styletx.batches import Record, batch
    from styletx.feedforward.models import Style, styles
    from styletx.optimization import Step
    from styletx.stylizers import Part, Result, Run, Stylizer, load_stylizer, stylize

__all__ = [
    "MemoryLimitError",
    "Note",
    "OptionError",
    "Options",
    "OutputError",
    "Part",
    "PictureError",
    "Record",
    "Result",
    "Run",
    "Step",
    "Style",
    "StyletxError",
    "Stylizer",
    "TrainingError",
    "WeightsError",
    "__version__",
    "batch",
    "load_stylizer",
    "styles",
    "stylize",
]

# Torch takes seconds to import, so what needs it is imported on first use.
_LAZY = {
    "Part": "styletx.stylizers",
    "Record": "styletx.batches",
    "Result": "styletx.stylizers",
    "Run": "styletx.stylizers",
    "Step": "styletx.optimization",
    "Style": "styletx.feedforward.models",
    "Stylizer": "styletx.stylizers",
    "batch": "styletx.batches",
    "load_stylizer": "styletx.stylizers",
    "styles": "styletx.feedforward.models",
    "stylize": "styletx.stylizers",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'styletx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
