"""Whole folders: a plan of jobs, an engine that does them, and a manifest of what was done.

for record in styletx.batch("photos", ["painting.jpg", "mosaic"], "outputs", size=768):
    print(record.output, record.error)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from styletx.batches.manifest import Record
from styletx.batches.plan import Job
from styletx.batches.running import Batch, Engine, Path
from styletx.errors import OptionError, hint
from styletx.options import combined

__all__ = ["ENGINES", "Batch", "Engine", "Job", "Record", "batch", "engine_named"]


def _local(workers: int | None, address: str | None) -> Engine:
    from styletx.batches.local import LocalEngine

    if address is not None:
        raise OptionError("--address is for --engine ray; give that too, or leave it away.")
    return LocalEngine(workers)


def _ray(workers: int | None, address: str | None) -> Engine:
    from styletx.batches.cluster import RayEngine

    return RayEngine(workers, address)


ENGINES: dict[str, Callable[[int | None, str | None], Engine]] = {"local": _local, "ray": _ray}


def engine_named(name: str, *, workers: int | None = None, address: str | None = None) -> Engine:
    """An engine of `ENGINES`.

    Raises:
        OptionError: there is none of that name, or it cannot work here.
    """
    if name not in ENGINES:
        raise OptionError(f"--engine {name!r}: there is no such engine; {hint(name, ENGINES)}")
    return ENGINES[name](workers, address)


def batch(
    sources: Path | Sequence[Path],
    styles: Path | Sequence[Path],
    output: Path,
    *,
    engine: str | Engine = "local",
    workers: int | None = None,
    address: str | None = None,
    pattern: Sequence[str] = (),
    format: str = "png",
    overwrite: bool = False,
    **options: Any,
) -> Iterator[Record]:
    """Repaint files and whole folders in one or several styles; what was done before is not done again.

    Args:
        sources: a file, a folder, an address, a list "@list.txt", or several of them.
        styles: a picture, the name of a bundled style, a model file, or several of them.
        output: the folder for the results and their manifest.
        engine: local, ray, or an `Engine` of your own.
        workers: how many processes or actors; as many as suit the machine if None.
        address: of the Ray cluster; one that is here, or is started here, if None.
        pattern: what to take from folders, as ["*.jpg"]; all pictures if empty.
        format: of the results: png, jpg, webp or tif.
        overwrite: whether to replace results that were made otherwise.
        options: fields of `Options`.

    Returns:
        A generator that does the work, and gives a record of each picture when it is done, in any order. A picture
        that fails is a record with an error.

    Raises:
        StyletxError: it cannot start; the message says what to do.
    """
    chosen = engine_named(engine, workers=workers, address=address) if isinstance(engine, str) else engine
    whole = Batch(
        _several(sources),
        _several(styles),
        output,
        combined(None, options),
        pattern=pattern,
        format=format,
        overwrite=overwrite,
    )
    whole.check()
    return whole.run(chosen)


def _several(given: Path | Sequence[Path]) -> Sequence[Path]:
    return [given] if isinstance(given, str | os.PathLike) else given
