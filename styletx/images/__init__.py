"""Pictures in and out: whatever Pillow reads → float32 sRGB tensors → picture files.

`read` takes pictures in upright, in sRGB, with their full depth and with alpha apart; `write` puts a result
in place in one step, with an sRGB profile and the metadata of its run.
"""

from styletx.images.decoding import MIN_SIDE
from styletx.images.pixels import fit, resize, to_pil
from styletx.images.reading import MAX_PIXELS, Picture, Source, read, read_metadata
from styletx.images.writing import check_output, numbered, write, write_bytes

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "Picture",
    "Source",
    "check_output",
    "fit",
    "numbered",
    "read",
    "read_metadata",
    "resize",
    "to_pil",
    "write",
    "write_bytes",
]
