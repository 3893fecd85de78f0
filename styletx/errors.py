"""What a person asked for that cannot work, and what to do instead.

    StyletxError            exit code 2
    ├── PictureError        a picture that cannot be read
    ├── OutputError         a place that cannot be written to
    ├── OptionError         an option whose value cannot work
    ├── WeightsError        network weights that are missing, wrong or too shallow
    ├── TrainingError       a training that cannot start or continue
    └── MemoryLimitError    more memory needed than there is

A message is one line without a full stop: it names the thing, says what is wrong, and after a semicolon what to do.
Anything else that is raised is a bug, and keeps its traceback.

A message that mentions an option names the *field*. Whoever shows the message renders the field in its own words:
`size` in the library, `--size` on the command line, "Size" on a web page.
"""

import difflib
import re
from collections.abc import Callable, Iterable

# Private characters: `files.shown` escapes them in file names, so nothing but a field is ever between them.
_FIELD = re.compile("\ue000([a-z_]+)\ue001")


def field(name: str) -> str:
    """An option's name for use in a message; see `rendered`."""
    return f"\ue000{name}\ue001"


def rendered(message: str, show: Callable[[str], str] = str) -> str:
    """A message with its fields as `show` renders them; by default their plain names."""
    return _FIELD.sub(lambda match: show(match[1]), message)


def told(value: object) -> str:
    """A value as messages show it: on one line, and short."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that an unknown one was probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """What to suggest after an unknown name: the nearest known one, or else all of them."""
    known = tuple(known)
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"choose one of {', '.join(known)}"


class StyletxError(Exception):
    """Base of everything that a person can put right; the command line prints its one line."""

    exit_code = 2

    def __str__(self) -> str:
        return self.rendered()

    def rendered(self, show: Callable[[str], str] = str) -> str:
        """The message, with its fields as `show` renders them."""
        return rendered(super().__str__(), show)


class PictureError(StyletxError):
    """A picture that cannot be read, or is unfit for styling."""


class OutputError(StyletxError):
    """A place that cannot be written to."""


class OptionError(StyletxError, ValueError):
    """An option whose value cannot work."""


class WeightsError(StyletxError):
    """Network weights that are missing, wrong, or do not reach the layers asked for."""


class TrainingError(StyletxError):
    """A training that cannot start or continue."""


class MemoryLimitError(StyletxError, MemoryError):
    """More memory was needed than there is."""
