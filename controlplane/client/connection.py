"""One connection to one control plane: requests that may be repeated are, and errors come back as what they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import httpx
from pydantic import BaseModel

from controlplane.errors import Answered, ControlPlaneError, Unreachable
from observability.ids import new_id

Json = dict[str, Any]
View = TypeVar("View", bound=BaseModel)
SAFE: Final = frozenset({"GET", "HEAD"})
#: how often a request is sent, at most, and how long it pauses before the second time
ATTEMPTS: Final = 4
PAUSE: Final = 0.2
#: rows that are asked for at once
PAGE: Final = 200
MODELS: Final = "/api/v1/models"


@dataclass(frozen=True)
class Seen(Generic[View]):
    """Something as it was at one time, with the tag that tells whether it still is."""

    value: View
    tag: str


class Connection:
    """Calls one control plane with one token.

    Raises Unreachable, the error of the control plane's tree that has the answer's code (RunActive, Changed, ...), or
    Answered. A change is sent under an Idempotency-Key, so it is carried out once though it is sent again.
    """

    def __init__(
        self,
        url: str,
        token: str,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        authority: Path | None = None,
    ) -> None:
        """`authority` is the certificate of an authority that is trusted beside the public ones."""
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._sleep = sleep
        headers = {"Authorization": f"Bearer {token}"}
        trusted = httpx.create_ssl_context(trust_env=False)
        if authority is not None:
            trusted.load_verify_locations(authority)
        # trust_env: a proxy of the environment would get the token
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=False, transport=transport, verify=trusted
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str, view: type[View], **asked: object) -> View:
        """One thing."""
        return view.model_validate_json(self._send("GET", path, asked=asked).content)

    def see(self, path: str, view: type[View], **asked: object) -> Seen[View]:
        """One thing with its tag."""
        return _seen(self._send("GET", path, asked=asked), view)

    def wait(self, path: str, view: type[View], seen: Seen[View], seconds: float) -> Seen[View]:
        """What it is once it has changed; what was seen where it did not within the time."""
        answer = self._send("GET", path, asked={"wait": seconds}, headers={"If-None-Match": seen.tag}, longer=seconds)
        return seen if answer.status_code == 304 else _seen(answer, view)

    def each(self, path: str, view: type[View], noun: str, limit: int | None, **asked: object) -> Iterator[View]:
        """The rows of a list, page by page as they are needed."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self._send("GET", path, asked={**asked, "limit": size, "cursor": cursor}).json()
            yield from (view.model_validate(row) for row in page[noun])
            left = None if left is None else left - len(page[noun])
            if (cursor := page["next"]) is None:
                return

    def change(
        self,
        method: str,
        path: str,
        body: Json | None,
        view: type[View],
        if_match: str | None = None,
        key: str | None = None,
    ) -> View:
        """Change something, once; only where it still has the tag `if_match`, if one is given."""
        return view.model_validate_json(self.send_change(method, path, body, if_match, key).content)

    def send_change(
        self, method: str, path: str, body: Json | None, if_match: str | None = None, key: str | None = None
    ) -> httpx.Response:
        """The answer to a change."""
        headers = {"Idempotency-Key": key or new_id()} | ({"If-Match": if_match} if if_match else {})
        return self._send(method, path, body=body, headers=headers)

    def lines(self, path: str, accept: str, **asked: object) -> Iterator[str]:
        """The lines of a long answer, as they come."""
        try:
            with self._http.stream("GET", path, params=_said(asked), headers={"Accept": accept}) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error(answer)
                yield from answer.iter_lines()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def ready(self) -> bool:
        """Whether the control plane answers and can work."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _send(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        asked: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        longer: float = 0.0,
    ) -> httpx.Response:
        for attempt in range(ATTEMPTS):
            last = attempt + 1 == ATTEMPTS
            try:
                answer = self._http.request(
                    method, path, json=body, params=_said(asked or {}), headers=dict(headers or {}),
                    timeout=self._timeout + longer,
                )  # fmt: skip
            except httpx.TransportError as error:
                if last:
                    raise self._unreachable(error) from error
            else:
                if answer.is_success or answer.status_code == 304:
                    return answer
                if last or not _passes(answer):
                    raise _error(answer)
            self._sleep(PAUSE * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Unreachable(
                f"the certificate at {self.url} is not trusted: name its authority's in DRIFTGATE_CA_CERT ({error})"
            )
        return Unreachable(
            f"the control plane at {self.url} does not answer ({type(error).__name__}): start it with `driftgate up`"
        )


def _said(asked: Mapping[str, object]) -> dict[str, str]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in asked.items()
        if value is not None
    }


def _seen(answer: httpx.Response, view: type[View]) -> Seen[View]:
    return Seen(view.model_validate_json(answer.content), answer.headers.get("etag", ""))


def _told(answer: httpx.Response) -> tuple[str, str, Json]:
    try:
        error = answer.json()["error"]
        return str(error["code"]), str(error["message"]), dict(error["details"])
    except (ValueError, KeyError, TypeError):
        return "answered", f"HTTP {answer.status_code}", {}


def _passes(answer: httpx.Response) -> bool:
    """Whether the same request may be granted in a moment."""
    return answer.status_code == 503 or _told(answer)[0] == "key_busy"


def _error(answer: httpx.Response) -> ControlPlaneError:
    code, message, details = _told(answer)
    known = KNOWN.get(code)
    if known is None:
        return Answered(message, status=answer.status_code, code=code, details=details)
    error = known(message)
    error.details = details
    return error


def _tree(root: type[ControlPlaneError]) -> Iterator[type[ControlPlaneError]]:
    for each in root.__subclasses__():
        yield each
        yield from _tree(each)


#: an answer's code to its error
KNOWN: Final = {each.code: each for each in _tree(ControlPlaneError) if each.__module__ == ControlPlaneError.__module__}
