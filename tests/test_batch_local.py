"""A batch on one machine: equal to single runs, resumed after any end, and stopped by no one picture."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Processes, painting, photo
from PIL import Image

import styletx
from styletx import files, stylizers
from styletx.batches import Batch, local, pipeline, workers
from styletx.batches import painting as steps
from styletx.batches.manifest import Manifest, Recipe, Record
from styletx.batches.painting import Painted, Started, Task
from styletx.batches.plan import Job
from styletx.errors import OptionError, OutputError, PictureError, StyletxError, WeightsError
from styletx.options import Options, defaults

SMALL: dict[str, Any] = {"size": 32, "precision": "float32", "device": "cpu"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with six photographs of two sizes in `photos`, a painting, and a trained network."""
    from styletx.feedforward import models
    from styletx.feedforward.networks import Layout, Transformer

    monkeypatch.chdir(tmp_path)
    Path("photos/deep").mkdir(parents=True)
    for index in range(6):
        picture = Image.fromarray(np.roll(photo(), 7 * index, axis=1))
        picture = picture.transpose(Image.Transpose.ROTATE_90) if index % 3 == 2 else picture
        picture.save(f"photos/{'deep/' if index == 5 else ''}p{index}.png")
    Image.fromarray(painting()).save("painting.png")
    torch.manual_seed(0)
    models.write(Path("net.safetensors"), Transformer(Layout(widths=(4, 8), blocks=1, kernel=3)), {"name": "net"})
    return tmp_path


def outcome(records: Iterable[Record]) -> Counter[str]:
    return Counter("failed" if one.error else "skipped" if one.skipped else "done" for one in records)


def pictures(folder: str = "out") -> dict[str, np.ndarray]:
    return {
        str(path.relative_to(folder)): np.asarray(Image.open(path).convert("RGB"))
        for path in sorted(Path(folder).rglob("*.png"))
    }


@pytest.mark.parametrize("style", ["net.safetensors", "painting.png"])
def test_a_batch_gives_what_single_runs_give(style: str, tiny_weights: Path) -> None:
    options: dict[str, Any] = SMALL | ({"weights": str(tiny_weights), "iterations": 1} if "painting" in style else {})
    records = list(styletx.batch("photos", style, "out", **options))
    stylizer = styletx.load_stylizer(style, **options)
    assert len(records) == 6
    for record in records:
        expected = stylizer(record.source)
        np.testing.assert_array_equal(np.asarray(Image.open(record.output)), np.asarray(expected.image))
        assert record.losses == pytest.approx(expected.metadata["losses"], rel=1e-6)
        assert record.size == expected.image.size
        assert record.source_sha256 == files.sha256(Path(record.source).read_bytes())
        assert record.output_sha256 == files.sha256(Path(record.output).read_bytes())
        assert record.options == dataclasses.asdict(Options(**options)) | {"method": stylizer.options.method}
        assert record.error is None and record.seconds > 0
        told = styletx.images.read_metadata(record.output)
        assert (told["content"], told["content_sha256"]) == (Path(record.source).name, record.source_sha256)


def test_pictures_of_one_size_go_through_the_network_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[list[tuple[int, int]]] = []
    finish = stylizers.TransformingStylizer.finish

    def spy(self: Any, runs: Sequence[stylizers.Run]) -> list[stylizers.Result]:
        together.append([run.size for run in runs])
        return finish(self, runs)

    monkeypatch.setattr(stylizers.TransformingStylizer, "finish", spy)
    alone = styletx.load_stylizer("net.safetensors", **SMALL)
    loader = steps.Loader()
    task = Task(Job("", "net.safetensors", ""), Recipe("net.safetensors", None, defaults(Options) | SMALL), "PNG")
    loader(task.recipe).batch_size = 3
    waiting = pipeline._Waiting()
    for name in sorted(map(str, Path("photos").rglob("*.png"))):
        started = steps.start(dataclasses.replace(task, job=Job(name, task.job.style, name)), loader)
        assert isinstance(started, Started)
        waiting.add(started)
    assert not waiting.has_room(2, 2)
    done = [one for _ in range(3) for one in steps.finish(waiting.take())]
    assert sorted(map(len, together)) == [1, 2, 3]
    assert all(len(set(sizes)) == 1 for sizes in together)
    assert waiting.count == 0 and waiting.has_room(0, 2)
    for started, result, _ in done:
        assert not isinstance(result, StyletxError)
        single = alone(started.task.job.source)
        assert torch.allclose(result.pixels, single.pixels, atol=1e-5)


def test_what_was_done_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 6}
    lines = Path("out/manifest.jsonl").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(stylizers, "load_stylizer", lambda *_, **__: pytest.fail("no style is needed"))
        assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"skipped": 6}
    assert Path("out/manifest.jsonl").read_bytes() == lines
    Path("out/net/p1.png").unlink()
    Image.fromarray(photo()).save("photos/new.png")
    again = list(styletx.batch("photos", "net.safetensors", "out", **SMALL))
    assert sorted(one.output for one in again if not one.skipped) == ["out/net/new.png", "out/net/p1.png"]


def test_a_trained_style_is_one_pass_asked_for_or_not() -> None:
    asked = {"method": "one-pass"}
    (record, *others) = styletx.batch("photos", "net.safetensors", "out", **SMALL)
    assert record.options["method"] == "one-pass" and len(others) == 5
    assert stylizers.load_stylizer("net.safetensors", **SMALL).options.method == "one-pass"
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL | asked)) == {"skipped": 6}


def test_results_of_other_settings_are_refused_or_redone() -> None:
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 6}
    before = pictures()
    for options in ({"size": 24}, {"strength": 0.5}):
        with pytest.raises(
            OutputError, match=r"^6 of 6 results exist and were not made with these settings, such as out/"
        ):
            styletx.batch("photos", "net.safetensors", "out", **SMALL | options)
    assert pictures().keys() == before.keys() and Path("out/net/p0.png").stat().st_size
    assert outcome(styletx.batch("photos", "net.safetensors", "out", overwrite=True, **SMALL | {"size": 24})) == {
        "done": 6
    }
    assert {array.shape[:2] for array in pictures().values()} == {(18, 24), (24, 18)}
    assert outcome(styletx.batch("photos", "net.safetensors", "out", overwrite=True, **SMALL | {"size": 24})) == {
        "skipped": 6
    }


def test_a_source_that_changed_is_refused_alone_or_redone() -> None:
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 6}
    Image.fromarray(painting()).save("photos/p3.png")
    before = Path("out/net/p3.png").read_bytes()
    (failed,) = [one for one in styletx.batch("photos", "net.safetensors", "out", **SMALL) if one.error]
    assert failed.error == "out/net/p3.png was made from another version of the photograph; redo it with overwrite"
    assert Path("out/net/p3.png").read_bytes() == before
    redone = outcome(styletx.batch("photos", "net.safetensors", "out", overwrite=True, **SMALL))
    assert redone == {"skipped": 5, "done": 1} and Path("out/net/p3.png").read_bytes() != before


def test_a_result_that_someone_edited_stays() -> None:
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 6}
    Path("out/net/p3.png").write_bytes(b"edited")
    for overwrite in (False, True):
        records = list(styletx.batch("photos", "net.safetensors", "out", **SMALL, overwrite=overwrite))
        assert outcome(records) == {"skipped": 5, "failed": 1}
        (error,) = filter(None, (one.error for one in records))
        assert error == "out/net/p3.png was not made by styletx, or was changed since; move it away"
        assert Path("out/net/p3.png").read_bytes() == b"edited"


def test_what_comes_there_meanwhile_stays() -> None:
    def executor(tasks: Sequence[Task], deliver: Callable[[Painted], Record]) -> Iterator[Record]:
        for task in tasks:
            path = Path(task.job.output)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"mine")
            yield deliver(Painted(task, "aa", b"ours"))

    records = list(styletx.batch("photos", "net.safetensors", "out", executor=executor, **SMALL, overwrite=True))
    assert outcome(records) == {"failed": 6}
    assert all("cannot be written (file exists)" in str(one.error) for one in records)
    assert all(Path(one.output).read_bytes() == b"mine" for one in records)


def test_a_bad_picture_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("photos/bad.jpg").write_bytes(b"no picture")
    Path("photos/empty.png").touch()
    Image.fromarray(photo()[:1]).save("photos/thin.png")
    Path("list").write_text("photos\nvanished.jpg\n")
    os.mkfifo("photos/pipe.jpg")
    records = list(styletx.batch("@list", "net.safetensors", "out", **SMALL))
    assert outcome(records) == {"done": 6, "failed": 5}
    errors = {os.path.basename(one.source): str(one.error) for one in records if one.error}
    assert errors["vanished.jpg"] == "vanished.jpg: file not found; check the name"
    assert errors["pipe.jpg"].startswith("photos/pipe.jpg cannot be read (it is not an ordinary file)")
    assert errors["bad.jpg"].startswith("photos/bad.jpg is not a picture that can be read")
    assert all("\n" not in error for error in errors.values())
    lines = {os.path.basename(one.source): one.error for one in Manifest("out").records()}
    assert {name: lines[name] for name in errors} == errors and len(lines) == 11
    assert len(pictures()) == 6


def test_a_bug_costs_one_picture_and_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = stylizers.Stylizer.start

    def start(self: Any, content: Any) -> stylizers.Run:
        if content.name.endswith("p2.png"):
            raise ZeroDivisionError("by\nzero")
        return begin(self, content)

    monkeypatch.setattr(stylizers.Stylizer, "start", start)
    records = list(styletx.batch("photos", "net.safetensors", "out", **SMALL))
    (failed,) = [one for one in records if one.error]
    assert failed.error == (
        "photos/p2.png: ZeroDivisionError: by zero; this is a bug in styletx, "
        "please report it together with the picture"
    )
    assert len(pictures()) == 5


def test_a_source_that_vanishes_in_mid_run_fails_alone() -> None:
    records = styletx.batch("photos", "net.safetensors", "out", **SMALL)
    for path in Path("photos").rglob("p[345].png"):
        path.unlink()
    assert outcome(records) == {"done": 3, "failed": 3}


def test_a_place_that_cannot_be_written_fails_alone_and_is_told_in_the_manifest() -> None:
    Path("out").mkdir()
    Path("out/net").mkdir(parents=True)
    Path("out/net/deep").touch()  # where a folder should be
    records = list(styletx.batch("photos", "net.safetensors", "out", **SMALL))
    (failed,) = [one for one in records if one.error]
    assert failed.error is not None and failed.error.startswith("out/net/deep/p5.png cannot be written (")
    assert failed.output_sha256 is None
    last = {one.output: one.error for one in Manifest("out").records()}
    assert last["out/net/deep/p5.png"] == failed.error and len(pictures()) == 5


def test_a_disk_that_fills_up_costs_what_does_not_fit_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource", reason="limits on files are POSIX's")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    Path("out").mkdir()
    records = styletx.batch("photos", "net.safetensors", "out", **SMALL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        done = list(records)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert all(one.error and "cannot be written" in one.error for one in done) and len(done) == 6
    assert not list(Path("out").rglob(".styletx-*.tmp"))
    assert len(list(Manifest("out").records())) >= 1
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 6}


def test_a_style_that_does_not_work_starts_nothing() -> None:
    Path("bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"^bad.safetensors is not a style"):
        list(styletx.batch("photos", ["net.safetensors", "bad.safetensors"], "out", **SMALL))
    with pytest.raises(PictureError, match=r"missing\.jpg"):
        list(styletx.batch("photos", ["missing.jpg"], "out", **SMALL))
    with pytest.raises(OptionError, match="no-such-style is neither a file nor a bundled style"):
        list(styletx.batch("photos", ["no-such-style"], "out", **SMALL))
    assert pictures() == {}


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no /dev/zero here")
def test_what_has_no_end_or_is_too_large_is_not_read() -> None:
    with pytest.raises(PictureError, match=r"^/dev/zero is not an ordinary file"):
        list(styletx.batch("photos", "/dev/zero", "out", **SMALL))
    with open("photos/large.png", "wb") as file:
        file.truncate(2**32 + 2**30)
    (failed,) = [one for one in styletx.batch("photos", "net.safetensors", "out", **SMALL) if one.error]
    said = "photos/large.png cannot be read (it has 5,369 megabytes, and at most 4,295 are read); check the file"
    assert failed.error is not None and failed.error.startswith(said)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sise": 3}, "no option is called 'sise'"),
        ({"workers": 0}, r"^workers cannot be 0; it must be a whole number from 1$"),
        ({"workers": "2"}, r"^workers cannot be '2'; it must be a whole number from 1$"),
        ({"executor": "lokal"}, r"^executor cannot be 'lokal'; did you mean 'local'\?$"),
        ({"address": "host:1"}, "^address is only for executor ray; use that executor, or remove it$"),
        ({"format": "gif"}, "^format cannot be 'gif'; choose one of png, jpg, webp, tif$"),
        ({"size": 1}, "^size cannot be 1"),
        ({"output": ""}, "^output is empty; give the name of a folder$"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        styletx.batch("photos", "net.safetensors", **{"output": "out"} | options)
    assert not Path("out").exists()


def test_two_batches_do_not_share_a_folder() -> None:
    first = styletx.batch("photos", "net.safetensors", "out", **SMALL)
    next(first)
    with pytest.raises(
        OutputError, match=r"^out: another batch is writing there; wait for it, or choose another folder$"
    ):
        list(styletx.batch("photos/deep", "net.safetensors", "out", **SMALL))
    first.close()
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)).total() == 6


def test_what_a_killed_writer_left_is_tidied_away() -> None:
    Path("out/net/deep").mkdir(parents=True)
    left = [Path("out/net/.styletx-0123.tmp"), Path("out/net/deep/.styletx-4567.tmp")]
    for path in left:
        path.touch()
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 6}
    assert not any(path.exists() for path in left)


def test_a_batch_that_is_left_writes_what_it_has_in_hand_and_ends_its_threads() -> None:
    before = threading.active_count()
    records = styletx.batch("photos", "net.safetensors", "out", **SMALL)
    next(records)
    records.close()
    assert threading.active_count() == before
    explained = {one.output for one in Manifest("out").records()}
    assert {f"out/{name}" for name in pictures()} == explained
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL))["skipped"] == len(explained)


def test_only_a_few_pictures_are_in_memory_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    alive, most = Counter[str](), 0
    lock = threading.Lock()
    begin, encode = steps.start, steps.encode

    def start(*arguments: Any) -> Any:
        nonlocal most
        with lock:
            alive["now"] += 1
            most = max(most, alive["now"])
        return begin(*arguments)

    def finished(*arguments: Any) -> Any:
        try:
            return encode(*arguments)
        finally:
            with lock:
                alive["now"] -= 1

    monkeypatch.setattr(steps, "start", start)
    monkeypatch.setattr(steps, "encode", finished)
    for index in range(40):
        Image.fromarray(np.roll(photo(), index, axis=0)).save(f"photos/many{index}.png")
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 46}
    threads = max(2, min(8, (os.cpu_count() or 1) // 2))
    assert threads <= most <= (threads + 2) + 2 * threads + 2


def test_processes_share_the_work_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(styletx.batch("photos", ["net.safetensors", "painting.png"], "one", **SMALL | QUICK)) == {"done": 12}
    shared = styletx.batch("photos", ["net.safetensors", "painting.png"], "out", workers=2, **SMALL | QUICK)
    assert outcome(shared) == {"done": 12}
    expected = pictures("one")
    assert pictures().keys() == expected.keys()
    for name, array in pictures().items():
        assert np.abs(array.astype(int) - expected[name]).max() <= 1, name


QUICK: dict[str, Any] = {"backbone": "compact", "iterations": 1}


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_style_has_to_say_is_said_once_whichever_process_loads_it(count: int) -> None:
    options = Options(**SMALL, iterations=3)
    batch = Batch(["photos"], ["net.safetensors"], "out", options)
    records = list(batch.run(local.LocalExecutor(count)))
    assert outcome(records) == {"done": 6}
    assert batch.notes == styletx.load_stylizer("net.safetensors", options).notes
    (note,) = batch.notes
    assert str(note).endswith("ignores iterations.")
    assert all(one.notes == () for one in records)


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_picture_has_to_say_is_in_its_record(count: int) -> None:
    frames = [Image.fromarray(np.roll(photo(), index, axis=0)) for index in range(3)]
    frames[0].save("photos/moving.gif", save_all=True, append_images=frames[1:])
    frames[0].putalpha(Image.fromarray(painting()).convert("L"))
    frames[0].save("photos/veiled.png")
    batch = Batch(["photos"], ["net.safetensors"], "out", Options(**SMALL), format="jpg")
    records = {os.path.basename(one.source): one for one in batch.run(local.LocalExecutor(count))}
    stylizer = styletx.load_stylizer("net.safetensors", **SMALL)
    moving = stylizer.start("photos/moving.gif").notes
    veiled = stylizer("photos/veiled.png").save("veiled.jpg")
    assert len(moving) == len(veiled) == 1
    assert records["moving.gif"].notes == (str(moving[0]),)
    (note,) = records["veiled.png"].notes
    assert note == str(veiled[0]).replace("veiled.jpg", "out/net/veiled.jpg")
    assert [one.notes for name, one in records.items() if name not in ("moving.gif", "veiled.png")] == 6 * [()]
    assert {one.output: one.notes for one in Manifest("out").records() if one.notes} == {
        "out/net/moving.jpg": records["moving.gif"].notes,
        "out/net/veiled.jpg": records["veiled.png"].notes,
    }
    assert batch.notes == ()


def test_a_process_that_dies_costs_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[local.Process] = []
    begin = local.Process.__init__

    def spy(self: local.Process, *arguments: Any) -> None:
        begin(self, *arguments)
        seen.append(self)

    monkeypatch.setattr(local.Process, "__init__", spy)
    for index in range(8):
        Image.fromarray(np.roll(photo(), index, axis=0)).save(f"photos/many{index}.png")
    records: list[Record] = []
    for record in styletx.batch("photos", "net.safetensors", "out", workers=2, **SMALL):
        if not records:
            seen[0]._process.kill()
        records.append(record)
    assert outcome(records) == {"done": 14} and len(seen) >= 3
    assert len({one.output for one in records}) == len(pictures()) == 14


class Fragile:
    """A worker that a certain picture kills."""

    def __init__(self, deadly: str) -> None:
        self.deadly = deadly

    def check(self, styles: Sequence[Recipe]) -> None:
        pass

    def paint(self, tasks: Sequence[Task]) -> Iterator[Painted]:
        for task in tasks:
            if task.job.source == self.deadly:
                raise workers.WorkerLost("its process ended")
            yield Painted(task, data=b"x")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("count", [1, 3])
def test_a_picture_that_kills_every_worker_is_given_up_and_takes_no_other_along(count: int) -> None:
    recipes = [Recipe(style, None, {}) for style in ("s", "t")]
    tasks = [
        Task(Job(f"{index}", recipe.style, f"out/{recipe.style}/{index}"), recipe, "PNG")
        for recipe in recipes
        for index in range(30)
    ]
    shares: list[list[Task]] = []

    def hire(index: int, is_done: Callable[[], bool]) -> workers.Worker:
        worker = Fragile("7")
        paint = worker.paint

        def spy(tasks: Sequence[Task]) -> Iterator[Painted]:
            shares.append(list(tasks))
            return paint(tasks)

        worker.paint = spy  # type: ignore[method-assign]
        return worker

    def deliver(painted: Painted) -> Record:
        return Record(
            painted.task.job.source,
            painted.task.job.style,
            painted.task.job.output,
            error=None if painted.error is None else str(painted.error),
        )

    records = list(workers.share(tasks, hire, count, deliver))
    assert Counter(one.output for one in records) == Counter(task.job.output for task in tasks)
    failed = [one for one in records if one.error]
    assert [(one.source, one.style) for one in sorted(failed, key=lambda one: one.style)] == [("7", "s"), ("7", "t")]
    assert failed[0].error == "7: 3 workers were lost while repainting it (its process ended); choose a smaller size"
    assert all(len({task.recipe.style for task in share}) == 1 for share in shares)


def test_workers_that_a_style_kills_end_the_batch() -> None:
    class Weak(Fragile):
        def check(self, styles: Sequence[Recipe]) -> None:
            raise workers.WorkerLost("it ran out of memory")

    tasks = [Task(Job(f"{index}", "s", f"out/{index}"), Recipe("s", None, {}), "PNG") for index in range(9)]
    with pytest.raises(
        StyletxError, match=r"3 workers were lost before their first picture \(it ran out of memory\); use"
    ):
        list(workers.share(tasks, lambda *_: Weak("none"), 2, lambda _: pytest.fail("nothing can be painted")))


def test_workers_that_never_start_again_end_the_batch() -> None:
    tasks = [Task(Job(f"{index}", "s", f"out/{index}"), Recipe("s", None, {}), "PNG") for index in range(99)]
    started = list[Fragile]()

    class Lost(Fragile):
        def check(self, styles: Sequence[Recipe]) -> None:
            raise workers.WorkerLost("its process ended")

    def hire(index: int, is_done: Callable[[], bool]) -> workers.Worker:
        started.append(Lost("none") if started else Fragile("7"))
        return started[-1]

    with pytest.raises(StyletxError, match="3 workers were lost before their first picture"):
        list(workers.share(tasks, hire, 1, lambda painted: Record("a", "s", painted.task.job.output)))
    assert len(started) == 4


SCRIPT = """
import multiprocessing.spawn, sys
multiprocessing.spawn.freeze_support()  # as a frozen program must
print("started", flush=True)
import styletx
for record in styletx.batch("photos", "net.safetensors", "out", workers=2, size=32, device="cpu"):
    print(record.output, record.error, flush=True)
"""


def freeze(script: str) -> None:
    """Make script.py a frozen program, whose executable runs it and helps Python's own helpers, as PyInstaller does."""
    program = Path("program").absolute()
    again = f'case "$1" in -*fork) ;; -*) exec "{sys.executable}" "$@" ;; esac'
    program.write_text(f'#!/bin/sh\n{again}\nexec "{sys.executable}" "{program.parent}/script.py" "$@"\n')
    program.chmod(0o755)
    Path("script.py").write_text(f'import sys\nsys.frozen, sys.executable = True, "{program}"\n{script}')


SLOW = pytest.mark.slow(reason="starts a program and two workers")
WAYS = ["file", *(pytest.param(way, marks=SLOW) for way in ("module", "stdin", "interactive", "frozen"))]


@pytest.mark.parametrize("way", WAYS)
def test_a_script_without_a_guard_is_not_run_again_by_the_workers(way: str, processes: Processes) -> None:
    Path("script.py").write_text(SCRIPT)
    if way == "frozen":
        freeze(SCRIPT)
    command = {"module": ["-m", "script"], "stdin": ["-"], "interactive": ["-i", "-q"]}.get(way, ["script.py"])
    with open("script.py") if way in ("stdin", "interactive") else open(os.devnull) as stdin:
        ended = processes.finish(sys.executable, *command, stdin=stdin)
    told = ended.stdout.splitlines()
    assert told.count("started") == 1, ended.stderr
    assert sorted(line for line in told if line.endswith("None")) == [
        f"out/net/{name}.png None" for name in ("deep/p5", "p0", "p1", "p2", "p3", "p4")
    ], ended.stderr


@SLOW
def test_a_frozen_program_that_is_no_worker_starts_no_others(processes: Processes) -> None:
    freeze(SCRIPT.replace("multiprocessing.spawn.freeze_support()", ""))
    ended = processes.finish(sys.executable, "script.py")
    assert ended.stdout.count("started") <= 1 + workers.ATTEMPTS + 1
    assert "multiprocessing.freeze_support()" in ended.stderr and not pictures()


@pytest.mark.parametrize("late", [0, 1])
def test_a_worker_that_finds_no_place_holds_up_no_other(late: int) -> None:
    recipe = Recipe("s", None, {})
    tasks = [Task(Job(f"{index}", "s", f"out/{index}"), recipe, "PNG") for index in range(9)]
    checked: list[Sequence[Recipe]] = []

    def hire(index: int, is_done: Callable[[], bool]) -> workers.Worker | None:
        began = time.monotonic()
        while index == late:
            if is_done():
                return None
            assert time.monotonic() - began < 300, "the other worker does nothing"
            time.sleep(0.01)
        worker = Fragile("none")
        worker.check = checked.append  # type: ignore[method-assign, assignment]
        return worker

    records = list(workers.share(tasks, hire, 2, lambda painted: Record("a", "s", painted.task.job.output)))
    assert sorted(one.output for one in records) == sorted(task.job.output for task in tasks)
    assert checked == [[recipe]]


def test_a_plan_tells_what_will_be_done_of_each() -> None:
    assert outcome(styletx.batch("photos", "net.safetensors", "out", **SMALL)) == {"done": 6}
    Path("out/net/p1.png").unlink()
    Image.fromarray(painting()).save("photos/p3.png")
    options = Options(**SMALL)
    for overwrite, changed in [(False, "refuse"), (True, "remake")]:
        batch = Batch(["photos"], ["net.safetensors"], "out", options, overwrite=overwrite)
        states = {os.path.basename(task.job.source): batch.state(task) for task in batch.tasks}
        assert states == {
            "p0.png": "skip", "p1.png": "make", "p2.png": "skip", "p3.png": changed, "p4.png": "skip", "p5.png": "skip",
        }  # fmt: skip


def test_one_pattern_may_be_given_as_it_is() -> None:
    records = list(styletx.batch("photos", "net.safetensors", "out", pattern="p[12].png", **SMALL))
    assert sorted(Path(record.source).name for record in records) == ["p1.png", "p2.png"]


@pytest.mark.slow(reason="starts a worker")
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_a_worker_does_not_hear_ctrl_c_even_while_it_starts() -> None:
    worker = local.Process(None, 1)
    try:
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
        (blocked,) = re.findall(r"^SigBlk:\s+([0-9a-f]+)$", status, re.MULTILINE)
        assert int(blocked, 16) & 1 << signal.SIGINT - 1
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        worker.close()
