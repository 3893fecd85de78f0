"""The application: what each address answers. Everything that may take long happens in other threads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from styletx import __version__
from styletx.errors import MemoryLimitError, PictureError, StyletxError
from styletx.feedforward import models
from styletx.options import Options
from styletx.stylizers import Part
from styletx.web import api, forms, jobs, pictures
from styletx.web.guard import Guard, TooLarge, TooSlow
from styletx.web.jobs import Job
from styletx.web.problems import problem
from styletx.web.queueing import Full, Queue
from styletx.web.store import Store, Upload

STATIC = Path(__file__).parent / "static"
MOST_BYTES = 80 * 2**20  # of a request
MOST_BODIES = 8  # that are read at once
MOST_PIXELS = 40_000_000  # of a picture
MOST_FIELDS = 80
BEAT = 10.0  # seconds between two signs of life of a stream of events
PREVIEW: dict[str, Any] = {"size": 240, "style_size": None, "keep_faces": 0.0, "method": "one-pass"}
ENDING = 2.0  # seconds that what is painted gets at the end


class Site:
    """What the answers share: the queue, what was sent, and what the server was started with.

    Args:
        command: writes a command line; called with content, style and options.
        base: options that are the server's own.
        allow_models: whether trained styles may be sent.
    """

    def __init__(self, command: Callable[..., str], base: Mapping[str, Any], *, allow_models: bool) -> None:
        self.store = Store(MOST_PIXELS, allow_models=allow_models)
        self.queue = Queue(self.store.folder, forms.label, self.told)
        self.store.used = self.queue.used
        self.command, self.is_closed = command, False
        self.base = {**base, "offline": True, "max_pixels": MOST_PIXELS}

    def warm(self) -> None:
        """Get ready for the first preview."""
        name, painting = next(iter(models.paintings().items()))
        options = Options(**{**self.base, **PREVIEW})
        self.queue.warm(jobs.Task(painting, name, (Part(str(painting)),), options, (name,), ""))

    def close(self) -> None:
        """End what is painted, and remove everything."""
        if not self.is_closed:
            self.is_closed = True
            self.queue.close(ENDING)
            self.store.close()

    def told(self, error: StyletxError) -> str:
        """An error's message, in the words of the page and with the names of those who sent files."""
        return self.store.named(error.rendered(forms.label))

    async def task(self, request: Request, **changes: Any) -> jobs.Task:
        """The task that a request describes."""
        async with _form(request, max_files=16, max_fields=MOST_FIELDS, max_part_size=64 * 2**10) as form:
            return await run_in_threadpool(forms.task, form, self.store, {**self.base, **changes}, self.command)

    # Answers

    async def health(self, request: Request) -> Response:
        """Whether it lives, and how much waits."""
        states = [job.state for job in self.queue.jobs.values()]
        return JSONResponse(
            {"version": __version__, "waiting": states.count(jobs.WAITING), "painting": states.count(jobs.PAINTING)}
        )

    async def options(self, request: Request) -> Response:
        """What a form may ask for."""
        return JSONResponse(forms.about())

    async def styles(self, request: Request) -> Response:
        """The bundled styles: as trained ones, and the paintings that the optimisation takes."""
        return JSONResponse(
            [
                {"name": Path(name).stem, "painting": name, "picture": f"/api/v1/styles/{Path(name).stem}/picture"}
                for name in models.paintings()
            ]
        )

    async def style_picture(self, request: Request) -> Response:
        """The painting of a bundled style, small."""
        name = request.path_params["name"]
        if name not in models.bundled():
            raise HTTPException(404, "there is no such style")
        picture = await pictures.decoded(pictures.gallery, name)
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    async def upload(self, request: Request) -> Response:
        """Keep a picture, for requests that name it by its id."""
        async with _form(request, max_files=1, max_fields=4, max_part_size=1024) as form:
            file = form.get("file")
            if file is None or isinstance(file, str):
                raise HTTPException(400, "there is no picture; send it as the field 'file'")
            kept = await run_in_threadpool(self.store.add, file.file, file.filename)
        return JSONResponse(_about(kept), 201)

    async def kept(self, request: Request) -> Response:
        """What is known of what was sent."""
        return JSONResponse(_about(self._upload(request)))

    async def upload_picture(self, request: Request) -> Response:
        """What was sent, at a screen's size."""
        kept = self._upload(request)
        picture = await pictures.decoded(pictures.screen, kept.path)
        return Response(picture, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    async def preview(self, request: Request) -> Response:
        """A small picture in one pass, at once."""
        task = await self.task(request, **PREVIEW)
        painted = asyncio.wrap_future(self.queue.preview(task))
        if not await _waited(request, painted, painted.cancel):  # whoever asks for a later one does not wait for this
            return Response(status_code=204)
        return Response(painted.result(), media_type="image/jpeg")

    async def stylize(self, request: Request) -> Response:
        """Paint, and answer with the picture when it is done; or, if JSON is wanted, with all that is known of it."""
        job = await self._submitted(request)
        over = asyncio.ensure_future(job.over())
        if not await _waited(request, over, lambda: self.queue.remove(job)):
            return Response(status_code=204)
        if job.result is None:
            return problem(422 if job.state == jobs.FAILED else 503, job.error or "this was cancelled")
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(self._told(job) | {"result": f"/api/v1/jobs/{job.id}/result"})
        return await self._result(job, request.query_params.get("format", "png"))

    async def submit(self, request: Request) -> Response:
        """Let a picture be painted, and answer at once."""
        job = await self._submitted(request)
        return JSONResponse(self._told(job), 202, {"Location": f"/api/v1/jobs/{job.id}"})

    async def _submitted(self, request: Request) -> Job:
        return self.queue.submit(await self.task(request), asyncio.get_running_loop())

    async def jobs(self, request: Request) -> Response:
        """All jobs, the latest first."""
        return JSONResponse([self._told(job) for job in reversed(self.queue.jobs.values())])

    async def job(self, request: Request) -> Response:
        """What is known of a job."""
        return JSONResponse(self._told(self._job(request)))

    async def delete(self, request: Request) -> Response:
        """End a job and forget it."""
        self.queue.remove(self._job(request))
        return Response(status_code=204)

    async def stop(self, request: Request) -> Response:
        """End a job, and keep the best so far."""
        job = self._job(request)
        self.queue.stop(job, jobs.STOPPED)
        return JSONResponse(self._told(job), 202)

    async def picture(self, request: Request) -> Response:
        """A job's latest picture, at a screen's size."""
        job = self._job(request)
        if job.shown is None:
            raise HTTPException(404, "there is no picture yet")
        return Response(job.shown, media_type="image/jpeg")

    async def content(self, request: Request) -> Response:
        """A job's photograph, at a screen's size."""
        job = self._job(request)
        if not job.task.content.exists():
            raise HTTPException(404, "the photograph was dropped")
        return Response(await pictures.decoded(pictures.screen, job.task.content), media_type="image/png")

    async def result(self, request: Request) -> Response:
        """A job's result as a file."""
        job = self._job(request)
        if job.result is None:
            raise HTTPException(404, job.error or "it is not painted yet")
        return await self._result(job, request.query_params.get("format", "png"))

    async def timelapse(self, request: Request) -> Response:
        """A film of a job."""
        job = self._job(request)
        if job.timelapse is None:
            raise HTTPException(404, "there is no film of it")
        return FileResponse(
            job.timelapse, media_type="video/mp4", filename=f"{pictures.plain(Path(job.task.name).stem)}-styletx.mp4"
        )

    async def events(self, request: Request) -> Response:
        """A job's changes as server-sent events, each as JSON."""
        job = self._job(request)

        async def lines() -> AsyncIterator[str]:
            async for is_new in job.follow(BEAT):
                yield f"id: {job.version}\ndata: {json.dumps(self._told(job))}\n\n" if is_new else ": still here\n\n"
                if await request.is_disconnected():
                    return

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def openapi(self, request: Request) -> Response:
        """This interface, described."""
        return JSONResponse(api.document())

    async def page(self, request: Request) -> Response:
        """The page."""
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    def _upload(self, request: Request) -> Upload:
        kept = self.store.get(request.path_params["id"])
        if kept is None or kept.path.suffix:
            raise HTTPException(404, "no picture has this id; it may have been dropped")
        return kept

    def _job(self, request: Request) -> Job:
        job = self.queue.jobs.get(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "there is no such job; it may have been dropped")
        return job

    def _told(self, job: Job) -> dict[str, Any]:
        return {
            "id": job.id,
            "state": job.state,
            "place": self.queue.place(job),
            "progress": round(job.progress, 4),
            "left": None if job.left is None else round(job.left, 1),
            "seconds": round(job.seconds, 2),
            "pictures": job.pictures,
            "size": job.size,
            "losses": {name: round(value, 6) for name, value in job.losses.items()},
            "notes": job.notes,
            "error": job.error,
            "name": job.task.name,
            "command": job.task.command,
            "asked": job.task.asked,
            "styles": job.task.names,
            "has_result": job.result is not None,
            "has_timelapse": job.timelapse is not None,
        }

    async def _result(self, job: Job, format: str) -> Response:
        if format not in pictures.TYPES:
            raise HTTPException(400, f"there is no format {format[:20]!r}; choose one of {', '.join(pictures.TYPES)}")
        assert job.result is not None
        kind = pictures.TYPES[format]
        try:
            body = await pictures.decoded(pictures.converted, job.result, kind)
        except PictureError:
            raise HTTPException(404, "the result was dropped") from None
        disposition = f'attachment; filename="{pictures.plain(Path(job.task.name).stem)}-styletx.{format}"'
        return Response(body, media_type=pictures.MEDIA[kind], headers={"Content-Disposition": disposition})


def application(site: Site, hosts: set[str], token: str | None) -> Starlette:
    """All addresses, behind the guard."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(site.close)

    def explained(request: Request, error: Exception) -> Response:
        assert isinstance(error, StyletxError)
        status = 503 if isinstance(error, MemoryLimitError) else 415 if isinstance(error, PictureError) else 422
        return problem(status, site.told(error))

    def route(path: str, answer: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
        return Route(path, answer, methods=list(methods) or ["GET"])

    one = "/api/v1/jobs/{id}"
    routes = [
        route("/", site.page),
        Mount("/static", StaticFiles(directory=STATIC)),
        route("/api/openapi.json", site.openapi),
        route("/api/v1/health", site.health),
        route("/api/v1/options", site.options),
        route("/api/v1/styles", site.styles),
        route("/api/v1/styles/{name}/picture", site.style_picture),
        route("/api/v1/uploads", site.upload, "POST"),
        route("/api/v1/uploads/{id}", site.kept),
        route("/api/v1/uploads/{id}/picture", site.upload_picture),
        route("/api/v1/preview", site.preview, "POST"),
        route("/api/v1/stylize", site.stylize, "POST"),
        route("/api/v1/jobs", site.submit, "POST"),
        route("/api/v1/jobs", site.jobs),
        route(one, site.delete, "DELETE"),
        route(one, site.job),
        route(f"{one}/stop", site.stop, "POST"),
        route(f"{one}/events", site.events),
        route(f"{one}/picture", site.picture),
        route(f"{one}/content", site.content),
        route(f"{one}/result", site.result),
        route(f"{one}/timelapse", site.timelapse),
    ]
    guard = Middleware(Guard, hosts=hosts, token=token, most_bytes=MOST_BYTES, most_bodies=MOST_BODIES)
    handlers: dict[Any, Any] = {
        HTTPException: _refused,
        StyletxError: explained,
        Exception: lambda *_: problem(500, "styletx made a mistake; its terminal tells which"),
        Full: lambda *_: problem(429, "so many pictures wait; try again later", {"Retry-After": "30"}),
        TooLarge: lambda *_: problem(413, f"the body has more than {MOST_BYTES:,} bytes", {"Connection": "close"}),
        TooSlow: lambda *_: problem(408, "the body did not come in time", {"Connection": "close"}),
        ClientDisconnect: lambda *_: Response(status_code=400),
        MultiPartException: lambda _, error: problem(400, f"the form cannot be read: {error.message}"),
    }
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=lifespan)


def _about(kept: Upload) -> dict[str, Any]:
    return {"id": kept.id, "name": kept.name, "bytes": kept.size}


@contextlib.asynccontextmanager
async def _form(request: Request, **limits: int) -> AsyncIterator[FormData]:
    kind, about = parse_options_header(request.headers.get("content-type", ""))
    if kind not in (b"multipart/form-data", b"application/x-www-form-urlencoded"):
        raise HTTPException(415, "send pictures and options as a form, multipart/form-data")
    if about.get(b"charset", b"utf-8").lower() != b"utf-8":
        raise HTTPException(400, "the form's text is not UTF-8")
    async with request.form(**limits) as form:
        yield form


async def _waited(request: Request, work: asyncio.Future[Any], give_up: Callable[[], object]) -> bool:
    """Whether the caller is still there when something is done; if not, or if the server ends, it is given up."""

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    left, is_done = asyncio.ensure_future(leave()), False
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        is_done = work.done()
    finally:
        left.cancel()
        if not is_done:
            give_up()
    return is_done


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {404: "there is nothing at this address", 405: "this address does not take that method"}
    own = error.detail not in ("Not Found", "Method Not Allowed")
    return problem(error.status_code, error.detail if own else detail[error.status_code], error.headers)
