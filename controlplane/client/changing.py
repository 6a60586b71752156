"""What a client changes. Every change is carried out once, however often it has to be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controlplane.client.connection import MODELS, Connection, Json
from controlplane.views import AlertView, Applied, ClockView, EventsTaken, HoldView, HookSecret, RunView, VersionView
from observability.ids import new_id
from pipeline.contract.spec import ModelSpec
from pipeline.contract.specfile import read_recipe

if TYPE_CHECKING:
    from controlplane.api.access import NewToken, TokenView


class Changes(Connection):
    """What can be changed. With `if_match` only where the thing still has this tag: else Changed is raised."""

    def apply(self, folder: Path, reason: str = "", if_match: str | None = None) -> Applied:
        """Declare the model of a recipe folder. Raises SpecInvalid with file, line and field."""
        spec, recipe = read_recipe(folder)
        return self.apply_spec(spec, recipe, reason, if_match)

    def apply_spec(
        self, spec: ModelSpec, recipe: Mapping[str, str], reason: str = "", if_match: str | None = None
    ) -> Applied:
        """Declare a model with its recipe's Python files, name to source."""
        body = {"spec": spec.model_dump(mode="json", by_alias=True), "recipe": dict(recipe), "reason": reason}
        return self.change("PUT", f"{MODELS}/{spec.model}", body, Applied, if_match)

    def declare_reference(self, model: str, rows: Mapping[str, Any], reason: str) -> VersionView:
        """What a model that is served elsewhere is compared with: `features`, column by column, and where they are
        known `event_time`, `score`, `label` and `threshold`.
        """
        return self.change("POST", f"{MODELS}/{model}/versions", {**rows, "reason": reason}, VersionView)

    def post_events(
        self, model: str, predictions: Sequence[Json] = (), labels: Sequence[Json] = ()
    ) -> EventsTaken:  # fmt: skip
        """Predictions and labels of a model that is served elsewhere; the same ids again change nothing."""
        body: Json = {"predictions": list(predictions), "labels": list(labels)}
        return self.change("POST", f"{MODELS}/{model}/events", body, EventsTaken)

    def train(self, model: str, reason: str, request_id: str | None = None, if_match: str | None = None) -> RunView:
        """Ask for a run; asking again with the same request id gives the same run."""
        body = {"request_id": request_id or new_id(), "reason": reason}
        return self.change("POST", f"{MODELS}/{model}/runs", body, RunView, if_match)

    def cancel(self, model: str, key: str, reason: str, if_match: str | None = None) -> RunView:
        """Ask that a run end."""
        return self.change("POST", f"{MODELS}/{model}/runs/{key}/cancel", {"reason": reason}, RunView, if_match)

    def approve(self, model: str, number: int, reason: str, if_match: str | None = None) -> VersionView:
        """Let a version that waits for a person go on."""
        return self._judge(model, number, "approve", reason, if_match)

    def reject(self, model: str, number: int, reason: str, if_match: str | None = None) -> VersionView:
        """Take a version out of the way to production for good."""
        return self._judge(model, number, "reject", reason, if_match)

    def promote(self, model: str, number: int, reason: str, if_match: str | None = None) -> VersionView:
        """Put a version that is loaded into production at once."""
        return self._judge(model, number, "promote", reason, if_match)

    def roll_back(
        self, model: str, reason: str, if_match: str | None = None, version: int | None = None
    ) -> VersionView:
        """Put the version that was retired last back into production, in the place of this one if it is there."""
        body: Json = {"reason": reason} | ({"version": version} if version is not None else {})
        return self.change("POST", f"{MODELS}/{model}/rollback", body, VersionView, if_match)

    def hold(self, model: str, what: str, reason: str, until: datetime | None = None) -> HoldView:
        """Stop `rules`, `rule:NAME` or `rollout`."""
        body: Json = {"reason": reason, "until": until.isoformat() if until else None}
        return self.change("PUT", f"{MODELS}/{model}/holds/{what}", body, HoldView)

    def end_hold(self, model: str, what: str, reason: str) -> None:
        """Let it go on."""
        self.send_change("DELETE", f"{MODELS}/{model}/holds/{what}", {"reason": reason})

    def hook_secret(self, model: str, reason: str) -> HookSecret:
        """A new secret of the model's webhook, shown this once."""
        return self.change("POST", f"{MODELS}/{model}/hook-secret", {"reason": reason}, HookSecret)

    def acknowledge(self, alert_id: str, reason: str, if_match: str | None = None) -> AlertView:
        """Take care of an alert."""
        return self._answer(alert_id, "acknowledge", {"reason": reason}, if_match)

    def silence(self, alert_id: str, reason: str, until: datetime, if_match: str | None = None) -> AlertView:
        """Page nobody until then."""
        return self._answer(alert_id, "silence", {"reason": reason, "until": until.isoformat()}, if_match)

    def unsilence(self, alert_id: str, reason: str, if_match: str | None = None) -> AlertView:
        """Take an acknowledgement or a silence back."""
        return self._answer(alert_id, "unsilence", {"reason": reason}, if_match)

    def create_token(self, name: str, role: str, reason: str, expires_at: datetime | None = None) -> NewToken:
        """A new token, shown this once."""
        from controlplane.api.access import NewToken

        until = expires_at.isoformat() if expires_at else None
        body: Json = {"name": name, "role": role, "reason": reason, "expires_at": until}
        return self.change("POST", "/api/v1/tokens", body, NewToken)

    def revoke_token(self, token_id: str, reason: str) -> TokenView:
        """Let a token in no more."""
        from controlplane.api.access import TokenView

        answer = self._send(
            "DELETE", f"/api/v1/tokens/{token_id}", asked={"reason": reason}, headers={"Idempotency-Key": new_id()}
        )
        return TokenView.model_validate_json(answer.content)

    def set_clock(self, now: datetime) -> ClockView:
        """Move a replay's clock forward."""
        return self.change("PUT", "/api/v1/clock", {"now": now.isoformat()}, ClockView)

    def _judge(self, model: str, number: int, verb: str, reason: str, if_match: str | None) -> VersionView:
        path = f"{MODELS}/{model}/versions/{number}/{verb}"
        return self.change("POST", path, {"reason": reason}, VersionView, if_match)

    def _answer(self, alert_id: str, verb: str, body: Json, if_match: str | None) -> AlertView:
        return self.change("POST", f"/api/v1/alerts/{alert_id}/{verb}", body, AlertView, if_match)
