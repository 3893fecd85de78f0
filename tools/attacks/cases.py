"""The kinds of hostile cases; a new one is an entry in `KINDS`."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageCms, PngImagePlugin

from attacks.judging import Case, call, command, process, read

VICTIM = "../outside/victim.png"

TEXTS = (
    *("", " ", "-", "--", "@", "0", "-1", "-0", "1", "16", "0.5", "1.5", "1_6", "٣", "0x10", "nan", "-inf", "1e400"),
    *("None", "true", "original", "auto", "random", "cpu", "cuda:99", "mps", "mosaic", "compact", "vgg19", "relu1_1"),
    *("relu1_1=nan", "relu1_1=1,relu1_1", ",", "=", "9" * 400, "9" * 5000, "x" * 5000, "é" * 300, "写真", "\udcff"),
    *("\x1b[2J", "a\rb", "a\nError: b", "\x9b31m", "\u202egnp", "\ue000size\ue001", "%s", "{0}", "$(touch x)", "~"),
    *(".", "..", "../..", "/dev/null", "/dev/full", "/proc/self/mem", "photo.png", "photo.png/a.png", "a.png"),
    *("s3://none.invalid/a.png", "http://none.invalid/a.png", "file:///photo.png", "file://localhost/%00", "-q.png"),
)


def value(random: Random, depth: int = 0) -> Any:
    """Anything that JSON can express, and some that it cannot."""
    if depth < 3 and random.random() < 0.3:
        items = [value(random, depth + 1) for _ in range(random.randrange(4))]
        return items if random.random() < 0.5 else {random.choice(TEXTS): one for one in items}
    numbers = (0, -1, 1, 7, 2**31, 2**63, 2**64, -(2**70), 10**300, 0.5, 1e308, float("nan"), float("inf"))
    return random.choice((None, True, False, *numbers, *random.choices(TEXTS, k=10)))


def mutated(random: Random, given: Any) -> Any:
    """What JSON says, with a value anywhere in it replaced."""
    if not isinstance(given, dict | list) or not given or random.random() < 0.1:
        return value(random)
    changed: Any = given.copy()
    key = random.choice(list(given)) if isinstance(given, dict) else random.randrange(len(given))
    if random.random() < 0.1:
        del changed[key]
    else:
        changed[key] = mutated(random, given[key])
    return changed


def damaged(random: Random, data: bytes) -> bytes:
    """Bytes that are cut, flipped, zeroed, filled, repeated or removed, once to three times."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        start = random.randrange(1 + min(len(changed), random.choice((64, 512, len(changed)))))
        part = slice(start, start + random.choice((1, 2, 4, 8, 64, 1 + len(changed) // 4)))
        length = len(changed[part])
        way = random.randrange(7)
        if way == 0:
            del changed[start:]
        elif way < 3:
            changed[part] = bytes(one ^ random.choice((1, 128, 255)) for one in changed[part])
        elif way == 6:
            del changed[part]
        else:
            changed[part] = (bytes(length), b"\xff" * length, bytes(changed[part]) * random.choice((2, 50)))[way - 3]
    return bytes(changed)


FORMATS = {
    **{"png": ("RGB", "RGBA", "L", "LA", "1", "P", "I;16"), "jpeg": ("RGB", "L", "CMYK"), "webp": ("RGB", "RGBA")},
    **{"tiff": ("RGB", "RGBA", "L", "1", "P", "I;16", "CMYK", "F", "LAB", "YCbCr"), "gif": ("P", "L")},
    **{"bmp": ("RGB", "L", "1", "P"), "ppm": ("RGB", "L", "1", "I;16"), "tga": ("RGB", "RGBA", "L")},
    **{"jpeg2000": ("RGB", "L"), "avif": ("RGB", "RGBA")},
}


def picture(random: Random, format: str) -> bytes:
    """A small picture's file, sound but for its EXIF block and its profile."""
    mode = random.choice(FORMATS[format])
    size = random.choice((16, 20, 33)), random.choice((16, 24, 40))
    image = Image.frombytes(mode, size, random.randbytes(len(Image.new(mode, size).tobytes())))
    options: dict[str, Any] = {}
    if format in ("png", "jpeg", "webp", "tiff", "avif"):
        if random.random() < 0.4:
            exif = Image.Exif()
            exif[0x0112] = random.choice((1, 3, 6, 8, 0, 99))
            exif[0x010E] = random.choice(("x", "\x1b[2J", "{" * 900))
            options["exif"] = exif.tobytes() if random.random() < 0.3 else b"Exif\0\0" + damaged(random, exif.tobytes())
        if random.random() < 0.3:
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
            options["icc_profile"] = damaged(random, profile)
    if format == "tiff":
        options["compression"] = random.choice(("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"))
    if format == "gif" and random.random() < 0.5:
        options |= {"save_all": True, "append_images": [image.rotate(90)], "transparency": 3}
    stream = io.BytesIO()
    try:
        image.save(stream, format, **options)
    except Exception:  # not every block can be saved
        stream = io.BytesIO()
        image.save(stream, format)
    return stream.getvalue()


class Explosion:
    """What makes a folder outside when its pickle is executed."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.path.abspath("../outside/exploded"),)


def pictures(random: Random, folder: Path) -> Case:
    """Picture files, damaged in all kinds of ways."""
    from styletx import images

    format = random.choice(list(FORMATS))
    data = picture(random, format)
    if random.random() < 0.85:
        data = damaged(random, data)
    name = f"hostile.{random.choice((format, format, format, *FORMATS, 'jpg', 'tif', 'heic', 'jxl', 'eps'))}"
    (folder / name).write_bytes(data)
    size = ("--size", "40", "--device", "cpu")
    way = random.random()
    if way < 0.03:
        return command("run", name, "mosaic", *size, "-o", f"out.{random.choice(('png', 'jpg', 'webp', 'tif'))}")
    if way < 0.05:
        return command("run", "photo.png", name, *size, "--iterations", "1", "-o", "out.png")
    if way < 0.06:
        return command("batch", name, "photo.png", "-s", "mosaic", "-o", "out", *size)
    if way < 0.1:
        return command("info", name, *(["--json"] if random.random() < 0.5 else []))

    def sound() -> None:
        found = images.read(data if way < 0.4 else name)
        assert 0 <= float(found.pixels.min()) <= float(found.pixels.max()) <= 1, "pixels are outside [0, 1]"

    return call(f"images.read of {name} ({len(data)} bytes)", sound)


BASES = {
    "run": ("photo.png", "mosaic", "--size", "24", "--device", "cpu", "-o", "out.png"),
    "batch": ("photo.png", "-s", "mosaic", "-o", "out", "--size", "24", "--device", "cpu"),
    "inspect": ("compact", "photo.png", "--size", "24", "--iterations", "1", "--texture", "-o", "out.png"),
    "export": ("model.safetensors", "-o", "out.onnx"),
    "info": ("photo.png",),
    "train": ("painting.png", "--photos", ".", "-o", "out.safetensors", "--steps", "1"),
    **dict.fromkeys(("styles", "weights", "backbones", "doctor"), ()),
}
UNTRIED = ("compile", "workers", "help")  # a minute of a compiler, and a process for each worker


def options(random: Random, folder: Path) -> Case:
    """Values of all kinds for flags and arguments of all commands."""
    import click

    from styletx.cli import main

    name = random.choice(list(BASES))
    base = list(BASES[name])
    if name == "run" and random.random() < 0.2:
        base[1:2] = ["painting.png", "--iterations", "1"]
    found = main.get_command(click.Context(main), name)
    assert found is not None
    flags = [one for one in found.params if isinstance(one, click.Option) and one.name not in UNTRIED]
    for one in random.choices(flags, k=random.randint(1, 3)) if flags else ():
        flag = random.choice(one.opts)
        base += [flag] if one.is_flag else [flag, random.choice(TEXTS)]
    if base and random.random() < 0.2:
        base[random.randrange(len(base))] = random.choice(TEXTS)
    if random.random() < 0.05:
        name = random.choice(TEXTS)
    return command(name, *base, stdin=random.choice((b"", b"x", read(folder / "photo.png"))))


def models(random: Random, folder: Path) -> Case:
    """Files of models and weights: damaged, of odd headers, with code in them, packed, or no files at all."""
    good = random.choice(("model.safetensors", "model.onnx", "weights.safetensors", "weights.pth"))
    way = random.choice(("damaged", "damaged", "odd", "odd", "code", "packed", "no file"))
    suffix = Path(good).suffix if random.random() < 0.9 else random.choice((".safetensors", ".onnx", ".pth"))
    path = folder / f"hostile{suffix}"
    data = read(folder / good)
    if way == "no file":
        unreadable(random, path)
    elif way == "code":
        path.write_bytes(code(random))
    elif way == "packed":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("archive/data.pkl", pickle.dumps({"features.0.weight": b"\0" * 1000}, protocol=2))
            packed.writestr("archive/data/0", bytes(random.choice((10, 10**7, 10**8))))
            packed.writestr("archive/version", "3\n")
    elif way == "damaged" or good == "weights.pth":
        path.write_bytes(damaged(random, data))
    else:
        path.write_bytes(odd_onnx(random, data) if good == "model.onnx" else odd_safetensors(random, data))
    name, small = path.name, ("--size", "24", "--device", "cpu")
    picture = ("run", "photo.png", "painting.png", "--iterations", "1", "-o", "out.png", *small)
    training = ("train", "painting.png", "--photos", ".", "-o", "out.safetensors", "--steps", "1", "--from", name)
    ways: list[tuple[str, ...]] = [
        *[("run", "photo.png", name, *small, "-o", "out.png"), ("export", name, "-o", "out.onnx"), training],
        *[("run", "photo.png", name, *small, "--runtime", "onnx"), ("batch", "photo.png", "-s", name, "-o", "out")],
        *[(*picture, "--weights", name), (*picture, "--init", name), ("doctor", "--weights", name)],
        ("inspect", "compact", "photo.png", "--weights", name, "--size", "24", "--gram", "-o", "out.png"),
    ]
    return command(*random.choice(ways), about=f"({way} {good})")


def unreadable(random: Random, path: Path) -> None:
    """Put something at a path that is no ordinary file, or an odd one."""
    way = random.randrange(6)
    if way == 0:
        os.mkfifo(path)
    elif way == 1:
        path.mkdir()
    elif way == 2:
        path.write_bytes(b"")
        os.truncate(path, random.choice((0, 2**20, 2**33)))
    elif way < 5:
        path.symlink_to(random.choice((path.name, "nowhere", "/dev/zero", "/dev/full", "..", "/proc/self/mem", VICTIM)))


def code(random: Random) -> bytes:
    """A pickle that does something when it is executed, in one of torch's formats or in none."""
    import torch

    state = {"features.0.weight": Explosion(), "identity": Explosion()}
    if random.random() < 0.3:
        return pickle.dumps(state, protocol=random.randrange(6))
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=random.random() < 0.5)
    return file.getvalue()


def odd_safetensors(random: Random, data: bytes) -> bytes:
    """A safetensors file with something wrong in its header, or in what styletx says there."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = random.random()
    if way < 0.1:
        return struct.pack("<Q", random.choice((0, 2, 2**32, 2**63, 2**64 - 1, length - 1, length + 1))) + data[8:]
    if way < 0.2:
        return struct.pack("<Q", 200_000) + b'{"a":' * 40_000 + rest
    if way < 0.7 and "__metadata__" in header:
        about = json.loads(header["__metadata__"]["styletx"])
        if random.random() < 0.6:
            about["layout"] = mutated(random, about["layout"])
        header["__metadata__"]["styletx"] = json.dumps(mutated(random, about) if random.random() < 0.5 else about)
    else:
        header = mutated(random, header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def odd_onnx(random: Random, data: bytes) -> bytes:
    """An ONNX file with something else in its graph."""
    import onnx

    proto = onnx.load_from_string(data)
    for _ in range(random.randint(1, 2)):
        node, tensor = random.choice(proto.graph.node), random.choice(proto.graph.initializer)
        huge = random.choice((0, -1, 3, 2**20, 2**40))
        way = random.randrange(8)
        with contextlib.suppress(IndexError, ValueError, TypeError):
            if way == 0:
                node.op_type = random.choice(("Evil", "Loop", "If", "Shape", "NonZero", "Tile", "Relu", "Resize"))
            elif way == 1:
                node.input[random.randrange(len(node.input))] = random.choice(("", "nowhere", "pixels", tensor.name))
            elif way == 2:
                tensor.dims[random.randrange(len(tensor.dims))] = huge
            elif way == 3:
                tensor.data_type = random.randrange(30)
            elif way == 4:
                proto.graph.node.remove(node)
            elif way == 5:
                attribute = random.choice(node.attribute)
                attribute.ints[:] = [huge] * random.choice((0, len(attribute.ints), 9))
                attribute.type = random.randrange(14)
            elif way == 6:
                proto.metadata_props.add(key="styletx", value=json.dumps(value(random)))
            else:
                proto.opset_import[0].version = random.choice((0, 1, 99, 2**31))
    text: bytes = proto.SerializeToString()
    return text


VARIABLES: dict[str, Sequence[str | None]] = {
    **dict.fromkeys(("COLUMNS", "LINES", "TERM", "MPLBACKEND", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"), TEXTS),
    **{f"TQDM_{name}": TEXTS for name in ("MININTERVAL", "DISABLE", "NCOLS", "ASCII", "SMOOTHING", "POSITION", "X")},
    **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "TMPDIR"), (None, "", "x", "/dev/null", "a\n")),
    "LC_ALL": ("C", "POSIX", "C.UTF-8"),
    "STYLETX_CACHE": ("", "/dev/null/x", "photo.png", "\x1b[2J", "/proc/x", "a" * 300),
    "PYTHONIOENCODING": ("ascii", "ascii:strict", "latin-1", "cp1252"),
    "PYTHONWARNINGS": ("error", "default", "error::UserWarning"),
}
STREAMS = (
    *("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1", "</dev/full"),
    *("| true; exit ${PIPESTATUS[0]}", *[""] * 10),
)


def environment(random: Random, folder: Path) -> Case:
    """Variables of the environment, and streams that are closed, full or broken."""
    from styletx.options import Options, defaults

    own = {f"STYLETX_{name.upper()}": TEXTS for name in defaults(Options) if name not in ("offline", "compile")}
    known = VARIABLES if random.random() < 0.7 else own
    given = {name: random.choice(known[name]) for name in random.sample(list(known), random.randint(1, 2))}
    name = random.choice(("run", "run", "batch", "inspect", "export", "info", "doctor", "styles", "weights"))
    more = random.choice(((), (), (), (), ("--json",), ("--help",)))
    return process(name, *BASES[name], *more, redirection=random.choice(STREAMS), environment=given)


# What Python can give to a function, as expressions.
ODD = r"""
None; b""; b"x\0y"; object(); int; len; ...; "a\0b"; Path("a\0b"); Path("nowhere"); [None]; {1}; (); [[]]; {};
iter([]); -1; 0; 10**400; float("nan"); 2.5j; True; "x"; "photo.png"; "\x1b[2J"; ["photo.png"]; np.int64(16);
np.float32(0.5); Fraction(1, 2); torch.tensor(16); torch.tensor(2.5); io.StringIO("x"); io.BytesIO(b"x");
io.BytesIO(photo); open("photo.png"); photo; photo[:99]; open("photo.png", "rb"); bytearray(photo); memoryview(photo);
Image.new("F", (20, 20)); Image.new("I", (20, 20)); Image.new("LAB", (20, 20)); Image.new("HSV", (20, 20));
Image.new("PA", (20, 20)); Image.new("La", (20, 20)); Image.new("L", (0, 9)); Image.open("photo.png"); Image.new("RGB",
(2000, 16)); np.asmatrix(array[..., 0]); array; array * np.nan; array[..., :2]; -array; array[::-1]; array[:0]; array >
0.5; array * np.inf; np.zeros((0, 0, 3)); np.zeros(20); np.zeros(()); np.zeros((2, 20, 20, 3)); np.zeros((20, 20, 5));
np.zeros((20, 20, 0)); np.full((20, 20), "x"); np.ma.masked_all((20, 20, 3)); array.astype("O"); array.astype("U3");
array.astype("c8"); array.astype("i8"); array.astype("f2"); array.astype(">f4"); (array * 9).astype("M8[s]");
np.zeros((20, 20, 3), "V12"); tensor; tensor * torch.nan; tensor.to("meta"); tensor.to_sparse();
tensor.to(torch.complex64); tensor.clone().requires_grad_(); tensor[None, None]; tensor[:0]; tensor[:, :0];
tensor.flip(1).mT; tensor.to(torch.float8_e4m3fn); tensor.to(torch.bfloat16); tensor.to(torch.uint16);
tensor.to(torch.int8); tensor > 0.5; tensor.to(torch.float64); tensor.expand(2, 3, 20, 20);
torch.quantize_per_tensor(tensor, 0.1, 0, torch.quint8); torch.nested.nested_tensor([tensor[0]]);
torch.nn.Parameter(tensor); Options; Options(size=16); type("Text", (str,), {})("x"); type("Path", (), {"__fspath__":
lambda self: 3})(); type("Reader", (), {"read": lambda self, *_: 3})(); type("Odd", (), {"__repr__": lambda self:
"a\nb"})()
"""
# Calls of the library, in which the words in capitals are replaced.
CALLS = """
Options(FIELD=ODD); Options(FIELD=ODD, size=ODD); TrainingOptions(FIELD=ODD); images.read(ODD); images.read(ODD);
stylize(ODD, STYLE, QUICK); stylize("photo.png", ODD, QUICK); stylize("photo.png", STYLE, QUICK | {"FIELD": ODD});
stylize("photo.png", "mosaic", ODD); stylize("photo.png", "mosaic", QUICK, progress=ODD); load_stylizer(STYLE,
QUICK)(ODD); load_stylizer(STYLE, QUICK)(["photo.png", ODD]); load_stylizer(ODD, QUICK)("photo.png");
load_stylizer(STYLE, download=ODD); list(load_stylizer(STYLE, QUICK).start("photo.png", initial=ODD));
list(load_stylizer(STYLE, QUICK).start(ODD)); stylize("photo.png", "mosaic", QUICK).save(ODD); stylize("photo.png",
"mosaic", QUICK).save("out.png", overwrite=ODD); stylize("photo.png", "mosaic", QUICK).save(io.BytesIO(), format=ODD);
list(batch(ODD, STYLE, "out", QUICK)); list(batch("photo.png", ODD, "out", QUICK)); list(batch("photo.png", STYLE, ODD,
QUICK)); list(batch([ODD], [ODD], "out", QUICK)); list(batch("photo.png", "mosaic", "out", QUICK, SETTING=ODD));
list(batch("photo.png", "mosaic", "out", QUICK, FIELD=ODD))
"""


def library(random: Random, folder: Path) -> Case:
    """Calls of the library with values of other types than it says."""
    import numpy as np
    import torch

    import styletx
    from styletx import images
    from styletx.options import Options, TrainingOptions, defaults

    array = np.random.default_rng(0).random((20, 20, 3), np.float32)
    world = {name: getattr(styletx, name) for name in ("stylize", "load_stylizer", "batch", "Options")}
    world |= {"images": images, "TrainingOptions": TrainingOptions, "np": np, "torch": torch, "array": array, "io": io}
    world |= {"tensor": torch.from_numpy(array).permute(2, 0, 1), "photo": read("photo.png"), "Path": Path}
    world |= {"Image": Image, "Fraction": Fraction}
    kind = TrainingOptions if (told := random.choice(CALLS.split(";")).strip()).startswith("Training") else Options
    # None that is given already: Python takes no keyword twice.
    fields = [name for name in defaults(kind) if name != "compile" and f"{name}=" not in told]
    words: dict[str, Callable[[], str]] = {
        "FIELD": lambda: random.choice(fields),
        "SETTING": lambda: random.choice(("executor", "workers", "address", "pattern", "format", "overwrite")),
        "STYLE": lambda: random.choice(('"mosaic"', '"painting.png"', '"model.safetensors"')),
        "QUICK": lambda: '**{"size": 24, "iterations": 1, "device": "cpu"}',
        "ODD": lambda: " ".join(random.choice(ODD.split(";")).split()),
    }
    told = re.sub("|".join(words), lambda found: words[found[0]](), " ".join(told.split()))
    return call(told, lambda: eval(told, world), TypeError, ValueError)


NAMES = (
    *("photo.png", "painting.png", "model.safetensors", ".", "..", "../outside", VICTIM, "out", "out/photo.png"),
    *("~", "", " ", "a\x1b[2J.png", "a\rb.png", "a\nb.png", "\u202egnp.png", "../" * 9 + "nowhere.png", "x" * 300),
    *("/dev/zero", "/proc/self/environ", "s3://none.invalid/a.png", "https://none.invalid/a.png", "zip://a::b.png"),
    *("file:///etc/hostname", "photo.png/.", "./photo.png", "*.png", "loop", "-s", "写真.png", "@list.txt"),
)


def manifests(random: Random, folder: Path) -> Case:
    """Batches with hostile manifests, lists, links and names."""
    from styletx.batches import Record

    out = folder / "out"
    out.mkdir()
    (folder / "loop").symlink_to(".")
    for name in random.sample([name for name in NAMES if "/" not in name], 3):
        with contextlib.suppress(OSError, shutil.SameFileError):
            shutil.copy(folder / "photo.png", folder / name) if not (folder / name).exists() else None
    record = dataclasses.asdict(Record("photo.png", "mosaic", "photo.png", output_sha256="0" * 64))
    lines = [json.dumps(mutated(random, record)).encode() for _ in range(random.randrange(4))]
    lines += random.choice(([], [], [b"[" * 100_000], [b"\xff\xfe\0"], [b'{"source": ' + b"9" * 9000]))
    (out / "manifest.jsonl").write_bytes(b"\n".join(lines))
    if random.random() < 0.4:
        link = out / random.choice(("photo.png", "manifest.jsonl", "contact-sheet.png", "report.html", "mosaic"))
        link.unlink(missing_ok=True)
        link.symlink_to(random.choice((f"../{VICTIM}", "../../outside", "../photo.png", link.name, "/dev/full")))
    text = random.choice(("\n", "\r\n", "\0")).join(random.sample(NAMES, random.randint(1, 4)))
    written = text.encode(random.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7")))
    (folder / "list.txt").write_bytes(written if random.random() < 0.8 else damaged(random, written + b"\n"))
    sources = random.choice((["@list.txt"], random.sample(NAMES, 2), ["photo.png"]))
    styles = (
        ["-smosaic", f"-s{random.choice(NAMES)}"]
        if random.random() < 0.2
        else ["-smosaic", "-sscream"][: random.randint(1, 2)]
    )
    place = random.choice(("out", "out", "out", ".", "loop", "out/../out", "photo.png", "a\x1b[2J", "photo.png/x"))
    more = random.choice(
        ("-q", "-q", "--dry-run", "--report", "--overwrite", "--json", "--pattern=[", "--pattern=../*")
    )
    quick = ("--size", "24", "--iterations", "1", "--device", "cpu")
    return command("batch", *styles, "-o", place, *quick, more, "--", *sources, about=ascii(written[:200]))


def metadata(random: Random, folder: Path) -> Case:
    """Pictures with hostile metadata of styletx's own."""
    from styletx.options import Options, defaults

    record: Any = {
        "content": "photo.png",
        "style": "mosaic",
        "seed": 7,
        "options": dict(defaults(Options)),
        "size": [1, 2],
    }
    for _ in range(random.randint(1, 3)):
        record = mutated(random, record)
    huge = random.choice((100, 1000, 50_000))
    odd = ("[" * huge + "]" * huge, '{"a":' * huge + "1" + "}" * huge, "9" * huge, "1e999", "NaN", '"\\ud800"')
    around = random.choice(("%s", '{"content": %s}', '{"options": {"size": %s}}', '{"a": %s}'))
    text = json.dumps(record) if random.random() < 0.7 else around % random.choice(odd)
    name = f"hostile.{random.choice(('png', 'png', 'jpg', 'webp', 'tif'))}"
    information, exif = PngImagePlugin.PngInfo(), Image.Exif()
    random.choice((information.add_text, information.add_itxt))("styletx", text)
    exif[65_000] = text[:60_000]
    exif[0x010E] = json.dumps({"styletx": record})[:60_000]
    del exif[random.choice((65_000, 0x010E))]
    with Image.open(folder / "photo.png") as image, contextlib.suppress(Exception):  # none is a case, too
        options: dict[str, Any] = {"pnginfo": information} if name.endswith("png") else {"exif": exif}
        image.save(folder / name, **options)
    again = ("run", name, "mosaic", "--size", "24", "--device", "cpu", "-o", "out.png")
    arguments = random.choice((("info", name), ("info", name), ("info", name, "--json"), again))
    return command(*arguments, about=ascii(text[:300]))


# Each kind with its share of the cases.
KINDS: dict[str, tuple[int, Callable[[Random, Path], Case]]] = {
    "pictures": (44, pictures),
    "options": (16, options),
    "models": (11, models),
    "environment": (4, environment),
    "library": (13, library),
    "manifests": (6, manifests),
    "metadata": (6, metadata),
}


def kind_of(seed: int, number: int) -> str:
    """The kind of a case."""
    return Random(f"{seed} {number}").choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
