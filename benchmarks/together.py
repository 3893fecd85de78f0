"""Measures two runs at once: how long each takes beside the other, against one alone.

    python benchmarks/together.py command    two `styletx run` side by side
    python benchmarks/together.py library    two Python programs that call `styletx.stylize` side by side

Two programs that share the processor's cores should take twice as long as one. They take far longer where the waiting
threads of GNU OpenMP, which torch's Linux wheels use, spin instead of sleeping, as they do by default. The program
shortens the spinning through GOMP_SPINCOUNT before torch is imported; the rows compare that with what happens without.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import measure

# What is set in the environment beyond what the program sets itself.
WAITING = {
    "as styletx sets it": {},
    "OpenMP's default: 300,000 looks": {"GOMP_SPINCOUNT": "300000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
PROGRAM = """
import sys
{first}
import styletx
content, style, output, size, iterations = sys.argv[1:]
styletx.stylize(content, style, size=int(size), iterations=int(iterations), backbone="compact").save(output)
"""
IMPORTS = {"import styletx": PROGRAM.format(first=""), "import torch, styletx": PROGRAM.format(first="import torch")}


def command(arguments: argparse.Namespace, folder: Path) -> None:
    """Two commands side by side."""
    content, style = measure.landscape(arguments.size, folder)
    rows = []
    for name, variables in WAITING.items():
        line = [sys.executable, "-m", "styletx", "run", str(content), str(style), "-q", "--backbone", "compact"]
        line += ["--size", str(arguments.size), "--iterations", str(arguments.iterations)]
        outputs = [["-o", str(folder / f"{number}.png")] for number in (1, 2)]
        rows.append((name, *measured([line + output for output in outputs], variables, arguments.rounds)))
    measure.print_table(("waiting threads", "one alone, s", "two at once, s", "ratio"), rows)


def library(arguments: argparse.Namespace, folder: Path) -> None:
    """Two Python programs side by side."""
    content, style = measure.landscape(arguments.size, folder)
    settings = [str(arguments.size), str(arguments.iterations)]
    cases = [("import styletx", name) for name in WAITING]
    cases.append(("import torch, styletx", next(iter(WAITING))))  # too late for styletx to set anything
    rows = []
    for imports, name in cases:
        line = [sys.executable, "-c", IMPORTS[imports], str(content), str(style)]
        lines = [[*line, str(folder / f"{number}.png"), *settings] for number in (1, 2)]
        rows.append((imports, name, *measured(lines, WAITING[name], arguments.rounds)))
    measure.print_table(("imports", "waiting threads", "one alone, s", "two at once, s", "ratio"), rows)


def measured(lines: list[list[str]], variables: dict[str, str], rounds: int) -> tuple[float, float, float]:
    """Median seconds of the first program alone, of all at once until the last ends, and their ratio."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    environment |= variables
    alone, together = [], []
    for _ in range(rounds):
        alone.append(measure.seconds(run, lines[:1], environment))
        together.append(measure.seconds(run, lines, environment))
    one, two = statistics.median(alone), statistics.median(together)
    return one, two, two / one


def run(lines: list[list[str]], environment: dict[str, str]) -> None:
    """Run programs at once and wait for all of them."""
    processes = [subprocess.Popen(line, env=environment, cwd=measure.ROOT) for line in lines]
    if any([process.wait() for process in processes]):
        sys.exit("a run failed; its message is above")


def main(given: Sequence[str] | None = None) -> None:
    parts = {"command": command, "library": library}
    parser = measure.parser(__doc__, parts)
    parser.add_argument("--iterations", type=int, default=15, help="evaluations at full size")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    arguments = parser.parse_args(given)
    measure.print_machine()
    with tempfile.TemporaryDirectory() as work:
        parts[arguments.part](arguments, Path(work))


if __name__ == "__main__":
    main()
