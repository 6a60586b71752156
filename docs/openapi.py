"""The reference page of the API, from its OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from controlplane.api.app import ROUTERS
from controlplane.api.document import describe, operations


def document() -> dict[str, Any]:
    """The document of the API's own routes, without a database behind them."""
    app = FastAPI(title="Driftgate")
    for router in ROUTERS:
        app.include_router(router)
    return describe(app)


def api_page() -> Iterator[str]:
    """Every operation by tag, then everything that is said and answered."""
    said = document()
    listed = list(operations(said))
    for tag in said["tags"]:
        yield f"## {tag['name']}\n\n{tag['description']}\n"
        for path, method, operation in listed:
            if operation["tags"] == [tag["name"]]:
                yield from _operation(path, method, operation)
    yield "## What is said and answered\n"
    for name, schema in sorted(said["components"]["schemas"].items()):
        if schema.get("type") == "object":
            yield from _schema(name, schema)


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n\n{operation.get('description') or operation['summary'] + '.'}\n"
    asked = [each for each in operation.get("parameters", ()) if each.get("in") == "query"]
    if asked:
        yield f"Query: {', '.join(_parameter(each) for each in asked)}.\n"
    if body := operation.get("requestBody"):
        yield f"Body: {_kind(next(iter(body['content'].values()))['schema'])}.\n"
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            shown: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
            content = shown.get("schema", {})
            yield f"Answer: {status}{f', {_kind(content)}' if content else ''}.\n"


def _parameter(parameter: dict[str, Any]) -> str:
    text = parameter.get("description")
    return f"`{parameter['name']}`{f' ({text})' if text else ''}"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n\n{schema.get('description', '')}\n"
    yield "| field | type | |\n|---|---|---|"
    for field, kind in schema.get("properties", {}).items():
        needed = "" if field in schema.get("required", ()) else "optional"
        yield f"| `{field}` | {_kind(kind)} | {needed} |"
    yield ""


def _kind(schema: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[-1]
        return f"[{name}](#{re.sub(r'[^a-z0-9-]', '', name.lower())})"
    if options := schema.get("anyOf"):
        return " or ".join(_kind(each) for each in options)
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if values := schema.get("enum"):
        return ", ".join(f"`{each}`" for each in values)
    return str(schema.get("format") or schema.get("type") or "anything")
