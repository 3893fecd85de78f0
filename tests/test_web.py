"""The server: what it paints, and whom it keeps out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from styletx import images
from styletx.cli import flags
from styletx.errors import OutputError
from styletx.options import Options
from styletx.stylizers import Part
from styletx.web import app as application
from styletx.web import forms, guard, jobs, queueing, serving
from styletx.web.app import Site
from styletx.web.store import Store, shown_name

ASSETS = Path(__file__).resolve().parents[1] / "assets"
COFFEE, PEN = ASSETS / "content/coffee.jpg", ASSETS / "styles/pen.jpg"
QUICK = {"size": "96", "method": "one-pass"}
LONG = {"style": "pen.jpg", "size": "192", "iterations": "9000", "optimizer": "adam"}


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(flags.command, {"device": "cpu", "precision": "float32"}, allow_models=False)
    yield made
    made.close()


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with TestClient(application.application(site, set(guard.LOOPBACK), None), "http://127.0.0.1:7860") as one:
        yield one


def photo(side: int = 96, color: str = "teal") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side * 2 // 3), color).save(stream, "PNG")
    return stream.getvalue()


def sent(name: str = "photo.jpg", data: bytes | None = None) -> dict[str, Any]:
    return {"content": (name, COFFEE.read_bytes() if data is None else data)}


def refused(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == status and "\n" not in told["detail"] and "Traceback" not in response.text
    return str(told["detail"])


def over(client: TestClient, id: str, seconds: float = 60) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told: dict[str, Any] = client.get(f"/api/v1/jobs/{id}").json()
        if told["state"] not in ("waiting", "painting"):
            return told
        time.sleep(0.05)
    raise AssertionError("it never ends")


# What it paints


def test_a_form_gives_the_picture(client: TestClient) -> None:
    response = client.post("/api/v1/stylize", files=sent(), data=QUICK | {"style": "mosaic"})
    assert response.status_code == 200 and response.headers["content-type"] == "image/png"
    assert images.read(response.content).pixels.shape == (1, 3, 64, 96)
    about = images.read_metadata(response.content)
    assert about["content"] == "photo.jpg" and about["style"] == "mosaic" and about["options"]["size"] == 96


def test_several_styles_regions_masks_and_options_are_fields(client: TestClient) -> None:
    mask = ("mask.png", photo(color="white"))
    data = {"style": ["mosaic"], "size": "96", "method": "one-pass", "weight-0": "2", "stroke_size": "1.5"}
    files = [("content", ("a.jpg", COFFEE.read_bytes())), ("style", ("my pen.jpg", PEN.read_bytes()))]
    files += [("region-1", mask), ("mask", mask), ("palette", ("p.jpg", PEN.read_bytes()))]
    response = client.post("/api/v1/stylize", files=files, data=data, headers={"Accept": "application/json"})
    told = response.json()
    assert response.status_code == 200 and told["state"] == "done"
    assert told["command"] == (
        "styletx run a.jpg 'mosaic:2+mask.png=my pen.jpg' --size 96 --stroke-size 1.5 --fast --palette p.jpg "
        "--strength mask.png"
    )
    made = images.read_metadata(client.get(told["result"]).content)
    assert made["style"] == "mosaic:2+mask.png=my pen.jpg" or "my pen.jpg" in made["style"]


def test_a_job_is_followed_to_its_end_and_saved_in_any_format(client: TestClient) -> None:
    answer = client.post("/api/v1/jobs", files=sent(), data={"style": "pen.jpg", "size": "96", "iterations": "3"})
    assert answer.status_code == 202 and answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"
    address = answer.headers["location"]
    with client.stream("GET", f"{address}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert told[-1]["state"] == "done" and told[-1]["progress"] == 1 and told[-1]["size"] == [96, 64]
    progress = [one["progress"] for one in told]
    assert progress == sorted(progress)
    shown = client.get(f"{address}/picture")
    assert shown.headers["content-type"] == "image/jpeg" and Image.open(io.BytesIO(shown.content)).size == (96, 64)
    assert Image.open(io.BytesIO(client.get(f"{address}/content").content)).size[0] > 96
    for format, kind in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")):
        file = client.get(f"{address}/result", params={"format": format})
        assert Image.open(io.BytesIO(file.content)).format == kind
        assert images.read_metadata(file.content)["style"] == "pen.jpg"
        assert file.headers["content-disposition"] == f'attachment; filename="photo-styletx.{format}"'
    assert "there is no format 'svg'" in refused(client.get(f"{address}/result", params={"format": "svg"}), 400)
    assert client.delete(address).status_code == 204
    assert "there is no such job" in refused(client.get(address), 404)


def test_what_is_painted_can_be_stopped_or_cancelled_and_others_wait(client: TestClient, site: Site) -> None:
    first, second, third = (
        client.post("/api/v1/jobs", files=sent(), data=one).json()
        for one in (LONG, QUICK | {"style": "pen"}, QUICK | {"style": "pen"})
    )
    assert third["place"] == 2 and second["place"] == 1
    preview = client.post("/api/v1/preview", files=sent(), data={"style": "mosaic"})
    assert preview.status_code == 200 and Image.open(io.BytesIO(preview.content)).size[0] == 240
    assert client.delete(f"/api/v1/jobs/{third['id']}").status_code == 204
    until = time.monotonic() + 60
    while client.get(f"/api/v1/jobs/{first['id']}").json()["pictures"] < 1 and time.monotonic() < until:
        time.sleep(0.05)
    assert client.post(f"/api/v1/jobs/{first['id']}/stop").status_code == 202
    stopped = over(client, first["id"])
    assert stopped["state"] == "stopped" and stopped["has_result"] and stopped["progress"] < 1
    made = images.read_metadata(client.get(f"/api/v1/jobs/{first['id']}/result").content)
    assert made["stopped"].startswith("at ")
    assert over(client, second["id"])["state"] == "done"
    assert [one["id"] for one in client.get("/api/v1/jobs").json()] == [second["id"], first["id"]]


def test_what_cannot_work_is_told_in_the_words_of_the_page(client: TestClient) -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 422, "there are 0 styles"),
        ({"style": "mosaik"}, 422, "no style is called 'mosaik'; did you mean 'mosaic'?"),
        ({"style": "mosaic", "size": "7"}, 422, "Size cannot be 7; it must be from 16 to 65536"),
        ({"style": "mosaic", "size": "many"}, 422, "Size cannot be 'many'; it must be a number"),
        ({"style": "mosaic", "strength": "2"}, 422, "Strength cannot be 2.0; it must be from 0 to 1"),
        ({"style": "mosaic", "size": "--5"}, 422, "Size cannot be '--5'; it must be a number"),
        ({"style": "mosaic", "seed": "\u00b2"}, 422, "Seed cannot be '\u00b2'; it must be a number"),
        ({"style": "mosaic", "colors": "red"}, 422, "Colors cannot be 'red'; choose one of"),
        ({"style": "mosaic", "rotations": "perhaps"}, 422, "it must be true or false"),
        ({"style": "mosaic", "sise": "96"}, 422, "'sise' is not a field; did you mean 'size'?"),
        ({"style": "mosaic", "weight-0": "-1"}, 422, "weight-0 cannot be -1; it must be 0 or more"),
        ({"style": "mosaic", "weight-1": "1"}, 422, "'weight-1' is not a field"),
        ({"style": ["mosaic"] * 5}, 422, "there are 5 styles; send from 1 to 4"),
    ]
    for data, status, wanted in cases:
        assert wanted in refused(client.post("/api/v1/jobs", files=sent(), data=data), status)
    assert "there is no photograph" in refused(client.post("/api/v1/jobs", data={"style": "pen"}), 422)
    assert "send pictures and options as a form" in refused(client.post("/api/v1/jobs", json={}), 415)
    assert "nothing at this address" in refused(client.get("/api/v1/nothing"), 404)
    assert "does not take that method" in refused(client.delete("/api/v1/styles"), 405)
    assert not client.get("/api/v1/jobs").json()


def test_what_is_known_is_told(client: TestClient) -> None:
    assert client.get("/api/v1/health").json()["waiting"] == 0
    styles = client.get("/api/v1/styles").json()
    assert {"mosaic", "pen", "starry-night"} <= {one["name"] for one in styles}
    picture = client.get(styles[0]["picture"])
    assert max(Image.open(io.BytesIO(picture.content)).size) == 240
    options = {one["name"]: one for one in client.get("/api/v1/options").json()}
    assert options["stroke_size"]["maximum"] == 4 and options["colors"]["choices"] == [
        "painting",
        "photo",
        "match",
        "luminance",
    ]
    assert options["rotations"]["kind"] == "switch" and options["keep"]["kind"] == "file"
    assert not set(options) & set(forms.HIDDEN)
    assert "\ue000" not in json.dumps(list(options.values()))


def test_the_interface_describes_itself(client: TestClient, site: Site) -> None:
    document = client.get("/api/openapi.json").json()
    made = application.application(site, set(), None)
    addresses = {
        (route.path, method.lower())
        for route in cast("list[Any]", made.routes)
        for method in getattr(route, "methods", None) or ()
        if route.path.startswith("/api/v1") and method != "HEAD"
    }
    assert addresses == {
        (path, method) for path, one in document["paths"].items() for method in one if method != "parameters"
    }
    fields = document["components"]["schemas"]["Form"]["properties"]
    assert set(forms.offered()) <= set(fields)
    for reference in re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]


# Whom it keeps out


def headers_of(response: Any) -> None:
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "access-control-allow-origin" not in response.headers and "server" not in response.headers


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example:7860",
        "192.168.0.7:7860",
        "evil@127.0.0.1",
        "127.0.0.1/evil",
        "",
        "[::1",
        "169.254.169.254",
        "0.0.0.0",
        "2130706433",
        "localhost\t",
    ],
)
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/api/v1/jobs"), ("POST", "/api/v1/jobs")):
        response = client.request(method, path, headers={"Host": host})
        headers_of(response)
        refused(response, 421)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost", "LOCALHOST:80", "[::1]:7860"])
def test_its_own_names_are_answered(client: TestClient, host: str) -> None:
    response = client.get("/", headers={"Host": host})
    assert response.status_code == 200
    headers_of(response)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1:7860.evil.example"},
        {"Origin": "file://"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_changes_nothing(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/api/v1/jobs"),
        ("POST", "/api/v1/uploads"),
        ("POST", "/api/v1/stylize"),
        ("POST", "/api/v1/preview"),
        ("DELETE", "/api/v1/jobs/x"),
        ("PUT", "/api/v1/jobs"),
    ):
        assert "another web site" in refused(client.request(method, path, headers=headers), 403)


def test_its_own_page_may(client: TestClient) -> None:
    headers = {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/uploads", files={"file": ("a.png", photo())}, headers=headers).status_code == 201


def test_a_token_is_needed_beyond_loopback(site: Site) -> None:
    made = application.application(site, {*guard.LOOPBACK, "*"}, "secret-enough")
    with TestClient(made, "http://192.168.0.7:7860") as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic secret-enough"},
            {"Cookie": "styletx=wrong"},
            {"Cookie": "other=secret-enough"},
            {"Authorization": "Bearer sécret"},
        ):
            raw: Any = {name: value.encode() for name, value in headers.items()}
            for path in ("/", "/api/v1/jobs", "/static/main.js"):
                assert "needs the token" in refused(client.get(path, headers=raw), 401)
        refused(client.post("/api/v1/jobs?token=secret-enough"), 401)  # only in links, which change nothing
        refused(client.get("/?token=secret"), 401)
        assert client.get("/api/v1/jobs", headers={"Authorization": "Bearer secret-enough"}).status_code == 200
        link = client.get("/?token=secret-enough", follow_redirects=False)
        assert link.status_code == 303 and link.headers["location"] == "/"
        cookie = link.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert client.get("/").status_code == 200
        refused(client.get("/", headers={"Host": "evil.example"}), 421)


def png(width: int, height: int) -> bytes:
    """The beginning of a picture of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("a.png", b"<html><script>alert(1)</script></html>"),
        ("a.png", b""),
        ("a.png", b"PK\x03\x04" + b"\0" * 100),
        ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n"),
        ("a.png", png(60_000, 60_000)),
        ("a.png", png(4, 4)),
        ("a.safetensors", b"\x10\0\0\0\0\0\0\0{}" + b"\0" * 64),
        ("a.pth", b"\x80\x04\x95"),
        ("https://example.com/a.png", b"GIF"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_contents(client: TestClient, site: Site, name: str, data: bytes) -> None:
    before = sorted(site.store.folder.iterdir())
    told = refused(client.post("/api/v1/uploads", files={"file": (name, data)}), 415)
    assert str(site.store.folder) not in told
    refused(client.post("/api/v1/jobs", files=sent(name, data), data={"style": "pen"}), 415)
    assert sorted(site.store.folder.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/x.png", "..\\..\\x.png", "/etc/x.png", "x\0.png", "\n\nx.png", "a" * 4000, "."]
)
def test_a_name_is_only_a_text(client: TestClient, site: Site, name: str) -> None:
    kept = client.post("/api/v1/uploads", files={"file": (name, photo())}).json()
    assert not re.search(r"[/\\\x00-\x1f]", kept["name"]) and len(kept["name"]) <= 80
    assert {path.parent for path in site.store.folder.rglob("*")} == {site.store.folder}
    assert "/" not in shown_name(name) and shown_name(None) == "picture"


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/", "../app.py", "~/.ssh/id_rsa", "C:\\x"]
)
def test_no_request_names_a_place(client: TestClient, place: str) -> None:
    for field in ("content", "style", "mask", "keep", "palette", "detail", "init", "region-0", "strength"):
        data = {"style": "mosaic"} | {field: place}
        files = None if field == "content" else sent()
        refused(client.post("/api/v1/jobs", files=files, data=data), 422)
    for field in ("weights", "backbone", "device", "offline", "max_pixels", "embed_paths", "content_layers"):
        data = {"style": "mosaic", field: place}
        assert "is not a field" in refused(client.post("/api/v1/jobs", files=sent(), data=data), 422)
    assert not client.get("/api/v1/jobs").json()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static",
        "/static/",
        "/api/v1/styles/..%2f..%2fx/picture",
        "/api/v1/uploads/..%2f..%2fx/picture",
        "/%00",
    ],
)
def test_no_address_leads_out(client: TestClient, path: str) -> None:
    response = client.get(path, follow_redirects=False)
    assert response.status_code in (400, 404, 405, 307) and b"import" not in response.content


def test_a_body_has_limits(client: TestClient, site: Site) -> None:
    most = application.MOST_BYTES
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "over the limit" in refused(
        client.post("/api/v1/jobs", headers=headers | {"Content-Length": str(most + 1)}), 413
    )
    refused(client.post("/api/v1/jobs", headers=headers | {"Content-Length": "-5"}), 400)

    start = b'--x\r\nContent-Disposition: form-data; name="content"; filename="a.png"\r\n\r\n'
    assert asked(site, itertools.chain([start], itertools.repeat(bytes(2**20)))) == 413
    for content in (
        b"",
        b"--x",
        b"--y\r\n\r\n--y--",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--",
        bytes(999),
    ):
        assert client.post("/api/v1/jobs", headers=headers, content=content).status_code in (400, 422)
    many = {f"weight-{number}": "1" for number in range(200)}
    refused(client.post("/api/v1/jobs", files=sent(), data=many | {"style": "pen"}), 400)
    refused(client.post("/api/v1/jobs", files=sent(), data={"style": "x" * 100_000}), 400)


def test_so_many_may_wait_and_no_more(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "MOST_WAITING", 2)
    answers = [client.post("/api/v1/jobs", files=sent(), data=LONG) for _ in range(6)]
    assert [one.status_code for one in answers].count(202) in (2, 3)
    assert refused(answers[-1], 429) == "so many pictures wait; try again later"
    assert answers[-1].headers["retry-after"] == "30"


def test_the_store_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styletx.web.store.KEPT", 3)
    store = Store(10**6, allow_models=False)
    kept = [store.add(io.BytesIO(photo(32 + side)), "a.png") for side in range(5)]
    assert [store.get(one.id) is not None for one in kept] == [False, False, True, True, True]
    assert len(list(store.folder.iterdir())) == 3
    store.used = lambda: {str(kept[2].path)}  # a job needs it
    store.add(io.BytesIO(photo(40)), "b.png")
    assert [store.get(one.id) is not None for one in kept[2:]] == [True, False, True]
    again = store.add(io.BytesIO(photo(34)), "other.png")
    assert again.id == kept[2].id and len(list(store.folder.iterdir())) == 3
    store.close()
    assert not store.folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="folders are held on POSIX")
def test_what_a_killed_server_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    killed = Server(tmp_path)
    killed.end(signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    living, other = Store(10**6, allow_models=False), tmp_path / "other"
    other.mkdir()
    for folder in tmp_path.iterdir():
        os.utime(folder, (1, 1))
    last = Store(10**6, allow_models=False)
    assert not left.exists() and living.folder.exists() and other.exists() and last.folder.exists()
    living.close()
    last.close()
    assert list(tmp_path.iterdir()) == [other]


def test_what_a_preview_needs_is_kept_and_what_was_dropped_is_told(client: TestClient, site: Site) -> None:
    task = jobs.Task(COFFEE, "a.jpg", (Part("pen"),), Options(**application.PREVIEW), ("pen",), "")
    site.queue.submit(
        dataclasses.replace(task, parts=(Part(str(PEN)),), options=Options(size=96)), asyncio.new_event_loop()
    )
    future = site.queue.preview(task)
    assert str(COFFEE) in site.queue.used()
    future.result(60)
    assert site.store.named(f"{site.store.folder}/0a1b: file not found") == "a picture that was dropped: file not found"


def test_abandoned_previews_and_pictures_are_dropped_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    address = ("127.0.0.1", server.port)
    client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60)
    painting = client.post("/api/v1/jobs", files=sent(), data=LONG).json()["id"]
    client.post("/api/v1/jobs", files=sent(), data=LONG)
    boundary = b"--x\r\nContent-Disposition: form-data; name="
    body = (
        boundary
        + b'"style"\r\n\r\npen\r\n'
        + boundary
        + b'"content"; filename="a.png"\r\n\r\n'
        + photo()
        + b"\r\n--x--\r\n"
    )
    left = []
    for what in ["preview"] * 12 + ["stylize"]:
        head = f"POST /api/v1/{what} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n"
        left.append(socket.create_connection(address, timeout=20))
        left[-1].sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + body)
    until = time.monotonic() + 20
    while len(client.get("/api/v1/jobs").json()) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    for connection in left:
        connection.close()
    until = time.monotonic() + 5
    while len(client.get("/api/v1/jobs").json()) > 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(client.get("/api/v1/jobs").json()) == 2
    assert client.post("/api/v1/preview", files=sent(), data={"style": "pen"}).status_code == 200
    client.delete(f"/api/v1/jobs/{painting}")
    client.close()
    assert "Traceback" not in server.end()[1]


def test_previews_of_several_people_are_all_painted(client: TestClient, site: Site) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(client.post, "/api/v1/preview", files=sent(), data={"style": style})
            for style in ("pen", "mosaic", "poster", "pen", "mosaic", "poster")
        ]
        answers = [one.result() for one in asked]
    assert [one.status_code for one in answers] == [200] * 6
    assert len({one.content for one in answers}) == 3


def test_a_film_that_cannot_be_written_is_told_and_the_picture_kept(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise OutputError("there is no encoder")

    monkeypatch.setattr("styletx.web.queueing.Timelapse.save", fails)
    data = {"style": "pen.jpg", "size": "96", "iterations": "2", "timelapse": "true"}
    told = over(client, client.post("/api/v1/jobs", files=sent(), data=data).json()["id"])
    assert told["state"] == "done" and told["has_result"] and not told["has_timelapse"]
    assert "there is no encoder" in told["notes"]


def test_models_are_taken_only_if_allowed() -> None:
    model = (ASSETS.parent / "styletx/feedforward/styles/mosaic.safetensors").read_bytes()
    site = Site(flags.command, {"device": "cpu"}, allow_models=True)
    with TestClient(application.application(site, set(guard.LOOPBACK), None), "http://localhost") as client:
        files = [*sent().items(), ("style", ("mine.safetensors", model))]
        response = client.post("/api/v1/stylize", files=files, data=QUICK)
        assert response.status_code == 200, response.text
        broken = [*sent().items(), ("style", ("mine.safetensors", model[:500]))]
        before = sorted(site.store.folder.iterdir())
        assert refused(client.post("/api/v1/stylize", files=broken, data=QUICK), 422).startswith("mine.safetensors ")
        assert sorted(site.store.folder.iterdir()) == before


def test_names_of_our_own_files_are_never_told(client: TestClient, site: Site) -> None:
    files = [*sent().items(), ("style", ("mosaic.jpg", PEN.read_bytes()))]  # as one of ours is called
    assert (
        client.post("/api/v1/jobs", files=files, data=QUICK)
        .json()["command"]
        .startswith("styletx run photo.jpg mosaic.jpg --size 96")
    )
    half = COFFEE.read_bytes()[:9000]  # its header is whole
    kept = client.post("/api/v1/uploads", files={"file": ("mine.jpg", half)}).json()
    told = refused(client.get(f"/api/v1/uploads/{kept['id']}/picture"), 415)
    assert told.startswith("mine.jpg ")
    job = client.post("/api/v1/jobs", files=sent("mine.jpg", half), data=QUICK | {"style": "pen"}).json()
    found = over(client, job["id"])
    assert found["state"] == "failed" and found["error"].startswith("mine.jpg ")
    assert str(site.store.folder) not in json.dumps(found)


@pytest.mark.parametrize("charset", ["undefined", "punycode", "nothing"])
def test_a_form_in_another_charset_is_refused(client: TestClient, charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="style"; filename="p\xff\x0a.png"\r\n\r\nx\r\n--x--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    assert client.post("/api/v1/jobs", content=body, headers=headers).status_code in (400, 415, 422)


def test_waiting_for_pictures_does_not_keep_others_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "MOST_BODIES", 1)
    with TestClient(application.application(site, set(guard.LOOPBACK), None), "http://localhost") as client:
        first = client.post("/api/v1/jobs", files=sent(), data=LONG).json()

        def wait() -> None:
            client.post("/api/v1/stylize", files=sent(), data=QUICK | {"style": "pen"})

        waiting = threading.Thread(target=wait)
        waiting.start()
        until = time.monotonic() + 30
        while len(client.get("/api/v1/jobs").json()) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert client.post("/api/v1/uploads", files={"file": ("a.png", photo())}).status_code == 201
        assert client.post(f"/api/v1/jobs/{first['id']}/stop").status_code == 202
        waiting.join(60)
        assert not waiting.is_alive()


# The process


class Server:
    """`styletx ui` in a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        environment = os.environ | {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "styletx", "ui", "--port", "0", "--no-open", "--device", "cpu", *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + self.process.stderr.read()
        self.port = int(found[1])

    def end(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(how)
        _, told = self.process.communicate(timeout=30)
        return self.process.returncode, told


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_in_mid_run_ends_it_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    server = Server(tmp_path)
    boundary = b"--x\r\nContent-Disposition: form-data; name="
    body = boundary + b'"style"\r\n\r\npen.jpg\r\n' + boundary + b'"iterations"\r\n\r\n9000\r\n'
    body += boundary + b'"content"; filename="a.png"\r\n\r\n' + photo(256) + b"\r\n--x--\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + body)
        assert b"202" in connection.recv(200)
    assert list(tmp_path.iterdir())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as following:
        following.sendall(f"GET /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        told = b""
        while (found := re.search(rb'"id":"([^"]+)"', told)) is None:
            told += following.recv(4000)
        following.sendall(b"GET /api/v1/jobs/%s/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % found[1])
        assert b"text/event-stream" in following.recv(4000)
        _, last = server.end(getattr(signal, how))
    assert "Traceback" not in last and not list(tmp_path.iterdir())


def asked(site: Site, body: Iterable[bytes]) -> int:
    """The status of an answer to a body that comes in pieces and never ends."""
    return asyncio.run(_asked(application.application(site, set(guard.LOOPBACK), None), body))


async def _asked(app: Any, body: Iterable[bytes]) -> int:
    pieces, answered = iter(body), list[Any]()

    async def receive() -> dict[str, Any]:
        for piece in pieces:
            return {"type": "http.request", "body": piece, "more_body": True}
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/v1/jobs", "raw_path": b"/api/v1/jobs", "root_path": ""}
    scope |= {"scheme": "http", "query_string": b"", "http_version": "1.1", "server": ("127.0.0.1", 80)}
    kind = (b"content-type", b"multipart/form-data; boundary=x")
    scope |= {
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1"), kind, (b"transfer-encoding", b"chunked")],
    }
    await app(scope, receive, send)
    return int(answered[0]["status"])


def test_a_body_that_does_not_come_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.3)
    assert asked(site, [b"--x\r\n"]) == 408
    start = b'--x\r\nContent-Disposition: form-data; name="content"; filename="a.png"\r\n\r\n'
    assert asked(site, itertools.chain([start], (b"-" for _ in iter(lambda: time.sleep(0.01), 1)))) == 408
    monkeypatch.setattr(guard, "PATIENCE", 20)
    monkeypatch.setattr(guard, "BODY", 0.3)
    assert asked(site, itertools.chain([start], (b"-" for _ in iter(lambda: time.sleep(0.01), 1)))) == 408


def test_a_body_waits_for_its_turn_but_not_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "MOST_BODIES", 1)
    monkeypatch.setattr(guard, "PATIENCE", 1.0)

    async def both(turn: float) -> list[int]:
        monkeypatch.setattr(guard, "TURN", turn)
        app = application.application(site, set(guard.LOOPBACK), None)
        return await asyncio.gather(*(_asked(app, [b"--x\r\n"]) for _ in range(2)))

    assert asyncio.run(both(0.2)) == [408, 503]
    assert asyncio.run(both(5.0)) == [408, 408]


def test_a_body_after_its_answer_does_not_keep_the_connection(tmp_path: Path) -> None:
    server = Server(tmp_path)
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: http://evil.example\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode())
        assert b"403" in connection.recv(4000)
        with pytest.raises(ConnectionError):
            for _ in range(40):
                connection.sendall(b"-")
                time.sleep(0.2)
    for wrong in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(wrong)
            answer = b"".join(iter(lambda: connection.recv(4000), b""))
        assert answer.startswith(b"HTTP/1.1 400") and b"application/problem+json" in answer and b"nosniff" in answer
    assert "Traceback" not in server.end()[1]


def test_two_signals_end_it_without_a_traceback(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    assert "Traceback" not in server.end(signal.SIGINT)[1] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.2", "http://127.0.0.2:"), ("::1", "http://[::1]:")])
def test_the_link_is_where_it_listens(host: str, shown: str) -> None:
    found = list[str]()

    def ready(url: str, elsewhere: str | None) -> None:
        found.extend([url] if elsewhere is None else [url, elsewhere])
        signal.raise_signal(signal.SIGINT)

    with contextlib.suppress(KeyboardInterrupt):
        serving.serve(
            serving.Address(host, 0, None), flags.command, {}, allow_models=False, is_opened=False, ready=ready
        )
    assert len(found) == 1 and found[0].startswith(shown)


def test_a_port_that_is_taken_and_a_host_that_is_not_here(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from styletx.cli import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["ui", "--no-open", "--port", str(port)])
    assert result.exit_code == 2 and "address already in use; give another --port or --host" in result.output
    result = CliRunner().invoke(main, ["ui", "--no-open", "--host", "203.0.113.9", "--port", "0"])
    assert result.exit_code == 2 and len(result.output.splitlines()) == 1
    result = CliRunner().invoke(main, ["ui", "--no-open", "--host", ""])
    assert result.exit_code == 2 and "--host names no address" in result.output
    result = CliRunner().invoke(main, ["ui", "--no-open", "--token", "short"])
    assert result.exit_code == 2 and "too short" in result.output
