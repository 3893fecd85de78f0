"""What skip connections do: trunks that are trained with and without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from styletx import devices, files, images, inspection
from styletx.cli import outputs, progress, terminal
from styletx.cli.inspect.report import say
from styletx.errors import OptionError
from styletx.inspection import Trunk

MOST_BLOCKS = 200


def train(*, depths: str, steps: int, output: str | None, seed: int, device: str, quiet: bool, as_json: bool) -> None:
    """Train trunks of several depths, print how well they learnt, and write a plot of it."""
    chosen = _depths(depths)
    inspection.check()
    target = Path(files.local(output)) if output is not None else outputs.FOLDER / "residual.png"
    images.check_output(target if output is not None else files.numbered(target))
    training = inspection.train_trunks(chosen, steps=steps, seed=seed, device=devices.choose(device))
    done = []
    with progress.Count(2 * len(chosen) * steps, "steps", quiet) as shown:
        for step in training:
            shown.update(f"{step.blocks} blocks, {'skip' if step.skip else 'plain'}, error {step.error:.4f}")
            done.append(step)
    trunks = inspection.trunks(done)
    target, notes = outputs.written(target, inspection.learning(trunks), is_named=output is not None)
    progress.notes(notes, quiet)
    if not (quiet or as_json):
        for line in _rows(trunks):
            terminal.say(line)
    say({"output": str(target), "trunks": [dataclasses.asdict(trunk) for trunk in trunks]}, target, as_json, quiet)


def _rows(trunks: Sequence[Trunk]) -> Iterator[str]:
    yield "blocks  plain error  skip error  gradient of the first block: plain    skip"
    for plain, skip in zip(trunks[::2], trunks[1::2], strict=True):
        yield (
            f"{plain.blocks:6} {plain.error:12.5f} {skip.error:11.5f} {plain.gradients[0]:35.2e} "
            f"{skip.gradients[0]:7.2e}"
        )


def _depths(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= MOST_BLOCKS for part in parts):
        raise OptionError(
            f"--depths {text!r} is not a list of depths; write for example 2,8,20, each from 1 to {MOST_BLOCKS}"
        )
    return sorted({int(part) for part in parts})
