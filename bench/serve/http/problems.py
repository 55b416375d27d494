"""Errors as problem JSON (RFC 9457), with the member by which OpenAI's clients know an error.

No traceback ever leaves: what is not foreseen is one sentence, and its traceback goes to standard error.
"""

from __future__ import annotations

import sys
import traceback
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
#: Mistakes of a body that are told.
MOST = 5


class Refused(Exception):
    """A request that is not carried out; what the client is told."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response for a refused request."""
    return JSONResponse(body(status, detail), status, headers, media_type=MEDIA_TYPE)


def body(status: int, detail: str) -> dict[str, Any]:
    """The members of a problem."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "error": {"message": detail, "type": kind, "param": None, "code": None},
    }


def install(app: FastAPI) -> None:
    """Give every error of an app this form."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return problem(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        mistakes = [
            f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
            for mistake in error.errors()[:MOST]
        ]
        return problem(422, "; ".join(mistakes).encode("utf-8", "replace").decode())

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        traceback.print_exception(error, file=sys.stderr)
        return problem(500, "the server has a defect; its log says more")
