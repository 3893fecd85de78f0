"""Asks eyes which of two results is better: makes blind sheets, and counts the votes.

    python benchmarks/preference.py sheets FOLDER --first DIR --second DIR --contents DIR --styles DIR
    python benchmarks/preference.py count FOLDER ballot.csv…

Both folders of results hold pictures of the same names, CONTENT--STYLE.png, after the names of a photograph and a
painting. A sheet shows photograph and painting above, and below the two results as A and B, whose sides are drawn at
random. The key is in FOLDER/key.json, which voters must not see. Some sheets are checks of the voters: there one side
is the untouched photograph, which should lose. A ballot is a line a sheet, such as `007,A`; a voter has a file.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import measure
from PIL import Image, ImageDraw

SIDE = 768  # px of a picture on a sheet at most
GAP = 16
CHECKS = 3


def find(folder: Path, name: str) -> Path:
    """The picture of that name, whatever its extension."""
    found = sorted(folder.glob(f"{name}.*"))
    if not found:
        raise SystemExit(f"{folder} has no picture called {name}")
    return found[0]


def fitted(path: Path, side: int) -> Image.Image:
    """A picture within a square."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def sheet(content: Path, style: Path, one: Path, other: Path) -> Image.Image:
    """Photograph and painting above, one result and the other below."""
    above = [fitted(path, SIDE // 2) for path in (content, style)]
    below = [fitted(path, SIDE) for path in (one, other)]
    # A small photograph is shown at the size of the result that it stands against.
    size = max((picture.size for picture in below), key=max)
    below = [picture.resize(size, Image.Resampling.LANCZOS) for picture in below]
    width = 2 * below[0].width + 3 * GAP
    top = max(picture.height for picture in above) + 2 * GAP
    drawn = Image.new(
        "RGB", (max(width, sum(one.width for one in above) + 3 * GAP), top + below[0].height + 2 * GAP), "white"
    )
    for pictures, line in ((above, GAP), (below, top + GAP)):
        left = GAP
        for picture in pictures:
            drawn.paste(picture, (left, line))
            left += picture.width + GAP
    for letter, left in (("A", GAP), ("B", below[0].width + 2 * GAP)):
        ImageDraw.Draw(drawn).text((left, top - GAP), letter, fill="black", font_size=2 * GAP - 4)
    return drawn


def sheets(arguments: argparse.Namespace) -> None:
    """Write a sheet for each pair, and for some a check, in random order."""
    draw = random.Random(arguments.seed)
    names = sorted(path.stem for path in arguments.first.glob("*--*.png"))
    if not names:
        raise SystemExit(f"{arguments.first} has no pictures called CONTENT--STYLE.png")
    rows = [(name, "second") for name in names] + [
        (name, "copy") for name in draw.sample(names, min(CHECKS, len(names)))
    ]
    draw.shuffle(rows)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    key = {}
    for number, (name, other) in enumerate(rows, 1):
        content_name, style_name = name.split("--")
        content, style = find(arguments.contents, content_name), find(arguments.styles, style_name)
        sides = ["first", other]
        draw.shuffle(sides)
        paths = {"first": find(arguments.first, name), "copy": content}
        if other == "second":
            paths["second"] = find(arguments.second, name)
        pictures = [paths[side] for side in sides]
        sheet(content, style, pictures[0], pictures[1]).save(arguments.folder / f"{number:03d}.png")
        key[f"{number:03d}"] = {"pair": name, "A": sides[0], "B": sides[1]}
    (arguments.folder / "key.json").write_text(json.dumps(key, indent=1))
    print(f"{len(rows)} sheets in {arguments.folder}; keep key.json from the voters")


def count(arguments: argparse.Namespace) -> None:
    """Print what the ballots say, pair by pair and in all, and how the voters did on the checks."""
    key = json.loads((arguments.folder / "key.json").read_text())
    votes: dict[str, Counter[str]] = {}
    checks: Counter[bool] = Counter()
    for path in arguments.ballots:
        with path.open(newline="") as stream:
            for number, letter, *_ in csv.reader(stream):
                entry = key[number.strip()]
                chosen = entry[letter.strip().upper()]
                if "copy" in entry.values():
                    checks[bool(chosen == "first")] += 1
                else:
                    votes.setdefault(entry["pair"], Counter())[chosen] += 1
    rows = [(pair, found["first"], found["second"]) for pair, found in sorted(votes.items())]
    measure.print_table(("pair", "first", "second"), rows)
    first, second = sum(row[1] for row in rows), sum(row[2] for row in rows)
    print(f"\nfirst {first}, second {second}: {first / max(1, first + second):.0%} for the first")
    print(f"the photograph lost on {checks[True]} of {checks.total()} checks")


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    make = parts.add_parser("sheets")
    make.add_argument("folder", type=Path)
    for name in ("first", "second", "contents", "styles"):
        make.add_argument(f"--{name}", type=Path, required=True)
    make.add_argument("--seed", type=int, default=0)
    tally = parts.add_parser("count")
    tally.add_argument("folder", type=Path)
    tally.add_argument("ballots", type=Path, nargs="+")
    arguments = parser.parse_args(given)
    {"sheets": sheets, "count": count}[arguments.part](arguments)


if __name__ == "__main__":
    main()
