"""Overviews of a batch: a contact sheet, and a page with sliders between before and after."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from string import Template
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from styletx import files, images
from styletx._version import __version__
from styletx.batches import places
from styletx.batches.manifest import ELSEWHERE, Record
from styletx.batches.plan import Job
from styletx.errors import PictureError
from styletx.options import PLACES, Options, defaults

CELL = 200  # px, of the contact sheet
CAPTION = 22
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
    shown = [record for record in records if record.output_sha256]
    if not shown:
        raise PictureError("there is no result yet for a contact sheet; repaint a picture first")
    shown = (
        [shown[index * len(shown) // MOST_CELLS] for index in range(MOST_CELLS)] if len(shown) > MOST_CELLS else shown
    )
    columns = math.ceil(math.sqrt(len(shown) * 1.2))
    rows = math.ceil(len(shown) / columns)
    height = CELL + CAPTION
    sheet = PIL.Image.new("RGB", (columns * CELL, rows * height), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    font = _font(12)
    for index, record in enumerate(shown):
        left, top = index % columns * CELL, index // columns * height
        if (picture := _small(record.output, CELL - 12)) is not None:
            sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
        name = _name(record.output)
        while draw.textlength(name, font) > CELL - 12:
            name = f"{name.rstrip('…')[:-1]}…"
        draw.text((left + CELL / 2, top + CELL), name, "#333333", font, "ma")
    stream = io.BytesIO()
    pixels = images.read(sheet).pixels
    images.write(stream, pixels, metadata={"styletx": __version__}, format="JPEG")
    return stream.getvalue()


def page(records: Sequence[Record], folder: str) -> bytes:
    """An HTML page that needs no other file: summary, failures, and each result over its source.

    It tells names, not where they are.

    Args:
        records: of a batch.
        folder: where the results are.
    """
    template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    done = [record for record in records if record.output_sha256]
    failed = [record for record in records if record.error]
    text = template.substitute(
        title=f"styletx: {_escaped(_name(os.path.abspath(folder)))}",
        summary="".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in _summary(records, done, failed)),
        failures="" if not failed else f"<h2>Failed</h2><ul>{''.join(map(_failure, failed))}</ul>",
        pairs="".join(map(_pair, done)),
    )
    return text.encode("utf-8", "backslashreplace")


def _summary(records: Sequence[Record], done: Sequence[Record], failed: Sequence[Record]) -> Iterator[tuple[str, str]]:
    yield "Pictures", f"{len(done)} done, {len(failed)} failed, {len(records) - len(done) - len(failed)} not started"
    styles = Counter(record.style for record in records)
    yield "Styles", _escaped(", ".join(f"{_name(style)} ({count})" for style, count in styles.items()))
    yield "Time", f"{sum(record.seconds for record in done):.1f} s of work"
    chosen = {
        name if value is True else f"{name} {_name(value) if name in PLACES else value}"
        for record in done
        for name, value in record.options.items()
        if name not in ELSEWHERE and value != defaults(Options).get(name)
    }
    yield "Options", _escaped(", ".join(sorted(chosen)) or "defaults")
    yield "Made with", f"styletx {__version__}"


def _failure(record: Record) -> str:
    return f"<li>{_escaped(_without_places(record.error or '', record))}</li>"


def _pair(record: Record) -> str:
    after = _small(record.output, PAGE_PICTURE)
    if after is None:
        return f'<figure class="pair"><p>{_escaped(_name(record.output))} no longer exists.</p></figure>'
    before = _small(record.source, PAGE_PICTURE)
    name, style = _escaped(_name(record.source)), _escaped(_name(record.style))
    facts = [f"{record.size[0]}×{record.size[1]} px"] if record.size else []
    facts += [f"{record.seconds:.1f} s"]
    facts += [f"{_escaped(name)} {value:.4g}" for name, value in record.losses.items()]
    notes = "".join(f"<br>{_escaped(_without_places(note, record))}" for note in record.notes)
    slider = ""
    if before is not None:
        before = before.resize(after.size)
        slider = (
            f'<img class="before" src="{_embedded(before)}" alt="{name}, the photograph">'
            f'<input type="range" min="0" max="100" value="50" aria-label="Share of {name} that shows the photograph">'
        )
    return (
        f'<figure class="pair"><div class="stage" style="aspect-ratio: {after.width} / {after.height}">'
        f'<img src="{_embedded(after)}" alt="{name} in the style of {style}">{slider}</div>'
        f"<figcaption><b>{name}</b> in {style}<br><small>{', '.join(facts)}{notes}</small></figcaption></figure>"
    )


def _small(path: str, side: int) -> PIL.Image.Image | None:
    """A picture of at most `side` px, on white; None if it can no longer be read."""
    try:
        picture = images.read(places.read(path))
    except PictureError:
        return None
    size = (picture.pixels.shape[-2], picture.pixels.shape[-1])
    size = images.fit(size, min(side, max(size)))
    alpha = None if picture.alpha is None else images.resize(picture.alpha, size)
    image = images.to_pil(images.resize(picture.pixels, size), alpha)
    if alpha is None:
        return image
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _font(size: int) -> Any:
    """A font with letters of most languages if the machine has it, else Pillow's own, which has English ones."""
    try:
        return PIL.ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return PIL.ImageFont.load_default(size)


def _jpeg(image: PIL.Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _embedded(image: PIL.Image.Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(image)).decode()}"


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
