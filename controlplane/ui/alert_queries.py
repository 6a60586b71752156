"""What the pages of alerts, audit and tokens read beyond the store's own verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, case, func, select

from controlplane.lifecycle import AlertState
from controlplane.store import Store
from controlplane.store.reading import Row, table_of
from controlplane.tables import Alert, Notification, SignIn

ALERTS, NOTIFICATIONS, SIGN_INS = table_of(Alert), table_of(Notification), table_of(SignIn)
OPEN: Final = "open"


@dataclass(frozen=True)
class WantedAlerts:
    """Which alerts somebody wants to see. `state` is one of theirs, `open` for all that are not over, or all."""

    state: str = OPEN
    severity: str = ""
    text: str = ""


@dataclass(frozen=True)
class Undelivered:
    """What a channel has not taken."""

    channel: str
    waiting: int
    given_up: int
    attempts: int
    oldest: datetime
    last_error: str


class AlertQueries(Store):
    """Reading verbs of the pages that are not about one model."""

    def alert_page(self, wanted: WantedAlerts, offset: int, limit: int) -> Sequence[Row]:
        """Alerts: those that nobody takes care of first, the most severe first, then the newest."""
        query = _wanted(select(ALERTS), wanted)
        states = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.SILENCED)
        urgency = case(*((ALERTS.c.state == state, place) for place, state in enumerate(states)), else_=9)
        severity = case((ALERTS.c.severity == "critical", 0), (ALERTS.c.severity == "warning", 1), else_=2)
        if wanted.state == AlertState.RESOLVED:  # what is over is history: by time alone
            return self._rows(query.order_by(ALERTS.c.id.desc()).offset(offset).limit(limit))
        order = (urgency, severity, ALERTS.c.id.desc())
        return self._rows(query.order_by(*order).offset(offset).limit(limit))

    def alerts_of(self, model_id: str) -> Sequence[Row]:
        """The open alerts of one model, the most severe first."""
        severity = case((ALERTS.c.severity == "critical", 0), (ALERTS.c.severity == "warning", 1), else_=2)
        query = select(ALERTS).where(ALERTS.c.model == model_id, ALERTS.c.state != AlertState.RESOLVED)
        return self._rows(query.order_by(severity, ALERTS.c.id.desc()))

    def undelivered(self) -> list[Undelivered]:
        """What each channel has refused, or has not taken yet."""
        notes, given_up = NOTIFICATIONS, func.count(NOTIFICATIONS.c.given_up_at)
        query = select(
            notes.c.channel, func.count().label("all"), given_up.label("given_up"),
            func.max(notes.c.attempts).label("attempts"), func.min(notes.c.recorded_at).label("oldest"),
            func.max(notes.c.id).filter(notes.c.last_error.is_not(None)).label("newest"),
        )  # fmt: skip
        found = self._rows(query.where(notes.c.delivered_at.is_(None)).group_by(notes.c.channel))
        said = {
            row["id"]: row["last_error"]
            for row in self._rows(
                select(notes.c.id, notes.c.last_error).where(notes.c.id.in_([row["newest"] for row in found]))
            )
        }
        return [
            Undelivered(
                row["channel"], row["all"] - row["given_up"], row["given_up"], row["attempts"], row["oldest"],
                said.get(row["newest"]) or "",
            )
            for row in found
        ]  # fmt: skip

    def seen_by_token(self, tokens: Sequence[str]) -> dict[str, datetime]:
        """When a browser that signed in with each of these tokens was last seen."""
        seen = select(SIGN_INS.c.token_id, func.max(SIGN_INS.c.seen_at).label("seen"))
        found = self._rows(seen.where(SIGN_INS.c.token_id.in_(tokens)).group_by(SIGN_INS.c.token_id))
        return {row["token_id"]: row["seen"] for row in found}


def _wanted(query: Select[Any], wanted: WantedAlerts) -> Select[Any]:
    if wanted.state == OPEN:
        query = query.where(ALERTS.c.state != AlertState.RESOLVED)
    elif wanted.state in {state.value for state in AlertState}:
        query = query.where(ALERTS.c.state == AlertState(wanted.state))
    if wanted.severity:
        query = query.where(ALERTS.c.severity == wanted.severity)
    if wanted.text:
        said = func.lower(func.coalesce(ALERTS.c.model, "") + " " + ALERTS.c.name + " " + ALERTS.c.summary)
        query = query.where(said.contains(wanted.text.lower(), autoescape=True))
    return query
