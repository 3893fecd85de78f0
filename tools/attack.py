"""Attacks styletx with thousands of hostile cases, or kills its commands at random instants, and counts what is wrong.

    python tools/attack.py --count 5000                 # cases of all kinds
    python tools/attack.py --kind models --jobs 2       # of one kind, in two workers
    python tools/attack.py --only 1234                  # one case again, with everything about it
    python tools/attack.py kills --count 100            # run, batch, train, inspect and export, killed

A case is a function of the seed and its number alone. It is right if it ends well or is refused in one clear line,
prints nothing that a terminal would obey, runs nothing that a file holds, looks up no name, and changes nothing
outside its folder. It is slow if it takes over a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import multiprocessing
import os
import queue
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from attacks.cases import KINDS, kind_of
from attacks.ground import ground, homes, table
from attacks.judging import Case, printed, read
from attacks.kills import SIGNALS, kills

LIMIT = 60  # seconds, from which on a case is slow
MEMORY = 12 << 30  # bytes of addresses that a worker may use
RENEWED = 400  # cases, after which a worker makes room for a new one


def snapshot(top: Path, but: str) -> dict[str, str]:
    """What is in a folder except one name: paths and hashes."""
    found = {}
    for folder, names, files in os.walk(top):
        if folder == str(top) and but in names:
            names.remove(but)
        for name in files:
            found[f"{folder}/{name}"] = hashlib.sha256(read(Path(folder, name))).hexdigest()
        found |= {f"{folder}/{name}/": "" for name in names}
    return found


def prepared(seed: int, number: int, folder: Path) -> Case:
    """A case in its folder, which is the working folder from here on."""
    os.chdir(folder)
    os.environ.update(homes(folder))
    kind = kind_of(seed, number)
    return KINDS[kind][1](Random(f"{seed} {number} {kind}"), folder)


def work(connection: Any, seed: int, top: Path) -> None:
    """Carry out the cases whose numbers come through a connection."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    aside = os.open(f"{top}-printed", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(aside, descriptor)
    import styletx.cli
    import styletx.stylizers  # noqa: F401

    connection.send("ready")
    variables = dict(os.environ)
    while (number := connection.recv()) is not None:
        folder = top / f"case-{number}"
        case = prepared(seed, number, folder)
        printed()
        connection.send(case.told)
        connection.send(case.attempt())
        os.chdir("/")
        os.environ.clear()
        os.environ.update(variables)


class Worker:
    """A process that carries out cases in a folder of its own, beside files that must not change."""

    def __init__(self, seed: int, base: Path, name: str) -> None:
        self.seed, self.base, self.top = seed, base, base / name
        self.process: Any = None
        self.done = 0
        self._sentinels()

    def do(self, number: int) -> tuple[str, str, float]:
        """A case in one line, what is wrong with it, and the seconds that it took."""
        if self.process is None or self.done >= RENEWED:
            self._start()
        folder = self.top / f"case-{number}"
        shutil.copytree(self.base / "kit", folder)
        before, started, told, wrong = snapshot(self.top, folder.name), time.monotonic(), "", ""
        self.done += 1
        self.connection.send(number)
        try:
            for index in range(2):
                if not self.connection.poll(LIMIT + 2):
                    raise TimeoutError
                told, wrong = (self.connection.recv(), "") if index == 0 else (told, self.connection.recv())
        except TimeoutError:
            self.close()
        except (EOFError, OSError):
            self.process.join(LIMIT)
            wrong = f"the process died ({self.process.exitcode}): {read(f'{self.top}-printed').decode()[-300:]!a}"
            self.close()
        seconds = time.monotonic() - started
        changed = sorted(set(before.items()) ^ set(snapshot(self.top, folder.name).items()))
        if changed:
            wrong = f"{wrong} changed outside: {', '.join(os.path.relpath(path, self.top) for path, _ in changed)}"
            self._sentinels()
        looked = self.base / "looked-up"
        if looked.exists():
            wrong = f"{wrong} looked up: {' '.join(looked.read_text().split())}"
            looked.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        return told, wrong.strip(), seconds

    def close(self) -> None:
        """End the process, and all that it started."""
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.connection.send(None)
                self.process.join(5)
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.join()
            self.process = None

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process, self.done = context.Process(target=work, args=(theirs, self.seed, self.top)), 0
        self.process.start()
        theirs.close()
        self.connection.recv()

    def _sentinels(self) -> None:
        shutil.rmtree(self.top, ignore_errors=True)
        shutil.copytree(self.base / "kit", self.top / "kit")
        shutil.copytree(self.base / "kit", self.top / "outside" / "deep")
        shutil.copy(self.base / "kit" / "photo.png", self.top / "outside" / "victim.png")


def attack(numbers: Iterable[int], seed: int, jobs: int, everything: bool) -> int:
    """Carry out cases, print what is wrong or all of it, and a table; gives the number of cases that are not right."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)
    tally: Counter[tuple[str, str]] = Counter()

    def drive(worker: Worker) -> None:
        with contextlib.suppress(queue.Empty), contextlib.closing(worker):
            while True:
                number = waiting.get_nowait()
                told, wrong, seconds = worker.do(number)
                verdict = "wrong" if wrong else "slow" if seconds > LIMIT else "right"
                tally[kind_of(seed, number), verdict] += 1
                if everything:
                    print(f"{number} printed {read(f'{worker.top}-printed').decode()!a}")
                if everything or verdict != "right":
                    print(
                        f"{number} {kind_of(seed, number)} {verdict} in {seconds:.1f} s: {wrong} | {told}", flush=True
                    )

    with tempfile.TemporaryDirectory(prefix="attack-", ignore_cleanup_errors=True) as name:
        os.environ.update(ground(Path(name)))
        threads = [
            threading.Thread(target=drive, args=(Worker(seed, Path(name), f"job-{job}"),)) for job in range(jobs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return table(tally, "kind")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("cases", "kills"), default="cases")
    parser.add_argument("--count", type=int, help="of cases (5000) or of kills (100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--kind", action="append", choices=list(KINDS), help="only cases of this kind; repeat it for more"
    )
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only this case, with everything about it")
    parser.add_argument("--jobs", type=int, default=1, help="workers at a time")
    arguments = parser.parse_args()
    for number in SIGNALS[1:]:  # what is ignored here would be ignored in every command
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    seed = arguments.seed
    if arguments.part == "kills":
        raise SystemExit(bool(kills(arguments.count or 100, seed)))
    chosen = arguments.kind or list(KINDS)
    numbers: Iterable[int] = (number for number in itertools.count() if kind_of(seed, number) in chosen)
    numbers = itertools.islice(numbers, arguments.count or 5000) if arguments.only is None else [arguments.only]
    raise SystemExit(bool(attack(numbers, seed, arguments.jobs, arguments.only is not None)))


if __name__ == "__main__":
    main()
