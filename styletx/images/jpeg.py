"""JPEG files that lack their end: whether everything else is there (ITU-T T.81)."""

import os
from collections import defaultdict
from typing import BinaryIO

END = b"\xff\xd9"
_BITS = b"\x55" * 64  # decode to something
# What may follow the data to find out whether any is missing: coefficients, and coefficients after restart markers.
FILLERS = (_BITS * 64, b"".join(bytes((0xFF, 0xD0 + number)) + _BITS for number in range(8)) * 8)
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_BARE = (0x01, *range(0xD0, 0xD9))  # markers without a segment
_SCAN, _ZEROS = 0xDA, b"\0" * 4


def unended(data: bytes) -> bytes:
    """The file without what stands for missing bytes at its end: zeros, as broken downloads have, half a marker."""
    return data.rstrip(b"\0").rstrip(END[:1]) if data.endswith(_ZEROS) else data.rstrip(END[:1])


def ends_in_zeros(stream: BinaryIO) -> bool:
    """Whether a file has zeros where its end marker should be. Some programs fill up what follows the marker."""
    stream.seek(-len(_ZEROS), os.SEEK_END)
    if stream.read() != _ZEROS:
        return False
    stream.seek(0)
    return not stream.read().rstrip(b"\0").endswith(END)


def has_all_scans(data: bytes) -> bool:
    """Whether the scans of a progressive picture give all bits of all its coefficients; True for other pictures."""
    bits: dict[int, dict[int, int]] = defaultdict(dict)  # component to coefficient to the lowest bit that is known
    components: set[int] = set()
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF or data[position + 1] in (0x00, 0xFF, *_BARE):
            position += 1  # between the segments, after a scan's header, are its coefficients
            continue
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker in _PROGRESSIVE and len(body) > 5:
            components = set(body[6 : 6 + 3 * body[5] : 3])
        elif marker == _SCAN and body and len(body) >= 2 * body[0] + 4:
            first, last, shift = body[2 * body[0] + 1 :][:3]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                bits[component] |= dict.fromkeys(range(first, last + 1), shift & 15)
        position += 2 + length
    return all(len(bits[one]) == 64 and not any(bits[one].values()) for one in components)
