"""What a person asked for that cannot work, and what to do instead.

    StyletxError            exit code 2
    ├── PictureError        a picture that cannot be read
    ├── OutputError         a place that cannot be written to
    ├── OptionError         an option whose value cannot work
    ├── WeightsError        network weights that are missing, wrong or too shallow
    ├── TrainingError       a training that cannot begin or go on
    └── MemoryLimitError    more memory asked for than there is

Every message is one line that names the thing and says what to do. Anything else that is raised is a bug, and
keeps its traceback.
"""

import difflib
from collections.abc import Iterable


def hint(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest of those there are, or else all of them."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}."


class StyletxError(Exception):
    """Base of everything that a person can put right; the command line prints its one line."""

    exit_code = 2


class PictureError(StyletxError):
    """A picture that cannot be read, or is unfit for styling."""


class OutputError(StyletxError):
    """A place that cannot be written to."""


class OptionError(StyletxError, ValueError):
    """An option whose value cannot work."""


class WeightsError(StyletxError):
    """Network weights that are missing, wrong, or do not reach the layers asked for."""


class TrainingError(StyletxError):
    """A training that cannot begin or go on."""


class MemoryLimitError(StyletxError, MemoryError):
    """More memory was needed than there is."""
