"""The manifest: lines that are only added, what is read back from them, and disks that are full."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from styletx.batches.manifest import Manifest, Recipe, Record
from styletx.errors import OutputError
from styletx.options import Options, defaults

OPTIONS = defaults(Options) | {"size": 64}


def record(output: str, data: bytes = b"painted", **changes: object) -> Record:
    values = Record(
        source="p/a.jpg",
        style="s.jpg",
        output=output,
        source_sha256="aa",
        style_sha256="bb",
        options=OPTIONS,
        size=(64, 48),
        seconds=1.5,
        losses={"total": 0.25},
        output_sha256=hashlib.sha256(data).hexdigest(),
        notes=("a.jpg has two frames.",),
        time="2026-11-29T12:00:00+00:00",
        version="0.1.0",
    )
    return dataclasses.replace(values, **changes)  # type: ignore[arg-type]


def made(folder: Path, style: str | None = "bb", **options: object) -> str | None:
    return Manifest(str(folder)).source_of(str(folder / "a.png"), Recipe("s.jpg", style, OPTIONS | options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output folder with one result, and its line."""
    Manifest(str(tmp_path)).append(record(str(tmp_path / "a.png")))
    (tmp_path / "a.png").write_bytes(b"painted")
    return tmp_path


def test_a_line_tells_everything_and_is_read_back(folder: Path) -> None:
    (line,) = (folder / "manifest.jsonl").read_text().splitlines()
    (back,) = Manifest(str(folder)).records()
    assert back == record(str(folder / "a.png"), size=[64, 48])
    assert json.loads(line) == {
        "source": "p/a.jpg",
        "style": "s.jpg",
        "output": "a.png",
        "source_sha256": "aa",
        "style_sha256": "bb",
        "options": OPTIONS,
        "size": [64, 48],
        "seconds": 1.5,
        "losses": {"total": 0.25},
        "output_sha256": hashlib.sha256(b"painted").hexdigest(),
        "error": None,
        "notes": ["a.jpg has two frames."],
        "time": "2026-11-29T12:00:00+00:00",
        "version": "0.1.0",
        "gone": False,
    }


def test_an_output_is_known_by_its_own_hash_and_recipe(folder: Path) -> None:
    assert made(folder) == "aa"
    assert made(folder, size=65) is None
    assert made(folder, style="cc") is None
    assert made(folder, device="cuda:1", offline=True) == "aa"
    (folder / "a.png").write_bytes(b"edited")
    assert made(folder) is None
    (folder / "a.png").unlink()
    assert made(folder) is None


def test_a_line_whose_picture_was_not_put_in_place_counts_for_nothing(folder: Path) -> None:
    Manifest(str(folder)).append(record(str(folder / "a.png"), b"newer", source_sha256="dd"))
    assert made(folder) == "aa"
    (folder / "a.png").write_bytes(b"newer")
    assert made(folder) == "dd"


def test_the_folder_may_be_moved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("moved") / "there"
    folder.rename(elsewhere)
    assert made(elsewhere) == "aa"
    assert next(Manifest(str(elsewhere)).records()).output == str(elsewhere / "a.png")


def test_an_option_that_an_earlier_version_lacked_has_its_default(folder: Path) -> None:
    path = folder / "manifest.jsonl"
    line = json.loads(path.read_text())
    del line["options"]["tv_weight"], line["notes"]
    path.write_text(json.dumps(line | {"of a later version": 1}) + "\n")
    assert made(folder) == "aa"
    assert made(folder, tv_weight=1.0) is None


def test_a_line_that_was_cut_off_costs_no_other(folder: Path) -> None:
    path = folder / "manifest.jsonl"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole + whole[:length])
        manifest = Manifest(str(folder))
        manifest.append(record(str(folder / "b.png")))
        names = [os.path.basename(one.output) for one in manifest.records()]
        # A line of which only the line's end is missing says all it has to say.
        assert names == ["a.png", *(["a.png"] if length == len(whole) - 1 else []), "b.png"], length


def test_lines_that_are_not_ours_are_passed_over(folder: Path) -> None:
    path = folder / "manifest.jsonl"
    path.write_bytes(b'[]\n{"output": 5, "source": 1, "style": 2}\nnull\n\xff\xfe\n{}\n' + path.read_bytes())
    assert [one.source for one in Manifest(str(folder)).records()] == ["p/a.jpg"]
    assert made(folder) == "aa"


def test_threads_do_not_mix_their_lines(folder: Path) -> None:
    manifest = Manifest(str(folder))

    def add(index: int) -> None:
        for number in range(20):
            manifest.append(record(str(folder / f"{index}-{number}.png")))

    threads = [threading.Thread(target=add, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.output for one in manifest.records()}) == 81


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_is_told_of_and_failures_are_written_once_there_is_room(folder: Path) -> None:
    path, kept = folder / "manifest.jsonl", folder / "kept"
    manifest = Manifest(str(folder))
    path.rename(kept)
    path.symlink_to("/dev/full")
    failures: list[tuple[str, dict[str, Any]]] = [("b.png", {"error": "no", "output_sha256": None}), ("c.png", {})]
    for name, changes in failures:
        with pytest.raises(OutputError, match=r"manifest.jsonl cannot be written \(no space left on device\)"):
            manifest.append(record(str(folder / name), **changes))
    path.unlink()
    kept.rename(path)
    manifest.append(record(str(folder / "d.png")))
    assert [os.path.basename(one.output) for one in manifest.records()] == ["a.png", "b.png", "d.png"]


def test_a_line_that_fits_only_in_part_is_taken_back(folder: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits on files are POSIX's")
    path = folder / "manifest.jsonl"
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    manifest = Manifest(str(folder))
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(no space left on device\)"):
            manifest.append(record(str(folder / "b.png")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file is a file; choose a folder for the results$"):
        Manifest(str(tmp_path / "file")).check()


@pytest.mark.parametrize(
    "changed",
    [
        {"options": 5},
        {"output_sha256": [1]},
        {"source": 1, "error": 3},
        {"losses": 3, "size": 7},
        {"losses": {"a": "b"}},
        {"notes": "text"},
        {"notes": [1]},
        {"notes": 2},
        {"time": 7},
        {"version": None},
        {"size": []},
        {"size": [1, 2, 3]},
        {"seconds": 10**400},
        {"losses": {"a": -(10**400)}},
        {"losses": {"a": float("nan")}},
        {"source_sha256": '"><script src=//a.b></script>'},
        {"output_sha256": "../p"},
        {"options": {"init": 5}},
        {"options": {"weights": [1]}},
        {"options": {"seed": [[[1]]]}},
        {"output": "a\0/p.png"},
        {"output": "a\ud800/p.png"},
    ],
)
def test_a_line_of_other_types_is_left_out(tmp_path: Path, changed: dict[str, object]) -> None:
    line: dict[str, object] = {"source": "a", "style": "b", "output": "p.png", "options": {}, "output_sha256": "cc"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    assert len(list(Manifest(str(tmp_path)).records())) == 1
    line |= changed
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n" + "[" * 100_000 + "\n")
    manifest = Manifest(str(tmp_path))
    manifest.check()
    assert not list(manifest.records())


def test_what_was_superseded_is_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").touch()
    manifest = Manifest("out")
    failed: dict[str, Any] = {"output_sha256": None, "error": "p/a.jpg is damaged; repair it"}
    for name, changes in [
        ("a.png", failed),
        ("a.png", {"seconds": 1.0}),
        ("b.png", {"seconds": 2.0, "source": "p/gone.jpg"}),
        ("b.png", failed | {"source": "p/gone.jpg"}),
        ("a.png", {"seconds": 3.0}),
        ("c.png", {"source": "elsewhere/c.jpg"}),
    ]:
        manifest.append(record(f"out/{name}", **changes))
    (tmp_path / "out" / "a.png").write_bytes(b"painted")
    with open("out/manifest.jsonl", "a") as lines:
        lines.write('{"source": "cut o')
    manifest.tidy()
    found = [(Path(one.output).name, one.seconds, one.error is None, one.gone) for one in Manifest("out").records()]
    assert found == [
        ("b.png", 2.0, True, True),
        ("b.png", 1.5, False, True),
        ("a.png", 3.0, True, False),
        ("c.png", 1.5, True, False),
    ]
    assert made(tmp_path / "out") == "aa"
