"""The plan of a batch: what is taken from where, and where it goes."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Processes, possible
from hypothesis import given, settings
from hypothesis import strategies as st

from styletx.batches import Batch, places, plan
from styletx.errors import OptionError, OutputError, PictureError
from styletx.options import Options


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touched(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def planned(*sources: str, styles: tuple[str, ...] = ("s.jpg",), **options: object) -> dict[str, str]:
    """Where each source goes, of a plan for the folder out."""
    jobs = plan.make(sources, styles, "out", **options)  # type: ignore[arg-type]
    return {job.source: job.output.removeprefix("out/s/") for job in jobs}


def test_a_folder_is_mirrored_without_what_is_not_a_picture() -> None:
    touched("photos/b.JPG", "photos/x/y/a.png", "photos/notes.txt", "photos/.hidden.jpg", "photos/.git/c.jpg")
    assert planned("photos") == {"photos/b.JPG": "b.png", "photos/x/y/a.png": "x/y/a.png"}
    assert planned("photos/", format="webp")["photos/b.JPG"] == "b.webp"


def test_pictures_that_are_passed_over_are_counted() -> None:
    touched("photos/a.jpg", "photos/b.NEF", "photos/x/c.nef", "photos/d.svg", "photos/e.txt", "photos/f.jxl")
    passed_over = Counter[str]()
    assert len(plan.make(["photos"], ["s"], "out", passed_over=passed_over)) == 2
    assert passed_over == {".nef": 2, ".svg": 1}
    chosen = Counter[str]()
    plan.make(["photos"], ["s"], "out", pattern=["*.jpg"], passed_over=chosen)
    assert not chosen


def test_a_name_in_a_folder_is_never_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_remote", lambda url: pytest.fail(f"{url} is opened as an address"))
    touched("photos/reference::x.jpg", "photos/zip::b.jpg", "photos/s3:/a.jpg", "tar::c.jpg")
    assert len(planned("photos", "tar::c.jpg")) == 4
    assert planned("tar::c.jpg") == {"tar::c.jpg": "tar::c.png"}


def test_names_that_would_collide_are_made_different() -> None:
    touched("p/a.jpg", "p/a.png", "p/A.gif", "p/b.jpg", "q/b.jpg")
    alone = planned("p")
    assert alone == {"p/a.jpg": "a.jpg.png", "p/a.png": "a.png.png", "p/A.gif": "A.gif.png", "p/b.jpg": "b.png"}
    both = planned("p", "q")
    assert both["p/b.jpg"] == "p/b.png" and both["q/b.jpg"] == "q/b.png"
    touched("deep/p/b.jpg")
    assert planned("p", "deep/p")["deep/p/b.jpg"] == "p-2/b.png"


def test_a_name_cannot_be_both_a_file_and_a_folder_nor_one_of_the_batchs_own() -> None:
    touched("p/a.jpg", "p/a.png/b.jpg", "p/contact-sheet.gif", "p/REPORT.html.gif")
    assert planned("p") == {
        "p/a.jpg": "a-2.png",
        "p/a.png/b.jpg": "a.png/b.png",
        "p/contact-sheet.gif": "contact-sheet.png",
        "p/REPORT.html.gif": "REPORT.html.png",
    }
    assert planned("p", format="jpg")["p/contact-sheet.gif"] == "contact-sheet-2.jpg"


def test_several_styles_get_a_folder_each() -> None:
    touched("p/a.jpg")
    jobs = plan.make(["p"], ["x/night.jpg", "mosaic", "y/night.png"], "out")
    assert [job.output for job in jobs] == ["out/night.jpg/a.png", "out/mosaic/a.png", "out/night.png/a.png"]
    with pytest.raises(OptionError, match=r"^the style mosaic is given twice; remove one of them$"):
        plan.make(["p"], ["mosaic", "mosaic"], "out")


def test_single_files_keep_their_path_from_the_folder_that_they_share() -> None:
    touched("p/x/a.jpg", "p/y/a.jpg", "p/y/b.bmp")
    assert planned("p/x/a.jpg") == {"p/x/a.jpg": "a.png"}
    assert planned("p/x/a.jpg", "p/y/a.jpg", "p/y/b.bmp") == {
        "p/x/a.jpg": "x/a.png",
        "p/y/a.jpg": "y/a.png",
        "p/y/b.bmp": "y/b.png",
    }


def test_a_file_that_is_named_twice_is_done_once() -> None:
    touched("p/a.jpg", "p/x/b.jpg")
    jobs = plan.make(["p", "p/x", "p/a.jpg", str(Path("p/a.jpg").resolve())], ["s"], "out")
    assert sorted(os.path.basename(job.source) for job in jobs) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        (["*.jpg"], {"a.jpg", "x/c.JPG"}),
        (["x/*"], {"x/c.JPG", "x/d"}),
        (["?.png", "d"], {"b.png", "x/d"}),
        (["./a.*"], {"a.jpg"}),
    ],
)
def test_patterns_choose(pattern: list[str], taken: set[str]) -> None:
    touched("p/a.jpg", "p/b.png", "p/x/c.JPG", "p/x/d")
    assert set(planned("p", pattern=pattern)) == {f"p/{name}" for name in taken}


def test_the_output_folder_inside_a_source_is_left_out() -> None:
    touched("p/a.jpg", "p/out/a.png", "p/out/sub/b.png")
    jobs = plan.make(["p"], ["s"], "p/out")
    assert [(job.source, job.output) for job in jobs] == [("p/a.jpg", "p/out/s/a.png")]
    os.symlink("p/out", "elsewhere")
    assert [job.source for job in plan.make(["p"], ["s"], "elsewhere")] == ["p/a.jpg"]


def test_a_source_is_never_overwritten() -> None:
    touched("p/a.png", "a.png")
    with pytest.raises(OutputError, match=r"^p is also a source; choose another folder for the results$"):
        plan.make(["p/"], ["s"], "p")


def refused_place(sources: list[str], styles: list[str], output: str, match: str, **options: Any) -> None:
    with pytest.raises(OutputError, match=match) as caught:
        Batch(sources, styles, output, Options(**options), overwrite=True)
    assert str(caught.value).count(";") == 1


def test_no_input_is_overwritten() -> None:
    touched("out/w/a.png", "q/w/b.png", "out/s/s.png", "out/w/start.png", "w.png", "x/w.jpg", "s.jpg", "start.jpg")
    for output in ("out", "link"):
        if output == "link":
            os.symlink(os.path.abspath("out"), output)
        refused_place(["out/w/a.png"], ["w.png"], output, "a.png is one of the inputs, which are never overwritten;")
    refused_place(["s.jpg"], ["out/s/s.png"], "out", "out/s/s.png is one of the inputs")
    refused_place(["start.jpg"], ["w.png"], "out", "out/w/start.png is one of the inputs", init="out/w/start.png")
    os.link("w.png", "q/w/w.png")
    refused_place(["x/w.jpg"], ["w.png"], "q", "q/w/w.png is one of the inputs")


def test_nothing_is_written_through_a_link_or_outside_the_folder() -> None:
    touched("a.jpg", "w.png", "mine.png", "deep/b.jpg", "away/c.png", "out/w/x.png")
    os.symlink("../../mine.png", "out/w/a.png")
    refused_place(["a.jpg"], ["w.png"], "out", r"^out/w/a.png is a link, which is never written through; remove it$")
    os.symlink("../../away", "out/w/deep")
    refused_place(["a.jpg"], ["w.png"], "out2/../out", "is a link")
    os.remove("out/w/a.png")
    refused_place(["a.jpg", "deep/b.jpg"], ["w.png"], "out", "^out/w/deep/b.png leads out of out; remove the link")
    os.symlink("../mine.png", "out/manifest.jsonl")
    refused_place(["a.jpg"], ["w.png"], "out", "^out/manifest.jsonl is a link")


def test_what_is_there_keeps_its_place_whatever_is_added() -> None:
    touched("p/a.jpg", "p/b.jpg", "p/deep/c.jpg")

    def places_of(*styles: str, earlier: dict[str, str], source: str = "elsewhere.jpg") -> list[str]:
        made = {way: (source, style) for way, style in earlier.items()}
        return [job.output.removeprefix("out/") for job in plan.make(["p"], styles, "out", earlier=made)]

    assert places_of("x/w.jpg", earlier={}) == ["w/a.png", "w/b.png", "w/deep/c.png"]
    # Version 0.1 put the results of a style that was alone into the folder itself.
    bare = {"a.png": "x/w.jpg", "deep/c.png": "w.jpg"}
    assert places_of("w.jpg", earlier=bare) == ["a.png", "w/b.png", "deep/c.png"]
    assert places_of("style", earlier=bare) == ["style/a.png", "style/b.png", "style/deep/c.png"]
    assert places_of("v.jpg", earlier=bare) == ["v/a.png", "v/b.png", "v/deep/c.png"]
    # A style of another extension takes another folder, now or together.
    there = {"w/a.png": "w.jpg"}
    assert places_of("w.png", earlier=there)[0] == "w-2/a.png"
    assert places_of("w.png", "w.jpg", earlier=there)[::3] == ["w-2/a.png", "w/a.png"]
    assert places_of("w.png", "w.jpg", earlier=there | {"w-2/a.png": "w.png"})[::3] == ["w-2/a.png", "w/a.png"]
    assert places_of("x/w.jpg", "y/w.jpg", earlier=there)[::3] == ["w.jpg/a.png", "w.jpg-2/a.png"]
    # A style of the same name, or a photograph, that is added.
    assert places_of("y/w.jpg", "x/w.jpg", earlier={"w/a.png": "x/w.jpg"})[::3] == ["w-2/a.png", "w/a.png"]
    touched("p/a.jpeg")
    assert places_of("w.jpg", earlier={})[:2] == ["w/a.jpeg.png", "w/a.jpg.png"]
    assert places_of("w.jpg", earlier=there, source="p/a.jpg")[:2] == ["w/a.jpeg.png", "w/a.png"]
    assert places_of("w.jpg", earlier={"w/a.jpeg.png": "w.jpg"}, source="p/a.jpg")[:2] == [
        "w/a.jpeg-2.png",
        "w/a.jpeg.png",
    ]
    assert "w/../../evil.png" not in places_of("w.jpg", earlier={"w/../../evil.png": "w.jpg"}, source="p/a.jpg")


@pytest.mark.parametrize("relative", ["../../a.jpg", "a/../../../b.jpg", "./x//.jpg", "..", "/etc/a.jpg"])
def test_no_way_leads_out_of_a_folder(relative: str) -> None:
    found = places.inside(relative)
    assert os.path.abspath(places.join("out", found)).startswith(os.path.abspath("out") + os.sep)
    assert places.inside(found) == found and places.inside("a/b c.jpg") == "a/b c.jpg"


def test_links_are_followed_but_not_in_circles() -> None:
    touched("p/a.jpg", "p/x/b.jpg", "other/c.jpg", "other/deep/d.jpg")
    os.symlink("..", "p/x/up")
    os.symlink("x", "p/again")
    os.symlink(os.path.abspath("other"), "p/linked")
    os.symlink(os.path.abspath("p"), "other/back")
    os.symlink("nowhere.jpg", "p/broken.jpg")
    os.symlink("self.jpg", "p/self.jpg")
    assert planned("p") == {
        "p/a.jpg": "a.png",
        "p/x/b.jpg": "x/b.png",
        "p/linked/c.jpg": "linked/c.png",
        "p/linked/deep/d.jpg": "linked/deep/d.png",
        "p/broken.jpg": "broken.png",
        "p/self.jpg": "self.png",
    }


def test_a_list_names_files_and_folders_one_a_line() -> None:
    touched("p/a b.jpg", f"p/{possible('é.jpg')}", "q/c.jpg")
    Path("list.txt").write_text("p/a b.jpg\r\n\np/é.jpg\nq\nmissing.jpg\n", encoding="utf-8")
    assert planned("@list.txt") == {
        "p/a b.jpg": "p/a b.png",
        "p/é.jpg": "p/é.png",
        "missing.jpg": "missing.png",
        "q/c.jpg": "c.png",
    }
    jobs = {job.source: job.problem for job in plan.make(["@list.txt"], ["s"], "out")}
    assert jobs["missing.jpg"] == "missing.jpg: file not found; check the name" and jobs["q/c.jpg"] is None
    Path("list.txt").write_bytes(b"p/a b.jpg\0two\nlines.jpg\0")
    assert planned("@list.txt") == {"p/a b.jpg": "p/a b.png", "two\nlines.jpg": "two\nlines.png"}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["nowhere.jpg"], r"^nowhere.jpg: file or folder not found; check the name$"),
        (["@nowhere.txt"], r"^@nowhere.txt: file not found; check the name$"),
        (["@empty.txt"], r"^@empty.txt: no pictures found"),
        (["empty"], r"^empty: no pictures found \(looked for \*.avif, .*\); look for other files with pattern$"),
    ],
)
def test_sources_that_do_not_exist_are_refused(sources: list[str], message: str) -> None:
    Path("empty").mkdir()
    Path("empty.txt").touch()
    with pytest.raises(PictureError, match=message):
        plan.make(sources, ["s"], "out")


def test_a_folder_that_cannot_be_opened_is_a_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    touched("p/a.jpg", "p/closed/b.jpg")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path == "p/closed":  # root may open every folder
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    jobs = {job.source: job.problem for job in plan.make(["p"], ["s"], "out")}
    assert jobs == {
        "p/a.jpg": None,
        "p/closed": "p/closed cannot be opened (permission denied); change its permissions",
    }


NAMES = st.lists(
    st.tuples(
        st.sampled_from(["", "x/", "x/y/", "a.png/"]), st.sampled_from("aAbé"), st.sampled_from([".jpg", ".png", ""])
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(NAMES, st.sampled_from(plan.FORMATS))
def test_every_output_is_another_place_whatever_the_names(parts: list[tuple[str, str, str]], format: str) -> None:
    names = list(dict.fromkeys("".join(part) for part in parts))
    suffix = f".{format}"
    places = plan._numbered(plan._told_apart(names, suffix), suffix)
    folded = {place.casefold() for place in places}
    assert len(folded) == len(names)
    assert all(place.endswith(suffix) for place in places)
    assert not any(other.startswith(f"{place}/") for place in folded for other in folded)
    assert [os.path.dirname(place) for place in places] == [os.path.dirname(name) for name in names]
    assert plan._numbered(plan._told_apart(names, suffix), suffix) == places


def test_a_plan_is_made_without_torch(processes: Processes) -> None:
    touched("p/a.jpg")
    code = """
import sys
from styletx.batches import Batch, places, plan
assert [job.output for job in plan.make(["p"], ["mosaic"], "out")] == ["out/mosaic/a.png"]
print("torch" in sys.modules)
"""
    assert processes.finish(sys.executable, "-c", code).stdout == "False\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\0"])
def test_a_list_is_read_in_the_encoding_that_its_mark_tells(encoding: str, end: str) -> None:
    names = ["p/a b.jpg", "p/é 写真.jpg", '# "x".jpg']
    touched("p/a b.jpg")
    mark = "" if encoding.startswith("utf-8") else "\ufeff"
    blank = "" if end == "\0" else end + " "
    Path("list.txt").write_bytes((mark + end.join(names) + end + blank).encode(encoding))
    assert list(planned("@list.txt")) == names


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("/\na.jpg\nb.jpg\n".encode("utf-16-le"), "it looks like UTF-16 or UTF-32 without a byte order mark"),
        ("/a.jpg".encode("utf-16-be"), "it looks like UTF-16 or UTF-32 without a byte order mark"),
        ("写真.jpg\n写真.png".encode("utf-16-le"), "it looks like UTF-16 or UTF-32 without a byte order mark"),
        (b"\xff\xfea\0\0", "it is not the UTF-16-LE that its byte order mark says"),
        (b"\xef\xbb\xbfcaf\xe9.jpg", "it is not the UTF-8 that its byte order mark says"),
        (b"a.jpg\ncaf\xe9.jpg\n", "name 2 is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "name 1 is not UTF-8"),
    ],
)
def test_a_list_that_cannot_be_decoded_is_refused_before_anything_is_read(data: bytes, why: str) -> None:
    Path("list.txt").write_bytes(data)
    with pytest.raises(PictureError) as caught:
        plan.make(["@list.txt"], ["s"], "out")
    assert str(caught.value) == f"@list.txt cannot be read as a list of names ({why}); save it as UTF-8"


def test_a_listed_name_of_other_bytes_is_taken_where_there_is_such_a_file() -> None:
    try:
        Path(os.fsdecode(b"caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    Path("list.txt").write_bytes(b"caf\xe9.jpg\n")
    assert planned("@list.txt") == {os.fsdecode(b"caf\xe9.jpg"): os.fsdecode(b"caf\xe9.png")}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a picture in it; the working folder is in it."""
    touched("x/home/me/photos/a.jpg")
    home = Path("x/home/me").absolute()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(home)
    return home


@pytest.mark.parametrize("name", ["/", "//", "/.", "{}", "{}/", "{}/photos/..", ".", "..", "link", "photos/../../.."])
def test_no_list_names_a_root_or_a_home(name: str, home: Path) -> None:
    Path("link").symlink_to("/")
    Path("list.txt").write_text(f"photos/a.jpg\n{name.format(home)}\n")
    with pytest.raises(PictureError, match=r"is all of /.*, which is taken only where it is given by that very name"):
        plan.make(["@list.txt"], ["s"], "out")


@pytest.mark.parametrize("name", [".", "./", "photos/..", "link"])
def test_a_home_is_a_source_only_where_it_is_written_out(name: str, home: Path) -> None:
    Path("link").symlink_to(home)
    with pytest.raises(PictureError, match=rf"^{name} is all of {home}, which is taken only"):
        plan.make([name], ["s"], "out")
    for written in (str(home), f"{home}/"):
        assert {job.output for job in plan.make([written], ["s"], "out")} == {"out/s/photos/a.png", "out/s/link.png"}


def test_a_link_in_a_folder_to_a_root_or_a_home_is_not_followed(home: Path) -> None:
    Path("photos/back").symlink_to("..")
    Path("photos/top").symlink_to("/")
    problems = {job.source: job.problem for job in plan.make(["photos"], ["s"], "out")}
    assert problems == {
        "photos/a.jpg": None,
        "photos/back": f"photos/back leads to all of {home}, which is never followed; remove the link",
        "photos/top": "photos/top leads to all of /, which is never followed; remove the link",
    }
