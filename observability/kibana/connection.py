"""Kibana's API, as far as an import needs it. https://www.elastic.co/docs/api/doc/kibana/v8

Everything is put under an id that is the same each time, so an import may be repeated, also after one that broke off.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import httpx
import orjson

from observability.kibana.rules import new_rule_body
from observability.settings import Settings

Json: TypeAlias = dict[str, Any]
Done: TypeAlias = Literal["created", "changed", "unchanged"]

_TIMEOUT_SECONDS: Final = 60.0
_LONGEST_SAID: Final = 500
#: Kibana takes no change without it
_HEADERS: Final = {"kbn-xsrf": "driftgate"}
_BY_STATUS: Final[Mapping[int, str]] = {
    400: "it refuses the request: is it Kibana 8.19, or of which version?",
    401: "it does not know the API key: give another one in OBSERVABILITY_KIBANA_API_KEY",
    403: "the API key may not do this: docs/kibana.md says which privileges it needs",
    404: "it has no such space, or what answers is no Kibana: look at OBSERVABILITY_KIBANA_URL and _SPACE",
    409: "somebody else changes the same at the same time: do it again",
    413: "the request is too large: raise server.maxPayload there",
    429: "it is busy: do it again later",
}
_BY_ERROR: Final[Mapping[str, str]] = {
    "ambiguous_conflict": "several objects there come from this one: delete all but one of them",
    "conflict": "another object has its id: delete it, or import into another space",
    "missing_references": "something that it needs is not there",
    "unsupported_type": "this Kibana has no objects of its type",
}


class KibanaError(RuntimeError):
    """Something went wrong between here and Kibana; says what to do."""


class KibanaUnavailable(KibanaError):
    """Kibana does not answer, or not yet."""


class KibanaRefused(KibanaError):
    """Kibana answers, and does not do it."""


@dataclass(frozen=True)
class NotImported:
    """An object that Kibana did not take."""

    type: str
    id: str
    reason: str


class Kibana:
    """A connection to one space of a Kibana."""

    def __init__(self, settings: Settings, url: str = "", space: str | None = None) -> None:
        url, space = url or settings.kibana_url, settings.kibana_space if space is None else space
        if not url:
            raise KibanaRefused("OBSERVABILITY_KIBANA_URL: say where Kibana is, or name it with --url")
        key, authority = settings.kibana_api_key, settings.kibana_ca_cert
        said = {"Authorization": f"ApiKey {key.get_secret_value()}"} if key is not None else {}
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/") + (f"/s/{quote(space, safe='')}" if space not in ("", "default") else ""),
                headers=_HEADERS | said, timeout=_TIMEOUT_SECONDS, trust_env=False,
                verify=ssl.create_default_context(cafile=authority) if authority is not None else True,
            )  # fmt: skip
        except (OSError, httpx.InvalidURL) as error:
            raise KibanaRefused(f"OBSERVABILITY_KIBANA_URL, or _CA_CERT: {error}") from error

    def __enter__(self) -> Kibana:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def import_objects(self, lines: bytes) -> list[NotImported]:
        """Put the saved objects in place of those of the same ids; returns those that were not taken.

        Raises KibanaUnavailable, KibanaRefused.
        """
        file = {"file": ("driftgate.ndjson", lines, "application/ndjson")}
        answer = self._ask("POST", "/api/saved_objects/_import", params={"overwrite": "true"}, files=file)
        if not isinstance(answer.get("success"), bool):
            raise KibanaRefused("Kibana: its answer to the import cannot be read; is there a proxy in between?")
        refused = [_not_imported(each) for each in answer.get("errors") or ()]
        if not answer["success"] and not refused:
            raise KibanaRefused(f"Kibana: it took nothing, and does not say why: {_said(answer)}")
        return refused

    def put_rule(self, id: str, body: Json) -> Done:
        """Make the rule, or bring it up to date. Its actions, and whether it is on, are left as they are there.

        Raises KibanaUnavailable, KibanaRefused.
        """
        there = self._rule(id)
        if there is None:
            self._ask("POST", f"/api/alerting/rule/{id}", json=new_rule_body(body))
            return "created"
        if _holds(there, body):
            return "unchanged"
        self._ask("PUT", f"/api/alerting/rule/{id}", json={**body, "actions": _actions(there)})
        return "changed"

    def _rule(self, id: str) -> Json | None:
        try:
            return self._ask("GET", f"/api/alerting/rule/{id}")
        except _NotFound:
            return None

    def _ask(self, method: str, path: str, **what: Any) -> Json:  # noqa: ANN401 - as httpx takes it
        try:
            answer = self._http.request(method, path, **what)
        except httpx.TransportError as error:
            raise KibanaUnavailable(
                f"Kibana cannot be reached at OBSERVABILITY_KIBANA_URL ({type(error).__name__}: {error})"
            ) from error
        if not answer.is_success:
            raise _error_of(answer)
        try:
            told = orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise KibanaRefused("Kibana: its answer is no JSON; is there a proxy in between?") from error
        if not isinstance(told, dict):
            raise KibanaRefused("Kibana: its answer is no object; is there a proxy in between?")
        return told


class _NotFound(KibanaRefused):
    pass


def _error_of(answer: httpx.Response) -> KibanaError:
    status, told = answer.status_code, answer.text[:_LONGEST_SAID]
    if status >= 500:
        return KibanaUnavailable(f"Kibana is not ready, or failed: do it again later ({status}: {told})")
    advice = _BY_STATUS.get(status, "it refuses the request; does OBSERVABILITY_KIBANA_URL lead somewhere else?")
    kind = _NotFound if status == 404 else KibanaUnavailable if status == 429 else KibanaRefused
    return kind(f"Kibana: {advice} ({status}: {told})")


def _not_imported(told: Json) -> NotImported:
    error = told.get("error") or {}
    kind = str(error.get("type", "unknown"))
    detail = {name: value for name, value in error.items() if name != "type"}
    advice = _BY_ERROR.get(kind, "it cannot be taken")
    said = f"{kind}: {advice}" + (f" ({_said(detail)})" if detail else "")
    return NotImported(str(told.get("type")), str(told.get("id")), said)


def _holds(there: Any, wanted: Any) -> bool:  # noqa: ANN401 - any JSON
    """Whether all that is wanted is there; Kibana adds more by itself."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_holds(there.get(name), value) for name, value in wanted.items())
    return bool(there == wanted)


def _actions(there: Json) -> list[Json]:
    """The actions as a change takes them: without what Kibana only tells."""
    return [
        {name: value for name, value in action.items() if name != "connector_type_id"}
        for action in there.get("actions") or ()
    ]


def _said(value: object) -> str:
    return orjson.dumps(value).decode()[:_LONGEST_SAID]
