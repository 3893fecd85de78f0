"""What a person should know though nothing is wrong.

Notes belong to whatever they are about: a picture that was read, a stylizer, a run, a file that was written. Whoever
holds that shows them. Python's own `warnings` are for programmers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from styletx import errors


@dataclass(frozen=True)
class Note:
    """One note: full sentences, on one line.

    Attributes:
        message: the text; options in it are named by `errors.field`.
        once: a name under which a person need be told it only once on a machine; None for what is told each time.
    """

    message: str
    once: str | None = None

    def __str__(self) -> str:
        return self.rendered()

    def __repr__(self) -> str:
        return f"Note({str(self)!r})"

    def rendered(self, show: Callable[[str], str] = str) -> str:
        """The text, with its fields as `show` renders them; by default their plain names."""
        return errors.rendered(self.message, show)


Notes = tuple[Note, ...]
