"""Checkpoints: everything that a training needs to continue exactly as if it had not been interrupted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from styletx import files
from styletx.errors import TrainingError, field
from styletx.feedforward.training import records

NAME = "checkpoint.pt"


def check_free(folder: Path, output: Path) -> None:
    """Find out whether a new training can leave its files where it wants to.

    Raises:
        TrainingError: there is a training, or something that it would replace.
    """
    if (folder / NAME).exists():
        raise TrainingError(
            f"{files.shown(folder)} already holds a training; continue it with {field('resume')}, move it away, or "
            f"choose another {field('output')}"
        )
    if others := sorted(files.shown(one.name) for one in records.written(folder)):
        raise TrainingError(
            f"{files.shown(folder)} already holds {others[0]}; move it away, or choose another {field('output')}"
        )
    if output.exists():
        raise TrainingError(
            f"{files.shown(output)} exists, and a model is never replaced by another training; move it away, or choose "
            f"another {field('output')}"
        )


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint.

    Raises:
        OutputError: it cannot be written there; a file that was there is left as it was.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write(path, buffer.getvalue())


def read(path: Path, identity: str) -> dict[str, Any]:
    """Read a checkpoint; nothing in the file is executed.

    Args:
        path: of the file.
        identity: what `write` was given under "identity": a training with another one cannot continue from it.

    Raises:
        TrainingError: it does not exist, is damaged, or belongs to another training.
    """
    try:
        files.check_readable(path)
        state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise TrainingError(
            f"{files.shown(path)}: there is no checkpoint to continue from; remove {field('resume')}"
        ) from None
    except Exception as error:
        raise damaged(path) from error
    if not isinstance(state, dict) or state.get("identity") != identity:
        raise TrainingError(
            f"{files.shown(path)} belongs to a training with other options, photographs or another style; give the "
            f"same ones again, or start anew with another {field('output')}"
        )
    return state


def damaged(path: Path) -> TrainingError:
    """The error for a checkpoint whose contents make no sense."""
    return TrainingError(
        f"{files.shown(path)} is damaged or not a checkpoint; start anew with another {field('output')}"
    )
