"""What a client reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from controlplane.client.connection import MODELS, Connection, Json, Seen
from controlplane.views import (
    AlertView,
    ClockView,
    DecisionView,
    FiringView,
    HoldView,
    NotificationView,
    RolloutView,
    RunView,
    Status,
    VersionView,
    WindowView,
)

if TYPE_CHECKING:
    from controlplane.api.access import Me, TokenView
    from controlplane.api.audit import EntryView, Verification
    from controlplane.replays import Replayed
    from controlplane.trials import Trial

ENDED = frozenset({"succeeded", "failed", "cancelled"})
Instant = datetime | str | None


class Reads(Connection):
    """What can be read. Lists are iterators, newest first, that fetch a page when it is needed; `limit` bounds them."""

    def models(self, limit: int | None = None, team: str | None = None, state: str | None = None) -> Iterator[Status]:
        """Where models stand, by name."""
        return self.each(MODELS, Status, "models", limit, team=team, state=state)

    def status(self, model: str) -> Status:
        """Where a model stands."""
        return self.get(f"{MODELS}/{model}", Status)

    def see_status(self, model: str) -> Seen[Status]:
        """Where a model stands, with the tag that `wait_for_change` and `if_match` take."""
        return self.see(f"{MODELS}/{model}", Status)

    def wait_for_change(self, model: str, seen: Seen[Status], seconds: float = 30.0) -> Seen[Status]:
        """Where the model stands once that has changed; what was seen where it did not within the time."""
        return self.wait(f"{MODELS}/{model}", Status, seen, seconds)

    def watch(self, model: str) -> Iterator[Status]:
        """Where the model stands now, and again whenever that has changed."""
        seen = self.see_status(model)
        while True:
            yield seen.value
            before = seen
            while seen is before:
                seen = self.wait_for_change(model, before)

    def versions(
        self, model: str, limit: int | None = None, state: str | None = None, since: Instant = None,
        until: Instant = None,
    ) -> Iterator[VersionView]:  # fmt: skip
        """A model's versions."""
        path = f"{MODELS}/{model}/versions"
        return self.each(path, VersionView, "versions", limit, state=state, since=since, until=until)

    def version(self, model: str, number: int) -> VersionView:
        """One version."""
        return self.get(f"{MODELS}/{model}/versions/{number}", VersionView)

    def see_version(self, model: str, number: int) -> Seen[VersionView]:
        """One version with its tag."""
        return self.see(f"{MODELS}/{model}/versions/{number}", VersionView)

    def windows(
        self, model: str, limit: int | None = None, monitor: str | None = None, version: int | None = None,
        since: Instant = None, until: Instant = None, segment: str | None = None,
    ) -> Iterator[WindowView]:  # fmt: skip
        """A model's windows, and those of its segments; of one segment only, or whole ones where it is empty."""
        asked: Json = {"monitor": monitor, "segment": segment, "version": version, "since": since, "until": until}
        return self.each(f"{MODELS}/{model}/windows", WindowView, "windows", limit, **asked)

    def window(self, model: str, window_id: str) -> WindowView:
        """One window."""
        return self.get(f"{MODELS}/{model}/windows/{window_id}", WindowView)

    def report(self, model: str, window_id: str) -> bytes:
        """Evidently's report of a window, as an HTML file. It takes some ten seconds, two minutes at most."""
        return self._send("GET", f"{MODELS}/{model}/windows/{window_id}/report", longer=120.0).content

    def decisions(
        self, model: str, limit: int | None = None, rule: str | None = None, outcome: str | None = None,
        reason: str | None = None, version: int | None = None, since: Instant = None, until: Instant = None,
    ) -> Iterator[DecisionView]:  # fmt: skip
        """What the rules decided and why."""
        asked: Json = {"rule": rule, "outcome": outcome, "reason": reason, "version": version}
        path = f"{MODELS}/{model}/decisions"
        return self.each(path, DecisionView, "decisions", limit, since=since, until=until, **asked)

    def firings(
        self, model: str, limit: int | None = None, rule: str | None = None, trigger: str | None = None,
        reason: str | None = None, since: Instant = None, until: Instant = None,
    ) -> Iterator[FiringView]:  # fmt: skip
        """Which rules fired."""
        asked: Json = {"rule": rule, "trigger": trigger, "reason": reason, "since": since, "until": until}
        return self.each(f"{MODELS}/{model}/firings", FiringView, "firings", limit, **asked)

    def runs(
        self, model: str, limit: int | None = None, state: str | None = None, since: Instant = None,
        until: Instant = None,
    ) -> Iterator[RunView]:  # fmt: skip
        """A model's training runs."""
        return self.each(f"{MODELS}/{model}/runs", RunView, "runs", limit, state=state, since=since, until=until)

    def run(self, model: str, key: str) -> RunView:
        """One run."""
        return self.get(f"{MODELS}/{model}/runs/{key}", RunView)

    def watch_run(self, model: str, key: str) -> Iterator[RunView]:
        """How far a run is, again whenever that has changed, until it has ended."""
        path = f"{MODELS}/{model}/runs/{key}"
        seen = self.see(path, RunView)
        yield seen.value
        while seen.value.state not in ENDED:
            before, seen = seen, self.wait(path, RunView, seen, 30.0)
            if seen is not before:
                yield seen.value

    def rollouts(
        self, model: str, limit: int | None = None, state: str | None = None, version: int | None = None,
        since: Instant = None, until: Instant = None,
    ) -> Iterator[RolloutView]:  # fmt: skip
        """How versions came into production, or did not."""
        asked: Json = {"state": state, "version": version, "since": since, "until": until}
        return self.each(f"{MODELS}/{model}/rollouts", RolloutView, "rollouts", limit, **asked)

    def holds(self, model: str) -> list[HoldView]:
        """What of a model is stopped."""
        return list(self.each(f"{MODELS}/{model}/holds", HoldView, "holds", None))

    def alerts(
        self, model: str | None = None, limit: int | None = None, state: str | None = None, name: str | None = None,
        severity: str | None = None, since: Instant = None, until: Instant = None,
    ) -> Iterator[AlertView]:  # fmt: skip
        """Alerts of a model, or of all and of the installation."""
        path = f"{MODELS}/{model}/alerts" if model else "/api/v1/alerts"
        asked: Json = {"state": state, "name": name, "severity": severity, "since": since, "until": until}
        return self.each(path, AlertView, "alerts", limit, **asked)

    def alert(self, alert_id: str) -> AlertView:
        """One alert."""
        return self.get(f"/api/v1/alerts/{alert_id}", AlertView)

    def notifications(self, limit: int | None = None, channel: str | None = None) -> Iterator[NotificationView]:
        """What no channel has taken yet, and what was given up."""
        return self.each("/api/v1/notifications", NotificationView, "notifications", limit, channel=channel)

    def try_rule(self, model: str, rule: Mapping[str, Any], since: datetime | None = None) -> Trial:
        """When a rule would have fired over what is stored, and the cost. Nothing is changed."""
        from controlplane.trials import Trial

        body: Json = {"rule": dict(rule), "since": since.isoformat() if since else None}
        return Trial.model_validate_json(self._send("POST", f"{MODELS}/{model}/rules/try", body=body).content)

    def replay(
        self, model: str, changes: Mapping[str, Any], since: datetime | None = None, until: datetime | None = None
    ) -> Replayed:
        """What all rules would have decided over what is stored, under other settings. Nothing is changed."""
        from controlplane.replays import Replayed

        span = {"since": since.isoformat() if since else None, "until": until.isoformat() if until else None}
        body: Json = {"changes": dict(changes), **span}
        return Replayed.model_validate_json(self._send("POST", f"{MODELS}/{model}/replay", body=body).content)

    def me(self) -> Me:
        """Who the token is."""
        from controlplane.api.access import Me

        return self.get("/api/v1/me", Me)

    def tokens(self, limit: int | None = None) -> Iterator[TokenView]:
        """Tokens, without their secrets."""
        from controlplane.api.access import TokenView

        return self.each("/api/v1/tokens", TokenView, "tokens", limit)

    def audit(
        self, limit: int | None = None, actor: str | None = None, subject: str | None = None, action: str | None = None
    ) -> Iterator[EntryView]:
        """What people and programs did."""
        from controlplane.api.audit import EntryView

        return self.each("/api/v1/audit", EntryView, "audit", limit, actor=actor, subject=subject, action=action)

    def export_audit(
        self, actor: str | None = None, subject: str | None = None, action: str | None = None
    ) -> Iterator[str]:
        """The audit chain as lines of JSON, oldest first."""
        return self.lines("/api/v1/audit", "application/x-ndjson", actor=actor, subject=subject, action=action)

    def verify_audit(self) -> Verification:
        """Whether the audit chain is as it was written."""
        from controlplane.api.audit import Verification

        return self.get("/api/v1/audit/verification", Verification)

    def clock(self) -> ClockView:
        """Where the control plane's clock stands."""
        return self.get("/api/v1/clock", ClockView)
