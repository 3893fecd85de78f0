"""Errors as machines and people read them: problem+json (RFC 9457) with the program's own one-line messages."""

from __future__ import annotations

import http
from collections.abc import Mapping

from starlette.responses import JSONResponse


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that says what is wrong and what to do."""
    content = {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, headers, media_type="application/problem+json")
