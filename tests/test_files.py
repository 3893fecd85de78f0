import errno
import hashlib
import os
import stat
import subprocess
import sys

import pytest

import styletx
from styletx import files, images
from styletx.errors import OptionError, OutputError, field

CHECKS = pytest.mark.parametrize("check", [files.check, images.check_output])


def unwritable(path, *, match, check=files.check, **options):
    with pytest.raises(OutputError, match=match) as caught:
        check(path, **options)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and ";" in message and not message.endswith(".")


def test_names_are_shown_on_one_line():
    assert files.shown("fotos/Zürich 東京.jpg") == "fotos/Zürich 東京.jpg"
    assert files.shown("line\nbreak.png") == r"'line\nbreak.png'"
    assert files.shown("") == "''"
    assert files.shown("\udcff.png") == r"'\udcff.png'"


def test_a_name_cannot_pass_for_an_option():
    assert str(OutputError(f"{files.shown(field('size'))} is a folder")) == r"'\ue000size\ue001' is a folder"


def test_reasons():
    assert files.reason(PermissionError(errno.EACCES, "Permission denied")) == "permission denied"
    assert files.reason(ValueError("Two\nlines")) == "Two lines"
    assert files.reason(OSError()) == "OSError"


def test_hashes(tmp_path):
    data = bytes(range(256)) * 8193  # two chunks and a part
    (tmp_path / "a").write_bytes(data)
    assert files.sha256_of(tmp_path / "a") == files.sha256(data) == hashlib.sha256(data).hexdigest()
    # FIPS 180-2's example.
    assert files.sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_extensions_are_told_from_a_lower_case_suffix():
    assert {".jpg", ".png", ".webp", ".tif", ".heic"} <= set(files.PICTURE_EXTENSIONS)
    assert all(one == f".{one[1:].lower()}" and one[1:].isalnum() for one in files.PICTURE_EXTENSIONS)


@CHECKS
def test_checking_leaves_nothing_behind_but_folders(tmp_path, check):
    path = tmp_path / "new" / "folder" / "a.png"
    check(path)
    assert path.parent.is_dir() and not list(path.parent.iterdir())
    path.write_bytes(b"old")
    before = path.stat().st_mtime_ns
    check(path)
    assert path.read_bytes() == b"old" and path.stat().st_mtime_ns == before
    assert list(path.parent.iterdir()) == [path]


@CHECKS
def test_files_that_cannot_be_written(tmp_path, check):
    unwritable(tmp_path, match="is a folder", check=check)
    (tmp_path / "file").touch()
    unwritable(tmp_path / "file" / "a.png", match="cannot be written", check=check)
    unwritable(tmp_path / ("x" * 300 + ".png"), match="name too long", check=check)
    os.mkfifo(tmp_path / "pipe.png")
    unwritable(tmp_path / "pipe.png", match="not an ordinary file", check=check)
    (tmp_path / "loop.png").symlink_to("loop.png")
    unwritable(tmp_path / "loop.png", match="symbolic links", check=check)
    with pytest.raises(OutputError):
        check("a\0.png")


def test_files_without_permission(unprivileged):
    folder = unprivileged / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    unwritable(folder / "a.png", match="permission denied")
    unwritable(folder / "deeper" / "a.png", match="permission denied")
    path = unprivileged / "protected.png"
    path.write_bytes(b"old")
    path.chmod(0o444)
    unwritable(path, match="permission denied")
    with pytest.raises(OutputError):
        files.write(path, b"new")
    assert path.read_bytes() == b"old" and list(unprivileged.iterdir()).count(path) == 1


def test_an_input_is_never_overwritten(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    (tmp_path / "link.png").symlink_to(path)
    os.link(path, tmp_path / "hard.png")
    for same in (path, tmp_path / "link.png", tmp_path / "hard.png", tmp_path / "." / "a.png"):
        unwritable(same, sources=["<stdin>", "a\0b", path], match="one of the inputs")
    files.check(tmp_path / "b.png", sources=[path, tmp_path / "missing.png"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, OptionError, OSError])
def test_an_interruption_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError if error is OSError else error), files.replacing(path) as file:
        file.write(b"ne")
        raise error("so far")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_interrupted_replacement_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_and_what_is_being_written_is_not(tmp_path):
    path = tmp_path / "a.png"
    code = f"import os; from styletx import files\nwith files.replacing({str(path)!r}) as file: os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -9 and len(os.listdir(tmp_path)) == 1
    (tmp_path / ".styletx-link.tmp").symlink_to("a.png")
    os.mkfifo(tmp_path / ".styletx-pipe.tmp")
    with files.replacing(path) as file:
        file.write(b"data")
        files.check(tmp_path / "b.png")
    assert path.read_bytes() == b"data"
    assert sorted(os.listdir(tmp_path)) == [".styletx-link.tmp", ".styletx-pipe.tmp", "a.png"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    resource = pytest.importorskip("resource", reason="only POSIX limits the size of files")
    signal = pytest.importorskip("signal")
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="file too large"):
            files.write(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path):
    path = tmp_path / "a.png"
    before = os.umask(0o027)
    try:
        files.write(path, b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    files.write(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604 and path.read_bytes() == b"two"


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to("elsewhere/real.png")
    for data in (b"one", b"two"):  # the link dangles at first, then points to a file
        files.check(link)
        files.write(link, data)
        real = tmp_path / "elsewhere" / "real.png"
        assert link.is_symlink() and not real.is_symlink() and real.read_bytes() == data
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_a_relative_path_is_written_where_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.check("a.png")
    files.write("a.png", b"data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path, monkeypatch, links):
    if not links:

        def refused(*names):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "a.txt"
    files.write(path, b"first", overwrite=False)
    with pytest.raises(OutputError, match="file exists") as caught:
        files.write(path, b"second", overwrite=False)
    assert isinstance(caught.value.__cause__, FileExistsError)
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["a.txt"]


def test_numbered(tmp_path):
    path = tmp_path / "a.b.png"
    assert files.numbered(path) == path
    path.touch()
    assert files.numbered(path) == tmp_path / "a.b-2.png"
    (tmp_path / "a.b-2.png").symlink_to("nowhere")
    assert files.numbered(path) == tmp_path / "a.b-3.png"


@pytest.mark.parametrize("name", ["a\0b", "file:///a%00b", "\ud800.png"])
def test_a_name_that_no_file_can_have_is_told(name):
    with pytest.raises(OptionError, match=r"^no file can be called .*; check the name$"):
        files.local(name)
    with pytest.raises(OptionError):
        styletx.batch("a.jpg", "mosaic", name)
    with pytest.raises(OptionError):
        styletx.batch("a.jpg", name, "out")
