"""The OpenAPI document, made from the declarations of options and from what each address answers."""

from __future__ import annotations

from typing import Any

from styletx import __version__
from styletx.web import forms

PROBLEM = {
    "description": "What is wrong and what to do, in one line.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
BINARY = {"type": "string", "format": "binary"}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    form = {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/Form"}}},
    }
    job = _json("A job.", {"$ref": "#/components/schemas/Job"})
    picture = {"description": "The picture.", "content": {"image/png": {"schema": BINARY}}}
    wrong = {str(status): PROBLEM for status in (400, 401, 403, 408, 413, 415, 421, 422, 429, 503)}
    one = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    format_ = {"name": "format", "in": "query", "schema": {"enum": ["png", "jpg", "webp", "tiff"], "default": "png"}}
    gone = {"404": PROBLEM}
    return {
        "openapi": "3.1.0",
        "info": {"title": "styletx", "version": __version__, "description": "Photographs repainted in a style."},
        "paths": {
            "/api/v1/stylize": {
                "post": _operation("Paint, and wait for the picture", {"200": picture, **wrong}, [format_], form)
            },
            "/api/v1/preview": {
                "post": _operation("A small picture in one pass", {"200": picture, **wrong}, body=form)
            },
            "/api/v1/jobs": {
                "post": _operation("Let a picture be painted", {"202": job, **wrong}, body=form),
                "get": _operation("All jobs, the latest first", {"200": _json("Jobs.", _list("Job"))}),
            },
            "/api/v1/jobs/{id}": {
                "parameters": one,
                "get": _operation("What is known of a job", {"200": job, **gone}),
                "delete": _operation("End and forget a job", {"204": {"description": "It is gone."}, **gone}),
            },
            "/api/v1/jobs/{id}/stop": {
                "parameters": one,
                "post": _operation("End a job and keep the best so far", {"202": job, **gone}),
            },
            "/api/v1/jobs/{id}/events": {
                "parameters": one,
                "get": _operation(
                    "A job's changes, each as JSON",
                    {"200": {"description": "Events.", "content": {"text/event-stream": {}}}, **gone},
                ),
            },
            "/api/v1/jobs/{id}/picture": {
                "parameters": one,
                "get": _operation("The latest picture at a screen's size, as JPEG", {"200": picture, **gone}),
            },
            "/api/v1/jobs/{id}/content": {
                "parameters": one,
                "get": _operation("The photograph at a screen's size, as PNG", {"200": picture, **gone}),
            },
            "/api/v1/jobs/{id}/result": {
                "parameters": one,
                "get": _operation("The result", {"200": picture, **gone}, [format_]),
            },
            "/api/v1/jobs/{id}/timelapse": {
                "parameters": one,
                "get": _operation(
                    "A film of it",
                    {"200": {"description": "MP4.", "content": {"video/mp4": {"schema": BINARY}}}, **gone},
                ),
            },
            "/api/v1/uploads": {
                "post": _operation(
                    "Keep a picture, for forms that name it by its id",
                    {"201": _json("Its id.", {"type": "object", "properties": {"id": {"type": "string"}}}), **wrong},
                    body={
                        "required": True,
                        "content": {
                            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": BINARY}}}
                        },
                    },
                )
            },
            "/api/v1/uploads/{id}": {
                "parameters": one,
                "get": _operation("What is known of what was sent", {"200": _json("It.", {"type": "object"}), **gone}),
            },
            "/api/v1/uploads/{id}/picture": {
                "parameters": one,
                "get": _operation("What was sent, at a screen's size", {"200": picture, **gone}),
            },
            "/api/v1/styles": {"get": _operation("The bundled styles", {"200": _json("Styles.", {"type": "array"})})},
            "/api/v1/styles/{name}/picture": {
                "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
                "get": _operation("A style's painting, small", {"200": picture, **gone}),
            },
            "/api/v1/options": {"get": _operation("What may be set", {"200": _json("Options.", {"type": "array"})})},
            "/api/v1/health": {
                "get": _operation("Whether it lives, and how much waits", {"200": _json("Health.", {"type": "object"})})
            },
        },
        "components": {"schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    style = {"type": "string", "description": "A bundled style's name, a picture, or the id of one that was sent."}
    file = BINARY | {"description": "A picture, or the id of one that was sent."}
    fields: dict[str, Any] = {
        "content": file,
        "style": {"type": "array", "items": style, "minItems": 1, "maxItems": forms.MOST_STYLES},
        "timelapse": {"type": "boolean", "default": False, "description": "Whether a film of it is kept too."},
        "mask": file | {"description": "What is white in it is painted."},
    }
    for number in range(forms.MOST_STYLES):
        fields[f"weight-{number}"] = {"type": "number", "default": 1, "description": f"Of style number {number}."}
        fields[f"region-{number}"] = file | {"description": f"What is white in it is painted in style {number}."}
    fields |= {option["name"]: _option(option) for option in forms.about()}
    job = {
        "id": {"type": "string"},
        "state": {"enum": ["waiting", "painting", "done", "stopped", "failed", "cancelled"]},
        "place": {"type": "integer", "description": "How many are painted before it."},
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "left": {"type": ["number", "null"], "description": "Seconds."},
        "error": {"type": ["string", "null"]},
        "command": {"type": "string", "description": "The command line that repeats it."},
    }
    problem = {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}}
    return {
        "Form": {"type": "object", "required": ["content", "style"], "properties": fields},
        "Job": {"type": "object", "properties": job},
        "Problem": {"type": "object", "properties": problem},
    }


def _option(option: dict[str, Any]) -> dict[str, Any]:
    kind = option["kind"]
    if kind == "file":
        return BINARY | {"description": option["text"]}
    type_ = {"switch": "boolean", "number": "integer" if option["whole"] else "number"}.get(kind, "string")
    found = {"type": type_, "description": option["text"], "default": option["default"]}
    if option["choices"] and kind == "choice":
        found["enum"] = list(option["choices"])
    found |= {key: option[key] for key in ("minimum", "maximum") if option[key] is not None}
    return found


def _operation(
    summary: str, responses: dict[str, Any], parameters: list[Any] | None = None, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        found["parameters"] = parameters
    return found | ({"requestBody": body} if body else {})


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
