"""A typed client of the control plane's API, for the command line, replays and programs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import httpx

from controlplane.errors import Answered, Unreachable
from observability.ids import new_id
from pipeline.contract.spec import ModelSpec
from pipeline.contract.specfile import read_recipe

Listing = Literal["versions", "windows", "decisions", "firings", "runs"]
Json = dict[str, Any]


class ControlClient:
    """Calls one control plane with one token. Raises Unreachable, or Answered with the error's code and status."""

    def __init__(
        self, url: str, token: str, timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"}
        # trust_env: a proxy of the environment would get the token
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=False, transport=transport
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def apply(self, folder: Path) -> Json:
        """Declare the model of a recipe folder. Raises SpecInvalid with file, line and field."""
        spec, recipe = read_recipe(folder)
        return self.apply_spec(spec, recipe)

    def apply_spec(self, spec: ModelSpec, recipe: Mapping[str, str]) -> Json:
        """Declare a model with its recipe's Python files, name to source."""
        body = {"spec": spec.model_dump(mode="json", by_alias=True), "recipe": dict(recipe)}
        return self._call("PUT", f"/api/v1/models/{spec.model}", body)

    def models(self) -> list[Json]:
        """The status of every model."""
        found: list[Json] = self._call("GET", "/api/v1/models")["models"]
        return found

    def status(self, model: str) -> Json:
        """Where a model stands."""
        return self._call("GET", f"/api/v1/models/{model}")

    def listing(self, model: str, what: Listing, limit: int = 100) -> list[Json]:
        """What has happened to a model, newest first."""
        found: list[Json] = self._call("GET", f"/api/v1/models/{model}/{what}?limit={limit}")[what]
        return found

    def train(self, model: str, reason: str, request_id: str | None = None) -> Json:
        """Ask for a run; asking again with the same request id gives the same run."""
        body = {"request_id": request_id or new_id(), "reason": reason}
        return self._call("POST", f"/api/v1/models/{model}/runs", body)

    def roll_back(self, model: str, reason: str) -> Json:
        """Put the version that was retired last back into production."""
        return self._call("POST", f"/api/v1/models/{model}/rollback", {"reason": reason})

    def clock(self) -> Json:
        """Where the control plane's clock stands."""
        return self._call("GET", "/api/v1/clock")

    def set_clock(self, now: datetime) -> Json:
        """Move a replay's clock forward."""
        return self._call("PUT", "/api/v1/clock", {"now": now.isoformat()})

    def ready(self) -> bool:
        """Whether the control plane answers and can work."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise Unreachable(
                f"the control plane at {self.url} does not answer ({type(error).__name__}): "
                "start it with `driftgate up`"
            ) from error
        if response.is_success:
            answer: Json = response.json()
            return answer
        raise _answered(response)


def _answered(response: httpx.Response) -> Answered:
    try:
        error = response.json()["error"]
        code, message, details = str(error["code"]), str(error["message"]), dict(error["details"])
    except (ValueError, KeyError, TypeError):
        code, message, details = "answered", f"HTTP {response.status_code}", {}
    return Answered(message, status=response.status_code, code=code, details=details)
