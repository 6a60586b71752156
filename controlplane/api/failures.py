"""One shape for every error: {"error": {"code", "message", "details"}}."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from controlplane.errors import Busy, ControlPlaneError, Occupied
from controlplane.lifecycle import IllegalTransition

LOG: Final = logging.getLogger(__name__)
#: of one request; the rest is counted
TOLD_PROBLEMS: Final = 20
_CODES: Final = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}


def failure(status: int, code: str, message: str, details: dict[str, Any] | None = None) -> JSONResponse:
    """An error as every route answers it."""
    told = {name: _shown(each) if isinstance(each, str) else each for name, each in (details or {}).items()}
    body = {"error": {"code": code, "message": _shown(message), "details": told}}
    return JSONResponse(body, status_code=status)


def _shown(text: str) -> str:
    """Half a character, as JSON can escape it, is no UTF-8: an error that quotes it must still be an answer."""
    return text.encode("utf-8", "replace").decode()


def of_error(error: ControlPlaneError) -> JSONResponse:
    """The answer to one of our own errors."""
    details = error.details
    if "problems" in details:
        details = {**details, **_told(details["problems"])}
    response = failure(error.status, error.code, error.message, details)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        response.headers["Retry-After"] = str(details.get("retry_after", 1))
    return response


def install(app: FastAPI) -> None:
    """Answer every kind of error in the one shape."""
    app.add_exception_handler(ControlPlaneError, _ours)
    app.add_exception_handler(IllegalTransition, _illegal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ControlPlaneError)  # noqa: S101 - registered for it
    if error.status >= 500 and not isinstance(error, Occupied):
        LOG.error("%s %s: %s", request.method, request.url.path, error)
    return of_error(error)


def _illegal(_request: Request, error: Exception) -> JSONResponse:
    return failure(409, "conflict", str(error))


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    found = error.errors()
    told = _told(found)
    told["problems"] = [
        {"field": ".".join(str(part) for part in problem["loc"]), "message": problem["msg"]}
        for problem in told["problems"]
    ]
    first = next(iter(told["problems"]), {"field": "body", "message": "is not valid"})
    return failure(422, "invalid", f"{first['field']}: {first['message']}", told)


def _told(problems: Sequence[Any]) -> dict[str, Any]:
    """The first problems, and how many more there are."""
    told = problems[:TOLD_PROBLEMS]
    return {"problems": told, "more": len(problems) - len(told)} if len(problems) > len(told) else {"problems": told}


def of_http(error: HTTPException) -> JSONResponse:
    """The answer to an error of the framework."""
    code = _CODES.get(error.status_code, "refused")
    response = failure(error.status_code, code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return of_http(error)


def _database(request: Request, error: Exception) -> JSONResponse:
    LOG.error("%s %s: %s", request.method, request.url.path, error)
    return of_error(Busy())
