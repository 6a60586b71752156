"""Alertmanager (API v2), which brings alerts to Slack, PagerDuty, e-mail and whatever else it knows.

It is told levels: every alert that goes on is sent again before its end passes, so that it forgets nothing when it is
restarted, and an alert that ends is sent with its end. What a person acknowledged or silenced is still sent as going
on, under a silence of its own: nobody is paged, and nobody reads that it was resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from controlplane.errors import NotDelivered
from controlplane.lifecycle import AlertState
from controlplane.notifying.channels import Links, latest
from controlplane.store import Store
from controlplane.tables import Alert, Notification
from observability.clock import Clock, aware

#: an alert that is not repeated ends for Alertmanager after this: five repetitions may be missed
GOES_ON_FOR: Final = timedelta(minutes=5)
#: an acknowledgement has no end of its own: its silence is renewed with every repetition
ACKNOWLEDGED_FOR: Final = timedelta(days=1)
CREATOR: Final = "driftgate"
FINGERPRINT: Final = "fingerprint"
MUTED: Final = frozenset({AlertState.ACKNOWLEDGED, AlertState.SILENCED})
SECONDS: Final = 5.0


class Alertmanager:
    """A channel to one Alertmanager, or to one member of its cluster."""

    name: Final = "alertmanager"

    def __init__(self, url: str, store: Store, links: Links, wall: Clock) -> None:
        self._store = store
        self._links = links
        self._wall = wall
        whole = httpx.URL(url.rstrip("/"))
        # the operator's own setting: it may be private, and it is the only host that this client ever asks. A name and
        # password in it go into a header: addresses are logged
        self._client = httpx.Client(
            base_url=whole.copy_with(userinfo=b""), auth=(whole.username, whole.password) if whole.userinfo else None,
            timeout=SECONDS, trust_env=False, follow_redirects=False,
        )  # fmt: skip

    def groups(self, claimed: Sequence[Notification]) -> Sequence[Sequence[Notification]]:
        return [claimed]

    def send(self, group: Sequence[Notification]) -> None:
        """Tell where the alerts stand now: a level that has moved on since is told as it is."""
        ids = [row.alert_id for row in group]
        self._tell(latest(self._store.alerts_by_id(ids), group))

    def keep_up(self) -> None:
        """Repeat all that goes on. What another replica resolved meanwhile is said to be over again."""
        going_on = self._store.told_alerts()
        if going_on:
            self._tell(going_on)
            after = self._store.alerts_by_id([alert.id for alert in going_on])
            if over := [alert for alert in after if alert.state is AlertState.RESOLVED]:
                self._tell(over)

    def _tell(self, alerts: Sequence[Alert]) -> None:
        """Silences first: a page must not come before its silence, nor an end be hidden behind one."""
        told = self._not_overtaken(alerts)
        self._set_silences(told)
        self._ask("POST", "/api/v2/alerts", [self._posted(alert) for alert in told])

    def _not_overtaken(self, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Without the end of an alert that has come back: Alertmanager knows both under the same labels."""
        over = [alert.fingerprint for alert in alerts if alert.state is AlertState.RESOLVED]
        back = self._store.told_again(over) if over else frozenset()
        return [each for each in alerts if each.state is not AlertState.RESOLVED or each.fingerprint not in back]

    def _posted(self, alert: Alert) -> dict[str, Any]:
        end = alert.resolved_recorded_at or self._wall.now() + GOES_ON_FOR
        link = self._links.page_of(alert.model)
        return {
            "labels": alert.labels,
            "annotations": {
                "summary": alert.summary, "description": alert.description, "link": link,
                "runbook_url": self._links.runbook_of(alert.name), "alert_id": alert.id,
            },
            "startsAt": alert.recorded_at.isoformat(),
            "endsAt": max(end, alert.recorded_at).isoformat(),
            "generatorURL": link,
        }  # fmt: skip

    def _set_silences(self, alerts: Iterable[Alert]) -> None:
        known = self._silences()
        for alert in alerts:
            there = known.get(alert.fingerprint, [])
            end = alert.silenced_until or self._wall.now() + ACKNOWLEDGED_FOR
            if alert.inhibited_by is not None:  # a silence does not end while a retraining answers the alert
                end = max(end, self._wall.now() + GOES_ON_FOR)
            if alert.state in MUTED and end > self._wall.now():
                there = self._silence_once(alert, end, there)
            elif alert.state in MUTED:
                continue  # it ends by itself
            for each in there:
                self._ask("DELETE", f"/api/v2/silence/{each['id']}")

    def _silence_once(self, alert: Alert, end: datetime, there: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """See that one silence ends when it should; returns those beside it, of others that posted at once."""
        kept = next((each for each in there if _covers(each, alert, end)), None)
        if kept is None:
            kept = there[0] if there else None
            self._ask("POST", "/api/v2/silences", self._silence(alert, end, kept))
        return [each for each in there if each is not kept]

    def _silences(self) -> Mapping[str, list[Mapping[str, Any]]]:
        """Our silences that are in force, by fingerprint: of two that posted at once, there may be two."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        listed = self._ask("GET", "/api/v2/silences")
        try:
            for silence in listed:
                if silence["createdBy"] == CREATOR and silence["status"]["state"] != "expired":
                    named = (each["value"] for each in silence["matchers"] if each["name"] == FINGERPRINT)
                    found.setdefault(next(named, ""), []).append(silence)
        except (KeyError, TypeError) as error:
            raise NotDelivered(
                f"Alertmanager's silences are of another form: {type(error).__name__} {error}"
            ) from error
        return found

    def _silence(self, alert: Alert, end: datetime, there: Mapping[str, Any] | None) -> dict[str, Any]:
        matcher = {"name": FINGERPRINT, "value": alert.fingerprint, "isRegex": False, "isEqual": True}
        silence = {
            "matchers": [matcher], "startsAt": self._wall.now().isoformat(), "endsAt": end.isoformat(),
            "createdBy": CREATOR, "comment": f"{alert.state} by {alert.by}: {alert.why}",
        }  # fmt: skip
        return silence if there is None else silence | {"id": there["id"], "startsAt": there["startsAt"]}

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise NotDelivered(f"Alertmanager does not answer: {type(error).__name__} {error}") from error
        if answer.status_code == 404 and method == "DELETE":
            return None  # it has expired by itself
        if not answer.is_success:
            down = answer.status_code >= 500 or answer.status_code == 429
            raise NotDelivered(f"Alertmanager answered {answer.status_code}: {answer.text[:200]}", down=down)
        if method != "GET":
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise NotDelivered(
                f"Alertmanager answered no JSON, so something else is there: {answer.text[:80]}"
            ) from error


def _covers(silence: Mapping[str, Any], alert: Alert, end: datetime) -> bool:
    """Whether the silence ends when it should; that of an acknowledgement may end up to an hour sooner."""
    ends = aware(datetime.fromisoformat(silence["endsAt"]))
    sooner = timedelta(seconds=1) if alert.silenced_until else timedelta(hours=1)
    return -timedelta(seconds=1) < end - ends < sooner
