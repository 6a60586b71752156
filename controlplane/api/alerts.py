"""Alerts and their notifications: listed, and what people do about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from controlplane.api.acting import act_of
from controlplane.api.paging import Since, ThePage, Until
from controlplane.api.parts import Asked, Exactly, KnownModel, Reason, TheParts, Why
from controlplane.lifecycle import AlertState
from controlplane.listings import AlertsPage, NotificationsPage
from controlplane.store.reading import UNSET
from controlplane.views import AlertView, NotificationView
from controlplane.words import one_line
from observability.events import Instant

router = APIRouter(prefix="/api/v1", tags=["alerts"])
AlertId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Silence(Asked):
    """Why nobody is to be paged, and until when, on the machine's clock."""

    reason: Why
    until: Instant


@router.get("/alerts")
def alerts(
    page: ThePage,
    state: AlertState | None = None,
    model: Exactly = None,
    name: Exactly = None,
    severity: Exactly = None,
    since: Since = None,
    until: Until = None,
) -> AlertsPage:
    """Alerts of all models and of the installation; `since` and `until` look at when they began."""
    rows, behind = page.rows("alerts", model=model, state=state, name=name, severity=severity, since=since, until=until)
    return AlertsPage(alerts=[AlertView(**row) for row in rows], next=behind)


@router.get("/models/{ns}/{slug}/alerts")
def alerts_of_model(
    model_id: KnownModel,
    page: ThePage,
    state: AlertState | None = None,
    name: Exactly = None,
    severity: Exactly = None,
    since: Since = None,
    until: Until = None,
) -> AlertsPage:
    """Alerts of one model; `since` and `until` look at when they began."""
    return alerts(page, state, model_id, name, severity, since, until)


@router.get("/alerts/{alert_id}")
def alert(parts: TheParts, alert_id: AlertId) -> AlertView:
    """One alert."""
    return AlertView.model_validate(parts.store.alert(alert_id))


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge(request: Request, parts: TheParts, alert_id: AlertId, asked: Reason) -> AlertView:
    """Take care of it: nobody is paged any more, until it is over."""
    act = act_of(request, one_line(asked.reason))
    return AlertView.model_validate(parts.store.acknowledge(alert_id, act.why, parts.clock.now(), act.actor, act))


@router.post("/alerts/{alert_id}/silence")
def silence(request: Request, parts: TheParts, alert_id: AlertId, asked: Silence) -> AlertView:
    """Page nobody until then."""
    act = act_of(request, one_line(asked.reason))
    return AlertView.model_validate(
        parts.store.silence(alert_id, asked.until, act.why, parts.clock.now(), act.actor, act)
    )


@router.post("/alerts/{alert_id}/unsilence")
def unsilence(request: Request, parts: TheParts, alert_id: AlertId, asked: Reason) -> AlertView:
    """Take an acknowledgement or a silence back."""
    act = act_of(request, one_line(asked.reason))
    return AlertView.model_validate(parts.store.unsilence(alert_id, act.why, parts.clock.now(), act.actor, act))


@router.get("/notifications")
def notifications(page: ThePage, channel: Exactly = None) -> NotificationsPage:
    """What no channel has taken yet, and what was given up."""
    rows, behind = page.rows("notifications", channel=channel, delivered_at=UNSET)
    return NotificationsPage(notifications=[NotificationView(**row) for row in rows], next=behind)
