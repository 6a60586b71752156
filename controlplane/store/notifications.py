"""Notifications: written with the change that they tell of, and held under a lease by whoever delivers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from sqlmodel import Session, col, delete, or_, select, update

from controlplane.lifecycle import AlertState
from controlplane.store.database import Database, database_now
from controlplane.tables import Alert, Json, Notification
from observability.ids import new_id

FORGET_DELIVERED_AFTER: Final = timedelta(days=7)
GIVE_UP_AFTER: Final = timedelta(days=3)
ERROR_LENGTH: Final = 500
#: nothing is put off for longer: what is due later was written while the clock was ahead
FURTHEST: Final = timedelta(minutes=15)


class Notifications(Database):
    """Verbs about notifications."""

    #: the names of the channels that every change of an alert is told to: set where a process is put together
    channels: tuple[str, ...] = ()

    def _notify(self, session: Session, alert: Alert) -> None:
        """Tell the alert as it is now: one notification for each channel, in the transaction of the change."""
        alert.revision += 1
        session.add(alert)
        session.flush()
        at = self._wall.now()
        for channel in self.channels:
            session.add(
                Notification(
                    id=new_id(), channel=channel, alert_id=alert.id, revision=alert.revision, body=told(alert),
                    recorded_at=at, due_at=at,
                )
            )  # fmt: skip

    def claim_notifications(
        self, channel: str, owner: str, lease: timedelta, limit: int = 20
    ) -> Sequence[Notification]:
        """The notifications of a channel that are due, now held by this owner; at most one of an alert.

        An earlier revision that was not delivered is over: the newest says where the alert stands. Nothing of an alert
        is given out while another owner holds a notification of it, so that an old one never comes after a new one.
        """
        with self._writing() as session:
            now = database_now(session)
            alerts = self._alerts_to_tell(session, channel, now, limit)
            waiting = _waiting(channel).where(col(Notification.alert_id).in_(alerts))
            rows = session.exec(waiting.order_by(col(Notification.alert_id), col(Notification.revision))).all()
            claimed = []
            for _, of_alert in groupby(rows, key=lambda row: row.alert_id):
                *older, newest = of_alert
                if any(row.lease_until is not None and row.lease_until > now for row in (*older, newest)):
                    continue
                self._supersede(session, older, newest)
                if newest.due_at <= self._wall.now() or newest.due_at > self._wall.now() + FURTHEST:
                    newest.lease_owner, newest.lease_until = owner, now + lease
                    session.add(newest)
                    claimed.append(newest)
            return claimed

    def _alerts_to_tell(self, session: Session, channel: str, now: datetime, limit: int) -> Sequence[str]:
        """The alerts with something due, locked: whoever claims at the same time passes over them."""
        free = or_(col(Notification.lease_until).is_(None), col(Notification.lease_until) <= now)
        wall = self._wall.now()
        due_now = or_(col(Notification.due_at) <= wall, col(Notification.due_at) > wall + FURTHEST)
        due = _waiting(channel).where(free, due_now)
        first = due.order_by(col(Notification.due_at), col(Notification.id)).limit(limit)
        ids = {row.alert_id for row in session.exec(first)}
        locked = select(Alert).where(col(Alert.id).in_(ids)).order_by(col(Alert.id))
        return [row.id for row in session.exec(locked.with_for_update(skip_locked=True, key_share=True))]

    def _supersede(self, session: Session, older: Sequence[Notification], newest: Notification) -> None:
        for row in older:
            row.delivered_at, row.last_error = self._wall.now(), f"revision {newest.revision} came before it was taken"
            session.add(row)

    def mark_delivered(self, claimed: Sequence[Notification], owner: str) -> None:
        """The channel took these. Where another owner holds one by now, that one decides."""
        with self._writing() as session:
            delivered = {"delivered_at": self._wall.now(), "lease_owner": None, "lease_until": None, "last_error": None}
            session.exec(_held(claimed, owner).values(attempts=Notification.attempts + 1, **delivered))

    def mark_failed(self, delays: Mapping[str, timedelta], owner: str, error: str) -> None:
        """The channel did not take these: each is tried again after its delay, unless another owner holds it by now."""
        free = {"lease_owner": None, "lease_until": None, "last_error": error[:ERROR_LENGTH]}
        with self._writing() as session:
            now = self._wall.now()
            for key, delay in sorted(delays.items()):
                mine = update(Notification).where(
                    col(Notification.id) == key, col(Notification.lease_owner) == owner,
                    col(Notification.delivered_at).is_(None),
                )  # fmt: skip
                session.exec(mine.values(attempts=Notification.attempts + 1, due_at=now + delay, **free))

    def tidy_notifications(self) -> int:
        """Give up what no channel took for days, which stays visible, and forget what was delivered long ago.

        Returns how many were given up.
        """
        now = self._wall.now()
        with self._writing() as session:
            session.exec(delete(Notification).where(col(Notification.delivered_at) < now - FORGET_DELIVERED_AFTER))
            hopeless = update(Notification).where(
                col(Notification.delivered_at).is_(None), col(Notification.given_up_at).is_(None),
                col(Notification.recorded_at) < now - GIVE_UP_AFTER,
            )  # fmt: skip
            return session.exec(hopeless.values(given_up_at=now)).rowcount

    def told_alerts(self) -> Sequence[Alert]:
        """Every alert that was told and has not ended: what Alertmanager has to hear of again and again."""
        with self._reading() as session:
            query = select(Alert).where(col(Alert.state) != AlertState.RESOLVED, col(Alert.revision) > 0)
            return session.exec(query.order_by(col(Alert.id))).all()

    def alerts_by_id(self, ids: Sequence[str]) -> Sequence[Alert]:
        """These alerts, as they are now."""
        with self._reading() as session:
            return session.exec(select(Alert).where(col(Alert.id).in_(list(ids))).order_by(col(Alert.id))).all()

    def told_again(self, fingerprints: Sequence[str]) -> frozenset[str]:
        """Which of these are told and not over at this instant."""
        with self._reading() as session:
            query = select(Alert.fingerprint).where(
                col(Alert.fingerprint).in_(list(fingerprints)), col(Alert.state) != AlertState.RESOLVED,
                col(Alert.revision) > 0,
            )  # fmt: skip
            return frozenset(session.exec(query))


def told(alert: Alert) -> Json:
    """An alert as a notification tells it."""
    return {
        "alert": alert.id, "fingerprint": alert.fingerprint, "model": alert.model, "name": alert.name,
        "severity": alert.severity, "state": alert.state.value, "labels": alert.labels, "summary": alert.summary,
        "description": alert.description, "began_at": alert.began_at.isoformat(),
        "resolved_at": alert.resolved_at.isoformat() if alert.resolved_at else None,
        "silenced_until": alert.silenced_until.isoformat() if alert.silenced_until else None,
        "by": alert.by, "why": alert.why, "revision": alert.revision,
    }  # fmt: skip


def _waiting(channel: str) -> Any:  # noqa: ANN401 - a select of notifications
    return select(Notification).where(
        Notification.channel == channel, col(Notification.delivered_at).is_(None),
        col(Notification.given_up_at).is_(None),
    )  # fmt: skip


def _held(claimed: Sequence[Notification], owner: str) -> Any:  # noqa: ANN401 - an update of notifications
    ids = [row.id for row in claimed]
    return update(Notification).where(col(Notification.id).in_(ids), col(Notification.lease_owner) == owner)
