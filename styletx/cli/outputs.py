"""Where a command writes what it was given no name for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from styletx import files
from styletx.errors import OutputError
from styletx.notes import Notes

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path("outputs")


def saved(path: Path, save: Callable[[Path], Notes]) -> tuple[Path, Notes]:
    """Save under the first free name; another command may want the same one.

    Args:
        path: the name if it is free, else it is numbered.
        save: called with a path, writes a file there unless there is one.
    """
    while True:
        target = files.numbered(path)
        try:
            return target, save(target)
        except OutputError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise


def written(path: Path, pixels: Tensor, *, is_named: bool) -> tuple[Path, Notes]:
    """Write a picture `[1, 3, H, W]`; a file is replaced only if the person named it."""
    from styletx import images

    if is_named:
        return path, images.write(path, pixels)
    return saved(path, lambda free: images.write(free, pixels, overwrite=False))
