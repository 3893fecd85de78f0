"""What a file that Pillow does not read by itself is, and what would help."""

import contextlib
import importlib
import os

from styletx.errors import PictureError
from styletx.files import DRAWINGS, RAW, shown

HEADER = 64  # bytes that tell
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands (ISO/IEC 23008-12)
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
RAW_SIGNATURES = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
MODEL_SIGNATURES = (*(b"\x80" + bytes([protocol]) for protocol in range(2, 6)), b"GGUF", b"\x89HDF")
MODELS = (".bin", ".ckpt", ".gguf", ".h5", ".npz", ".onnx", ".pb", ".pt", ".pth", ".safetensors", ".t7", ".tflite")


def is_heic(header: bytes) -> bool:
    """Whether a file beginning like this is HEIC, as telephones write it."""
    return header[4:8] == b"ftyp" and header[8:12] in HEIC


def is_raw(name: str, header: bytes) -> bool:
    """Whether a file of this name that begins like this is what a camera's sensor saw."""
    ending = os.path.splitext(name)[1].lower()
    return ending in RAW or header.startswith(RAW_SIGNATURES) or header[8:10] == b"CR" or header[4:12] == b"ftypcrx "


def enable(header: bytes) -> None:
    """Let Pillow read a file that begins like this, if it needs a plugin and that is installed."""
    with contextlib.suppress(ImportError):
        if is_heic(header):
            importlib.import_module("pillow_heif").register_heif_opener()
        elif header.startswith(JPEG_XL):
            importlib.import_module("pillow_jxl")


def refusal(name: str, header: bytes) -> PictureError:
    """Why a file of this name that begins like this is no picture, and what to do."""
    ending = os.path.splitext(name)[1].lower()
    if is_heic(header):
        what = "is an HEIC picture, which needs a plugin; run: pip install 'styletx[heic]'"
    elif header.startswith(JPEG_XL):
        what = "is a JPEG XL picture, which needs a plugin; run: pip install 'styletx[jxl]'"
    elif is_raw(name, header):
        what = "is a camera's raw file; develop it, and give the JPEG or TIFF"
    elif ending in MODELS or header.startswith(MODEL_SIGNATURES) or b"/data.pkl" in header:
        what = "is a model of another program and not a picture; give a painting, or a style that styletx trained"
    elif ending in DRAWINGS or header.lstrip().startswith((b"%PDF", b"%!PS", b"<svg", b"<?xml")):
        what = "is a drawing or document and not a picture of pixels; export it as a PNG"
    else:
        what = "is not a picture that can be read; use a PNG, JPEG, WebP or TIFF file"
    return PictureError(f"{shown(name)} {what}")
