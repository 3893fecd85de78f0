"""Overviews of a batch: a contact sheet, and a page with sliders between before and after."""

from __future__ import annotations

import dataclasses
import functools
import html
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from string import Template
from urllib.parse import quote

import PIL.Image

from styletx import files, images
from styletx._version import __version__
from styletx.batches import places
from styletx.batches.manifest import ELSEWHERE, Record
from styletx.batches.plan import COPIES, REPORT, Job
from styletx.errors import PictureError
from styletx.options import PLACES, Options, defaults

CELL = 188  # px of a picture on the contact sheet
MOST_CELLS = 240  # more would be too small to see
MARK = b'<meta name="generator" content="styletx">'  # of a page that `page` made
PAGE_PICTURE = 640  # px, the long side of a picture in the page


def contact_sheet(records: Sequence[Record]) -> bytes:
    """A JPEG with small pictures of the results.

    Args:
        records: of a batch. Those without a result are left out; of very many, an even selection is shown.

    Raises:
        PictureError: there is no result.
    """
    done = [record for record in records if record.output_sha256]
    if not done:
        raise PictureError("there is no result yet for a contact sheet; repaint a picture first")
    count = min(len(done), MOST_CELLS)
    shown = [done[index * len(done) // count] for index in range(count)]
    cells = [(_small(record.output, CELL), (_name(record.source), _name(record.style))) for record in shown]
    title = None if count == len(done) else f"{count} of {len(done)}"
    sheet = images.sheet(cells, math.ceil(math.sqrt(count * 1.2)), (CELL, CELL), title)
    return _jpeg(sheet)


def page(records: Sequence[Record], folder: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """An HTML page with summary, failures, and each result over its photograph, which are loaded as they are seen.

    It tells names, not where they are. Results are shown where they are, small copies of the photographs beside it.

    Args:
        records: of a batch.
        folder: where the results are.

    Yields:
        Files for the folder: the way there, and what makes its contents. The page comes last.
    """
    done = [record for record in records if record.output_sha256]
    for record in done:
        for path, copy in ((record.source, _before(record)), (record.output, _after(record, folder))):
            if copy.startswith(f"{COPIES}/"):
                yield copy, functools.partial(_copied, path)
    yield REPORT, functools.partial(_page, records, done, folder)


def _page(records: Sequence[Record], done: Sequence[Record], folder: str) -> bytes:
    template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    failed = [record for record in records if record.error]
    photographs: dict[str, list[Record]] = {}
    for record in done:
        photographs.setdefault(record.source, []).append(record)
    text = template.substitute(
        title=f"styletx: {_escaped(_name(os.path.abspath(folder)))}",
        summary="".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in _summary(records, done, failed)),
        failures="" if not failed else f"<h2>Failed</h2><ul>{''.join(map(_failure, failed))}</ul>",
        photographs="".join(_photograph(source, some, folder) for source, some in photographs.items()),
    )
    return text.encode("utf-8", "backslashreplace")


def _summary(records: Sequence[Record], done: Sequence[Record], failed: Sequence[Record]) -> Iterator[tuple[str, str]]:
    yield "Pictures", f"{len(done)} done, {len(failed)} failed, {len(records) - len(done) - len(failed)} not started"
    styles = Counter(record.style for record in records)
    yield "Styles", _escaped(", ".join(f"{_name(style)} ({count})" for style, count in styles.items()))
    yield "Time", f"{sum(record.seconds for record in done):.1f} s of work"
    chosen = {
        name if value is True else f"{name} {_name(value) if name in PLACES and isinstance(value, str) else value}"
        for record in done
        for name, value in record.options.items()
        if name not in ELSEWHERE and value != defaults(Options).get(name)
    }
    yield "Options", _escaped(", ".join(sorted(chosen)) or "defaults")
    yield "Made with", f"styletx {__version__}"


def _failure(record: Record) -> str:
    return f"<li>{_escaped(_without_places(record.error or '', record))}</li>"


def _photograph(source: str, records: Sequence[Record], folder: str) -> str:
    pairs = "".join(_pair(record, folder) for record in records)
    return f'<section class="photograph"><h3>{_escaped(_name(source))}</h3><div class="pairs">{pairs}</div></section>'


def _pair(record: Record, folder: str) -> str:
    name, style = _escaped(_name(record.source)), _escaped(_name(record.style))
    names = f'class="pair" data-names="{name.lower()} {style.lower()}"'
    if record.size is None or not places.exists(record.output):
        return f"<figure {names}><p>{_escaped(_name(record.output))} no longer exists.</p></figure>"
    width, height = record.size
    facts = [f"{width}×{height} px", f"{record.seconds:.1f} s"]
    facts += [f"{_escaped(name)} {value:.4g}" for name, value in record.losses.items()]
    notes = "".join(f"<br>{_escaped(_without_places(note, record))}" for note in record.notes)
    after, slider = quote(_after(record, folder), errors="surrogateescape"), ""
    if places.exists(places.join(folder, _before(record))):
        slider = (
            f'<img class="before" loading="lazy" src="{_before(record)}" alt="{name}, the photograph">'
            f'<input type="range" min="0" max="100" value="50" aria-label="Share of {name} that shows the photograph">'
        )
    return (
        f'<figure {names}><div class="stage" style="aspect-ratio: {width} / {height}">'
        f'<img loading="lazy" src="{after}" alt="{name} in the style of {style}">{slider}</div>'
        f"<figcaption>{style}<br><small>{', '.join(facts)}{notes}</small></figcaption></figure>"
    )


def _before(record: Record) -> str:
    """The way to a photograph's small copy."""
    return f"{COPIES}/{(record.source_sha256 or '')[:32]}.jpg"


def _after(record: Record, folder: str) -> str:
    """The way to what shows a result: itself, or a copy of one that browsers do not show."""
    way = places.relative(record.output, folder)
    return way if not way.endswith(".tif") else f"{COPIES}/{(record.output_sha256 or '')[:32]}.jpg"


def _copied(path: str) -> bytes:
    """A small copy of a picture.

    Raises:
        PictureError: it can no longer be read.
    """
    picture = _small(path, PAGE_PICTURE)
    if picture is None:
        raise PictureError(f"{files.shown(path)} can no longer be read, so the report does not show it")
    return _jpeg(picture)


def _small(path: str, side: int) -> PIL.Image.Image | None:
    """A picture of at most `side` px, on white; None if it can no longer be read."""
    try:
        picture = images.read(places.read(path))
    except PictureError:
        return None
    size = (picture.pixels.shape[-2], picture.pixels.shape[-1])
    size = images.fit(size, min(side, max(size)))
    alpha = None if picture.alpha is None else images.resize(picture.alpha, size)
    return images.on_white(images.to_pil(images.resize(picture.pixels, size), alpha))


def _jpeg(image: PIL.Image.Image) -> bytes:
    """A file that says that it is ours."""
    stream = io.BytesIO()
    images.write(stream, images.read(image).pixels, metadata={"styletx": __version__}, format="JPEG")
    return stream.getvalue()


def _name(path: str) -> str:
    return files.shown(path.replace("\\", "/").rstrip("/").rpartition("/")[2])


def _without_places(text: str, record: Record) -> str:
    for path in (record.source, record.style, record.output):
        text = text.replace(files.shown(path), _name(path))
    return text


def _escaped(text: str) -> str:
    return html.escape(files.printable(text))


def latest(records: Iterable[Record], jobs: Iterable[Job]) -> list[Record]:
    """The last record of each job, in their order, without jobs that have none.

    Places are those of the plan: what a manifest names is never opened, since anybody may have written it.
    """
    last = {record.output: record for record in records}
    return [
        dataclasses.replace(last[job.output], source=job.source, style=job.style) for job in jobs if job.output in last
    ]
