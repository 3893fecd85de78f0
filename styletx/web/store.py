"""The server's own folder. Names of files are ours; what people call them is text."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from styletx import images
from styletx.errors import StyletxError
from styletx.feedforward import models

if sys.platform != "win32":
    import fcntl

PREFIX = "styletx-page-"
OLD = 60  # seconds after which a folder that nobody holds was left by a server that was killed
KEPT = 60  # pictures that were sent, the latest used
MODEL = ".safetensors"
KEPT_BYTES = 2**30  # of them together
LONGEST_NAME = 80  # characters
BLOCK = 2**20


@dataclass(frozen=True)
class Upload:
    """A picture, a mask or a trained style that was sent.

    Attributes:
        id: by which requests name it: the beginning of the hash of its contents.
        path: where it is.
        name: what the sender calls it, without folders.
        size: bytes.
    """

    id: str
    path: Path
    name: str
    size: int


class Store:
    """What was sent, on disk in a folder of its own, which `close` removes.

    Args:
        max_pixels: of a picture, checked in its header before anything is decoded.
        allow_models: whether trained styles may be sent, as safetensors.
    """

    def __init__(self, max_pixels: int, *, allow_models: bool) -> None:
        _tidy(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._held = _hold(self.folder)
        self.max_pixels, self.allow_models = max_pixels, allow_models
        self.used: Callable[[], set[str]] = set  # the files that are still needed, which are not dropped
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, file: BinaryIO, name: str | None) -> Upload:
        """Keep what was sent, if its contents are a picture.

        Raises:
            PictureError: they are not, whatever its name says.
        """
        label = shown_name(name)
        suffix = MODEL if self.allow_models and label.endswith(MODEL) else ""
        descriptor, temporary = tempfile.mkstemp(suffix, dir=self.folder)
        try:
            digest, size = hashlib.sha256(), 0
            with os.fdopen(descriptor, "wb") as kept:
                while block := file.read(BLOCK):
                    digest.update(block)
                    size += kept.write(block)
            self._check(temporary, label)
            upload = Upload(digest.hexdigest()[:32], self.folder / f"{digest.hexdigest()}{suffix}", label, size)
            with self._lock:
                os.replace(temporary, upload.path)
                self._uploads[upload.id] = upload
                self._uploads.move_to_end(upload.id)
                self._forget()
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return upload

    def get(self, id: str) -> Upload | None:
        """What was sent under an id, or None."""
        with self._lock:
            upload = self._uploads.get(id)
            if upload is not None:
                self._uploads.move_to_end(id)
            return upload

    def named(self, text: str) -> str:
        """A text with the senders' names instead of our files', and without those of files that were dropped."""
        with self._lock:
            uploads = list(self._uploads.values())
        for upload in uploads:
            text = text.replace(str(upload.path), upload.name)
        return re.sub(re.escape(str(self.folder)) + r"[/\\]\w+", "a picture that was dropped", text)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)

    def _check(self, path: str, label: str) -> None:
        try:
            if path.endswith(MODEL):
                models.describe(path)
            else:
                images.check(path, max_pixels=self.max_pixels)
        except StyletxError as error:
            raise type(error)(error.args[0].replace(path, label)) from None

    def _forget(self) -> None:
        used, (*others, _) = self.used(), self._uploads.values()
        size = sum(upload.size for upload in self._uploads.values())
        for upload in others:  # the oldest first
            if len(self._uploads) <= KEPT and size <= KEPT_BYTES:
                return
            if str(upload.path) not in used:
                size -= upload.size
                del self._uploads[upload.id]
                upload.path.unlink(missing_ok=True)


def _tidy(place: Path) -> None:
    """Remove the folders of servers that were killed."""
    for left in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > OLD and (held := _hold(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(held)


def _hold(folder: Path) -> int | None:
    """A descriptor by which this process holds a folder until it ends; None if another process does."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def shown_name(name: str | None) -> str:
    """What a sender calls a file, without folders and without anything that is not to be seen."""
    base = (name or "").replace("\\", "/").rpartition("/")[2]
    text = "".join(letter for letter in base if letter.isprintable()).strip()
    return text[-LONGEST_NAME:] or "picture"
