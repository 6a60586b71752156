"""The OpenAPI document: what every route does in the same way is described here once.

A route says what it answers and what it is asked. That it needs a token, how it fails, and which headers it takes is
added for all, so that a new route is described as it behaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from controlplane.access.auth import is_open
from controlplane.api.examples import EXAMPLES
from controlplane.api.idempotency import SHOWN_ONCE
from controlplane.views import ErrorView

Json = dict[str, Any]
INTRO: Final = (
    "Errors have one shape. Lists are newest first: `limit`, `cursor`, and `next` in the answer. Answers have an "
    "`ETag`; with `If-None-Match` and `wait` an answer comes when it has changed. Changes take `If-Match` and "
    "`Idempotency-Key`."
)
TAGS: Final = {
    "models": "Models: declared, listed, looked at.",
    "versions": "Versions, their rollouts, and what people do with them.",
    "runs": "Training runs: asked for, looked at, cancelled.",
    "history": "What happened: windows, decisions, firings.",
    "holds": "What people stop.",
    "rules": "Rules tried over the past, and the webhook that triggers a run.",
    "alerts": "Alerts and their notifications.",
    "people": "Tokens, and what was done with them.",
    "serving": "For serving instances.",
    "basics": "Health and the clock.",
}
#: of routes that are for programs of ours only
SUMMARIES: Final = {
    "/api/v1/serving/desired": "What serving should have loaded, and the tokens that it takes",
    "/api/v1/blobs/{sha256}": "The bytes with this digest",
    "/api/v1/serving/instances/{instance_id}": "What a serving instance says of itself",
}
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_ERRORS: Final = {
    "401": "no valid token", "403": "the token lacks the scope", "404": "there is no such thing",
    "422": "what was sent is not valid", "429": "too many wrong tokens", "503": "not available: try again",
}  # fmt: skip
_CHANGE_ERRORS: Final = {
    "409": "the present state does not allow it, or the key was used",
    "412": "If-Match: it is not as you saw it any more", "413": "the body is too long",
}  # fmt: skip
_READ: Final = ("IfNoneMatch", "Wait")
_CHANGE: Final = ("IfMatch", "IdempotencyKey")


def install(app: FastAPI) -> None:
    """Let the application describe itself."""

    def described() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def describe(app: FastAPI) -> Json:
    """The document of the routes that the application has."""
    document = get_openapi(title=app.title, version="1", routes=app.routes, description=INTRO)
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "a token of the control plane: dg_..."}
    }
    components["parameters"] = _parameters()
    components["responses"] = {
        f"E{status}": _error(status, text) for status, text in {**_ERRORS, **_CHANGE_ERRORS}.items()
    }
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    shape = ErrorView.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= shape.pop("$defs") | {"ErrorView": shape}
    for name, example in EXAMPLES.items():
        if name in schemas:
            schemas[name]["examples"] = [example]
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, method, operation in operations(document):
        _complete(path, method, operation)
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Json]]:
    """Path, method and description of every operation."""
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


def _complete(path: str, method: str, operation: Json) -> None:
    said = operation.get("description") or SUMMARIES.get(path) or operation["summary"]
    operation["summary"] = said.split(". ")[0].split("\n")[0].rstrip(".")
    responses = operation["responses"]
    signed = path.startswith("/hooks/")
    if is_open(path) and not signed:
        responses.pop("422", None)
        return
    operation["security"] = [] if signed else [{"token": []}]
    changes = method != "get"
    for status in (*_ERRORS, *(_CHANGE_ERRORS if changes else ())):
        responses[status] = {"$ref": f"#/components/responses/E{status}"}
    if signed or not path.startswith("/api/v1/"):
        return
    names = _CHANGE if changes else _READ
    operation.setdefault("parameters", []).extend({"$ref": f"#/components/parameters/{name}"} for name in names)
    if changes and SHOWN_ONCE.match(path.replace("{ns}/{slug}", "n/s")):
        operation["description"] = f"{operation.get('description', '')} The secret is shown once."
    if not changes:
        responses["304"] = {"description": "nothing changed since the answer with this tag"}
        for status in ("200",):
            headers = responses.setdefault(status, {"description": "found"}).setdefault("headers", {})
            headers["ETag"] = {"description": "the tag of this answer", "schema": {"type": "string"}}


def _error(status: str, text: str) -> Json:
    code = {"401": "unauthenticated", "403": "forbidden", "404": "not_found", "409": "run_active", "412": "changed",
            "413": "too_large", "422": "invalid", "429": "too_many_attempts", "503": "busy"}[status]  # fmt: skip
    example = {"error": {"code": code, "message": text, "details": {}}}
    schema = {"$ref": "#/components/schemas/ErrorView"}
    return {"description": text, "content": {"application/json": {"schema": schema, "example": example}}}


def _parameters() -> Json:
    def header(name: str, text: str, example: str) -> Json:
        schema = {"type": "string"}
        return {"name": name, "in": "header", "description": text, "schema": schema, "example": example}

    return {
        "IfNoneMatch": header("If-None-Match", "304 where the answer still has this tag", '"0f3a"'),
        "IfMatch": header("If-Match", "412 where `GET` of the same thing has another tag now; `*` is any", '"0f3a"'),
        "IdempotencyKey": header(
            "Idempotency-Key",
            "the same request under the same key within a day is carried out once and answered the same",
            "2f1c9a4e-6a58-4f0e-9d6b-0f3c1c6f6a11",
        ),
        "Wait": {
            "name": "wait", "in": "query", "example": 30,
            "description": "with If-None-Match: wait so many seconds for a change",
            "schema": {"type": "number", "minimum": 0, "maximum": 60, "default": 0},
        },
    }  # fmt: skip
