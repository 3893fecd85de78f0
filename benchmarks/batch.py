"""Measures whole folders: what is lost beside the network's own time, what many pictures cost, and what kills cost.

    python benchmarks/batch.py network    50 photographs at 512 px against the network's own time for the same 50
    python benchmarks/batch.py growth     10, 100 and 1,000 pictures: time a picture and peak memory
    python benchmarks/batch.py kills      20 SIGKILLs at random instants during one batch of 200 pictures

The photographs are the project's and those of the test data, repeated as often as needed.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import measure
from PIL import Image

import styletx
from styletx import files
from styletx.batches.manifest import Manifest


def folder_of(arguments: argparse.Namespace, count: int, folder: Path) -> Path:
    """A folder with so many photographs."""
    photographs = [*measure.photographs(arguments), *sorted((arguments.shared / "photos").glob("*.jpg"))]
    folder.mkdir(parents=True)
    for index, path in zip(range(count), itertools.cycle(photographs), strict=False):
        shutil.copyfile(path, folder / f"{index:04d}.jpg")
    return folder


def network(arguments: argparse.Namespace, work: Path) -> None:
    """Wall time of a batch over the time that its network takes by itself, in turn."""
    photographs = folder_of(arguments, arguments.count, work / "photographs")
    options = styletx.Options(size=arguments.size, device=arguments.device)
    stylizer = styletx.load_stylizer(arguments.style, options)
    runs = [stylizer.start(path) for path in sorted(photographs.iterdir())]
    for _ in stylizer.steps(runs[0]):  # what only the first picture needs
        pass
    rows = []
    for turn in range(1, arguments.turns + 1):
        alone = measure.seconds(lambda: [list(stylizer.steps(run)) for run in runs], device=arguments.device)
        prepared = measure.seconds(styletx.load_stylizer, arguments.style, options, device=arguments.device)
        began = time.perf_counter()
        records = list(styletx.batch(photographs, arguments.style, work / f"turn{turn}", options))
        whole = time.perf_counter() - began
        assert not any(record.error for record in records)
        rows.append((turn, alone, prepared, whole, len(runs) / whole, (whole - prepared) / alone, whole / alone))
    measure.print_table(
        (
            *("turn", "network alone, s", "preparing the style, s", "batch, s", "pictures a second"),
            *("ratio without preparing", "ratio"),
        ),
        rows,
    )
    print(f"median ratio: {statistics.median(row[-1] for row in rows):.3f}")


def growth(arguments: argparse.Namespace, work: Path) -> None:
    """Batches of several sizes, a process each."""
    rows = []
    for count in arguments.counts:
        folder_of(arguments, count, work / f"photographs{count}")
        command = [sys.executable, __file__, "once", "--style", arguments.style, "--size", str(arguments.size)]
        done = subprocess.run([*command, "--work", str(work), "--count", str(count)], check=True, capture_output=True)
        rows.append((count, *json.loads(done.stdout.splitlines()[-1])))
    measure.print_table(("pictures", "s a picture", "peak memory, MiB"), rows)
    for name, column in (("time a picture", 1), ("peak memory", 2)):
        values = [row[column] for row in rows]
        print(f"{name}: the greatest is {max(values) / min(values):.3f} times the least")


def once(arguments: argparse.Namespace, work: Path) -> None:
    """One batch in this process: seconds a picture from the second on, and the peak of memory in MiB."""
    records = styletx.batch(
        work / f"photographs{arguments.count}", arguments.style, work / f"out{arguments.count}", size=arguments.size
    )
    assert next(records).error is None  # it waits for torch and the style
    began, count = time.perf_counter(), 0
    for record in records:
        assert record.error is None
        count += 1
    seconds = time.perf_counter() - began
    print(json.dumps([seconds / count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def kills(arguments: argparse.Namespace, work: Path) -> None:
    """A batch that is killed again and again, each time at a random instant, and then left to finish."""
    generator = random.Random(arguments.seed)
    photographs, output = folder_of(arguments, arguments.count, work / "photographs"), work / "out"
    command = [sys.executable, "-m", "styletx", "batch", str(photographs), "-s", arguments.style, "-o", str(output)]
    command += ["--size", str(arguments.size), "--quiet", "--no-contact-sheet"]

    began = time.perf_counter()
    trial = [*command, "--pattern", "000[0-9].jpg", "-o", str(work / "trial")]
    subprocess.run(trial, check=True)
    startup = time.perf_counter() - began
    seconds = [record.seconds for record in Manifest(str(work / "trial")).records()]
    working = statistics.median(seconds) * arguments.count
    rows = []
    for kill in range(1, arguments.kills + 1):
        there = set(output.glob("*.png"))
        stamps = {path: path.stat().st_mtime_ns for path in there}
        process = subprocess.Popen(command)
        if kill % 5:  # every fifth comes while it is still starting
            while process.poll() is None and set(output.glob("*.png")) == there:
                time.sleep(0.01)
            time.sleep(generator.uniform(0, 1.5 * working / arguments.kills))
        else:
            time.sleep(generator.uniform(0, startup))
        was_running = process.poll() is None
        process.kill()
        process.wait()
        after = set(output.glob("*.png"))
        hashes: dict[Path, set[str | None]] = {}
        lines = 0
        if (output / "manifest.jsonl").exists():
            for record in Manifest(str(output)).records():
                hashes.setdefault(Path(record.output), set()).add(record.output_sha256)
                lines += 1
        broken = sum(files.sha256(path.read_bytes()) not in hashes[path] for path in after)
        touched = sum(path.stat().st_mtime_ns != stamps[path] for path in there)
        rows.append((kill, was_running, len(after), broken, touched, lines - len(after)))
    measure.print_table(
        ("kill", "while running", "pictures after", "broken", "done again", "records without a picture, in all"), rows
    )
    subprocess.run(command, check=True)
    lines_of = Counter(record.output for record in Manifest(str(output)).records())
    whole = sum(_is_whole(path) for path in output.glob("*.png"))
    print(f"complete at the end: {whole} of {arguments.count}; left over: {len(list(output.glob('.*.tmp')))}")
    print(f"made more than once: {sum(lines_of.values()) - len(lines_of)} over {arguments.kills} kills")


def _is_whole(path: Path) -> bool:
    try:
        Image.open(io.BytesIO(path.read_bytes())).load()
    except OSError:
        return False
    return True


def main(given: Sequence[str] | None = None) -> None:
    parts = {"network": network, "growth": growth, "kills": kills, "once": once}
    parser = measure.parser(__doc__, parts)
    measure.add_device(parser)
    parser.add_argument("--style", default="mosaic")
    parser.add_argument("--count", type=int, help="pictures, for network (50) and kills (200)")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000], help="pictures, for growth")
    parser.add_argument("--turns", type=int, default=3, help="for network")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the instants, for kills")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    arguments.count = arguments.count or {"network": 50, "kills": 200}.get(arguments.part)
    if arguments.work:
        parts[arguments.part](arguments, arguments.work)
        return
    measure.print_machine(arguments.device)
    with tempfile.TemporaryDirectory() as work:
        parts[arguments.part](arguments, Path(work))


if __name__ == "__main__":
    main()
