"""Alerts: compared with what holds, moved, and acted on by people. Each change is told in its own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, or_, select

from controlplane.access.acts import Act
from controlplane.alertfacts import AlertFacts, AlertName, Patience, Ticking
from controlplane.alerts import Holding, holding, labels_of, outbox_holding
from controlplane.errors import Conflict, NotFound, Refused
from controlplane.lifecycle import ALERT_TRANSITIONS, AlertState, RolloutState, RunState, VersionState, advance
from controlplane.promotion.rollout import StepReason
from controlplane.store.alertfacts import read_alert_facts
from controlplane.store.notifications import Notifications, told
from controlplane.store.rollouts import ON_THEIR_WAY, PRODUCTION, lock
from controlplane.store.runs import UNDER_WAY
from controlplane.tables import Alert, Model, Observation, OutboxEntry, Rollout, TrainingRun, Version
from controlplane.tables.columns import EPOCH
from controlplane.tables.versions import ELSEWHERE
from observability.ids import new_id


class Alerts(Notifications):
    """Verbs about alerts."""

    def settle_alerts(
        self,
        model_id: str,
        now: datetime,
        patience: Patience,
        unserved_since: datetime | None = None,
        ticking: Ticking | None = None,
    ) -> int:
        """Bring the model's alerts to what holds now, and tell each change. Returns how many changed.

        What holds is read in the same transaction, behind the model's lock: of two replicas one sees what the other
        did.
        """
        with self._writing() as session:
            locked = select(Model).where(Model.id == model_id).with_for_update(key_share=True)
            model = session.exec(locked).first()
            if model is None:
                return 0
            opened = _open(session, model_id)
            told, wall = frozenset(alert.name for alert in opened.values()), self._wall.now()
            facts = read_alert_facts(session, model, wall, now, patience, unserved_since, ticking, told)
            found = {each.fingerprint(model_id): each for each in holding(_as_known(facts, opened))}
            return self._settle_all(session, model, opened, found, now)

    def settle_installation(self, now: datetime, patience: Patience, ticking: Ticking | None = None) -> int:
        """The same for what concerns no model alone."""
        wall = self._wall.now()
        oldest = select(OutboxEntry.recorded_at).where(col(OutboxEntry.published_at).is_(None))
        oldest = oldest.order_by(col(OutboxEntry.sequence)).limit(1)
        with self._reading() as session:
            opened = _open(session, None)
            found = outbox_holding(session.exec(oldest).first(), wall, patience, ticking, bool(opened))
            if not found and not opened:
                return 0
        try:
            with self._writing() as session:
                known = {each.fingerprint(None): each for each in found}
                return self._settle_all(session, None, _open(session, None), known, now)
        except IntegrityError:
            return 0  # another replica told it at the same instant

    def _settle_all(
        self,
        session: Session,
        model: Model | None,
        opened: Mapping[str, Alert],
        found: Mapping[str, Holding],
        now: datetime,
    ) -> int:
        changed = 0
        for fingerprint, held in found.items():
            alert = opened.get(fingerprint)
            if alert is None:
                self._open_alert(session, model, fingerprint, held, now)
                changed += 1
            else:
                changed += self._keep_alert(session, alert, held, now)
        for fingerprint, alert in opened.items():
            if fingerprint not in found:
                self._resolve_alert(session, alert, now)
                changed += 1
        return changed

    def _open_alert(
        self, session: Session, model: Model | None, fingerprint: str, held: Holding, now: datetime
    ) -> None:
        spec = model.spec if model is not None else {}
        name = model.id if model is not None else None
        labels = labels_of(held, name, spec.get("team", ""), spec.get("data_owner", ""), spec.get("alert_labels") or {})
        alert = Alert(
            id=new_id(), fingerprint=fingerprint, model=name, name=held.name, severity=held.name.severity,
            labels=labels, summary=held.summary, description=held.description, state=AlertState.FIRING,
            began_at=now, state_at=now, recorded_at=self._wall.now(), inhibited_by=held.inhibited_by, revision=0,
        )  # fmt: skip
        if (quiet := _silence_of(session, name, fingerprint, self._wall.now())) is not None:
            alert.state, alert.silenced_until = AlertState.SILENCED, quiet.silenced_until
            alert.by, alert.why = quiet.by, quiet.why
        session.add(alert)
        self._say_alert(session, alert, now)
        if held.inhibited_by is None and quiet is None:
            self._notify(session, alert)

    def _keep_alert(self, session: Session, alert: Alert, held: Holding, now: datetime) -> int:
        """It goes on: its words follow the facts, a silence may end, and what was kept back may have to be told.

        A silence lasts while a retraining that answers the alert is in progress: its end pages somebody.
        """
        freed = alert.inhibited_by is not None and held.inhibited_by is None
        past = alert.state is AlertState.SILENCED and (alert.silenced_until or self._wall.now()) <= self._wall.now()
        over = past and held.inhibited_by is None
        alert.summary, alert.description, alert.inhibited_by = held.summary, held.description, held.inhibited_by
        session.add(alert)
        if over:
            _move(alert, AlertState.FIRING, now)
            alert.silenced_until = None
            self._say_alert(session, alert, now)
        untold = alert.revision == 0
        if alert.state is AlertState.FIRING and (over or (freed and untold)):
            self._notify(session, alert)
        return int(over or freed)

    def _resolve_alert(self, session: Session, alert: Alert, now: datetime) -> None:
        _move(alert, AlertState.RESOLVED, now)
        alert.resolved_at, alert.resolved_recorded_at = now, self._wall.now()
        session.add(alert)
        self._say_alert(session, alert, now)
        if alert.revision > 0:  # what nobody was told of ends in silence too
            self._notify(session, alert)

    def _say_alert(self, session: Session, alert: Alert, now: datetime) -> None:
        if alert.model is not None:
            body = {"alert": alert.id, "name": alert.name, "state": alert.state, "inhibited_by": alert.inhibited_by}
            self._tell(session, "alert", alert.model, {**body, "labels": alert.labels}, now)

    def acknowledge(self, alert_id: str, why: str, now: datetime, by: str, act: Act | None = None) -> Alert:
        """Somebody takes care of it: nobody is paged any more, until it is over. Saying it again changes nothing."""
        return self._act_on(alert_id, AlertState.ACKNOWLEDGED, why, None, now, by, act, "alert.acknowledge")

    def silence(
        self, alert_id: str, until: datetime, why: str, now: datetime, by: str, act: Act | None = None
    ) -> Alert:
        """Nobody is paged until then, on the machine's clock; if it still holds then, they are again."""
        if until <= self._wall.now():
            raise Refused(f"the silence would end at {until.isoformat()}, which has passed", field="until")
        return self._act_on(alert_id, AlertState.SILENCED, why, until, now, by, act, "alert.silence")

    def unsilence(self, alert_id: str, why: str, now: datetime, by: str, act: Act | None = None) -> Alert:
        """Take an acknowledgement or a silence back: it is firing as before."""
        return self._act_on(alert_id, AlertState.FIRING, why, None, now, by, act, "alert.unsilence")

    def _act_on(
        self, alert_id: str, to: AlertState, why: str, until: datetime | None, now: datetime, by: str, act: Act | None,
        action: str,
    ) -> Alert:  # fmt: skip
        with self._writing() as session:
            alert = _locked(session, alert_id)
            if alert.state is AlertState.RESOLVED:
                raise Conflict("the alert is over: there is nothing to act on", alert=alert_id)
            if alert.state is to and alert.silenced_until == until:
                return alert
            before = told(alert)
            if alert.state is not to:
                _move(alert, to, now)
            alert.by, alert.why, alert.silenced_until = by, why, until
            if alert.revision > 0 or (to is AlertState.FIRING and alert.inhibited_by is None):
                self._notify(session, alert)
            session.add(alert)
            self._say_alert(session, alert, now)
            if alert.model is not None:
                self._touch(session, alert.model)
            self._audit(session, act, action, alert_id, before, told(alert))
            return alert

    def alert(self, alert_id: str) -> Alert:
        """One alert. Raises NotFound."""
        with self._reading() as session:
            return _found(session.get(Alert, alert_id), alert_id)

    def open_alerts(self, model_id: str | None) -> Sequence[Alert]:
        """The alerts of a model, or of the installation, that are not over."""
        with self._reading() as session:
            return list(_open(session, model_id).values())

    def restless_models(self, now: datetime, patience: Patience, ticking: Ticking | None = None) -> set[str]:
        """The models of which time alone has changed an alert: a silence has ended, or something takes too long."""
        wall = self._wall.now()
        since, now_since = (ticking.wall, ticking.now) if ticking is not None else (EPOCH, EPOCH)
        with self._reading() as session:
            over = select(Alert.model).where(
                Alert.state == AlertState.SILENCED, col(Alert.silenced_until) <= wall, col(Alert.inhibited_by).is_(None)
            )  # fmt: skip
            found = {model for model in session.exec(over) if model is not None}
            loading = select(Rollout.model).where(
                col(Rollout.ended_at).is_(None), Rollout.state == RolloutState.LOADING,
                Rollout.recorded_at < wall - patience.rollout_stuck, Rollout.reason == StepReason.STAY_LOADING.name,
            )  # fmt: skip
            asked = select(TrainingRun.model).where(
                UNDER_WAY, TrainingRun.state == RunState.ASKED, TrainingRun.recorded_at < wall - patience.run_stuck
            )
            for name, late, long_enough in (
                (AlertName.ROLLOUT_STUCK, set(session.exec(loading)), wall - since > patience.rollout_stuck),
                (AlertName.RUN_STUCK, set(session.exec(asked)), wall - since > patience.run_stuck),
                (AlertName.GATE_STUCK, _unjudged(session, wall, patience), wall - since > patience.gate_stuck),
                (
                    AlertName.MONITOR_BEHIND, _unwatched(session, now, patience),
                    patience.monitor is not None and now - now_since > patience.monitor,
                ),
            ):  # fmt: skip
                told = _told_of(session, name)
                found |= told ^ (late if long_enough else late & told)
            return found

    def production_manifests(self) -> Sequence[tuple[str, int, str]]:
        """(model, version, manifest) of every version in production that is served here."""
        with self._reading() as session:
            query = select(Version.model, Version.number, Version.manifest)
            return session.exec(query.where(PRODUCTION, Version.onnx_sha256 != ELSEWHERE)).all()

    def production_manifest(self, model_id: str) -> tuple[str, int, str] | None:
        """(model, version, manifest) of the model's version in production, if it is served here."""
        with self._reading() as session:
            query = select(Version.model, Version.number, Version.manifest)
            query = query.where(Version.model == model_id, PRODUCTION, Version.onnx_sha256 != ELSEWHERE)
            return session.exec(query).first()


def _open(session: Session, model_id: str | None) -> dict[str, Alert]:
    """By fingerprint, locked for the change that may follow."""
    of = col(Alert.model).is_(None) if model_id is None else col(Alert.model) == model_id
    query = select(Alert).where(of, col(Alert.state) != AlertState.RESOLVED).order_by(col(Alert.id))
    return {alert.fingerprint: alert for alert in session.exec(query.with_for_update(key_share=True))}


def _silence_of(session: Session, model: str | None, fingerprint: str, wall: datetime) -> Alert | None:
    """The same thing the last time that it was there, where somebody silenced it until an instant that is to come."""
    of = col(Alert.model).is_(None) if model is None else col(Alert.model) == model
    query = select(Alert).where(of, Alert.fingerprint == fingerprint).order_by(col(Alert.id).desc())
    last = session.exec(query.limit(1)).first()
    return last if last is not None and last.silenced_until is not None and last.silenced_until > wall else None


def _as_known(facts: AlertFacts, opened: Mapping[str, Alert]) -> AlertFacts:
    """A replica that has just begun to look does not take back what another has told."""
    named = (alert for alert in opened.values() if alert.name == AlertName.NO_SERVING_INSTANCE)
    since = next((alert.recorded_at - facts.patience.no_instance for alert in named), None)
    if since is None or facts.unserved_since is None:
        return facts
    return replace(facts, unserved_since=min(facts.unserved_since, since))


def _unwatched(session: Session, now: datetime, patience: Patience) -> set[str]:
    if patience.monitor is None:
        return set()
    seen = select(Observation.model).join(
        Version, (col(Version.model) == Observation.model) & (col(Version.number) == Observation.version)
    )
    before = now - patience.monitor
    came = or_(col(Version.promoted_at).is_(None), col(Version.promoted_at) < before)
    return set(session.exec(seen.where(PRODUCTION, Observation.observed_at < before, came)))


def _unjudged(session: Session, wall: datetime, patience: Patience) -> set[str]:
    """The models with a candidate that has waited for its gate, and for no other version, for too long."""
    ahead = select(Rollout.model).where(
        col(Rollout.ended_at).is_(None), Rollout.state != RolloutState.WATCHING, Rollout.model == Version.model
    )  # fmt: skip
    waits = select(Version.model).where(
        ON_THEIR_WAY, Version.state == VersionState.CANDIDATE, Version.recorded_at < wall - patience.gate_stuck
    )  # fmt: skip
    return set(session.exec(waits.where(~ahead.exists())))


def _told_of(session: Session, name: AlertName) -> set[str]:
    query = select(Alert.model).where(Alert.name == name, col(Alert.state) != AlertState.RESOLVED)
    return {model for model in session.exec(query) if model is not None}


def _locked(session: Session, alert_id: str) -> Alert:
    """The alert, behind its model, as everybody locks both."""
    model = session.exec(select(Alert.model).where(Alert.id == alert_id)).first()
    if model is not None:
        lock(session, model)
    return _found(session.exec(select(Alert).where(Alert.id == alert_id).with_for_update()).first(), alert_id)


def _found(alert: Alert | None, alert_id: str) -> Alert:
    if alert is None:
        raise NotFound(f"there is no alert {alert_id}", alert=alert_id)
    return alert


def _move(alert: Alert, to: AlertState, now: datetime) -> None:
    alert.state = advance(ALERT_TRANSITIONS, f"alert {alert.id}", alert.state, to)
    alert.state_at = now
