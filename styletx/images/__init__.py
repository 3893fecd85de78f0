"""Pictures in and out: whatever Pillow reads → float32 sRGB tensors → picture files.

`read` returns a picture upright, in sRGB, in its full depth and with alpha separate. `write` puts a result in place in
one step, with an sRGB profile and the metadata of its run. `resize` and `detailed` work on any device.
"""

from styletx.images.opening import MIN_SIDE
from styletx.images.pixels import on_white, to_pil
from styletx.images.reading import (
    MAX_PIXELS,
    Picture,
    Source,
    check,
    mask,
    read,
    read_metadata,
    shares,
    visible,
    within,
)
from styletx.images.resizing import box_blur, detailed, fit, resize
from styletx.images.sheets import sheet
from styletx.images.writing import check_output, write

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "Picture",
    "Source",
    "box_blur",
    "check",
    "check_output",
    "detailed",
    "fit",
    "mask",
    "on_white",
    "read",
    "read_metadata",
    "resize",
    "shares",
    "sheet",
    "to_pil",
    "visible",
    "within",
    "write",
]
