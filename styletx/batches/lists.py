"""Lists of pictures: a file of names, in whatever encoding the program that wrote it uses."""

from __future__ import annotations

import codecs
import os

from styletx import files
from styletx.batches import places
from styletx.errors import PictureError
from styletx.files import shown

# What a file may begin with, and what it then is. The long marks come first, since one of the short ones begins them.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)


def names(path: str) -> list[str]:
    """The names in a list: one on each line, or separated by zero bytes, as `find -print0` writes them.

    A name is taken as it stands, with its spaces, quotes and number signs; blank lines are passed over. A byte order
    mark tells the encoding, as Windows' programs write it. Without one it is UTF-8, but for names of files that are
    there under just those bytes.

    Raises:
        PictureError: the list cannot be read or decoded.
    """
    try:
        data = places.read(path)
    except PictureError as error:
        raise PictureError(f"@{error.args[0]}") from error
    text = _decoded(path, data)
    separator = "\0" if "\0" in text else "\n"
    found = text.split(separator)
    if separator == "\n":
        found = [name.removesuffix("\r") for name in found]
    elif any(name in ("\n", "\r") for name in found) or (len(found) > 2 and max(map(len, found)) == 1):
        raise _undecodable(path, "it looks like UTF-16 or UTF-32 without a byte order mark")
    for number, name in enumerate(found, 1):
        if not name.isprintable() and _is_undecoded(name) and not places.exists(name):
            raise _undecodable(path, f"name {number} is not UTF-8")
    return [files.local(name) for name in found if name.strip()]


def _decoded(path: str, data: bytes) -> str:
    for mark, encoding in MARKS:
        if data.startswith(mark):
            try:
                return data.removeprefix(mark).decode(encoding)
            except UnicodeDecodeError:
                raise _undecodable(path, f"it is not the {encoding.upper()} that its byte order mark says") from None
    return os.fsdecode(data)


def _is_undecoded(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def _undecodable(path: str, why: str) -> PictureError:
    return PictureError(f"@{shown(path)} cannot be read as a list of names ({why}); save it as UTF-8")
