"""`styletx batch`: what it prints, how it ends, and that nothing is lost when it is killed."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import STYLETX, Processes, painting, photo, possible
from PIL import Image

from styletx import files
from styletx.batches import report, running
from styletx.batches.manifest import Manifest, Record
from styletx.cli import main, progress
from styletx.cli.batch import command
from styletx.cli.flags import flag
from styletx.options import Options, specs

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]
FIXED = ["-s", "net.safetensors", "-o", "out", "--size", "32", "--device", "cpu", "--precision", "float32"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with three photographs in `photos` and a trained network."""
    from styletx.feedforward import models
    from styletx.feedforward.networks import Layout, Transformer

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for index in range(3):
        Image.fromarray(np.roll(photo(), 9 * index, axis=1)).save(f"photos/p{index}.png")
    torch.manual_seed(0)
    models.write(Path("net.safetensors"), Transformer(Layout(widths=(4, 8), blocks=1, kernel=3)), {"name": "net"})
    return tmp_path


@pytest.fixture
def run() -> Run:
    """Calls `styletx batch` with the network and a small size."""

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["batch", *arguments, *FIXED])

    return call


def found(folder: str = "out") -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.name.startswith("."))


def test_it_repaints_a_folder_and_says_what_it_did(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    first = run("photos")
    assert (first.exit_code, first.stdout) == (0, "")
    assert first.stderr.splitlines()[-1] == "3 done; see out"
    assert "3/3" in first.stderr and "pictures" in first.stderr
    assert found() == ["contact-sheet.jpg", "manifest.jsonl", "net", "net/p0.png", "net/p1.png", "net/p2.png"]
    assert run("photos").stderr.splitlines()[-1] == "3 already done; see out"
    assert (run("photos", "-q").stderr, run("photos", "-q").exit_code) == ("", 0)


def test_failures_are_listed_at_the_end_and_told_by_the_exit_code(run: Run) -> None:
    Path("photos/bad.jpg").write_bytes(b"no picture")
    for said in ("3 done, 1 failed; see out", "3 already done, 1 failed; see out"):
        ended = run("photos")
        assert ended.exit_code == 1 and "Traceback" not in ended.output
        *_, failure, summary = ended.stderr.splitlines()
        assert failure.startswith("Failed: photos/bad.jpg is not a picture that can be read") and summary == said
    assert "Failed: photos/bad.jpg" in run("photos", "-q").stderr


def test_what_cannot_start_ends_with_2_and_one_line(run: Run) -> None:
    Path("broken.safetensors").touch()
    for arguments, told in [
        (["nowhere"], "nowhere: file or folder not found"),
        (["photos", "-o", "photos"], "Error: photos is also a source"),
        (["photos", "-s", "broken.safetensors"], "broken.safetensors is not a style"),
        (["photos", "--executor", "rya"], "did you mean 'ray'?"),
        (["photos", "--size", "3"], "--size cannot be 3"),
    ]:
        ended = CliRunner().invoke(main, ["batch", *FIXED[:4], *arguments])
        lines = [line for line in ended.stderr.splitlines() if line.startswith("Error:")]
        assert ended.exit_code == 2 and len(lines) == 1 and told in lines[0], ended.output
        assert "Traceback" not in ended.output


def test_a_dry_run_prints_the_plan_and_makes_nothing(run: Run) -> None:
    ended = run("photos", "--dry-run")
    assert ended.exit_code == 0 and not Path("out").exists()
    assert ended.stdout.splitlines()[0] == "make    photos/p0.png in net.safetensors → out/net/p0.png"
    run("photos/p0.png")
    rows = [json.loads(line) for line in run("photos", "--dry-run", "--json").stdout.splitlines()]
    assert [(row["state"], row["output"]) for row in rows] == [
        ("skip", "out/net/p0.png"),
        ("make", "out/net/p1.png"),
        ("make", "out/net/p2.png"),
    ]


def test_json_tells_of_each_picture(run: Run) -> None:
    Path("photos/bad.jpg").touch()
    ended = run("photos", "--json")
    rows = {row["source"]: row for row in map(json.loads, ended.stdout.splitlines())}
    assert len(rows) == 4 and ended.exit_code == 1
    assert rows["photos/bad.jpg"]["error"] and not rows["photos/bad.jpg"]["output_sha256"]
    for name in ("photos/p0.png", "photos/p1.png", "photos/p2.png"):
        assert rows[name]["output_sha256"] == files.sha256(Path(rows[name]["output"]).read_bytes())


def test_notes_are_printed_once_with_flags_and_not_when_quiet(run: Run) -> None:
    Path("out/contact-sheet.jpg").mkdir(parents=True)
    first = run("photos", "--iterations", "3")
    lines = [line[line.index("Note: ") :] for line in first.stderr.replace("\r", "\n").splitlines() if "Note: " in line]
    assert first.exit_code == 0 and len(lines) == 2
    assert lines[0].startswith("Note: ") and lines[0].endswith("ignores --iterations.")
    assert lines[1] == "Note: out/contact-sheet.jpg was not made by styletx and is left as it is."
    again = run("photos", "--iterations", "3", "--size", "24", "--overwrite", "-q")
    assert (again.exit_code, again.stderr) == (0, "")


def test_a_batch_of_very_many_says_how_many_and_where_before_it_starts(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos/bad.jpg").write_bytes(b"no picture")
    monkeypatch.setattr(running, "MANY", 3)
    said = run("photos").stderr
    note = f"Note: Found 4 pictures in {Path('photos').absolute()}/.\n"
    assert said.startswith(note) and said.count("Found") == 1
    Path("photos/raw.cr2").touch()
    assert "Note: Passed over for their format: 1 .cr2.\n" in run("photos").stderr
    Path("photos/bad.jpg").unlink()
    assert "Found" not in run("photos").stderr


def test_each_picture_has_one_line_and_history_is_kept_on_request(run: Run) -> None:
    def lines() -> int:
        return len(Path("out/manifest.jsonl").read_text().splitlines())

    run("photos")
    run("photos", "--overwrite", "--strength", "0.5")
    assert lines() == 3
    run("photos", "--overwrite", "--strength", "0.25", "--history")
    assert lines() == 6


def test_a_log_has_notes_results_and_failures_with_their_time(run: Run) -> None:
    Path("photos/bad.jpg").touch()
    Path("photos/over.svg").touch()
    for _ in range(2):
        run("photos", "--log-file", "logs/batch.log", "-q")
    told = Path("logs/batch.log").read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ", line) for line in told)
    assert sum("photos/bad.jpg is empty" in line for line in told) == 2
    assert sum(".svg" in line for line in told) == 2 and sum("out/net/p0.png" in line for line in told) == 1
    Path("list").write_text("photos/p0.png\n")
    for name in ("photos/p0.png", "net.safetensors", "list"):
        ended = run("photos", "@list", "--log-file", name)
        assert ended.exit_code == 2 and f"{name} is one of the inputs, which are never overwritten" in ended.stderr
    for name in ("out/manifest.jsonl", "out/net/p1.png", "out/report.html"):
        ended = run("photos", "--log-file", name)
        assert ended.exit_code == 2 and f"{name} is another file of this batch" in ended.stderr


def test_what_killed_writers_left_in_its_folders_goes(run: Run) -> None:
    run("photos", "--report")
    left = [Path("out", folder, ".styletx-0123456789abcdef.tmp") for folder in ("", "net", "report")]
    for path in left:
        path.touch()
    run("photos", "--report")
    assert not any(path.exists() for path in left)


def test_somebody_elses_file_is_never_replaced(run: Run) -> None:
    Path("out/net").mkdir(parents=True)
    theirs = {name: name.encode() for name in ("net/p1.png", "contact-sheet.jpg", "report.html")}
    Image.fromarray(photo()).save("out/net/p1.png")
    theirs["net/p1.png"] = Path("out/net/p1.png").read_bytes()
    for name, data in theirs.items():
        Path("out", name).write_bytes(data)
    ended = run("photos", "--overwrite")
    assert ended.exit_code == 1 and "Failed: out/net/p1.png was not made by styletx" in ended.stderr
    ended = run("photos/p0.png", "--overwrite", "--report")
    assert ended.exit_code == 0
    for name, data in theirs.items():
        assert Path("out", name).read_bytes() == data
        assert name == "net/p1.png" or f"Note: out/{name} was not made by styletx and is left as it is." in ended.stderr
    Path("out/manifest.jsonl").write_text('{"text": "training data"}\n')
    ended = run("photos/p2.png", "--overwrite")
    assert ended.exit_code == 2 and "out/manifest.jsonl is not a manifest that styletx wrote; move it" in ended.stderr
    assert Path("out/manifest.jsonl").read_text() == '{"text": "training data"}\n'


def test_our_own_files_are_known_without_the_manifest(run: Run) -> None:
    run("photos", "--report")
    names = ("net/p0.png", "contact-sheet.jpg", "report.html")
    before = {name: Path("out", name).read_bytes() for name in names}
    Path("out/manifest.jsonl").unlink()
    ended = run("photos", "--report", "--overwrite", "--strength", "0.5")
    assert ended.exit_code == 0 and "left as it is" not in ended.stderr
    assert all(Path("out", name).read_bytes() != data for name, data in before.items())


def test_fail_fast_stops_at_the_first_failure(run: Run) -> None:
    for index in range(60):
        (Path("photos") / f"a{index}.png").touch()
    ended = run("photos", "--fail-fast")
    assert ended.exit_code == 1
    assert re.search(r"^Stopped: .*\d failed, \d+ left; run the same command to continue$", ended.stderr, re.MULTILINE)
    assert len(list(Manifest("out").records())) < 30


def test_the_output_may_be_any_kind_the_writer_knows(run: Run) -> None:
    for name, kind in [("jpg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF")]:
        assert run("photos/p0.png", "--format", name, "--no-contact-sheet").exit_code == 0
        assert Image.open(f"out/net/p0.{name}").format == kind


def test_the_contact_sheet_shows_every_result(run: Run) -> None:
    run("photos")
    # In grey, for JPEG keeps colours at half the size.
    sheet = np.asarray(Image.open("out/contact-sheet.jpg").convert("L")).astype(int)
    assert sheet.shape == (2 * 238, 2 * 200)
    for index in range(3):
        left, top = index % 2 * 200, index // 2 * 238
        cell = sheet[top : top + 200, left : left + 200]
        result = np.asarray(Image.open(f"out/net/p{index}.png").convert("L")).astype(int)
        height, width = result.shape
        above, before = (200 - height) // 2, (200 - width) // 2
        assert np.abs(cell[above : above + height, before : before + width] - result).mean() < 12
        assert cell[: above - 8].min() > 240
    told = CliRunner().invoke(main, ["info", "out/contact-sheet.jpg"])
    assert told.exit_code == 0 and "command" not in told.stdout


class Page(HTMLParser):
    """What a page shows and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_shows_results_where_they_are_and_tells_all(run: Run) -> None:
    name = possible("<b>&\"'\n é\udcff.png")
    os.rename("photos/p1.png", os.path.join("photos", name))
    Path("photos/bad <i>.jpg").touch()
    assert run("photos", "--report").exit_code == 1
    page = Page(Path("out/report.html").read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 6 and {one["loading"] for one in images} == {"lazy"}
    assert {Image.open(Path("out", unquote(str(one["src"]), errors="surrogateescape"))).size for one in images} == {
        (32, 24),
        (64, 48),
    }
    assert not [tag for tag, attributes in page.tags if "href" in attributes or tag in ("link", "iframe", "object")]
    sliders = [attributes for tag, attributes in page.tags if attributes.get("type") == "range"]
    assert len(sliders) == 3 and all(one["aria-label"] for one in sliders)
    assert [tag for tag, attributes in page.tags if attributes.get("type") == "search"] == ["input"]
    assert "3 done, 1 failed" in page.text and "bad <i>.jpg" in page.text and "photos" not in page.text.lower()
    assert "size 32" in page.text and "32×24 px" in page.text
    assert ("i", {}) not in page.tags


def test_the_report_groups_by_photograph_and_stays_small() -> None:
    records = [
        Record(
            f"photos/{index}.jpg",
            style,
            f"out/{style}/{index}.png",
            f"{index:032}" + "0" * 32,
            output_sha256="a",
            size=(32, 24),
        )
        for style in ("mosaic", "woodcut")
        for index in range(300)
    ]
    for record in records:
        Path(record.output).parent.mkdir(parents=True, exist_ok=True)
        Path(record.output).touch()
    *copies, (name, make) = report.page(records, "out")
    assert name == "report.html" and len({way for way, _ in copies}) == 300
    text = make().decode()
    assert len(text) < 1_000_000
    page = Page(text)
    assert sum(tag == "section" for tag, _ in page.tags) == 300
    assert [attributes["data-names"] for tag, attributes in page.tags if tag == "figure"][:3] == [
        *("0.jpg mosaic", "0.jpg woodcut", "1.jpg mosaic")
    ]


def test_a_report_tells_the_losses_of_an_optimisation(tiny_weights: Path) -> None:
    Image.fromarray(painting()).save("painting.png")
    options = ["--weights", str(tiny_weights), "--iterations", "1", "--size", "32", "--report", "--json"]
    ended = CliRunner().invoke(main, ["batch", "photos/p0.png", "-s", "painting.png", "-o", "out", *options])
    losses = json.loads(ended.stdout)["losses"]
    assert losses["total"] > 0
    text = Page(Path("out/report.html").read_text(encoding="utf-8")).text
    for name, value in losses.items():
        assert f"{name} {value:.4g}" in text


def test_every_option_is_here_once() -> None:
    flags = {option for parameter in command.params for option in parameter.opts}
    assert {flag(name) for name in specs(Options)} <= flags
    assert len(flags) == sum(len(parameter.opts) for parameter in command.params)


@pytest.fixture
def started(processes: Processes) -> Start:
    """Starts `styletx batch` with the network and a small size."""
    return functools.partial(processes.start, *STYLETX, "batch", "photos", *FIXED)


def wait_for(count: int, process: subprocess.Popen[bytes]) -> None:
    """Until so many results are there, or the process has ended."""
    while process.poll() is None and len(list(Path("out/net").glob("*.png"))) < count:
        time.sleep(0.005)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_sigkill_at_any_instant_leaves_whole_files_and_the_same_command_goes_on(started: Start) -> None:
    generator = random.Random(0)
    for index in range(150):
        Image.fromarray(np.roll(photo(), index, axis=1)).save(f"photos/q{index}.png")
    for kill in range(3):
        process = started("--no-contact-sheet")
        wait_for(10 + 25 * kill, process)
        time.sleep(generator.uniform(0, 0.03))
        process.kill()
        process.communicate()
        hashes = {one.output: one.output_sha256 for one in Manifest("out").records()}
        for path in Path("out/net").glob("*.png"):
            assert hashes[str(path)] == files.sha256(path.read_bytes())
            assert Image.open(path).convert("RGB").size == (32, 24)
    kept = {path: path.stat().st_mtime_ns for path in Path("out/net").glob("*.png")}
    assert 0 < len(kept) < 153
    process = started("--json")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["output"] for row in rows if row["skipped"]} == set(map(str, kept))
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert len(list(Path("out/net").glob("*.png"))) == 153 and not list(Path("out").glob(".*.tmp"))
    # One picture a kill may have its line already and not be in place yet.
    assert 153 <= len(list(Manifest("out").records())) <= 153 + 3


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_batch_that_is_stopped_says_how_far_it_came(started: Start, number: int) -> None:
    for index in range(150):
        Image.fromarray(np.roll(photo(), index, axis=1)).save(f"photos/q{index}.png")
    process = started()
    wait_for(5, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    told = err.decode().replace("\r", "\n").splitlines()[-1]
    said = re.fullmatch(r"Stopped: (\d+) done, (\d+) left; run the same command to continue", told)
    assert process.returncode == 128 + number and said is not None, err
    assert int(said[1]) + int(said[2]) == 153
    assert 5 <= int(said[1]) == len(list(Path("out/net").glob("*.png")))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_batch_in_the_background_of_a_shell_is_not_stopped_by_ctrl_c(processes: Processes) -> None:
    for index in range(40):
        Image.fromarray(np.roll(photo(), index, axis=1)).save(f"photos/q{index}.png")
    command = shlex.join([*STYLETX, "batch", "photos", *FIXED])
    process = processes.start("sh", "-c", f"trap '' INT; exec {command}")
    wait_for(5, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err.decode().splitlines()[-1]) == (0, "43 done; see out")
