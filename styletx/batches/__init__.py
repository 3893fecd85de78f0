"""Whole folders: a plan of jobs, an executor that runs them, and a manifest of what was done.

for record in styletx.batch("photos", ["painting.jpg", "mosaic"], "outputs", size=768):
    print(record.output, record.error)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from styletx.batches.manifest import Record
from styletx.batches.plan import Job
from styletx.batches.running import Batch, Executor, Path
from styletx.errors import OptionError, field, hint, told
from styletx.options import OptionKeywords, Options, combined, explained

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["EXECUTORS", "Batch", "Executor", "Job", "Record", "batch", "executor_named"]


def _local(workers: int | None, address: str | None) -> Executor:
    from styletx.batches.local import LocalExecutor

    if address is not None:
        raise OptionError(f"{field('address')} is only for {field('executor')} ray; use that executor, or remove it")
    return LocalExecutor(workers)


def _ray(workers: int | None, address: str | None) -> Executor:
    from styletx.batches.cluster import RayExecutor

    return RayExecutor(workers, address)


EXECUTORS: dict[str, Callable[[int | None, str | None], Executor]] = {"local": _local, "ray": _ray}


def executor_named(name: str, *, workers: int | None = None, address: str | None = None) -> Executor:
    """An executor of `EXECUTORS`.

    Raises:
        OptionError: there is no such executor, or it cannot work here.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise OptionError(f"{field('workers')} cannot be {told(workers)}; it must be a whole number from 1")
    if name not in EXECUTORS:
        raise OptionError(f"{field('executor')} cannot be {name!r}; {hint(name, EXECUTORS)}")
    return EXECUTORS[name](workers, address)


@explained
def batch(
    sources: Path | Sequence[Path],
    styles: Path | Sequence[Path],
    output: Path,
    options: Options | None = None,
    *,
    executor: str | Executor = "local",
    workers: int | None = None,
    address: str | None = None,
    pattern: str | Sequence[str] = (),
    format: str = "png",
    overwrite: bool = False,
    history: bool = False,
    **keywords: Unpack[OptionKeywords],
) -> Generator[Record, None, None]:
    """Repaint files and whole folders in one or several styles. Results that exist already are not made again.

    Args:
        sources: a file, a folder, an address, a list "@list.txt", or several of them.
        styles: a picture, the name of a bundled style, a model file, or several of them; "a.jpg+b.jpg:0.3" is two
            in one, with weights.
        output: folder for the results and their manifest.
        options: how to repaint; None for the defaults.
        executor: local, ray, or an `Executor` of your own.
        workers: number of processes or actors; None is as many as suit the machine.
        address: of the Ray cluster; None is the one that runs on this machine, or a new one.
        pattern: which files to take from folders, such as "*.jpg", or several patterns; all pictures if empty.
        format: of the results: png, jpg, webp or tif.
        overwrite: redo results that were made with different settings.
        history: keep every line of the manifest, not only the last of each picture.
        keywords: fields of `Options`, which change those of `options`:

    Returns:
        A generator that does the work and yields the record of each picture once it is done, in any order. A picture
        that fails has a record with an error.
        For notes on the styles and totals, make and run a `Batch` yourself.

    Raises:
        StyletxError: it cannot start; the message says what to do.
    """
    chosen = executor_named(executor, workers=workers, address=address) if isinstance(executor, str) else executor
    whole = Batch(
        _several("sources", sources),
        _several("styles", styles),
        output,
        combined(options, keywords),
        pattern=_several("pattern", pattern),
        format=format,
        overwrite=overwrite,
        history=history,
    )
    whole.check()
    return whole.run(chosen)


def _several(name: str, given: Path | Sequence[Path]) -> list[Any]:
    several: Any = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(several, Sequence):
        raise TypeError(f"{name} are a path or name or a list of them, not {type(several)}")
    for one in several:
        if not isinstance(one, str | os.PathLike):
            raise TypeError(f"{name} are paths or names, not {type(one)}")
    return list(several)
