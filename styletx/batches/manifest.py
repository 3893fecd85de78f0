"""What a batch did: `manifest.jsonl` in the output folder, a line for each picture.

A line is appended before its picture is put in place. A batch that is killed between the two leaves a line whose
picture is missing or has another hash, but never a picture without a line. At the end of a batch, what was superseded
is taken out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from styletx import files
from styletx.batches import places, plan
from styletx.errors import OutputError
from styletx.options import PLACES, Options, defaults

BEGINNING = b'{"source": '  # of a line, be it truncated
# They change where and how fast a picture is made, but not what it shows.
ELSEWHERE = ("device", "offline", "max_pixels")


@dataclass(frozen=True)
class Recipe:
    """A style and the options to use it with.

    Attributes:
        style: as it was given.
        sha256: hash of the style's file; None if that cannot be read.
        options: every field of `Options`.
    """

    style: str
    sha256: str | None
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """What happened to one picture.

    Attributes:
        source: path or address of the photograph.
        style: as it was given.
        output: path or address of the result.
        source_sha256: hash of the photograph's file; None if it could not be read.
        style_sha256: hash of the files that the style is painted with; None if one could not be read.
        options: every field of `Options`.
        size: width and height of the result in px.
        seconds: time spent on this picture, without waiting for others.
        losses: the final losses.
        output_sha256: hash of the result's file; None if there is none.
        error: why there is no result; None if there is one.
        notes: what one should know about this picture though nothing is wrong.
        time: when, in UTC, as ISO 8601 has it.
        version: of styletx.
        gone: whether the photograph was no longer there when the manifest was last tidied up.
        skipped: whether the result existed already, made from the same source with the same style and options.
    """

    source: str
    style: str
    output: str
    source_sha256: str | None = None
    style_sha256: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    output_sha256: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    time: str = ""
    version: str = ""
    gone: bool = False
    skipped: bool = False


class Manifest:
    """The manifest of an output folder.

    Args:
        folder: the output folder, or its address.

    Attributes:
        pictures: source and style of each result, as they were given, by its way from the folder.

    Raises:
        OutputError: it cannot be read or written there.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = places.join(folder, plan.MANIFEST)
        self._lock = threading.Lock()
        self._unwritten: list[str] = []
        self._text = b""  # an address cannot be appended to, so the whole file is written again there
        self.pictures: dict[str, tuple[str, str]] = {}
        # For each output, the hashes of its files so far, and what each was made from.
        self._made: dict[str, dict[str, tuple[str | None, str]]] = {}
        if places.is_url(self.path) and places.exists(self.path):
            self._text = places.read(self.path)
        for record in self.records():
            self._remember(record)

    def check(self) -> None:
        """Make the folder and the manifest if they do not exist yet.

        Raises:
            OutputError: they cannot be made or written, or another program's file has that name.
        """
        if not self._is_ours():
            raise OutputError(
                f"{files.shown(self.path)} is not a manifest that styletx wrote; move it, or choose another folder"
            )
        self._append([])

    def records(self) -> Iterator[Record]:
        """The records so far, without truncated lines; their outputs are in this folder, even if it was moved."""
        if places.is_url(self.path):
            yield from self._parsed(self._text.splitlines())
        elif places.exists(self.path):
            try:
                files.check_readable(self.path, sys.maxsize)
                with open(self.path, "rb") as lines:
                    yield from self._parsed(lines)
            except OSError as error:
                raise self._unfit("read", error) from error

    def knows(self, output: str, sha256: str | None = None) -> bool:
        """Whether a file at `output` was ever made here; with a hash, whether that very file was."""
        made = self._made.get(self._relative(output), {})
        return bool(made) if sha256 is None else sha256 in made

    def source_of(self, output: str, recipe: Recipe) -> str | None:
        """The hash of the source from which this recipe made the file at `output`; None if it did not."""
        made = self._made.get(self._relative(output), {})
        if not made or not places.exists(output):
            return None
        if places.is_url(output):  # fetching it for its hash could take as long as making it
            source, key = list(made.values())[-1]
        else:
            source, key = made.get(files.sha256(places.read(output)), (None, ""))
        return source if key == _key(recipe.style, recipe.sha256, recipe.options) else None

    def append(self, record: Record) -> None:
        """Add a record.

        Raises:
            OutputError: it cannot be written. The record of a failure is kept and written with the next one.
        """
        line = self._line(record)
        with self._lock:
            # A failure can be recorded later. A result without a line must not be put in place at all.
            try:
                self._append([*self._unwritten, line])
                self._unwritten = []
            except OutputError:
                if record.error is not None:
                    self._unwritten.append(line)
                raise
            self._remember(record)

    def tidy(self) -> None:
        """Leave of each picture's lines the last one, and the last one with a result if that is another.

        Raises:
            OutputError: the manifest cannot be written; it is left as it was.
        """
        with self._lock:
            kept: dict[tuple[str, bool], Record] = {}
            for record in self.records():
                way, is_done = self._relative(record.output), record.error is None
                kept.pop((way, is_done), None)
                kept[way, is_done] = dataclasses.replace(record, gone=_is_gone(record.source))
                if is_done:
                    kept.pop((way, False), None)  # a failure that was made good
            if kept:
                data = "".join(f"{self._line(record)}\n" for record in kept.values()).encode()
                places.write(self.path, data)
                self._text = data if places.is_url(self.path) else b""

    def _line(self, record: Record) -> str:
        values = {name: value for name, value in dataclasses.asdict(record).items() if name != "skipped"}
        return json.dumps(values | {"output": self._relative(record.output)})

    def _is_ours(self) -> bool:
        if next(self.records(), None) is not None or not places.exists(self.path):
            return True
        text = self._text or places.read(self.path)
        return not text or text.startswith(BEGINNING)

    def _append(self, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        if places.is_url(self.path):
            is_truncated = bool(self._text) and not self._text.endswith(b"\n")
            text = self._text + (b"\n" if is_truncated else b"") + data
            places.write(self.path, text)
            self._text = text
            return
        try:
            if os.path.isfile(self.folder):
                raise OutputError(f"{files.shown(self.folder)} is a file; choose a folder for the results")
            os.makedirs(self.folder, exist_ok=True)
            with open(self.path, "a+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                if end and data:
                    file.seek(end - 1)
                    if file.read(1) != b"\n":  # the last line is truncated, because its writer was killed
                        data = b"\n" + data
                try:
                    if file.write(data) != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(end)
                    raise
        except OSError as error:
            raise self._unfit("written", error) from error

    def _unfit(self, done: str, error: OSError) -> OutputError:
        return OutputError(
            f"{files.shown(self.path)} cannot be {done} ({files.reason(error)}); change that, or choose another folder"
        )

    def _parsed(self, lines: Any) -> Iterator[Record]:
        names = {one.name for one in dataclasses.fields(Record)}
        for line in lines:
            try:
                values = json.loads(line)
                record = Record(**{name: value for name, value in values.items() if name in names})
                sound = _is_sound(record)
                output = places.join(self.folder, record.output)
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
                continue  # truncated, or not ours
            if sound:
                yield dataclasses.replace(record, output=output, notes=tuple(record.notes))

    def _remember(self, record: Record) -> None:
        if record.output_sha256:
            key = _key(record.style, record.style_sha256, record.options)
            way = self._relative(record.output)
            self.pictures[way] = record.source, record.style
            made = self._made.setdefault(way, {})
            made.pop(record.output_sha256, None)
            made[record.output_sha256] = (record.source_sha256, key)

    def _relative(self, output: str) -> str:
        return places.relative(output, self.folder)


def _is_gone(source: str) -> bool:
    """Whether a photograph is missing from a folder that is there; what is relative may be so from elsewhere."""
    if places.is_url(source):
        return False
    return not os.path.lexists(source) and os.path.isdir(os.path.dirname(source))


def _is_sound(record: Record) -> bool:
    """Whether a line with our field names also has values of our types."""
    texts = (record.source, record.style, record.output, record.time, record.version, *record.notes)
    names = (record.source, record.style, record.output)
    hashes = (record.source_sha256, record.style_sha256, record.output_sha256)
    numbers = (record.seconds, *record.losses.values(), *(record.size or ()))
    return (
        all(isinstance(one, str) for one in texts)
        and all(map(files.is_possible, names))
        and all(one is None or re.fullmatch(r"[0-9a-f]+", one) for one in hashes)
        and (record.error is None or isinstance(record.error, str))
        and isinstance(record.options, dict)
        and all(one is None or isinstance(one, str | int | float) for one in record.options.values())
        and all(isinstance(record.options.get(name) or "", str) for name in PLACES if name != "strength")
        and not isinstance(record.notes, str)
        and all(isinstance(one, int | float) and math.isfinite(one) for one in numbers)
        and (record.size is None or len(record.size) == 2)
    )


def _key(style: str, sha256: str | None, options: Mapping[str, Any]) -> str:
    # An earlier version's line lacks later options, which then had their present defaults.
    chosen = {name: value for name, value in {**defaults(Options), **options}.items() if name not in ELSEWHERE}
    return files.sha256(json.dumps([sha256 or style, chosen], sort_keys=True).encode())
